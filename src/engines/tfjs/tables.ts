import * as tf from '@tensorflow/tfjs-core';
import { NearfarError } from '../../core/index.ts';
import { type GraphNode, inputsOf } from './graph.ts';
import { bytesOf, stringTensor, toLatin1 } from './strings.ts';

// Hash tables. Their contents are constants of the model's initializer, so they are read once, when the model is loaded.
// TensorFlow.js's own tables wait for every look-up, give a vector whatever the shape of the keys, and keep a tensor for
// each entry.

/** A table of scalars. */
export interface Table {
  readonly size: number;
  /** Values of the keys, in the shape of the keys; `otherwise` (a scalar) for those that are not there. */
  find(keys: tf.Tensor, otherwise: tf.Tensor): tf.Tensor;
}

/** A constant of the model, on the CPU backend. */
export type ReadConstant = (node: string) => tf.Tensor | undefined;

/** Tables by the name of the node that makes each, as far as constants fill them. */
export function readTables(initializer: readonly GraphNode[], readConstant: ReadConstant): ReadonlyMap<string, Table> {
  const nodes = new Map(initializer.map((node) => [node.name, node]));
  const tables = new Map<string, Table>();
  for (const node of initializer) {
    if (!/^(InitializeTable|LookupTableImport)(V2)?$/.test(node.op)) continue;
    const [table, keys, values] = inputsOf(node).map((input) => resolve(nodes, input.node));
    if (table === undefined || keys === undefined || values === undefined) continue;
    tf.tidy(() => {
      const [keyTensor, valueTensor] = [readConstant(keys), readConstant(values)];
      if (keyTensor && valueTensor) tables.set(table, createTable(table, keyTensor, valueTensor));
    });
  }
  return tables;
}

function resolve(nodes: ReadonlyMap<string, GraphNode>, name: string): string {
  const node = nodes.get(name);
  return node?.op === 'Identity' ? resolve(nodes, inputsOf(node)[0]!.node) : name;
}

/** @throws {NearfarError} `invalid-argument` when keys and values do not pair. */
export function createTable(name: string, keys: tf.Tensor, values: tf.Tensor): Table {
  if (keys.size !== values.size) {
    throw new NearfarError('invalid-argument', `table ${name} has ${keys.size} keys and ${values.size} values`);
  }
  const { dtype } = values;
  const contents = dtype === 'string' ? bytesOf(values) : values.dataSync().slice();
  const indices = new Map<string | number, number>();
  for (const [index, key] of keysOf(keys).entries()) indices.set(key, index);
  return {
    size: indices.size,
    find(wanted, otherwise) {
      if (otherwise.dtype !== dtype) {
        throw new NearfarError('invalid-argument', `table ${name} holds ${dtype}, its default is ${otherwise.dtype}`);
      }
      const found = keysOf(wanted).map((key) => indices.get(key));
      if (dtype === 'string') {
        const missing = bytesOf(otherwise)[0]!;
        const strings = contents as readonly Uint8Array[];
        return stringTensor(
          found.map((index) => (index === undefined ? missing : strings[index]!)),
          wanted.shape,
        );
      }
      const missing = otherwise.dataSync()[0]!;
      const numbers = contents as Float32Array;
      return tf.tensor(
        found.map((index) => (index === undefined ? missing : numbers[index]!)),
        wanted.shape,
        dtype,
      );
    },
  };
}

function keysOf(tensor: tf.Tensor): (string | number)[] {
  return tensor.dtype === 'string' ? bytesOf(tensor).map(toLatin1) : Array.from(tensor.dataSync());
}

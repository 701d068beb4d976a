import * as tf from '@tensorflow/tfjs-core';
import { decodeExample, type ExampleFeature, NearfarError } from '../../core/index.ts';
import type { Execute } from './custom-ops.ts';
import { type AttributeReader, type GraphNode, inputsOf, readAttributes } from './graph.ts';
import { bytesOf, stringTensor, toLatin1 } from './strings.ts';

// Parsing of tf.Examples into dense features (tensorflow/core/util/example_proto_fast_parsing.cc, whose error texts these are).

type Kind = 'float' | 'int64' | 'bytes';

interface DenseFeature {
  readonly key: string;
  readonly kind: Kind;
  /** Sizes of one example's values; the first is -1 where each example has as many as it likes. */
  readonly shape: readonly number[];
}

const kinds: Readonly<Record<string, Kind>> = { DT_FLOAT: 'float', DT_INT64: 'int64', DT_STRING: 'bytes' };
const typeNames = { float: 'float', int64: 'int64', bytes: 'string' } as const;

/** Which inputs an operator has where. */
interface Layout {
  readonly count: number;
  readonly keys: (inputs: readonly tf.Tensor[]) => readonly string[];
  readonly defaults: (inputs: readonly tf.Tensor[]) => readonly tf.Tensor[];
  readonly names: (inputs: readonly tf.Tensor[]) => readonly Uint8Array[];
}

/** @throws {NearfarError} `unsupported` for sparse and ragged features. */
export function createParseExample(node: GraphNode): Execute {
  const attributes = readAttributes(node);
  const types = attributes.types('Tdense');
  const shapes = attributes.shapes('dense_shapes');
  const { count, keys, defaults, names } = layoutOf(node, attributes, types.length);
  if (count > 0) throw new NearfarError('unsupported', 'it gives sparse or ragged features, only dense ones are read');
  const isSingle = node.op === 'ParseSingleExample';
  const features = types.map((type, index) => {
    const kind = kinds[type];
    const shape = shapes[index];
    if (kind === undefined || shape === undefined || shape.slice(1).includes(-1)) {
      throw new NearfarError('unsupported', `it gives a dense feature of ${type} and shape [${shape}]`);
    }
    return { kind, shape };
  });
  return (inputs) => {
    const serialized = bytesOf(inputs[0]!);
    const hasBatch = inputs[0]!.rank === 1 && !isSingle;
    if (inputs[0]!.rank > 1 || (isSingle && inputs[0]!.rank > 0)) {
      throw new NearfarError('invalid-argument', `${node.op} takes serialized examples of shape [], or [n]; got [${inputs[0]!.shape}]`);
    }
    const featureKeys = keys(inputs);
    const defaultValues = defaults(inputs);
    const exampleNames = names(inputs);
    const examples = serialized.map((bytes) => decodeNamed(bytes));
    return features.map(({ kind, shape }, index) => {
      const feature: DenseFeature = { key: featureKeys[index]!, kind, shape };
      const lists = examples.map((example, row) => {
        const name = exampleNames[row] === undefined ? '<unknown>' : toLatin1(exampleNames[row]);
        const where = isSingle ? `Key: ${feature.key}.  ` : `Name: ${name}, Key: ${feature.key}, Index: ${row}.  `;
        return valuesOf(example.get(feature.key), feature, defaultValues[index]!, { where, name: isSingle ? undefined : name });
      });
      return collect(feature, lists, defaultValues[index]!, hasBatch);
    });
  };
}

function layoutOf(node: GraphNode, attributes: AttributeReader, dense: number): Layout {
  const text = (tensor: tf.Tensor) => bytesOf(tensor).map((bytes) => new TextDecoder().decode(bytes));
  const inputCount = inputsOf(node).filter(({ isControl }) => !isControl).length;
  const last = (inputs: readonly tf.Tensor[]) => inputs.slice(inputCount - dense, inputCount);
  switch (node.op) {
    case 'ParseExampleV2':
      return {
        count: attributes.number('num_sparse') + attributes.types('ragged_value_types').length,
        names: (inputs) => bytesOf(inputs[1]!),
        keys: (inputs) => text(inputs[3]!),
        defaults: last,
      };
    case 'ParseExample': {
      const sparse = attributes.number('Nsparse');
      return {
        count: sparse,
        names: (inputs) => bytesOf(inputs[1]!),
        keys: (inputs) => inputs.slice(2 + sparse, 2 + sparse + dense).flatMap(text),
        defaults: last,
      };
    }
    default: {
      const keys = attributes.texts('dense_keys').map((key) => new TextDecoder().decode(Uint8Array.from(key, (c) => c.charCodeAt(0))));
      return { count: attributes.number('num_sparse'), names: () => [], keys: () => keys, defaults: last };
    }
  }
}

function decodeNamed(bytes: Uint8Array): ReadonlyMap<string, ExampleFeature> {
  try {
    return decodeExample(bytes);
  } catch (cause) {
    throw new NearfarError('invalid-argument', `Could not parse example input, value: '${toLatin1(bytes.subarray(0, 200))}'`, { cause });
  }
}

/** The values of one example; undefined where the default stands for them. */
function valuesOf(
  found: ExampleFeature | undefined,
  { key, kind, shape }: DenseFeature,
  defaults: tf.Tensor,
  { where, name }: { readonly where: string; readonly name: string | undefined },
): ExampleFeature['values'] | undefined {
  const refuse = (message: string) => new NearfarError('invalid-argument', message, { details: { feature: key } });
  const isVariable = shape[0] === -1;
  const size = shape.reduce((product, length) => product * Math.abs(length), 1);
  if (found?.kind === undefined) {
    if (defaults.size > 0 || isVariable) return undefined;
    const prefix = name === undefined ? '' : `Name: ${name}, `;
    throw refuse(`${prefix}Feature: ${key} (data type: ${typeNames[kind]}) is required but could not be found.`);
  }
  if (found.kind !== kind) {
    throw refuse(`${where}Data types don't match. Data type: ${typeNames[found.kind]} but expected type: ${typeNames[kind]}`);
  }
  const { values } = found;
  if (isVariable ? values.length % size !== 0 : values.length !== size) {
    throw refuse(
      isVariable
        ? `${where}Number of ${typeNames[kind]} values is not a multiple of stride length. Saw ${values.length} values but output shape is: [?,${shape.slice(1)}]`
        : `${where}Number of ${typeNames[kind]} values != expected.  Values size: ${values.length} but output shape: [${shape}]`,
    );
  }
  return values;
}

/** All examples of one feature as one tensor: shorter ones are filled up with the default. */
function collect(
  { key, kind, shape }: DenseFeature,
  lists: readonly (ExampleFeature['values'] | undefined)[],
  defaults: tf.Tensor,
  hasBatch: boolean,
): tf.Tensor {
  const inner = shape.slice(1).reduce((product, length) => product * length, 1);
  const longest = Math.max(0, ...lists.map((list) => list?.length ?? 0));
  const full = shape[0] === -1 ? [longest / inner, ...shape.slice(1)] : [...shape];
  const size = full.reduce((product, length) => product * length, 1);
  const outShape = hasBatch ? [lists.length, ...full] : full;
  const fill = <T>(
    values: { [index: number]: T },
    out: (index: number, value: T) => void,
    convert: (value: number | bigint | Uint8Array) => T,
  ) => {
    for (const [row, list] of lists.entries()) {
      for (let index = 0; index < size; index++) {
        const given = list?.[index];
        // A fixed feature's default has all its values, that of a variable one is a single value.
        const value = given !== undefined ? convert(given) : defaults.size === 0 ? undefined : values[defaults.size === 1 ? 0 : index];
        if (value !== undefined) out(row * size + index, value);
      }
    }
  };
  if (kind === 'bytes') {
    const out: Uint8Array[] = Array.from({ length: lists.length * size }, () => new Uint8Array(0));
    fill<Uint8Array>(
      bytesOf(defaults),
      (index, value) => (out[index] = value),
      (value) => value as Uint8Array,
    );
    return stringTensor(out, outShape);
  }
  const out = kind === 'float' ? new Float32Array(lists.length * size) : new Int32Array(lists.length * size);
  const convert = kind === 'float' ? Number : (value: number | bigint | Uint8Array) => toInt32(key, value as bigint);
  fill<number>(defaults.dataSync(), (index, value) => (out[index] = value), convert);
  return tf.tensor(out, outShape, kind === 'float' ? 'float32' : 'int32');
}

function toInt32(key: string, value: bigint): number {
  if (value === BigInt.asIntN(32, value)) return Number(value);
  throw new NearfarError('unsupported', `feature ${key} of int64 holds ${value}; TensorFlow.js has whole numbers of int32 only`, {
    details: { feature: key, value: String(value) },
  });
}

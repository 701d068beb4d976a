import { registerOp } from '@tensorflow/tfjs-converter';
import type * as tf from '@tensorflow/tfjs-core';
import { NearfarError } from '../../core/index.ts';
import type { GraphNode } from './graph.ts';

// The converter's registry of operators is one per realm: registering `StringLower` there would change the application's own
// models. So one operator of a name of ours stands for all, and says by a number what it computes.

const opName = 'NearfarNode';

/** Computes a node's outputs from its inputs; the engine's backend is the current one. */
export type NodeFunction = (inputs: readonly tf.Tensor[]) => tf.Tensor | tf.Tensor[] | Promise<tf.Tensor | tf.Tensor[]>;

const functions = new Map<number, NodeFunction>();
let nextId = 1;

/** Functions of the nodes of one model, until they are removed. */
export interface CustomNodes {
  /** A node that computes by the function, in the place of another. */
  replace(node: GraphNode, compute: NodeFunction): GraphNode;
  remove(): void;
}

export function createCustomNodes(): CustomNodes {
  registerOp(opName, ({ inputs, attrs }) => {
    const compute = functions.get(Number(attrs['id']));
    if (compute === undefined) throw new NearfarError('internal', `node function ${attrs['id']} is gone`);
    return compute(inputs);
  });
  const ids: number[] = [];
  return {
    replace({ name, input = [] }, compute) {
      const id = nextId++;
      functions.set(id, compute);
      ids.push(id);
      return { name, op: opName, input, attr: { id: { i: String(id) } } };
    },
    remove() {
      for (const id of ids) functions.delete(id);
    },
  };
}

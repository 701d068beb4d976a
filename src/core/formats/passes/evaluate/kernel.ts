import type { AnyTensor } from '../../../tensor/index.ts';
import type { GraphNode } from '../../graph/index.ts';

/** Computes a node's outputs; undefined when it cannot (a dtype it does not know, a division by zero of integers). */
export type Kernel = (node: GraphNode, inputs: readonly AnyTensor[]) => AnyTensor[] | undefined;

export type Kernels = Readonly<Record<string, Kernel>>;

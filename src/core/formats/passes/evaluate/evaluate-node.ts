import type { AnyTensor } from '../../../tensor/index.ts';
import type { GraphNode } from '../../graph/index.ts';
import { arrayKernels } from './arrays.ts';
import { elementwiseKernels } from './elementwise.ts';
import type { Kernels } from './kernel.ts';
import { layerKernels } from './layers.ts';
import { reductionKernels } from './reductions.ts';

const kernels: Kernels = { ...elementwiseKernels, ...arrayKernels, ...reductionKernels, ...layerKernels };

/** Whether `evaluateNode` knows the operator (though not necessarily with every dtype). */
export function isEvaluable(op: string): boolean {
  return Object.hasOwn(kernels, op);
}

/** Whether it is work that grows faster than its inputs: nothing to do while a model is converted. */
export function isLayer(op: string): boolean {
  return Object.hasOwn(layerKernels, op);
}

/**
 * Computes one operator in plain TypeScript, as TensorFlow does: float32 results are rounded from float64, int32 and int64 wrap.
 * @returns Its outputs; undefined for operators, dtypes and layouts it does not know, for inputs that do not fit, and for divisions by a
 * whole number of zero.
 * @remarks Results of `engineDependentOps` can differ in the last bit between JavaScript engines.
 */
export function evaluateNode(node: GraphNode, inputs: readonly AnyTensor[]): AnyTensor[] | undefined {
  return Object.hasOwn(kernels, node.op) ? kernels[node.op]?.(node, inputs) : undefined;
}

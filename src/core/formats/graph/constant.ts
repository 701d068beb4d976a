import { type AnyTensor, bytesPerElement, elementCount } from '../../tensor/index.ts';
import * as attribute from './attributes.ts';
import type { Constant, GraphNode } from './graph.ts';

/** A tensor that is in memory already, as a constant. */
export function toConstant(tensor: AnyTensor): Constant {
  return { dtype: tensor.dtype, shape: tensor.shape, byteLength: byteLengthOf(tensor), load: async () => tensor };
}

/** A `Const` node of a constant. */
export function constNode(name: string, value: Constant): GraphNode {
  const { dtype } = value;
  return { name, op: 'Const', inputs: [], controls: [], attributes: { dtype: attribute.type(dtype), value: attribute.tensor(value) } };
}

/** Bytes of a tensor of fixed-size elements. */
export function byteLengthOf(tensor: AnyTensor): number {
  if (tensor.dtype === 'string') return tensor.data.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return elementCount(tensor.shape) * bytesPerElement(tensor.dtype);
}

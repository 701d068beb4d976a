import { NearfarError } from '../errors.ts';
import { type DType, type DTypeData, itemsPerElement } from './dtype.ts';

/** A dense, row-major tensor: its dtype, its shape and `shape.product()` elements. */
export interface Tensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: DTypeData[D];
}

/** A tensor of any dtype, told apart by `dtype`. */
export type AnyTensor = { [D in DType]: Tensor<D> }[DType];

/** Named tensors: the inputs or the outputs of a signature. */
export type TensorMap = Readonly<Record<string, AnyTensor>>;

/** The number of elements of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/**
 * Joins dtype, shape and data after checking that they agree.
 * @throws {NearfarError} `shape-mismatch` when a dimension is no whole number ≥ 0 or the data has another length.
 */
export function createTensor<D extends DType>(dtype: D, shape: readonly number[], data: DTypeData[D]): Tensor<D> {
  assertShape(shape);
  const want = elementCount(shape) * itemsPerElement(dtype);
  if (data.length !== want) {
    throw new NearfarError('shape-mismatch', `a ${dtype} tensor of shape [${shape}] holds ${want} items, got ${data.length}`, {
      details: { dtype, shape: [...shape], want, got: data.length },
    });
  }
  return { dtype, shape, data };
}

function assertShape(shape: readonly number[]): void {
  if (shape.every((size) => Number.isSafeInteger(size) && size >= 0)) return;
  throw new NearfarError('shape-mismatch', `a shape holds whole numbers of at least 0, got [${shape}]`, { details: { got: [...shape] } });
}

/** Narrows a tensor to one dtype. */
export function isTensorOf<D extends DType>(tensor: AnyTensor, dtype: D): tensor is Extract<AnyTensor, { dtype: D }> {
  return tensor.dtype === dtype;
}

/** Whether a concrete shape fits a declared one, where -1 stands for any size. */
export function isShapeCompatible(declared: readonly number[], shape: readonly number[]): boolean {
  return declared.length === shape.length && declared.every((size, axis) => size === -1 || size === shape[axis]);
}

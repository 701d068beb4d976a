import { type AnyTensor, createTensor, type DTypeData, type NumericDType } from '../tensor/index.ts';

/** A checked tensor of a dtype that is known only at run time, as decoders have it. */
export function numericTensor(dtype: NumericDType, shape: readonly number[], data: DTypeData[NumericDType]): AnyTensor {
  // TypeScript does not distribute Tensor<D> over a union of dtypes; the decoders pair dtype and data by createData() and dataFromBytes().
  return createTensor(dtype, shape, data) as AnyTensor;
}

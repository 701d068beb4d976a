import type { DType } from '../../tensor/index.ts';

/** Dtypes by ONNX's TensorProto.DataType. */
export const onnxDTypes: readonly (DType | undefined)[] = [
  undefined,
  'float32',
  'uint8',
  'int8',
  'uint16',
  'int16',
  'int32',
  'int64',
  'string',
  'bool',
  'float16',
  'float64',
  'uint32',
  'uint64',
  'complex64',
  'complex128',
  'bfloat16',
];

/** ONNX's TensorProto.DataType of a dtype. */
export function dataTypeOf(dtype: DType): number {
  return onnxDTypes.indexOf(dtype);
}

import type { GraphDType } from './graph/index.ts';

/** Numbers and names of the enum DataType (tensorflow/core/framework/types.proto), without quantised types and references. */
export const tensorflowTypes: readonly (readonly [number: number, name: string, type: GraphDType])[] = [
  [1, 'DT_FLOAT', 'float32'],
  [2, 'DT_DOUBLE', 'float64'],
  [3, 'DT_INT32', 'int32'],
  [4, 'DT_UINT8', 'uint8'],
  [5, 'DT_INT16', 'int16'],
  [6, 'DT_INT8', 'int8'],
  [7, 'DT_STRING', 'string'],
  [8, 'DT_COMPLEX64', 'complex64'],
  [9, 'DT_INT64', 'int64'],
  [10, 'DT_BOOL', 'bool'],
  [14, 'DT_BFLOAT16', 'bfloat16'],
  [17, 'DT_UINT16', 'uint16'],
  [18, 'DT_COMPLEX128', 'complex128'],
  [19, 'DT_HALF', 'float16'],
  [20, 'DT_RESOURCE', 'resource'],
  [21, 'DT_VARIANT', 'variant'],
  [22, 'DT_UINT32', 'uint32'],
  [23, 'DT_UINT64', 'uint64'],
];

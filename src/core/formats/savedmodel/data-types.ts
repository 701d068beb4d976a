import { NearfarError } from '../../errors.ts';
import type { GraphDType } from '../graph/index.ts';

// The enum DataType (tensorflow/core/framework/types.proto). A reference to a variable has its number plus 100.

const REFERENCE = 100;

const byNumber: readonly (readonly [number, string, GraphDType])[] = [
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
  // Quantised types hold their integers.
  [11, 'DT_QINT8', 'int8'],
  [12, 'DT_QUINT8', 'uint8'],
  [13, 'DT_QINT32', 'int32'],
  [14, 'DT_BFLOAT16', 'bfloat16'],
  [15, 'DT_QINT16', 'int16'],
  [16, 'DT_QUINT16', 'uint16'],
  [17, 'DT_UINT16', 'uint16'],
  [18, 'DT_COMPLEX128', 'complex128'],
  [19, 'DT_HALF', 'float16'],
  [20, 'DT_RESOURCE', 'resource'],
  [21, 'DT_VARIANT', 'variant'],
  [22, 'DT_UINT32', 'uint32'],
  [23, 'DT_UINT64', 'uint64'],
];

const dtypes = new Map(byNumber.map(([number, , dtype]) => [number, dtype]));
const numbers = new Map(byNumber.map(([number, name]) => [name, number]));

/** Undefined for a type that has no dtype here (8-bit floats, 4-bit integers) and for DT_INVALID. */
export function dtypeOfNumber(number: number): GraphDType | undefined {
  return dtypes.get(number > REFERENCE ? number - REFERENCE : number);
}

/** @throws {NearfarError} `unsupported` for a type that has no dtype here. */
export function graphDType(number: number, where: string): GraphDType {
  const dtype = dtypeOfNumber(number);
  if (dtype) return dtype;
  throw new NearfarError('unsupported', `${where} has the data type ${number}, which is not supported`, { details: { dataType: number } });
}

/** Number of `DT_FLOAT`, `DT_FLOAT_REF`; undefined for another word. */
export function dataTypeNumber(name: string): number | undefined {
  if (name === 'DT_INVALID') return 0;
  const plain = name.endsWith('_REF') ? name.slice(0, -4) : name;
  const number = numbers.get(plain);
  return number !== undefined && plain !== name ? number + REFERENCE : number;
}

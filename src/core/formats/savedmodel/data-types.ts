import { NearfarError } from '../../errors.ts';
import type { GraphDType } from '../graph/index.ts';
import { tensorflowTypes } from '../tensorflow-types.ts';

// The enum DataType (tensorflow/core/framework/types.proto). A reference to a variable has its number plus 100.

const REFERENCE = 100;

const byNumber: typeof tensorflowTypes = [
  ...tensorflowTypes,
  // Quantised types hold their integers.
  [11, 'DT_QINT8', 'int8'],
  [12, 'DT_QUINT8', 'uint8'],
  [13, 'DT_QINT32', 'int32'],
  [15, 'DT_QINT16', 'int16'],
  [16, 'DT_QUINT16', 'uint16'],
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

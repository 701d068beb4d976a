import type { DType } from '../../tensor/index.ts';
import type { GraphDType } from '../graph/index.ts';
import { customTfjsOps } from './custom-ops.ts';

/** TensorFlow's names of element types, as a GraphDef in JSON form writes them. */
const namesOfTypes: Readonly<Record<GraphDType, string>> = {
  float32: 'DT_FLOAT',
  float64: 'DT_DOUBLE',
  int32: 'DT_INT32',
  int64: 'DT_INT64',
  int16: 'DT_INT16',
  int8: 'DT_INT8',
  uint8: 'DT_UINT8',
  uint16: 'DT_UINT16',
  uint32: 'DT_UINT32',
  uint64: 'DT_UINT64',
  bool: 'DT_BOOL',
  string: 'DT_STRING',
  float16: 'DT_HALF',
  bfloat16: 'DT_BFLOAT16',
  complex64: 'DT_COMPLEX64',
  complex128: 'DT_COMPLEX128',
  resource: 'DT_RESOURCE',
  variant: 'DT_VARIANT',
};

const typesByName = new Map(Object.entries(namesOfTypes).map(([type, name]) => [name, type as GraphDType]));

// The enum of tensorflow/core/framework/types.proto: some writers of JSON give the numbers.
const numbersOfTypes: readonly (GraphDType | undefined)[] = [
  undefined,
  'float32',
  'float64',
  'int32',
  'uint8',
  'int16',
  'int8',
  'string',
  'complex64',
  'int64',
  'bool',
  undefined,
  undefined,
  undefined,
  'bfloat16',
  undefined,
  undefined,
  'uint16',
  'complex128',
  'float16',
  'resource',
  'variant',
  'uint32',
  'uint64',
];

export function nameOfType(type: GraphDType): string {
  return namesOfTypes[type];
}

/** The type of a name or number of TensorFlow's; undefined for one that no graph here can have (quantised types, references). */
export function typeOfName(name: unknown): GraphDType | undefined {
  return typeof name === 'number' ? numbersOfTypes[name] : typesByName.get(String(name));
}

/** Element types that TensorFlow.js computes with. */
export type TfjsDType = 'float32' | 'int32' | 'bool' | 'string' | 'complex64';

const narrowed: Readonly<Record<DType, TfjsDType>> = {
  float32: 'float32',
  float64: 'float32',
  float16: 'float32',
  bfloat16: 'float32',
  int32: 'int32',
  int64: 'int32',
  int16: 'int32',
  int8: 'int32',
  uint8: 'int32',
  uint16: 'int32',
  uint32: 'int32',
  uint64: 'int32',
  bool: 'bool',
  string: 'string',
  complex64: 'complex64',
  complex128: 'complex64',
};

/** The type that TensorFlow.js has instead. */
export function narrowDType(dtype: DType): TfjsDType {
  return narrowed[dtype];
}

export function narrowType(type: GraphDType): GraphDType {
  return type === 'resource' || type === 'variant' ? type : narrowed[type];
}

/** What becomes of the types among a node's attributes. Operators that read bytes or text must know what is written there. */
export function typesOf(op: string): (type: GraphDType) => GraphDType {
  return customTfjsOps.has(op) ? (type) => type : narrowType;
}

/** Types whose values may not fit what TensorFlow.js has instead, or that it computes with more digits than TensorFlow. */
export const isChanged: ReadonlySet<GraphDType> = new Set<GraphDType>([
  'float16',
  'bfloat16',
  'float64',
  'int64',
  'uint32',
  'uint64',
  'complex128',
]);

import type { DType } from '../../tensor/index.ts';
import type { GraphDType } from '../graph/index.ts';
import { tensorflowTypes } from '../tensorflow-types.ts';
import { customTfjsOps } from './custom-ops.ts';

const namesOfTypes = new Map(tensorflowTypes.map(([, name, type]) => [type, name]));
// A GraphDef in JSON form writes names; some writers give numbers.
const typesByName = new Map(
  tensorflowTypes.flatMap(([number, name, type]): [unknown, GraphDType][] => [
    [number, type],
    [name, type],
  ]),
);

/** TensorFlow's name of an element type. */
export function nameOfType(type: GraphDType): string {
  return namesOfTypes.get(type)!; // the table has all
}

/** The type of a name or number of TensorFlow's; undefined for one that no graph here can have (quantised types, references). */
export function typeOfName(name: unknown): GraphDType | undefined {
  return typesByName.get(name);
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

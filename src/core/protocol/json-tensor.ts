import { decodeBase64 } from '../base64.ts';
import { NearfarError } from '../errors.ts';
import { type AnyTensor, createData, createTensor, type DType, type DTypeData, elementCount, type NumericDType } from '../tensor/index.ts';
import type { DenseNumbers } from './json-numbers.ts';
import type { JsonDocument } from './json-reader.ts';
import { describeJson, jsonTypeName } from './json-text.ts';
import { numericTensor } from './numeric-tensor.ts';
import { dataTypeText } from './wire-dtypes.ts';

/** The highest rank of a TensorFlow tensor (TensorShape::MaxDimensions). */
const maxRank = 254;

/** Gathers the values of one tensor, whose number is known or bounded beforehand. */
export interface ValueSink {
  readonly dtype: DType;
  readonly count: number;
  add(document: JsonDocument, index: number): void;
  /** Adds a list that was read in one piece. @throws where single values may say more. */
  addNumbers(numbers: DenseNumbers): void;
  /** @throws {NearfarError} `shape-mismatch` when the values do not fill the shape. */
  tensor(shape: readonly number[]): AnyTensor;
}

/** The shape of a nested list by its first elements: `[]` for a plain value. */
export function denseShape(document: JsonDocument, index: number): readonly number[] {
  if (document.kind(index) === 'numbers') return document.numbers(index).shape;
  const shape: number[] = [];
  for (let at = index; document.kind(at) === 'array'; at++) {
    shape.push(document.size(at));
    if (shape.length > maxRank) throw new NearfarError('invalid-argument', `JSON list is nested deeper than ${maxRank} dimensions`);
    if (document.size(at) === 0) break;
  }
  return shape;
}

/**
 * Adds all values of a nested list to a sink, in the order of the text.
 * @throws {NearfarError} `invalid-argument` where the list is not of the shape or a value not of the dtype, with TensorFlow Serving's texts.
 */
export function addDenseValues(document: JsonDocument, index: number, shape: readonly number[], sink: ValueSink): void {
  const rank = shape.length;
  if (document.kind(index) === 'numbers') {
    const numbers = document.numbers(index);
    if (numbers.shape.length !== rank || numbers.shape.some((size, axis) => size !== shape[axis])) throw notInOnePiece();
    sink.addNumbers(numbers);
    return;
  }
  const end = document.next(index);
  // Where each open list ends; a list is left when its end is reached, so that depth costs no recursion.
  const ends: number[] = [];
  for (let at = index; at < end; ) {
    while (ends.at(-1) === at) ends.pop();
    const level = ends.length;
    if (document.kind(at) !== 'array') {
      if (level !== rank) {
        throw invalid(
          `JSON Value: ${describeJson(document, at)} found at incorrect level: ${level + 1} in the JSON DOM. Expected at level: ${rank}`,
        );
      }
      sink.add(document, at);
      at = document.next(at);
      continue;
    }
    if (level >= rank) throw invalid(`Encountered list at unexpected level: ${level} expected < ${rank}`);
    if (document.size(at) !== shape[level]) {
      throw invalid(`Encountered list at unexpected size: ${document.size(at)} at level: ${level} expected size: ${shape[level]}`);
    }
    ends.push(document.next(at));
    at++;
  }
}

/**
 * @param capacity The most values that may come.
 * @returns For half, bfloat16 and complex numbers a sink that refuses its first value: neither protocol has a JSON form of them.
 */
export function createSink(dtype: DType, capacity: number): ValueSink {
  switch (dtype) {
    case 'string':
      return createStringSink();
    case 'float32':
    case 'float64':
      return createNumberSink(dtype, createData(dtype, capacity), (document, index) => {
        const kind = document.kind(index);
        if (kind === 'integer' || kind === 'decimal') return document.number(index);
        if (kind === 'bigint') return Number(document.bigint(index));
        throw typeError(document, index, dtype);
      });
    case 'bool':
      return createNumberSink(dtype, createData(dtype, capacity), (document, index) => {
        const kind = document.kind(index);
        if (kind === 'true') return 1;
        if (kind === 'false') return 0;
        throw typeError(document, index, dtype);
      });
    case 'int8':
    case 'int16':
    case 'int32':
    case 'uint8':
    case 'uint16':
    case 'uint32':
      return createNumberSink(dtype, createData(dtype, capacity), (document, index) => {
        const [low, high] = integerRanges[dtype];
        const value = document.number(index);
        if (document.kind(index) === 'integer' && value >= low && value <= high) return value;
        throw typeError(document, index, dtype);
      });
    case 'int64':
    case 'uint64':
      return createNumberSink(dtype, createData(dtype, capacity), (document, index) => {
        const [low, high] = dtype === 'int64' ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n];
        const kind = document.kind(index);
        const value = kind === 'integer' || kind === 'bigint' ? document.bigint(index) : undefined;
        if (value !== undefined && value >= low && value <= high) return value;
        throw typeError(document, index, dtype);
      });
    default:
      return createUnsupportedSink(dtype);
  }
}

const integerRanges = {
  int8: [-128, 127],
  int16: [-32_768, 32_767],
  int32: [-2_147_483_648, 2_147_483_647],
  uint8: [0, 255],
  uint16: [0, 65_535],
  uint32: [0, 4_294_967_295],
} as const;

function createNumberSink<T extends number | bigint, D extends NumericDType>(
  dtype: D,
  data: DTypeData[D] & { [index: number]: T; readonly length: number },
  read: (document: JsonDocument, index: number) => T,
): ValueSink {
  let count = 0;
  return {
    dtype,
    get count() {
      return count;
    },
    add: (document, index) => {
      data[count] = read(document, index);
      count++;
    },
    addNumbers: ({ values, areIntegers }) => {
      copyNumbers(dtype, values, areIntegers, data, count);
      count += values.length;
    },
    tensor: (shape) => {
      assertFilled(count, shape);
      return numericTensor(dtype, shape, data);
    },
  };
}

function copyNumbers(
  dtype: NumericDType,
  values: Float64Array,
  areIntegers: boolean,
  data: { [index: number]: number | bigint; readonly length: number },
  first: number,
): void {
  if (first + values.length > data.length) throw notInOnePiece();
  if ((dtype === 'float32' || dtype === 'float64') && (data instanceof Float32Array || data instanceof Float64Array)) {
    data.set(values, first);
    return;
  }
  if (!areIntegers || !(dtype in integerRanges)) throw notInOnePiece();
  const [low, high] = integerRanges[dtype as keyof typeof integerRanges];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!; // the loop bound proves the index
    if (value < low || value > high) throw notInOnePiece();
    data[first + i] = value;
  }
}

/** Never seen: the values are then taken one by one. */
function notInOnePiece(): NearfarError {
  return invalid('the values are to be read one by one');
}

function createStringSink(): ValueSink {
  const values: Uint8Array[] = [];
  const encoder = new TextEncoder();
  return {
    dtype: 'string',
    get count() {
      return values.length;
    },
    addNumbers: () => {
      throw notInOnePiece();
    },
    add: (document, index) => {
      const kind = document.kind(index);
      if (kind === 'string') values.push(encoder.encode(document.string(index)));
      else if (kind === 'object') values.push(decodeBase64Object(document, index));
      else throw typeError(document, index, 'string');
    },
    tensor: (shape) => {
      assertFilled(values.length, shape);
      return createTensor('string', shape, values);
    },
  };
}

/** Refuses its first value: a dtype without a JSON form. */
export function createUnsupportedSink(dtype: DType): ValueSink {
  return {
    dtype,
    count: 0,
    addNumbers: () => {
      throw notInOnePiece();
    },
    add: (document, index) => {
      const message = `Conversion of JSON Value: ${describeJson(document, index)} to type: ${dataTypeText(dtype)}`;
      throw document.kind(index) === 'object' ? typeError(document, index, dtype) : new NearfarError('unsupported', message);
    },
    tensor: (shape) => {
      throw new NearfarError('unsupported', `Conversion of JSON to type: ${dataTypeText(dtype)}, shape [${shape}]`);
    },
  };
}

function assertFilled(count: number, shape: readonly number[]): void {
  if (count === elementCount(shape)) return;
  throw new NearfarError('shape-mismatch', `JSON holds ${count} values for shape [${shape}]`, {
    details: { got: count, shape: [...shape] },
  });
}

/** Whether a value is `{"b64": "<text>"}` and nothing else: bytes in base64. */
export function isBase64Object(document: JsonDocument, index: number): boolean {
  if (document.kind(index) !== 'object' || document.size(index) !== 1) return false;
  const value = document.member(index, 'b64');
  return value !== undefined && document.kind(value) === 'string';
}

function decodeBase64Object(document: JsonDocument, index: number): Uint8Array {
  const value = isBase64Object(document, index) ? document.member(index, 'b64') : undefined;
  if (value === undefined) throw invalid(`JSON Value: ${describeJson(document, index)} not formatted correctly for base64 data`);
  const bytes = decodeBase64(document.string(value));
  if (!bytes) throw invalid('Unable to base64 decode');
  return bytes;
}

function typeError(document: JsonDocument, index: number, dtype: DType): NearfarError {
  const value = `JSON Value: ${describeJson(document, index)} Type: ${jsonTypeName(document, index)}`;
  return new NearfarError('dtype-mismatch', `${value} is not of expected type: ${dataTypeText(dtype)}`, { details: { dtype } });
}

function invalid(message: string): NearfarError {
  return new NearfarError('invalid-argument', message);
}

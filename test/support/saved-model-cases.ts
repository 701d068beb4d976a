import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type AnyTensor, createTensor, type DType, float16ToNumber, numberToFloat16 } from '../../src/core/index.ts';

// What TensorFlow answers for the models of test/fixtures/savedmodel, made by their make.py.

/** A tensor as cases.json writes it: strings in base64, int64 as text, complex numbers in pairs. */
export interface CaseTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: readonly (number | string | boolean)[];
}

export interface SavedModelCase {
  readonly dir: string;
  readonly file?: string;
  readonly signature: string;
  readonly inputs: Readonly<Record<string, CaseTensor>>;
  readonly outputs: Readonly<Record<string, CaseTensor>>;
}

export const savedModelFixtures = fileURLToPath(new URL('../fixtures/savedmodel', import.meta.url));

export function readSavedModelCases(): readonly SavedModelCase[] {
  return JSON.parse(readFileSync(`${savedModelFixtures}/cases.json`, 'utf8'));
}

export function tensorOfCase({ dtype, shape, data }: CaseTensor): AnyTensor {
  const numbers = () => data.map(Number);
  switch (dtype) {
    case 'string':
      return createTensor(
        'string',
        shape,
        data.map((text) => Uint8Array.from(Buffer.from(String(text), 'base64'))),
      );
    case 'bool':
      return createTensor('bool', shape, Uint8Array.from(numbers()));
    case 'int64':
      return createTensor(
        'int64',
        shape,
        BigInt64Array.from(data, (value) => BigInt(value)),
      );
    case 'uint64':
      return createTensor(
        'uint64',
        shape,
        BigUint64Array.from(data, (value) => BigInt(value)),
      );
    case 'float16':
      return createTensor('float16', shape, Uint16Array.from(numbers(), numberToFloat16));
    case 'bfloat16':
      return createTensor(
        'bfloat16',
        shape,
        new Uint16Array(new Uint32Array(Float32Array.from(numbers()).buffer).map((bits) => bits >>> 16)),
      );
    case 'float64':
    case 'complex128':
      return createTensor(dtype, shape, Float64Array.from(numbers()));
    case 'float32':
    case 'complex64':
      return createTensor(dtype, shape, Float32Array.from(numbers()));
    case 'int32':
      return createTensor('int32', shape, Int32Array.from(numbers()));
    case 'uint32':
      return createTensor('uint32', shape, Uint32Array.from(numbers()));
    case 'int16':
      return createTensor('int16', shape, Int16Array.from(numbers()));
    case 'uint16':
      return createTensor('uint16', shape, Uint16Array.from(numbers()));
    case 'int8':
      return createTensor('int8', shape, Int8Array.from(numbers()));
    case 'uint8':
      return createTensor('uint8', shape, Uint8Array.from(numbers()));
  }
}

/** The values, to compare: strings as base64, numbers as numbers, 64-bit ones as text. */
export function valuesOfTensor(tensor: AnyTensor): readonly (number | string)[] {
  switch (tensor.dtype) {
    case 'string':
      return tensor.data.map((bytes) => Buffer.from(bytes).toString('base64'));
    case 'float16':
      return Array.from(tensor.data, float16ToNumber);
    case 'bfloat16':
      return [...new Float32Array(Uint32Array.from(tensor.data, (bits) => bits << 16).buffer)];
    case 'int64':
    case 'uint64':
      return Array.from(tensor.data, String);
    default:
      return Array.from(tensor.data);
  }
}

import * as tf from '@tensorflow/tfjs-core';
import { type AnyTensor, createTensor, type DType, float16ToNumber, NearfarError, numberToFloat16 } from '../../core/index.ts';

type Values = Float32Array | Int32Array | Uint8Array;

/**
 * A tfjs tensor of the same values. TensorFlow.js has float32, int32, bool, string and complex64: whole numbers become int32
 * where they fit (exactly), float16, bfloat16 and float64 become float32 (float64 is rounded, as TensorFlow.js models expect it).
 * @returns A tensor that the caller disposes.
 * @throws {NearfarError} `unsupported` for complex128, and for whole numbers beyond int32.
 */
export function toTfjs(name: string, tensor: AnyTensor): tf.Tensor {
  const shape = [...tensor.shape];
  switch (tensor.dtype) {
    case 'float32':
      return tf.tensor(tensor.data, shape, 'float32');
    case 'int32':
      return tf.tensor(tensor.data, shape, 'int32');
    case 'bool':
      return tf.tensor(tensor.data, shape, 'bool');
    case 'string':
      return tf.tensor([...tensor.data], shape, 'string');
    case 'complex64':
      return complexTensor(tensor.data, shape);
    case 'float64':
      return tf.tensor(Float32Array.from(tensor.data), shape, 'float32');
    case 'float16':
      return tf.tensor(Float32Array.from(tensor.data, float16ToNumber), shape, 'float32');
    case 'bfloat16':
      return tf.tensor(new Float32Array(Uint32Array.from(tensor.data, (bits) => bits << 16).buffer), shape, 'float32');
    case 'uint8':
    case 'int8':
    case 'int16':
    case 'uint16':
      return tf.tensor(Int32Array.from(tensor.data), shape, 'int32');
    case 'uint32':
    case 'int64':
    case 'uint64':
      return tf.tensor(toInt32(name, tensor.dtype, tensor.data), shape, 'int32');
    default:
      throw unsupportedDType(`input "${name}"`, tensor.dtype);
  }
}

function complexTensor(data: Float32Array, shape: number[]): tf.Tensor {
  return tf.tidy(() => {
    const real = data.filter((_, index) => index % 2 === 0);
    const imaginary = data.filter((_, index) => index % 2 === 1);
    return tf.complex(tf.tensor(real, shape), tf.tensor(imaginary, shape));
  });
}

function toInt32(name: string, dtype: DType, data: Uint32Array | BigInt64Array | BigUint64Array): Int32Array {
  const out = new Int32Array(data.length);
  for (let index = 0; index < data.length; index++) {
    const value = Number(data[index]);
    if (value < -(2 ** 31) || value >= 2 ** 31) {
      throw new NearfarError(
        'unsupported',
        `input "${name}" of ${dtype} holds ${data[index]}; TensorFlow.js has whole numbers of int32 only`,
        {
          details: { name, dtype, index, value: String(data[index]) },
        },
      );
    }
    out[index] = value;
  }
  return out;
}

/** Values that a tensor gave: numbers as its backend holds them, strings as bytes. */
export type ReadValues = Values | readonly Uint8Array[];

/**
 * A tensor of the dtype that the signature declares, from what tfjs computed.
 * @throws {NearfarError} `dtype-mismatch` when the model computes another kind of value than declared.
 */
export function fromTfjs(name: string, dtype: DType, shape: readonly number[], values: ReadValues): AnyTensor {
  if (isStrings(values)) {
    if (dtype === 'string') return createTensor('string', shape, values);
    throw wrongKind(name, dtype, 'string');
  }
  if (values instanceof Float32Array && !holdsFractions.has(dtype)) throw wrongKind(name, dtype, 'float32');
  switch (dtype) {
    case 'float32':
      return createTensor('float32', shape, values instanceof Float32Array ? values : Float32Array.from(values));
    case 'float64':
      return createTensor('float64', shape, Float64Array.from(values));
    case 'int32':
      return createTensor('int32', shape, values instanceof Int32Array ? values : Int32Array.from(values));
    case 'int64':
      return createTensor('int64', shape, BigInt64Array.from(values, BigInt));
    case 'uint64':
      return createTensor('uint64', shape, BigUint64Array.from(values, BigInt));
    case 'uint32':
      return createTensor('uint32', shape, Uint32Array.from(values));
    case 'uint8':
      return createTensor('uint8', shape, Uint8Array.from(values));
    case 'int8':
      return createTensor('int8', shape, Int8Array.from(values));
    case 'int16':
      return createTensor('int16', shape, Int16Array.from(values));
    case 'uint16':
      return createTensor('uint16', shape, Uint16Array.from(values));
    case 'bool':
      return createTensor(
        'bool',
        shape,
        Uint8Array.from(values, (value) => (value === 0 ? 0 : 1)),
      );
    case 'complex64':
      return createTensor('complex64', shape, Float32Array.from(values));
    case 'float16':
      return createTensor('float16', shape, Uint16Array.from(values, numberToFloat16));
    case 'bfloat16':
      return createTensor('bfloat16', shape, toBfloat16(Float32Array.from(values)));
    default:
      throw unsupportedDType(`output "${name}"`, dtype);
  }
}

/** The upper half of a float32, rounded to even (Eigen's bfloat16). */
function toBfloat16(values: Float32Array<ArrayBuffer>): Uint16Array {
  return Uint16Array.from(new Uint32Array(values.buffer), (bits, index) => {
    return Number.isNaN(values[index]) ? (bits >>> 16) | 0x40 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  });
}

const holdsFractions: ReadonlySet<DType> = new Set(['float16', 'bfloat16', 'float32', 'float64', 'complex64', 'complex128']);

function isStrings(values: ReadValues): values is readonly Uint8Array[] {
  return Array.isArray(values);
}

function wrongKind(name: string, want: DType, got: string): NearfarError {
  return new NearfarError('dtype-mismatch', `output "${name}" is declared ${want}, the model gives ${got}`, {
    details: { name, want, got },
  });
}

function unsupportedDType(what: string, dtype: DType): NearfarError {
  return new NearfarError('unsupported', `${what}: TensorFlow.js has no ${dtype}`, { details: { dtype } });
}

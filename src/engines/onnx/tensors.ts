import type { Tensor as OrtTensor } from 'onnxruntime-common';
import { type AnyTensor, createTensor, type DType, NearfarError } from '../../core/index.ts';
import type { OrtModule } from '../platform.ts';

/**
 * An ONNX Runtime tensor of the same values; data is shared, but for strings and for memory shared between threads, which
 * ONNX Runtime refuses.
 * @throws {NearfarError} `unsupported` for bfloat16 and complex numbers, `invalid-argument` for strings that are not UTF-8.
 */
export function toOrt({ Tensor }: OrtModule, name: string, tensor: AnyTensor): OrtTensor {
  const dims = [...tensor.shape];
  switch (tensor.dtype) {
    case 'string':
      return new Tensor('string', decodeStrings(name, tensor.data), dims);
    case 'bool':
      return new Tensor('bool', unshared(tensor.data), dims);
    case 'uint8':
      return new Tensor('uint8', unshared(tensor.data), dims);
    case 'int8':
      return new Tensor('int8', unshared(tensor.data), dims);
    case 'uint16':
      return new Tensor('uint16', unshared(tensor.data), dims);
    case 'int16':
      return new Tensor('int16', unshared(tensor.data), dims);
    case 'uint32':
      return new Tensor('uint32', unshared(tensor.data), dims);
    case 'int32':
      return new Tensor('int32', unshared(tensor.data), dims);
    case 'uint64':
      return new Tensor('uint64', unshared(tensor.data), dims);
    case 'int64':
      return new Tensor('int64', unshared(tensor.data), dims);
    case 'float16':
      return new Tensor('float16', unshared(tensor.data), dims);
    case 'float32':
      return new Tensor('float32', unshared(tensor.data), dims);
    case 'float64':
      return new Tensor('float64', unshared(tensor.data), dims);
    default:
      throw new NearfarError('unsupported', `input "${name}": ONNX Runtime for JavaScript has no ${tensor.dtype}`, {
        details: { name, dtype: tensor.dtype },
      });
  }
}

function unshared<T extends { readonly buffer: ArrayBufferLike; slice(): T }>(data: T): T {
  return data.buffer instanceof ArrayBuffer ? data : data.slice();
}

function decodeStrings(name: string, strings: readonly Uint8Array[]): string[] {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  try {
    return strings.map((bytes) => decoder.decode(bytes));
  } catch (cause) {
    throw new NearfarError('invalid-argument', `input "${name}" holds a string that is not UTF-8, which ONNX Runtime needs`, {
      cause,
      details: { name },
    });
  }
}

/**
 * A tensor that belongs to the caller, from an output in CPU memory.
 * @throws {NearfarError} `dtype-mismatch` when the model gives another dtype than declared.
 */
export function fromOrt(name: string, declared: DType, output: OrtTensor): AnyTensor {
  if (output.type !== declared) {
    throw new NearfarError('dtype-mismatch', `output "${name}" is declared ${declared}, the model gives ${output.type}`, {
      details: { name, want: declared, got: output.type },
    });
  }
  const { data, dims } = output;
  if (Array.isArray(data)) return createTensor('string', dims, data.map(encodeString));
  switch (declared) {
    case 'float16':
      return createTensor('float16', dims, owned(new Uint16Array(data.buffer, data.byteOffset, data.length)));
    case 'float32':
      if (data instanceof Float32Array) return createTensor(declared, dims, owned(data));
      break;
    case 'float64':
      if (data instanceof Float64Array) return createTensor(declared, dims, owned(data));
      break;
    case 'int64':
      if (data instanceof BigInt64Array) return createTensor(declared, dims, owned(data));
      break;
    case 'uint64':
      if (data instanceof BigUint64Array) return createTensor(declared, dims, owned(data));
      break;
    case 'int32':
      if (data instanceof Int32Array) return createTensor(declared, dims, owned(data));
      break;
    case 'uint32':
      if (data instanceof Uint32Array) return createTensor(declared, dims, owned(data));
      break;
    case 'int16':
      if (data instanceof Int16Array) return createTensor(declared, dims, owned(data));
      break;
    case 'uint16':
      if (data instanceof Uint16Array) return createTensor(declared, dims, owned(data));
      break;
    case 'int8':
      if (data instanceof Int8Array) return createTensor(declared, dims, owned(data));
      break;
    case 'uint8':
    case 'bool':
      if (data instanceof Uint8Array) return createTensor(declared, dims, owned(data));
      break;
    default:
      break;
  }
  throw new NearfarError('internal', `output "${name}": ONNX Runtime holds ${declared} in an unexpected array`);
}

// An array over a part of a buffer or over shared memory is a view into wasm memory: it changes with the next run.
function owned<T extends { readonly buffer: ArrayBufferLike; readonly byteLength: number; slice(): T }>(data: T): T {
  const isWhole = data.buffer instanceof ArrayBuffer && data.byteLength === data.buffer.byteLength;
  return isWhole ? data : data.slice();
}

const encoder = new TextEncoder();

function encodeString(text: string): Uint8Array {
  return encoder.encode(text);
}

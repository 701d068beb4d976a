import { NearfarError } from '../../errors.ts';
import { type AnyTensor, float16ToNumber } from '../../tensor/index.ts';
import type { Constant } from '../graph/index.ts';
import type { EmittedFile } from '../model-folder.ts';
import { narrowDType, type TfjsDType } from './data-types.ts';
import { assertShape, type PlannedConstant } from './plan.ts';
import { encodeStored, type Storage, storedByteLength } from './quantization.ts';

/** A constant with the form in which its bytes lie in the weight file. */
export interface PlannedWeight extends PlannedConstant {
  readonly dtype: TfjsDType;
  readonly storage: Storage;
  readonly byteLength: number;
}

export async function planWeight(planned: PlannedConstant, storage: Storage): Promise<PlannedWeight> {
  const { constant } = planned;
  const dtype = narrowDType(constant.dtype);
  assertShape(planned);
  const byteLength = dtype === 'string' ? stringsByteLength(await constant.load()) : storedByteLength(storage, dtype, constant.shape);
  return { ...planned, dtype, storage, byteLength };
}

function stringsByteLength(tensor: AnyTensor): number {
  return tensor.dtype === 'string' ? tensor.data.reduce((sum, { byteLength }) => sum + 4 + byteLength, 0) : 0;
}

/** One file of all weights, one after another, each read when its turn comes. */
export function weightFile(weights: readonly PlannedWeight[]): EmittedFile {
  let position = 0;
  const tensors = weights.map(({ byteLength }) => {
    const start = position;
    position += byteLength;
    return { start, end: position };
  });
  return {
    byteLength: position,
    tensors,
    async *read() {
      for (const weight of weights) {
        const bytes = encodeWeight(weight, await weight.constant.load());
        if (bytes.byteLength !== weight.byteLength) throw changed(weight, bytes.byteLength);
        yield bytes;
      }
    },
  };
}

function changed({ name, byteLength }: PlannedWeight, got: number): NearfarError {
  return new NearfarError('invalid-argument', `constant ${name} is ${got} bytes, its shape says ${byteLength}`, {
    details: { name, want: byteLength, got },
  });
}

function encodeWeight({ name, storage }: PlannedWeight, tensor: AnyTensor): Uint8Array<ArrayBuffer> {
  if (tensor.dtype === 'string') return encodeStrings(tensor.data);
  const values = narrowTensor(name, tensor);
  return storage.kind === 'plain' || !(values instanceof Float32Array) ? bytesOf(values) : encodeStored(storage, tensor.shape, values);
}

/** Length as 32 bits before each, as tfjs-core's io_utils reads them. */
function encodeStrings(strings: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(strings.reduce((sum, { byteLength }) => sum + 4 + byteLength, 0));
  const view = new DataView(bytes.buffer);
  let position = 0;
  for (const text of strings) {
    view.setUint32(position, text.byteLength, true);
    bytes.set(text, position + 4);
    position += 4 + text.byteLength;
  }
  return bytes;
}

/** Values of a constant that is stored as float32, in that type. */
export async function loadFloats(constant: Constant): Promise<Float32Array> {
  const values = narrowTensor('', await constant.load());
  if (values instanceof Float32Array) return values;
  throw new NearfarError('internal', `a constant of ${constant.dtype} has no float32 form`);
}

type Narrowed = Float32Array | Int32Array | Uint8Array;

const LARGEST_FLOAT32 = (2 - 2 ** -23) * 2 ** 127;

/** The values in the type that TensorFlow.js has for them. Beyond it, numbers stop at its ends: slices of "up to the end" say so. */
function narrowTensor(name: string, tensor: AnyTensor): Narrowed {
  switch (tensor.dtype) {
    case 'float32':
    case 'complex64':
    case 'int32':
    case 'bool':
      return tensor.data;
    case 'float64':
    case 'complex128':
      return Float32Array.from(tensor.data, (value) =>
        Number.isFinite(value) ? Math.min(Math.max(value, -LARGEST_FLOAT32), LARGEST_FLOAT32) : value,
      );
    case 'float16':
      return Float32Array.from(tensor.data, float16ToNumber);
    case 'bfloat16':
      return new Float32Array(Uint32Array.from(tensor.data, (bits) => bits << 16).buffer);
    case 'int8':
    case 'uint8':
    case 'int16':
    case 'uint16':
      return Int32Array.from(tensor.data);
    case 'uint32':
    case 'int64':
    case 'uint64': {
      const out = new Int32Array(tensor.data.length);
      for (let index = 0; index < out.length; index++) out[index] = Math.min(Math.max(Number(tensor.data[index]), -(2 ** 31)), 2 ** 31 - 1);
      return out;
    }
    case 'string':
      throw new NearfarError('internal', `the strings of constant ${name} are no numbers`);
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Narrowed): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  return isPlainBuffer(bytes) ? bytes : new Uint8Array(bytes);
}

function isPlainBuffer(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer;
}

import { bytesPerElement, dataFromBytes, elementCount, float16ToNumber, numberToFloat16 } from '../../tensor/index.ts';
import { eachChannel, fitChannels, quantize } from '../affine-fit.ts';
import type { TfjsDType } from './data-types.ts';

/**
 * How the values of one weight are stored.
 * - `affine`: TensorFlow.js's own, `value = stored * scale + min` with one scale for the whole tensor.
 * - `per-channel`: the same with a scale and a minimum for each index of one axis, for which TensorFlow.js has no form: the scales as
 *   float32, then the minima, then a byte for each value. `decodeTfjsWeights` turns it into float32 before TensorFlow.js sees it; one
 *   that meets it unprepared stops with "unknown quantization dtype" instead of giving wrong answers.
 */
export type Storage =
  | { readonly kind: 'plain' }
  | { readonly kind: 'float16' }
  | { readonly kind: 'affine'; readonly dtype: 'uint8' | 'uint16'; readonly scale: number; readonly min: number }
  | { readonly kind: 'per-channel'; readonly axis: number };

/** Name of the per-channel form in a weights manifest. */
export const PER_CHANNEL = 'uint8-per-channel';

/** Scale and minimum of each channel. */
const BYTES_PER_CHANNEL = 8;

/** Length of a weight in the weight file. */
export function storedByteLength(storage: Storage, dtype: Exclude<TfjsDType, 'string'>, shape: readonly number[]): number {
  const elements = elementCount(shape);
  switch (storage.kind) {
    case 'plain':
      return elements * bytesPerElement(dtype);
    case 'float16':
      return elements * 2;
    case 'affine':
      return elements * bytesPerElement(storage.dtype);
    case 'per-channel':
      return elements + shape[storage.axis]! * BYTES_PER_CHANNEL;
  }
}

export function encodeStored(storage: Storage, shape: readonly number[], values: Float32Array): Uint8Array<ArrayBuffer> {
  switch (storage.kind) {
    case 'plain':
      return new Uint8Array(Float32Array.from(values).buffer);
    case 'float16':
      return new Uint8Array(mapInto(new Uint16Array(values.length), values, numberToFloat16).buffer);
    case 'affine': {
      const stored = storage.dtype === 'uint8' ? new Uint8Array(values.length) : new Uint16Array(values.length);
      const top = storage.dtype === 'uint8' ? 255 : 65535;
      for (let index = 0; index < values.length; index++) stored[index] = quantize(values[index]!, storage.scale, storage.min, top);
      return new Uint8Array(stored.buffer);
    }
    case 'per-channel':
      return encodePerChannel(storage.axis, shape, values);
  }
}

/** The numbers of a stored weight, as tfjs-core's io_utils gives them. */
export function decodeStored(
  storage: Storage,
  dtype: 'float32' | 'int32',
  shape: readonly number[],
  bytes: Uint8Array,
): Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> {
  switch (storage.kind) {
    case 'plain': {
      const copy = new Uint8Array(bytes).buffer;
      return dtype === 'float32' ? new Float32Array(copy) : new Int32Array(copy);
    }
    case 'float16':
      return mapInto(new Float32Array(bytes.byteLength / 2), dataFromBytes('uint16', bytes), float16ToNumber);
    case 'affine': {
      const { scale, min } = storage;
      const stored = dataFromBytes(storage.dtype, bytes);
      if (dtype === 'int32') return mapInto(new Int32Array(stored.length), stored, (value) => Math.round(value * scale + min));
      return mapInto(new Float32Array(stored.length), stored, (value) => value * scale + min);
    }
    case 'per-channel':
      return decodePerChannel(storage.axis, shape, bytes);
  }
}

/** Not `TypedArray.from` with a function: that makes a list of all values on the heap first. */
function mapInto<T extends { [index: number]: number }>(target: T, values: ArrayLike<number>, convert: (value: number) => number): T {
  for (let index = 0; index < values.length; index++) target[index] = convert(values[index]!);
  return target;
}

function encodePerChannel(axis: number, shape: readonly number[], values: Float32Array): Uint8Array<ArrayBuffer> {
  const channels = shape[axis]!;
  const { scales, mins } = fitChannels(axis, shape, values);
  const bytes = new Uint8Array(channels * BYTES_PER_CHANNEL + values.length);
  const heads = new Float32Array(bytes.buffer, 0, channels * 2);
  heads.set(scales);
  heads.set(mins, channels);
  const stored = bytes.subarray(channels * BYTES_PER_CHANNEL);
  eachChannel(axis, shape, (index, channel) => {
    stored[index] = quantize(values[index]!, scales[channel]!, mins[channel]!, 255);
  });
  return bytes;
}

function decodePerChannel(axis: number, shape: readonly number[], bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const channels = shape[axis]!;
  const scales = dataFromBytes('float32', bytes.subarray(0, channels * 4));
  const minima = dataFromBytes('float32', bytes.subarray(channels * 4, channels * BYTES_PER_CHANNEL));
  const stored = bytes.subarray(channels * BYTES_PER_CHANNEL);
  const values = new Float32Array(stored.length);
  eachChannel(axis, shape, (index, channel) => {
    values[index] = stored[index]! * scales[channel]! + minima[channel]!;
  });
  return values;
}

import { bytesPerElement, dataFromBytes, elementCount, float16ToNumber, numberToFloat16 } from '../../tensor/index.ts';
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
    case 'float16': {
      // Uint16Array.from with a function would put every element on the heap.
      const stored = new Uint16Array(values.length);
      for (let index = 0; index < values.length; index++) stored[index] = numberToFloat16(values[index]!);
      return new Uint8Array(stored.buffer);
    }
    case 'affine': {
      const stored = storage.dtype === 'uint8' ? new Uint8Array(values.length) : new Uint16Array(values.length);
      const top = storage.dtype === 'uint8' ? 255 : 65535;
      for (let index = 0; index < values.length; index++) stored[index] = quantize(values[index]!, storage, top);
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
      return Float32Array.from(dataFromBytes('uint16', bytes), float16ToNumber);
    case 'affine': {
      const { scale, min } = storage;
      const stored = dataFromBytes(storage.dtype, bytes);
      if (dtype === 'int32') return Int32Array.from(stored, (value) => Math.round(value * scale + min));
      return Float32Array.from(stored, (value) => value * scale + min);
    }
    case 'per-channel':
      return decodePerChannel(storage.axis, shape, bytes);
  }
}

interface Affine {
  readonly scale: number;
  readonly min: number;
}

/** Scale and minimum that hold the values of a range in whole numbers from 0 to `top`, 0 exactly: padding and pruned weights stay 0. */
export function fitAffine(low: number, high: number, top: number): Affine {
  if (low === high) return { scale: 1, min: low };
  const scale = (high - low) / top;
  return low < 0 && high > 0 ? { scale, min: -Math.round(-low / scale) * scale } : { scale, min: low };
}

function quantize(value: number, { scale, min }: Affine, top: number): number {
  return Math.min(Math.max(Math.round((value - min) / scale), 0), top);
}

/** Calls with each element's channel, in order of the elements. */
function eachChannel(axis: number, shape: readonly number[], visit: (index: number, channel: number) => void): void {
  const channels = shape[axis]!;
  const inner = elementCount(shape.slice(axis + 1));
  const outer = elementCount(shape.slice(0, axis));
  let index = 0;
  for (let o = 0; o < outer; o++) {
    for (let channel = 0; channel < channels; channel++) {
      for (let i = 0; i < inner; i++) visit(index++, channel);
    }
  }
}

function encodePerChannel(axis: number, shape: readonly number[], values: Float32Array): Uint8Array<ArrayBuffer> {
  const channels = shape[axis]!;
  const fits = fitChannels(axis, shape, values);
  const bytes = new Uint8Array(channels * BYTES_PER_CHANNEL + values.length);
  new Float32Array(bytes.buffer, 0, channels * 2).set([...fits.map(({ scale }) => scale), ...fits.map(({ min }) => min)]);
  const stored = bytes.subarray(channels * BYTES_PER_CHANNEL);
  eachChannel(axis, shape, (index, channel) => {
    stored[index] = quantize(values[index]!, fits[channel]!, 255);
  });
  return bytes;
}

/**
 * For each channel the better of two: its range from end to end, or the same distance to both sides of 0. The second gives back the
 * exact values of a model that was quantised to int8 before.
 */
function fitChannels(axis: number, shape: readonly number[], values: Float32Array): Affine[] {
  const ranges = Array.from({ length: shape[axis]! }, () => ({ low: Number.POSITIVE_INFINITY, high: Number.NEGATIVE_INFINITY }));
  eachChannel(axis, shape, (index, channel) => {
    const range = ranges[channel]!;
    range.low = Math.min(range.low, values[index]!);
    range.high = Math.max(range.high, values[index]!);
  });
  const candidates = ranges.map(({ low, high }) => {
    const scale = Math.max(-low, high) / 127;
    return [fitAffine(low, high, 255), { scale, min: -128 * scale }].map(toFloat32);
  });
  const errors = candidates.map((fits) => fits.map(() => 0));
  eachChannel(axis, shape, (index, channel) => {
    for (const [candidate, fit] of candidates[channel]!.entries()) {
      const difference = quantize(values[index]!, fit, 255) * fit.scale + fit.min - values[index]!;
      errors[channel]![candidate]! += difference * difference;
    }
  });
  return candidates.map(([whole, symmetric], channel) => (errors[channel]![1]! < errors[channel]![0]! ? symmetric! : whole!));
}

/** As they are stored; a scale that float32 rounds to 0 would divide by it. */
function toFloat32({ scale, min }: Affine): Affine {
  return { scale: Math.fround(Math.max(scale, 2 ** -126)), min: Math.fround(min) };
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

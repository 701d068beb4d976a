import { elementCount } from '../tensor/index.ts';

// Weights in whole numbers of 8 or 16 bits: how each format finds the scale and the minimum.

/** `value = stored * scale + min` */
export interface Affine {
  readonly scale: number;
  readonly min: number;
}

/** Scale and minimum that hold the values of a range in whole numbers from 0 to `top`, 0 exactly: padding and pruned weights stay 0. */
export function fitAffine(low: number, high: number, top: number): Affine {
  if (low === high) return { scale: 1, min: low };
  const scale = (high - low) / top;
  return low < 0 && high > 0 ? { scale, min: -Math.round(-low / scale) * scale } : { scale, min: low };
}

/** The whole number from 0 to `top` that stands for a value. */
export function quantize(value: number, scale: number, min: number, top: number): number {
  return Math.min(Math.max(Math.round((value - min) / scale), 0), top);
}

/** Calls with each element's channel, in order of the elements. */
export function eachChannel(axis: number, shape: readonly number[], visit: (index: number, channel: number) => void): void {
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

/** Scale and minimum of each channel, as they are stored: an embedding has a channel per row, and an object for each would fill the heap. */
export interface ChannelFits {
  readonly scales: Float32Array<ArrayBuffer>;
  readonly mins: Float32Array<ArrayBuffer>;
}

/**
 * For each channel the better of two: its range from end to end, or the same distance to both sides of 0. The second gives back the
 * exact values of a model that was quantised to int8 before.
 */
export function fitChannels(axis: number, shape: readonly number[], values: ArrayLike<number>): ChannelFits {
  const channels = shape[axis]!;
  const low = new Float64Array(channels).fill(Number.POSITIVE_INFINITY);
  const high = new Float64Array(channels).fill(Number.NEGATIVE_INFINITY);
  eachChannel(axis, shape, (index, channel) => {
    const value = values[index]!;
    if (value < low[channel]!) low[channel] = value;
    if (value > high[channel]!) high[channel] = value;
  });
  const [whole, symmetric] = [emptyFits(channels), emptyFits(channels)];
  for (let channel = 0; channel < channels; channel++) fitChannel(channel, low[channel]!, high[channel]!, whole, symmetric);
  const errors = { whole: new Float64Array(channels), symmetric: new Float64Array(channels) };
  const errorOf = ({ scales, mins }: ChannelFits, value: number, channel: number) => {
    const scale = scales[channel]!;
    const min = mins[channel]!;
    return (quantize(value, scale, min, 255) * scale + min - value) ** 2;
  };
  eachChannel(axis, shape, (index, channel) => {
    const value = values[index]!;
    errors.whole[channel]! += errorOf(whole, value, channel);
    errors.symmetric[channel]! += errorOf(symmetric, value, channel);
  });
  for (let channel = 0; channel < channels; channel++) {
    if (!(errors.symmetric[channel]! < errors.whole[channel]!)) continue;
    whole.scales[channel] = symmetric.scales[channel]!;
    whole.mins[channel] = symmetric.mins[channel]!;
  }
  return whole;
}

function emptyFits(channels: number): ChannelFits {
  return { scales: new Float32Array(channels), mins: new Float32Array(channels) };
}

function fitChannel(channel: number, low: number, high: number, whole: ChannelFits, symmetric: ChannelFits): void {
  // A channel without values, or with infinite ones, which no scale holds.
  const hasRange = Number.isFinite(high - low);
  const fit = hasRange ? fitAffine(low, high, 255) : { scale: 0, min: Number.isFinite(low) ? low : 0 };
  const even = hasRange ? Math.max(-low, high) / 127 : fit.scale;
  // A scale that float32 rounds to 0 would divide by it.
  whole.scales[channel] = Math.max(fit.scale, 2 ** -126);
  whole.mins[channel] = fit.min;
  symmetric.scales[channel] = Math.max(even, 2 ** -126);
  symmetric.mins[channel] = hasRange ? -128 * even : fit.min;
}

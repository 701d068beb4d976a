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
export function quantize(value: number, { scale, min }: Affine, top: number): number {
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

/**
 * For each channel the better of two: its range from end to end, or the same distance to both sides of 0. The second gives back the
 * exact values of a model that was quantised to int8 before.
 */
export function fitChannels(axis: number, shape: readonly number[], values: ArrayLike<number>): Affine[] {
  const ranges = Array.from({ length: shape[axis]! }, () => ({ low: Number.POSITIVE_INFINITY, high: Number.NEGATIVE_INFINITY }));
  eachChannel(axis, shape, (index, channel) => {
    const range = ranges[channel]!;
    range.low = Math.min(range.low, values[index]!);
    range.high = Math.max(range.high, values[index]!);
  });
  const candidates = ranges.map(({ low, high }) => {
    // A channel without values, or with infinite ones, which no scale holds.
    if (!Number.isFinite(high - low)) return [{ scale: 0, min: Number.isFinite(low) ? low : 0 }].map(toFloat32);
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
  return candidates.map(([whole, symmetric], channel) => (symmetric && errors[channel]![1]! < errors[channel]![0]! ? symmetric : whole!));
}

/** As they are stored; a scale that float32 rounds to 0 would divide by it. */
function toFloat32({ scale, min }: Affine): Affine {
  return { scale: Math.fround(Math.max(scale, 2 ** -126)), min: Math.fround(min) };
}

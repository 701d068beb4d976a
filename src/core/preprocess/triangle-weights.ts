/** Fraction bits of a weight: Pillow's 32 − 8 − 2, so that 8-bit pixels times weights that sum to 1 stay below 2^31. */
export const weightBits = 22;

/** Fixed-point weights of the source pixels that make up each output pixel along one axis. */
export interface TriangleWeights {
  /** Index of the first source pixel, per output pixel. */
  readonly starts: Int32Array;
  /** Number of source pixels, per output pixel. */
  readonly counts: Int32Array;
  /** Room for weights per output pixel; those of output `i` begin at `i * stride`. */
  readonly stride: number;
  /** Weights times 2^22, rounded to the nearest integer. */
  readonly weights: Int32Array;
}

/**
 * Weights of an antialiased triangle filter: half-pixel centres, a support of one source pixel, widened by the scale when
 * shrinking, cut at the borders and normalised to a sum of 1.
 * @param from Size of the source along the axis, in pixels.
 * @param to Size of the whole output along the axis, in pixels.
 * @param first First output pixel that is wanted.
 * @param count How many output pixels are wanted.
 * @remarks Follows `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow's `Resample.c` operation by operation, in
 * IEEE doubles, so the integers are the same on every machine.
 */
export function triangleWeights(from: number, to: number, first: number, count: number): TriangleWeights {
  const scale = from / to;
  const support = Math.max(scale, 1);
  const stride = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(count);
  const counts = new Int32Array(count);
  const weights = new Int32Array(count * stride);
  const row = new Float64Array(stride);
  for (let index = 0; index < count; index++) {
    const centre = (first + index + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const taps = Math.min(Math.trunc(centre + support + 0.5), from) - start;
    const sum = fillTriangle(row, taps, start, centre, 1 / support);
    for (let tap = 0; tap < taps; tap++) weights[index * stride + tap] = 0.5 + (row[tap]! / sum) * 2 ** weightBits;
    starts[index] = start;
    counts[index] = taps;
  }
  return { starts, counts, stride, weights };
}

/** Writes the unnormalised weights of `taps` pixels from `start` on and returns their sum. */
function fillTriangle(row: Float64Array, taps: number, start: number, centre: number, inverseSupport: number): number {
  let sum = 0;
  for (let tap = 0; tap < taps; tap++) {
    const weight = Math.max(1 - Math.abs((tap + start - centre + 0.5) * inverseSupport), 0);
    row[tap] = weight;
    sum += weight;
  }
  return sum;
}

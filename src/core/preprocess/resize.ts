import type { Region, Size } from './geometry.ts';
import type { Pixels, RgbImage } from './pixels.ts';
import { type TriangleWeights, triangleWeights, weightBits } from './triangle-weights.ts';

/**
 * Resizes a picture with an antialiased triangle filter: equal to the last bit to Pillow's
 * `Image.resize(size, Resampling.BILINEAR)` of the RGB picture.
 * @param pixels Any size from 1x1 on; a fourth channel is left out, see `compositeOnWhite`.
 * @param size Size of the whole resized picture; the aspect ratio is free.
 * @param region The part of it that is wanted, by default all: each output pixel depends on the source alone, so a part
 * has the same bytes as that part of the whole, for less work.
 * @returns `region.height` rows of `region.width` pixels.
 * @remarks Two passes, horizontal first, each in 22-bit fixed point and rounded to 8 bits, as Pillow's `Resample.c`. Newer
 * Pillow takes the vertical pass first where the height shrinks far more than the width (from 12.2 on for pictures over
 * 100 times as high as wide, from 13.0 on for more), which moves single bytes; we stay with the order of all before.
 */
export function resizeBilinear(pixels: Pixels, size: Size, region: Region = { left: 0, top: 0, ...size }): RgbImage {
  if (size.width === pixels.width && size.height === pixels.height) return cropRgb(pixels, region);
  const columns = triangleWeights(pixels.width, size.width, region.left, region.width);
  const rows = triangleWeights(pixels.height, size.height, region.top, region.height);
  const firstRow = rows.starts[0]!;
  const rowCount = rows.starts.at(-1)! + rows.counts.at(-1)! - firstRow;
  const narrowed = resizeRows(pixels, columns, firstRow, rowCount);
  return { width: region.width, height: region.height, data: resizeColumns(narrowed, columns.starts.length * 3, rows, firstRow) };
}

/** At its own size each pixel's one weight is 1: the passes would copy, ten times as slowly. */
function cropRgb({ width: sourceWidth, channels, data }: Pixels, { left, top, width, height }: Region): RgbImage {
  const out = new Uint8Array(width * height * 3);
  for (let row = 0, to = 0; row < height; row++) {
    let from = ((top + row) * sourceWidth + left) * channels;
    for (const end = to + width * 3; to < end; from += channels, to += 3) {
      out[to] = data[from]!;
      out[to + 1] = data[from + 1]!;
      out[to + 2] = data[from + 2]!;
    }
  }
  return { width, height, data: out };
}

const half = 1 << (weightBits - 1);

/** Horizontal pass over the source rows that the vertical pass will read. */
function resizeRows(pixels: Pixels, { starts, counts, stride, weights }: TriangleWeights, firstRow: number, rowCount: number): Uint8Array {
  const { width, channels, data } = pixels;
  // One view type for both kinds of array keeps the inner loop monomorphic.
  const source = new Uint8Array(data.buffer, data.byteOffset, data.length);
  // Rounding up each weight can carry a sum of full white one past 255.
  const out = new Uint8ClampedArray(rowCount * starts.length * 3);
  for (let row = 0, to = 0; row < rowCount; row++) {
    const rowStart = (firstRow + row) * width * channels;
    for (let column = 0; column < starts.length; column++, to += 3) {
      const first = column * stride;
      const end = first + counts[column]!;
      let red = half;
      let green = half;
      let blue = half;
      // Math.imul and `| 0` keep the sums in int32: plain numbers give the same values, 15 % slower (12 megapixels, V8).
      for (let tap = first, from = rowStart + starts[column]! * channels; tap < end; tap++, from += channels) {
        const weight = weights[tap]!;
        red = (red + Math.imul(weight, source[from]!)) | 0;
        green = (green + Math.imul(weight, source[from + 1]!)) | 0;
        blue = (blue + Math.imul(weight, source[from + 2]!)) | 0;
      }
      out[to] = red >> weightBits;
      out[to + 1] = green >> weightBits;
      out[to + 2] = blue >> weightBits;
    }
  }
  return new Uint8Array(out.buffer);
}

/** Vertical pass; `source` begins with the source row `firstRow`. */
function resizeColumns(
  source: Uint8Array,
  rowBytes: number,
  { starts, counts, stride, weights }: TriangleWeights,
  firstRow: number,
): Uint8Array<ArrayBuffer> {
  const out = new Uint8ClampedArray(starts.length * rowBytes);
  for (let row = 0, to = 0; row < starts.length; row++) {
    const first = row * stride;
    const end = first + counts[row]!;
    const rowStart = (starts[row]! - firstRow) * rowBytes;
    for (let byte = 0; byte < rowBytes; byte++, to++) {
      let sum = half;
      for (let tap = first, from = rowStart + byte; tap < end; tap++, from += rowBytes) {
        sum = (sum + Math.imul(weights[tap]!, source[from]!)) | 0;
      }
      out[to] = sum >> weightBits;
    }
  }
  return new Uint8Array(out.buffer);
}

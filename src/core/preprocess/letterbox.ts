import type { Region, Size } from './geometry.ts';
import type { RgbImage } from './pixels.ts';

export type Align = 'centre' | 'top-left';

/**
 * Where a picture lies in a frame that it fits into with its aspect ratio kept: sides times the smaller quotient, rounded to the nearest
 * integer and at least 1; in the centre the left and the top margin are the smaller ones.
 */
export function letterbox(picture: Size, frame: Size, align: Align): Region {
  const scale = Math.min(frame.width / picture.width, frame.height / picture.height);
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  if (align === 'top-left') return { left: 0, top: 0, width, height };
  return { left: Math.floor((frame.width - width) / 2), top: Math.floor((frame.height - height) / 2), width, height };
}

/** A frame of one grey with a picture in it. */
export function placeInFrame({ width, height, data }: RgbImage, frame: Size, { left, top }: Region, fill: number): RgbImage {
  if (width === frame.width && height === frame.height) return { width, height, data };
  const out = new Uint8Array(frame.width * frame.height * 3).fill(fill);
  for (let row = 0; row < height; row++) {
    out.set(data.subarray(row * width * 3, (row + 1) * width * 3), ((top + row) * frame.width + left) * 3);
  }
  return { width: frame.width, height: frame.height, data: out };
}

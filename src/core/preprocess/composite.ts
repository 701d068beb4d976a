import type { Pixels } from './pixels.ts';

/**
 * Lays straight alpha on white: each channel becomes `c·a/255 + 255·(255−a)/255`, rounded to the nearest integer (a tie
 * cannot occur, 255 is odd), in the encoded values as browsers do it.
 * @returns RGB pixels; the very same object when every pixel is opaque, since it then changes no colour and a copy of a
 * large photo costs more than the check.
 */
export function compositeOnWhite(pixels: Pixels): Pixels {
  if (pixels.channels === 3 || isOpaque(pixels.data)) return pixels;
  const { width, height, data } = pixels;
  const out = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < out.length; from += 4, to += 3) {
    const alpha = data[from + 3]!;
    const white = 255 * (255 - alpha) + 127; // + 127 turns the floor of the division into rounding
    out[to] = (data[from]! * alpha + white) / 255;
    out[to + 1] = (data[from + 1]! * alpha + white) / 255;
    out[to + 2] = (data[from + 2]! * alpha + white) / 255;
  }
  return { width, height, channels: 3, data: out };
}

function isOpaque(rgba: Pixels['data']): boolean {
  for (let index = 3; index < rgba.length; index += 4) {
    if (rgba[index] !== 255) return false;
  }
  return true;
}

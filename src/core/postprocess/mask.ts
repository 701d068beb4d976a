/** A class per pixel, row by row from the top left. */
export interface ClassMask {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array | Uint16Array;
}

/** Where a part of a mask lies in it. */
export interface MaskRegion {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * The class with the highest score of each pixel, the lower index of equal ones.
 * @param classes How many classes; `pixelStep` and `classStep` say where the next pixel and the next class of one pixel stand.
 */
export function argMax(
  scores: Float32Array,
  pixels: number,
  classes: number,
  pixelStep: number,
  classStep: number,
): Uint8Array | Uint16Array {
  const out = classes > 256 ? new Uint16Array(pixels) : new Uint8Array(pixels);
  for (let pixel = 0, from = 0; pixel < pixels; pixel++, from += pixelStep) {
    let best = 0;
    let highest = scores[from]!;
    for (let index = 1; index < classes; index++) {
      const score = scores[from + index * classStep]!;
      if (score <= highest) continue;
      best = index;
      highest = score;
    }
    out[pixel] = best;
  }
  return out;
}

/**
 * A part of a mask at another size, each pixel that of the nearest centre: `tf.image.resize(method='nearest')`, in float32 as its kernel.
 */
export function resizeNearest(
  { width, data }: ClassMask,
  region: MaskRegion,
  to: { readonly width: number; readonly height: number },
): ClassMask {
  const columns = nearest(region.width, to.width, region.left);
  const rows = nearest(region.height, to.height, region.top);
  const out = data instanceof Uint16Array ? new Uint16Array(to.width * to.height) : new Uint8Array(to.width * to.height);
  for (let row = 0, at = 0; row < to.height; row++) {
    const from = rows[row]! * width;
    for (let column = 0; column < to.width; column++, at++) out[at] = data[from + columns[column]!]!;
  }
  return { width: to.width, height: to.height, data: out };
}

function nearest(from: number, to: number, offset: number): Int32Array {
  const scale = Math.fround(from / to);
  return Int32Array.from({ length: to }, (_, index) => offset + Math.min(Math.floor(Math.fround((index + 0.5) * scale)), from - 1));
}

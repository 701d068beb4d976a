import { NearfarError } from '../errors.ts';

/** Decoded pixels, row by row from the top left, interleaved: 4 channels are RGBA (straight alpha), 3 are RGB; values 0–255. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
  readonly data: Uint8Array<ArrayBuffer> | Uint8ClampedArray<ArrayBuffer>;
}

/** RGB pixels, shape `[height, width, 3]`, uint8: what crosses to a worker or to the server after resize and crop. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

/**
 * Checks that a picture has pixels and as many bytes as its sides say.
 * @throws {NearfarError} `invalid-argument` for a side that is no whole number ≥ 1; `shape-mismatch` for another number of bytes.
 */
export function assertPixels({ width, height, channels, data }: Pixels): void {
  if (!isSide(width) || !isSide(height)) {
    throw new NearfarError('invalid-argument', `a picture has sides of at least 1 pixel, got ${width}x${height}`, {
      details: { width, height },
    });
  }
  const want = width * height * channels;
  if (data.length === want) return;
  throw new NearfarError(
    'shape-mismatch',
    `a picture of ${width}x${height} pixels with ${channels} channels holds ${want} bytes, got ${data.length}`,
    { details: { width, height, channels, want, got: data.length } },
  );
}

function isSide(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1;
}

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

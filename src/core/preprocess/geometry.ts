import { NearfarError } from '../errors.ts';

/** Sides in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A rectangle of a picture, in pixels from its top left corner. */
export interface Region extends Size {
  readonly left: number;
  readonly top: number;
}

/** The size whose shorter side is `side`: both sides times `side / min(width, height)`, plus 0.5, cut to an integer. */
export function sizeByShorterSide({ width, height }: Size, side: number): Size {
  const scale = side / Math.min(width, height);
  return { width: Math.trunc(width * scale + 0.5), height: Math.trunc(height * scale + 0.5) };
}

/**
 * The middle of a picture; where the margins differ by one pixel, the left and the top one are the smaller.
 * @throws {NearfarError} `shape-mismatch` when the crop is larger than the picture: padding would show the model borders
 * that no photo has, and enlarging would undo the resize that the manifest asks for.
 */
export function centreCrop(picture: Size, crop: Size): Region {
  if (crop.width > picture.width || crop.height > picture.height) {
    throw new NearfarError(
      'shape-mismatch',
      `a crop of ${crop.width}x${crop.height} pixels does not fit into the resized picture of ${picture.width}x${picture.height}`,
      { details: { want: [crop.height, crop.width], got: [picture.height, picture.width] } },
    );
  }
  return {
    left: Math.floor((picture.width - crop.width) / 2),
    top: Math.floor((picture.height - crop.height) / 2),
    width: crop.width,
    height: crop.height,
  };
}

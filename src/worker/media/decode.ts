import { type ImageSource, NearfarError, type Pixels } from '../../core/index.ts';

/** Pixels as they are stored: the camera's orientation applied, colour profiles ignored, alpha left for the white ground. */
const asStored: ImageBitmapOptions = { imageOrientation: 'from-image', colorSpaceConversion: 'none', premultiplyAlpha: 'none' };

/**
 * Decodes a photo at its full size, alpha laid on white. Bitmaps and frames are closed, as they were sent to stay here.
 * @param fetchPhoto The bytes behind a URL.
 * @returns RGBA, opaque (pixels that came decoded are returned as they are).
 * @throws {NearfarError} `invalid-argument` for bytes that are no picture the browser can read; `out-of-memory` for one
 * that is too large for a canvas; what `fetchPhoto` throws.
 */
export async function decodeImage(source: ImageSource, fetchPhoto: (url: string) => Promise<Blob>): Promise<Pixels> {
  switch (source.kind) {
    case 'pixels':
      return source.pixels;
    case 'url':
      return decodeBlob(await fetchPhoto(source.url), source.url);
    case 'blob':
      return decodeBlob(source.blob, 'the photo');
    case 'bitmap':
      return readPixels(source.bitmap, source.bitmap.width, source.bitmap.height);
    case 'frame':
      return readPixels(source.frame, source.frame.displayWidth, source.frame.displayHeight);
  }
}

async function decodeBlob(blob: Blob, what: string): Promise<Pixels> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(blob, asStored);
  } catch (cause) {
    throw new NearfarError(
      'invalid-argument',
      `${what} is no picture this browser can decode: ${cause instanceof Error ? cause.message : cause}`,
      {
        cause,
        details: { type: blob.type, bytes: blob.size },
      },
    );
  }
  return readPixels(bitmap, bitmap.width, bitmap.height);
}

function readPixels(picture: ImageBitmap | VideoFrame, width: number, height: number): Pixels {
  try {
    const context = new OffscreenCanvas(width, height).getContext('2d', { alpha: false, willReadFrequently: true });
    if (!context) throw tooLarge(width, height);
    context.fillStyle = '#fff';
    context.fillRect(0, 0, width, height);
    context.drawImage(picture, 0, 0);
    return { width, height, channels: 4, data: context.getImageData(0, 0, width, height).data };
  } catch (cause) {
    throw cause instanceof NearfarError ? cause : tooLarge(width, height, cause);
  } finally {
    picture.close();
  }
}

function tooLarge(width: number, height: number, cause?: unknown): NearfarError {
  const reason = cause instanceof Error ? `: ${cause.message}` : '';
  return new NearfarError('out-of-memory', `a picture of ${width}x${height} pixels cannot be read${reason}`, {
    cause,
    details: { width, height },
  });
}

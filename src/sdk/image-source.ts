import { type ImageSource, NearfarError } from '../core/index.ts';

/** Anything a photo can be. DOM sources give the pixels they show now, at their own size. */
export type Photo =
  | HTMLImageElement
  | SVGImageElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | HTMLVideoElement
  | VideoFrame
  | ImageData
  | ImageBitmap
  | Blob
  | URL
  | string;

/** A source in the form the media worker takes, with what may be moved there instead of copied. */
export interface SentImage {
  readonly source: ImageSource;
  readonly transfer: Transferable[];
}

/** Objects by the name they have in every realm: an image from an iframe is no `instanceof HTMLImageElement` here. */
interface TaggedPhotos {
  HTMLImageElement: HTMLImageElement;
  SVGImageElement: SVGImageElement;
  HTMLCanvasElement: HTMLCanvasElement;
  OffscreenCanvas: OffscreenCanvas;
  HTMLVideoElement: HTMLVideoElement;
  VideoFrame: VideoFrame;
  ImageData: ImageData;
  ImageBitmap: ImageBitmap;
  Blob: Blob;
  File: File;
  URL: URL;
}

/** Decoded in some 30 ms. */
const manyPixels = 2 ** 22;

/** As they are stored, for the pixels of a photo to be the same everywhere. */
const asStored: ImageBitmapOptions = { colorSpaceConversion: 'none', premultiplyAlpha: 'none' };

/** A canvas holds its pixels multiplied by their alpha: dividing them takes the page's thread 15 ms per megapixel, and changes nothing on white. */
const asDrawn: ImageBitmapOptions = { colorSpaceConversion: 'none' };

/**
 * Turns a photo into what can leave the page for the media worker.
 * @param isGiven Whether a bitmap, a frame or ImageData may be moved there, and is of no use to the caller from then on.
 * @throws {NearfarError} `invalid-argument` for anything else, an empty or closed image, or one that does not load;
 * `permission-denied` for an image of another origin without CORS; `unsupported` for ImageData that is not 8-bit.
 */
export async function toImageSource(photo: Photo, baseUrl: string | undefined, isGiven = false): Promise<SentImage> {
  if (typeof photo === 'string' || is(photo, 'URL'))
    return { source: { kind: 'url', url: absoluteUrl(String(photo), baseUrl) }, transfer: [] };
  if (is(photo, 'Blob') || is(photo, 'File')) return { source: { kind: 'blob', blob: photo }, transfer: [] };
  if (is(photo, 'ImageData')) {
    const pixels = pixelsOf(photo, isGiven);
    return { source: { kind: 'pixels', pixels }, transfer: isGiven ? [pixels.data.buffer] : [] };
  }
  if (is(photo, 'VideoFrame')) {
    if (photo.format === null && photo.codedWidth === 0) throw emptyPhoto('the VideoFrame is closed');
    const frame = isGiven ? photo : photo.clone();
    return { source: { kind: 'frame', frame }, transfer: [frame] };
  }
  if (is(photo, 'ImageBitmap')) {
    if (photo.width === 0) throw emptyPhoto('the ImageBitmap is closed');
    return { source: { kind: 'bitmap', bitmap: photo }, transfer: isGiven ? [photo] : [] };
  }
  const element = await loaded(photo);
  const blob = await ownBytes(element);
  if (blob) return { source: { kind: 'blob', blob }, transfer: [] };
  const bitmap = await drawn(element);
  return { source: { kind: 'bitmap', bitmap }, transfer: [bitmap] };
}

function is<K extends keyof TaggedPhotos>(value: unknown, tag: K): value is TaggedPhotos[K] {
  return tagOf(value) === `[object ${tag}]`;
}

function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value);
}

function absoluteUrl(url: string, baseUrl: string | undefined): string {
  try {
    return new URL(url, baseUrl).href;
  } catch (cause) {
    throw new NearfarError('invalid-argument', `photo: "${url}" is not a URL`, { cause });
  }
}

function pixelsOf({ width, height, data }: ImageData, isGiven: boolean) {
  // Canvases may hold 16-bit floats where the browser has them.
  if (is8Bit(data)) {
    const own = isGiven ? structuredClone(data, { transfer: [data.buffer] }) : data;
    return { width, height, channels: 4 as const, data: own };
  }
  throw new NearfarError('unsupported', 'photo: expected 8-bit ImageData');
}

function is8Bit(data: unknown): data is Uint8ClampedArray<ArrayBuffer> {
  return tagOf(data) === '[object Uint8ClampedArray]';
}

type DrawableElement = HTMLImageElement | SVGImageElement | HTMLCanvasElement | OffscreenCanvas | HTMLVideoElement;

/** Waits for an image that is still on its way; a video must have a frame already. */
async function loaded(photo: DrawableElement): Promise<DrawableElement> {
  if (is(photo, 'HTMLImageElement')) {
    await photo.decode().catch((cause) => {
      throw new NearfarError('invalid-argument', `photo: the image ${photo.currentSrc || photo.src} cannot be decoded`, { cause });
    });
    return photo;
  }
  if (is(photo, 'HTMLVideoElement')) {
    if (photo.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) throw emptyPhoto('the video has no frame yet');
    return photo;
  }
  if (is(photo, 'HTMLCanvasElement') || is(photo, 'OffscreenCanvas') || is(photo, 'SVGImageElement')) return photo;
  throw new NearfarError('invalid-argument', 'photo: expected an image, canvas, video, VideoFrame, ImageData, ImageBitmap, Blob or URL', {
    details: { got: tagOf(photo) },
  });
}

/**
 * The bytes of a large image that the page itself has. A browser makes a bitmap of an image element by decoding it once more on the page's
 * thread, for 100 ms where a camera took it. Not by other URLs: what they give may have changed.
 */
async function ownBytes(photo: DrawableElement): Promise<Blob | undefined> {
  if (!is(photo, 'HTMLImageElement') || photo.naturalWidth * photo.naturalHeight < manyPixels) return undefined;
  if (!/^(blob|data):/.test(photo.currentSrc) || getComputedStyle(photo).imageOrientation === 'none') return undefined;
  try {
    const blob = await (await fetch(photo.currentSrc)).blob();
    // A worker decodes no SVG.
    return blob.type.includes('svg') ? undefined : blob;
  } catch {
    // Revoked, or not allowed by the page's policy.
    return undefined;
  }
}

async function drawn(photo: DrawableElement): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(photo, is(photo, 'HTMLCanvasElement') || is(photo, 'OffscreenCanvas') ? asDrawn : asStored);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    if (cause instanceof DOMException && cause.name === 'SecurityError') {
      throw new NearfarError('permission-denied', `photo: another origin does not allow reading it: ${message}`, {
        cause,
      });
    }
    throw emptyPhoto(message, cause);
  }
}

function emptyPhoto(message: string, cause?: unknown): NearfarError {
  return new NearfarError('invalid-argument', `photo: it has no pixels to read: ${message}`, { cause });
}

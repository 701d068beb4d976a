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

/** As they are stored, for the pixels of a photo to be the same everywhere. */
const asStored: ImageBitmapOptions = { colorSpaceConversion: 'none', premultiplyAlpha: 'none' };

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
  const bitmap = await drawn(await loaded(photo));
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

async function drawn(photo: DrawableElement): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(photo, asStored);
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

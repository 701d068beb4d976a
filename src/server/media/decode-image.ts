import sharp, { type OutputInfo } from 'sharp';
import { NearfarError, type Pixels, type Size } from '../../core/index.ts';
import { describeBytes, sniffImageFormat } from './image-format.ts';

export interface DecodeImageOptions {
  readonly signal?: AbortSignal | undefined;
  /** Largest width times height that is decoded. @default 100_000_000 (400 MB as RGBA) */
  readonly maxPixels?: number | undefined;
}

const defaultMaxPixels = 100_000_000;

/**
 * Decodes JPEG, PNG, GIF (first frame), WebP (first frame) or AVIF, the formats every supported browser decodes too.
 * @returns Pixels upright by their EXIF orientation, 8 bits per channel, RGB or RGBA with straight alpha, colour profiles
 * ignored: what a browser gives with `colorSpaceConversion: "none"`. Grey, palette and 16-bit pictures become RGB; CMYK is
 * converted by libvips's built-in profile.
 * @throws {NearfarError} `invalid-argument` for bytes that are no such picture, broken or cut off, or a picture over
 * `maxPixels`; rejects with `signal.reason` when aborted (libvips cannot stop inside a decode, its result is dropped).
 */
export async function decodeImage(bytes: Uint8Array, options: DecodeImageOptions = {}): Promise<Pixels> {
  const { signal, maxPixels = defaultMaxPixels } = options;
  signal?.throwIfAborted();
  // SVG, PDF and TIFF stop here: libvips would render them, no browser leg could, and they widen what untrusted bytes reach.
  const format = sniffImageFormat(bytes);
  if (format === undefined) {
    throw new NearfarError('invalid-argument', `expected a JPEG, PNG, GIF, WebP or AVIF image, got ${describeBytes(bytes)}`, {
      details: { bytes: bytes.length },
    });
  }
  // 'error' lets the harmless flaws pass that browsers let pass (stray bytes between markers), but no truncated picture.
  const image = sharp(bytes, { ignoreIcc: true, failOn: 'error', limitInputPixels: false });
  assertPixelLimit(await translated(image.metadata(), format, bytes), maxPixels);
  signal?.throwIfAborted();
  const raw = image.autoOrient().toColourspace('srgb').raw({ depth: 'uchar' });
  const { data, info } = await translated(raw.toBuffer({ resolveWithObject: true }), format, bytes);
  signal?.throwIfAborted();
  return { width: info.width, height: info.height, channels: colourChannels(info), data: asOwnBytes(data) };
}

async function translated<T>(decoding: Promise<T>, format: string, bytes: Uint8Array): Promise<T> {
  try {
    return await decoding;
  } catch (cause) {
    const [reason] = (cause instanceof Error ? cause.message : String(cause)).split('\n');
    throw new NearfarError('invalid-argument', `cannot decode the ${format} image of ${bytes.length} bytes: ${reason}`, {
      cause,
      details: { format, bytes: bytes.length },
    });
  }
}

/** @throws {NearfarError} `invalid-argument` for a picture of more pixels than the server makes, or answers about. */
export function assertPixelLimit({ width, height }: Size, maxPixels: number = defaultMaxPixels): void {
  if (width * height <= maxPixels) return;
  throw new NearfarError('invalid-argument', `an image may have ${maxPixels} pixels, got ${width}x${height}`, {
    details: { width, height, maxPixels },
  });
}

function colourChannels({ channels }: OutputInfo): 3 | 4 {
  if (channels === 3 || channels === 4) return channels;
  throw new NearfarError('internal', `libvips gave ${channels} channels for sRGB`, { details: { channels } });
}

function asOwnBytes(data: Buffer): Uint8Array<ArrayBuffer> {
  return data.buffer instanceof ArrayBuffer ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
}

import sharp, { type Sharp } from 'sharp';
import { expect, test } from 'vitest';
import { decodeImage } from '../../../src/server/media/index.ts';

/** Two columns, three rows, each pixel another grey level, so that any turn shows. */
const greys = [10, 20, 30, 40, 50, 60];

function picture(levels = greys, width = 2): Sharp {
  const data = Uint8Array.from(levels.flatMap((level) => [level, level, level]));
  return sharp(data, { raw: { width, height: levels.length / width, channels: 3 } });
}

function blank({ red = 200, alpha }: { red?: number; alpha?: number } = {}): Sharp {
  const background = { r: red, g: 30, b: 90, ...(alpha !== undefined && { alpha }) };
  return sharp({ create: { width: 4, height: 3, channels: alpha === undefined ? 3 : 4, background } });
}

async function firstPixel(image: Sharp): Promise<{ channels: number; pixel: number[] }> {
  const { channels, data } = await decodeImage(await image.toBuffer());
  return { channels, pixel: [...data.subarray(0, channels)] };
}

test('decodes lossless bytes to exactly their pixels', async () => {
  const pixels = await decodeImage(await picture().png().toBuffer());

  expect(pixels).toEqual({ width: 2, height: 3, channels: 3, data: Uint8Array.from(greys.flatMap((level) => [level, level, level])) });
});

// EXIF 2.32, tag 274: where row 0 and column 0 of the stored pixels lie in the picture.
test.each([
  [1, 2, [10, 20, 30, 40, 50, 60]],
  [2, 2, [20, 10, 40, 30, 60, 50]],
  [3, 2, [60, 50, 40, 30, 20, 10]],
  [4, 2, [50, 60, 30, 40, 10, 20]],
  [5, 3, [10, 30, 50, 20, 40, 60]],
  [6, 3, [50, 30, 10, 60, 40, 20]],
  [7, 3, [60, 40, 20, 50, 30, 10]],
  [8, 3, [20, 40, 60, 10, 30, 50]],
])('turns a picture of EXIF orientation %i upright', async (orientation, width, levels) => {
  const bytes = await picture().png().withMetadata({ orientation }).toBuffer();

  const pixels = await decodeImage(bytes);

  expect(pixels.width).toBe(width);
  expect([...pixels.data].filter((_, index) => index % 3 === 0)).toEqual(levels);
});

test('keeps straight alpha, not multiplied into the colours', async () => {
  const half = { channels: 4, pixel: [200, 30, 90, 128] };

  expect(await firstPixel(blank({ alpha: 0.5 }).png())).toEqual(half);
  expect(await firstPixel(blank({ alpha: 0.5 }).webp({ lossless: true }))).toEqual(half);
});

test.each([
  ['a palette', blank().png({ palette: true }), [200, 30, 90]],
  ['16 bits per channel', blank().toColourspace('rgb16').png(), [200, 30, 90]],
  ['lossless WebP', blank().webp({ lossless: true }), [200, 30, 90]],
  ['lossless AVIF', blank().avif({ lossless: true }), [200, 30, 90]],
  ['one grey channel', picture([77, 77], 1).toColourspace('b-w').png(), [77, 77, 77]],
  ['one grey channel in JPEG', picture([77, 77], 1).toColourspace('b-w').jpeg(), [77, 77, 77]],
  ['one grey channel of 16 bits', picture([77, 77], 1).toColourspace('grey16').png(), [77, 77, 77]],
])('decodes %s to 8-bit RGB', async (_, image, pixel) => {
  const decoded = await firstPixel(image);

  expect(decoded.channels).toBe(3);
  // libvips itself rounds a grey level away by one while the test writes 16 bits
  for (const [channel, value] of decoded.pixel.entries()) expect(Math.abs(value - pixel[channel]!)).toBeLessThanOrEqual(1);
});

test('decodes grey with alpha to RGBA', async () => {
  const grey = sharp({ create: { width: 1, height: 1, channels: 4, background: { r: 9, g: 9, b: 9, alpha: 0.5 } } }).toColourspace('b-w');

  expect(await firstPixel(grey.png())).toEqual({ channels: 4, pixel: [9, 9, 9, 128] });
});

test('decodes CMYK to RGB of about the same colour', async () => {
  const { channels, pixel } = await firstPixel(blank().toColourspace('cmyk').jpeg());

  expect(channels).toBe(3);
  for (const [channel, value] of [200, 30, 90].entries()) expect(Math.abs(pixel[channel]! - value)).toBeLessThan(30);
});

test('ignores an embedded colour profile', async () => {
  const wide = await blank().withIccProfile('p3').png().toBuffer();
  const stored = await sharp(wide, { ignoreIcc: true }).raw().toBuffer();
  const managed = await sharp(wide).raw().toBuffer();

  const { data } = await decodeImage(wide);

  expect([...data]).toEqual([...stored]);
  expect([...data]).not.toEqual([...managed]);
});

test('takes the first frame of an animation', async () => {
  const frames = await Promise.all([10, 200].map((red) => blank({ red }).png().toBuffer()));
  const animation = sharp(frames, { join: { animated: true } });

  expect(await firstPixel(animation.clone().gif())).toEqual({ channels: 4, pixel: [10, 30, 90, 255] });
  expect(await firstPixel(animation.clone().webp({ lossless: true }))).toMatchObject({ pixel: expect.arrayContaining([10, 30, 90]) });
});

test('refuses a picture over the pixel limit before it decodes it', async () => {
  const bytes = await blank().png().toBuffer();

  await expect(decodeImage(bytes, { maxPixels: 12 })).resolves.toMatchObject({ width: 4, height: 3 });
  await expect(decodeImage(bytes, { maxPixels: 11 })).rejects.toMatchObject({
    code: 'invalid-argument',
    details: { width: 4, height: 3, maxPixels: 11 },
  });
});

const text = (content: string) => new TextEncoder().encode(content);

test.each([
  ['no bytes', new Uint8Array(), 'got no bytes'],
  ['text', text('not an image'), 'got 12 bytes that begin with 6e 6f 74 20'],
  ['SVG', text('<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"/>'), 'begin with 3c 73 76 67'],
  ['PDF', text('%PDF-1.7'), 'begin with 25 50 44 46'],
  ['the first two bytes of a JPEG', Uint8Array.of(0xff, 0xd8), 'got 2 bytes'],
])('refuses %s and says what it got', async (_, bytes, message) => {
  await expect(decodeImage(bytes)).rejects.toMatchObject({ code: 'invalid-argument', message: expect.stringContaining(message) });
});

test('refuses TIFF, which browsers do not decode', async () => {
  await expect(decodeImage(await blank().tiff().toBuffer())).rejects.toMatchObject({ code: 'invalid-argument' });
});

test.each(['jpeg', 'png', 'webp'] as const)('refuses a %s file that is cut off', async (format) => {
  const noise = Uint8Array.from({ length: 64 * 64 * 3 }, (_, index) => (index * index * 7919) >> 5);
  const whole = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
    .toFormat(format)
    .toBuffer();

  const decoding = decodeImage(whole.subarray(0, whole.length >> 1));

  await expect(decoding).rejects.toMatchObject({ code: 'invalid-argument', message: expect.stringMatching(/cannot decode the \w+ image/) });
});

test('rejects with the reason of an abort, before and during the decode', async () => {
  const bytes = await blank().png().toBuffer();
  const controller = new AbortController();
  const reason = new Error('changed my mind');

  const decoding = decodeImage(bytes, { signal: controller.signal });
  controller.abort(reason);

  await expect(decoding).rejects.toBe(reason);
  await expect(decodeImage(bytes, { signal: controller.signal })).rejects.toBe(reason);
});

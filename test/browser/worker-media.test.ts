import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf, type ImageSource, type Manifest, parseManifest, prepareImage, type RgbImage, taskOf } from '../../src/core/index.ts';
import { decodeImage } from '../../src/server/media/index.ts';
import { launchBrowser, openTestPage, type TestBrowser, type TestPage } from '../support/browser.ts';
import { sharedData } from '../support/shared-data.ts';
import { noise } from '../support/small-repository.ts';

// The same photo through the media worker in Chromium and through the server's decoder in Node, cropped by core.

const photos = [
  'airliner.jpeg',
  'bee.jpeg',
  'cat.jpg',
  'coco_image2.jpg',
  'coffee.jpg',
  'daisy.jpg',
  'dog.jpg',
  'elephants.jpg',
  'goldfish.jpg',
  'grace_hopper.jpg',
  'portrait.jpg',
  'three_people.jpg',
  'wolves.jpg',
  'zebra.jpeg',
];

/** A picture with soft and hard parts, as photos have them. */
async function drawn(width: number, height: number, channels: 3 | 4): Promise<Sharp> {
  const grain = noise(width * height * channels, 5);
  const pixels = grain.map((value, index) =>
    index % channels === 3 ? value : Math.floor((index / (width * channels)) % 200) + (value >> 3),
  );
  return sharp(pixels, { raw: { width, height, channels } });
}

const made: Readonly<Record<string, () => Promise<Buffer>>> = {
  'rotated by EXIF.jpg': async () => (await drawn(301, 203, 3)).jpeg({ quality: 90 }).withMetadata({ orientation: 6 }).toBuffer(),
  'mirrored by EXIF.jpg': async () => (await drawn(301, 203, 3)).jpeg({ quality: 90 }).withMetadata({ orientation: 5 }).toBuffer(),
  'progressive 4-4-4.jpg': async () => (await drawn(333, 257, 3)).jpeg({ progressive: true, chromaSubsampling: '4:4:4' }).toBuffer(),
  'grey.jpg': async () => (await drawn(300, 240, 3)).greyscale().jpeg().toBuffer(),
  'opaque.png': async () => (await drawn(257, 300, 3)).png().toBuffer(),
  'palette.png': async () => (await drawn(257, 300, 3)).png({ palette: true }).toBuffer(),
  'lossless.webp': async () => (await drawn(257, 300, 3)).webp({ lossless: true }).toBuffer(),
  'wide gamut.png': async () => (await drawn(257, 300, 3)).png().withIccProfile('p3').toBuffer(),
};
const transparent = 'alpha.png';

let folder: string;
let browser: TestBrowser;
let tab: TestPage;
let manifest: Manifest;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nearfar-photos-'));
  await mkdir(join(folder, 'photos'));
  for (const [name, make] of Object.entries(made)) await writeFile(join(folder, 'photos', name), await make());
  await writeFile(join(folder, 'photos', transparent), await (await drawn(257, 300, 4)).png().toBuffer());
  for (const name of photos) {
    const from = sharedData(`images/${name}`);
    if (from) await copyFile(from, join(folder, 'photos', basename(from)));
  }
  await writeFile(join(folder, 'photos', 'not a photo.jpg'), 'not a photo');
  const everyday10 = parseManifest(await readFile(fileURLToPath(new URL('../../models/everyday10/1/manifest.json', import.meta.url))));
  manifest = asImageNet(everyday10);
  browser = await launchBrowser({ gpu: false });
  tab = await openTestPage(browser, { entry: 'test/browser/pages/worker/main.ts', mounts: { '/photos/': join(folder, 'photos') } });
});
afterAll(async () => {
  await tab?.[Symbol.asyncDispose]();
  await browser?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Resizes to 256 and crops 224, as most ImageNet models want it. */
function asImageNet(everyday10: Manifest): Manifest {
  const task = taskOf(everyday10, 'image-classification');
  const input = {
    ...task.input,
    resize: { shorterSide: 256, filter: 'bilinear', antialias: true },
    crop: [224, 224],
  } satisfies typeof task.input;
  return { ...everyday10, tasks: { 'image-classification': { ...task, input } } };
}

async function inNode(name: string): Promise<RgbImage> {
  const pixels = await decodeImage(new Uint8Array(await readFile(join(folder, 'photos', name))));
  return prepareImage(pixels, taskOf(manifest, 'image-classification').input);
}

async function inBrowser(name: string, kind: ImageSource['kind'], wantsBytes = false) {
  return tab.page.evaluate(([url, each, says, wants]) => window.workers.prepare(url, each, says, wants), [
    `/photos/${encodeURIComponent(name)}`,
    kind,
    manifest,
    wantsBytes,
  ] as const);
}

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((largest, value, index) => Math.max(largest, Math.abs(value - (b[index] ?? Number.NaN))), 0);

describe('a photo has the same cropped pixels in Chromium and in Node', () => {
  for (const name of photos) {
    test.skipIf(!sharedData(`images/${name}`))(name, async () => {
      const image = await inNode(name);

      const { digest, width, height } = await inBrowser(name, 'url');

      expect({ digest, width, height }).toEqual({ digest: await digestOf(image.data), width: 224, height: 224 });
    });
  }

  for (const name of Object.keys(made)) {
    test(name, async () => {
      const image = await inNode(name);

      expect((await inBrowser(name, 'blob')).digest).toBe(await digestOf(image.data));
    });
  }

  test('within 1 where alpha is laid on white', async () => {
    const image = await inNode(transparent);

    const { bytes = [] } = await inBrowser(transparent, 'blob', true);

    expect(bytes).toHaveLength(image.data.length);
    expect(largestDifference(bytes, image.data)).toBeLessThanOrEqual(1);
  });

  test.each<ImageSource['kind']>(['bitmap', 'frame', 'pixels'])('also when it comes decoded, as %s', async (kind) => {
    const image = await inNode('opaque.png');

    expect((await inBrowser('opaque.png', kind)).digest).toBe(await digestOf(image.data));
  });
});

test('bytes that are no photo are refused by name', async () => {
  expect((await inBrowser('not a photo.jpg', 'blob')).error).toMatchObject({ code: 'invalid-argument' });
});

test('a photo that is not there is not-found', async () => {
  const { error } = await tab.page.evaluate(([url, says]) => window.workers.prepareUrl(url, says), [
    `${tab.server.origin}/photos/nowhere.jpg`,
    manifest,
  ] as const);

  expect(error).toMatchObject({ code: 'not-found' });
});

import { readdirSync, readFileSync } from 'node:fs';
import { join, parse } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type ImageInput, type Pixels, prepareImage, type RgbImage, resizeBilinear } from '../../../src/core/index.ts';
import { decodeImage } from '../../../src/server/media/index.ts';
import { sharedData } from '../../support/shared-data.ts';

// Pillow 13 made `prepared` from `images`. Decoders of JPEG may differ by a little, but libvips (mozjpeg) and Pillow
// (libjpeg-turbo) are builds of the same accurate integer inverse transform and "fancy" upsampling: on all of these photos
// not one byte differs, so the tests allow no difference at all.

const images = sharedData('images');
const prepared = sharedData('prepared');

const imageNet: ImageInput = {
  name: 'image',
  resize: { shorterSide: 256, filter: 'bilinear', antialias: true },
  crop: [224, 224],
  layout: 'NHWC',
  scale: 1 / 255,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
};

async function decodeFile(path: string): Promise<Pixels> {
  return decodeImage(readFileSync(path));
}

function differences(a: RgbImage, b: Pixels): { sizes: boolean; bytes: number } {
  const bytes = a.data.reduce((count, value, index) => count + (value === b.data[index] ? 0 : 1), 0);
  return { sizes: a.width !== b.width || a.height !== b.height || b.channels !== 3, bytes };
}

const none = { sizes: false, bytes: 0 };

describe.skipIf(!images || !prepared)('photos prepared by Pillow', () => {
  const root = prepared ?? '';
  const photos = new Map(images ? readdirSync(images).map((file) => [parse(file).name, join(images, file)] as const) : []);
  const names = (folder: string) => (prepared ? readdirSync(join(prepared, folder)).map((file) => parse(file).name) : []);

  test.each(names('224'))('%s: decoded, resized by its shorter side and cropped', async (name) => {
    const reference = await decodeFile(join(root, '224', `${name}.png`));

    const image = prepareImage(await decodeFile(photos.get(name)!), imageNet);

    expect(differences(image, reference)).toEqual(none);
  });

  test.each(names('32'))('%s: shrunk from lossless pixels', async (name) => {
    const reference = await decodeFile(join(root, '32', `${name}.png`));

    const image = resizeBilinear(await decodeFile(join(root, '224', `${name}.png`)), { width: 32, height: 32 });

    expect(differences(image, reference)).toEqual(none);
  });

  const stretched = ['256x256', '320x240', '512x512'].flatMap((folder) => names(folder).map((name) => [folder, name] as const));

  test.each(stretched)('%s/%s: the whole photo stretched', async (folder, name) => {
    const reference = await decodeFile(join(root, folder, `${name}.png`));

    const image = resizeBilinear(await decodeFile(photos.get(name)!), reference);

    expect(differences(image, reference)).toEqual(none);
  });
});

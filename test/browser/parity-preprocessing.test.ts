import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { basename } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf, encodeImages, prepareImage, type Tensor, taskOf } from '../../src/core/index.ts';
import { decodeImage } from '../../src/server/media/index.ts';
import { launchBrowser, openTestPage, type TestBrowser, type TestPage } from '../support/browser.ts';
import { classifyOverHttp, type Far, type OpenedLeg, openFar, openLeg } from '../support/parity.ts';
import { type ParityModel, publishTensorEcho, sharedPhotos } from '../support/parity-models.ts';
import { noise } from '../support/small-repository.ts';

// The float32 tensor that an engine is handed, to the last bit: through the SDK in Chromium on the device, through the SDK
// to a server, and on a server that was sent the file. A model that gives back its input shows it; what Node computes by
// core's own functions is what it is compared with. (The uint8 pixels before it: worker-media.test.ts.)

/** Soft and hard parts, as photos have them. */
async function drawn(width: number, height: number, channels: 3 | 4 = 3): Promise<Sharp> {
  const grain = noise(width * height * channels, 7);
  const pixels = grain.map((value, at) => (at % channels === 3 ? value : Math.floor((at / (width * channels)) % 200) + (value >> 3)));
  return sharp(pixels, { raw: { width, height, channels } });
}

const made: Readonly<Record<string, () => Promise<Buffer>>> = {
  ...Object.fromEntries(
    [3, 5, 6, 8].map((orientation) => [
      `exif-${orientation}.jpg`,
      async () => (await drawn(301, 203)).jpeg({ quality: 90 }).withMetadata({ orientation }).toBuffer(),
    ]),
  ),
  'one-pixel.png': async () => (await drawn(1, 1)).png().toBuffer(),
  'smaller-than-the-crop.jpg': async () => (await drawn(37, 51)).jpeg().toBuffer(),
  'odd.jpg': async () => (await drawn(333, 257)).jpeg({ chromaSubsampling: '4:2:0' }).toBuffer(),
  'wide.jpg': async () => (await drawn(1501, 67)).jpeg().toBuffer(),
  'tall.png': async () => (await drawn(67, 1501)).png().toBuffer(),
  'progressive.jpg': async () => (await drawn(333, 257)).jpeg({ progressive: true }).toBuffer(),
  'grey.jpg': async () => (await drawn(300, 240)).greyscale().jpeg().toBuffer(),
  'grey.png': async () => (await drawn(300, 240)).greyscale().toColourspace('b-w').png().toBuffer(),
  'palette.png': async () => (await drawn(257, 300)).png({ palette: true }).toBuffer(),
};
const transparent = 'alpha.png';

const photos = sharedPhotos();
const files = new Map<string, Uint8Array<ArrayBuffer>>();

let browser: TestBrowser;

beforeAll(async () => {
  for (const { name, photo } of photos) files.set(`${name}.jpg`, new Uint8Array(await readFile(photo)));
  for (const [name, make] of Object.entries(made)) files.set(name, new Uint8Array(await make()));
  files.set(transparent, new Uint8Array(await (await drawn(257, 300, 4)).png().toBuffer()));
  browser = await launchBrowser({ gpu: false });
});
afterAll(() => browser?.[Symbol.asyncDispose]());

/** What core alone makes of a file. */
async function inNode(name: string, { manifest }: ParityModel): Promise<Tensor<'float32'>> {
  const { input } = taskOf(manifest, 'image-classification');
  const image = prepareImage(await decodeImage(files.get(name) ?? new Uint8Array()), input);
  const tensor = encodeImages([image], input);
  return { ...tensor, shape: [tensor.data.length] };
}

const bitsOf = ({ data }: Tensor<'float32'>) => digestOf(Uint8Array.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)));

describe.each(['NHWC', 'NCHW'] as const)('the float32 tensor of a picture, %s', (layout) => {
  let model: ParityModel;
  let tab: TestPage;
  let server: Far;
  let near: OpenedLeg;
  let far: OpenedLeg;

  beforeAll(async () => {
    model = await publishTensorEcho(layout);
    const serve = ({ url }: IncomingMessage, response: ServerResponse) => void response.end(files.get(basename(url ?? '')));
    tab = await openTestPage(browser, { mounts: { '/models/': model.repository, '/pictures/': serve } });
    server = await openFar(model.repository, 'onnx-cpu');
    near = await openLeg(tab.page, model, { backend: 'onnx-wasm' });
    far = await openLeg(tab.page, model, { server: server.url });
  });
  afterAll(async () => {
    await near?.[Symbol.asyncDispose]();
    await far?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await tab?.[Symbol.asyncDispose]();
  });

  const expectSameBits = async (name: string) => {
    const right = await bitsOf(await inNode(name, model));

    const [onDevice] = await near.classify([`/pictures/${name}`]);
    const sentAsFile = await classifyOverHttp(server, model, files.get(name) ?? new Uint8Array());

    if (!onDevice) throw new Error('no answer');
    expect({ onDevice: await bitsOf(onDevice.scores), sentAsFile: await bitsOf(sentAsFile.scores) }).toEqual({
      onDevice: right,
      sentAsFile: right,
    });
  };

  // The layout is the last step and the same for every picture: one is enough for the second.
  const isFirst = layout === 'NHWC';
  const chosen = isFirst ? photos.map(({ name }) => `${name}.jpg`) : ['cat.jpg'];
  test.skipIf(photos.length === 0).each(chosen)('%s: the same bits in Chromium, on the server and in Node', expectSameBits);
  test.each(isFirst ? Object.keys(made) : ['odd.jpg'])('%s: the same bits in Chromium, on the server and in Node', expectSameBits);

  test('the pixels that the SDK sends to a server make the same bits there', async () => {
    const [sentAsPixels] = await far.classify(['/pictures/odd.jpg']);

    expect(sentAsPixels?.leg).toBe('server');
    expect(sentAsPixels?.scores).toEqual(await inNode('odd.jpg', model));
  });

  test('alpha laid on white: within one step of the pixel', async () => {
    const { scale, std } = taskOf(model.manifest, 'image-classification').input;
    const oneStep = (scale / Math.min(...std)) * 1.0001;
    const right = await inNode(transparent, model);

    const [onDevice] = await near.classify([`/pictures/${transparent}`]);

    expect(onDevice?.scores.data).toHaveLength(right.data.length);
    const differences = right.data.map((value, index) => Math.abs(value - (onDevice?.scores.data[index] ?? Number.NaN)));
    expect(differences.reduce((a, b) => Math.max(a, b))).toBeLessThanOrEqual(oneStep);
  });
});

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BackendId, createTensor, encodeImages, prepareImage, type Tensor, taskOf } from '../../src/core/index.ts';
import { decodeImage } from '../../src/server/media/index.ts';
import { launchBrowser, openTestPage, type TestBrowser, type TestPage } from '../support/browser.ts';
import { everyday10Sample } from '../support/engine-models.ts';
import {
  DifferenceTable,
  expectFrom,
  expectWithin,
  type Far,
  type FullAnswer,
  type OpenedLeg,
  openFar,
  openLeg,
} from '../support/parity.ts';
import { builtInEveryday10 } from '../support/parity-models.ts';

// The committed model near, in Chromium, against far, on real servers, asked through the same SDK. Needs nothing from outside.

const near = ['tfjs-webgpu', 'tfjs-wasm', 'onnx-webgpu', 'onnx-wasm'] as const satisfies readonly BackendId[];
const far = ['onnx-cpu', 'tfjs-wasm'] as const satisfies readonly BackendId[];

const model = await builtInEveryday10();
const sample = await everyday10Sample();
const table = new DifferenceTable('everyday10 in Chromium');

/** The demo's pictures, rendered as its build does it. */
const drawings = fileURLToPath(new URL('../../demo/samples', import.meta.url));
const pictures = new Map<string, Buffer>(
  await Promise.all(
    readdirSync(drawings).map(
      async (file) => [`/drawn/${file}.png`, await sharp(join(drawings, file)).resize(640, 640).png().toBuffer()] as const,
    ),
  ),
);
const urls = [...pictures.keys()];

/** The same pictures as one batch, prepared in Node. */
const { input, output } = taskOf(model.manifest, 'image-classification');
const prepared = await Promise.all([...pictures.values()].map(async (png) => prepareImage(await decodeImage(new Uint8Array(png)), input)));
const batch = encodeImages(prepared, input);

let browser: TestBrowser;
let tab: TestPage;
const servers = new Map<BackendId, Far>();
const distant = new Map<BackendId, { answers: readonly FullAnswer[]; outputs: Tensor<'float32'> }>();

beforeAll(async () => {
  browser = await launchBrowser();
  tab = await openTestPage(browser, {
    mounts: {
      '/models/': model.repository,
      '/drawn/': ({ url }, response) => void response.writeHead(200, { 'content-type': 'image/png' }).end(pictures.get(url ?? '')),
    },
  });
  for (const backend of far) servers.set(backend, await openFar(model.repository, backend));
});
afterAll(async () => {
  table.print();
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
  await tab?.[Symbol.asyncDispose]();
  await browser?.[Symbol.asyncDispose]();
});

test.each(far)('%s on a server answers from the pinned digest, photos and tensors alike', async (backend) => {
  await using leg = await openLeg(tab.page, model, { server: servers.get(backend)?.url ?? '' });
  const answers = await leg.classify(urls);
  const outputs = await leg.predict({ [input.name]: batch }, output.name);

  distant.set(backend, { answers, outputs });
  for (const [index, answer] of answers.entries()) {
    expectFrom(answer, model, 'server', backend);
    expectWithin(rowOf(outputs, index), answer.scores, model, answer.variant, `${urls[index]} as a photo and in a batch of tensors`);
  }
});

describe.each(near)('%s in Chromium', (backend) => {
  let leg: OpenedLeg;
  beforeAll(async () => {
    leg = await openLeg(tab.page, model, { backend });
  });
  afterAll(() => leg?.[Symbol.asyncDispose]());

  test('classifies each drawn picture as the servers do: same digest, same best class, within the tolerance', async () => {
    const answers = await leg.classify(urls);

    expect(answers).toHaveLength(urls.length);
    for (const [index, answer] of answers.entries()) {
      expectFrom(answer, model, 'on-device', backend);
      for (const [server, { answers: others }] of distant) {
        const other = others[index];
        if (!other) throw new Error(`${server} gave no answer for ${urls[index]}`);
        expect({ top: answer.top, digest: answer.digest }).toEqual({ top: other.top, digest: other.digest });
        const difference = expectWithin(answer.scores, other.scores, model, answer.variant, `${urls[index]} on ${server}`);
        table.add(`everyday10: ${backend} (Chromium) to ${server} (server)`, difference);
      }
    }
    expect([...distant.keys()]).toEqual(far);
  });

  test('predicts the same for the same pictures as a batch of tensors', async () => {
    const outputs = await leg.predict({ [input.name]: batch }, output.name);

    for (const [server, { outputs: others }] of distant) expectWithin(outputs, others, model, variantOf(backend), `the batch on ${server}`);
  });

  // A software GPU takes long for these.
  const count = backend.endsWith('webgpu') ? 12 : 200;
  test.skipIf(!sample)(`is as right on ${count} held-back pictures as the model was when it was trained`, async () => {
    if (!sample) return;
    const images = createTensor('float32', [count, 32, 32, 3], sample.images(0, count));
    const labels = sample.labels.slice(0, count);

    const outputs = await leg.predict({ [input.name]: images }, output.name);

    const trained = createTensor('float32', [count, 10], Float32Array.from(sample.probabilities.slice(0, count).flat()));
    table.add(`everyday10: ${backend} (Chromium) to TensorFlow`, expectWithin(outputs, trained, model, variantOf(backend), 'the sample'));
    expect(accuracyOf(outputs, labels)).toBe(accuracyOf(trained, labels));
    if (count === 200) expect(accuracyOf(outputs, labels)).toBe(0.895);
  });
});

function rowOf({ data }: Tensor<'float32'>, row: number): Tensor<'float32'> {
  return createTensor('float32', [10], data.slice(row * 10, row * 10 + 10));
}

function accuracyOf(probabilities: Tensor<'float32'>, labels: readonly number[]): number {
  const isRight = (label: number, row: number) => {
    const { data } = rowOf(probabilities, row);
    return data.indexOf(Math.max(...data)) === label;
  };
  return labels.filter(isRight).length / labels.length;
}

function variantOf(backend: BackendId): string {
  const variant = model.manifest.variants.find(({ format }) => backend.startsWith(format.slice(0, 4)));
  if (!variant) throw new Error(`everyday10 has no variant for ${backend}`);
  return variant.id;
}

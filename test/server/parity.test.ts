import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, describe, expect, test } from 'vitest';
import { type BackendId, createTensor, type TensorMap } from '../../src/core/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { openRemoteEngine } from '../../src/engines/remote/index.ts';
import { everyday10Sample } from '../support/engine-models.ts';
import { classifyOverHttp, DifferenceTable, expectFrom, expectWithin, type Far, type FullAnswer, openFar } from '../support/parity.ts';
import { describeFarMobileNetV2 } from '../support/parity-mobilenet.ts';
import { builtInEveryday10, expectedMobileNetV2, type ParityModel, sharedPhotos } from '../support/parity-models.ts';

// The far leg, a real server per backend, against results of TensorFlow and ONNX Runtime, and backend against backend.

const everyday10 = await builtInEveryday10();
const sample = await everyday10Sample();
const photos = sharedPhotos();
const table = new DifferenceTable('Far');
afterAll(() => table.print());

const { gpu, gpuAbsence } = await openNodePlatform({ allowSoftwareAdapter: true });
if (!gpu) console.warn(`skipping tfjs-webgpu on the server: ${gpuAbsence}`);
const isSoftwareGpu = (await gpu?.requestAdapter())?.info.isFallbackAdapter === true;
const backends: readonly BackendId[] = ['onnx-cpu', 'tfjs-wasm', ...(gpu ? (['tfjs-webgpu'] as const) : [])];

const drawings = fileURLToPath(new URL('../../demo/samples', import.meta.url));
const drawn = await Promise.all(
  readdirSync(drawings).map(async (file) => [file, await sharp(join(drawings, file)).resize(640, 640).png().toBuffer()] as const),
);

/** Everything of the drawings that a later backend is compared with. */
const firstAnswers = new Map<string, FullAnswer>();

describe.each(backends)('%s', (backend) => {
  const isSlow = backend === 'tfjs-webgpu' && isSoftwareGpu;

  test('everyday10: the drawn pictures get the same answer as on the other backends, from the pinned digest', async () => {
    await using far = await openFar(everyday10.repository, backend);

    for (const [name, picture] of isSlow ? drawn.slice(0, 1) : drawn) {
      const answer = await classifyOverHttp(far, everyday10, picture);

      expectFrom(answer, everyday10, 'server', backend);
      const first = firstAnswers.get(name);
      firstAnswers.set(name, first ?? answer);
      if (!first) continue;
      expect(answer.top).toEqual(first.top);
      const difference = expectWithin(answer.scores, first.scores, everyday10, answer.variant, name);
      table.add(`everyday10: ${backend} (server) to ${first.backend} (server)`, difference);
    }
  });

  test.skipIf(!sample)(`everyday10: top-1 of ${isSlow ? 2 : 200} held-back pictures in one batch as trained`, async () => {
    if (!sample) return;
    const count = isSlow ? 2 : sample.count;
    await using far = await openFar(everyday10.repository, backend);

    const outputs = await predict(far, everyday10, { image: createTensor('float32', [count, 32, 32, 3], sample.images(0, count)) });

    const got = outputs['probabilities'];
    if (got?.dtype !== 'float32') throw new Error('no probabilities');
    const want = createTensor('float32', [count, 10], Float32Array.from(sample.probabilities.slice(0, count).flat()));
    table.add(`everyday10: ${backend} (server) to TensorFlow`, expectWithin(got, want, everyday10, variantFor(backend), 'the sample'));
    const hits = sample.labels.slice(0, count).filter((label, index) => bestOf(got.data.subarray(index * 10, index * 10 + 10)) === label);
    const right = sample.labels.slice(0, count).filter((label, index) => bestOf(sample.probabilities[index] ?? []) === label);
    expect(hits).toHaveLength(right.length);
    if (count === 200) expect(hits.length / count).toBe(0.895);
  });

  // Seconds per picture of 32 by 32 pixels, so minutes for one of 224: in the full run.
  if (!isSlow) describeFarMobileNetV2(backend, photos, table);
});

test.skipIf(photos.length === 0)('no expected top-1 of MobileNetV2 is a near tie', () => {
  for (const library of ['tfjs', 'onnx'] as const) {
    for (const [photo, { top }] of expectedMobileNetV2(library)) expect(top.margin, photo).toBeGreaterThan(0.01);
  }
});

async function predict(far: Far, { manifest, pin }: ParityModel, inputs: TensorMap): Promise<TensorMap> {
  await using engine = openRemoteEngine({ servers: [far.url], pin, fetch });
  const [variant] = manifest.variants;
  if (!variant) throw new Error('no variant');
  const loaded = await engine.load({ manifest, variant, readFile: () => Promise.reject(new Error('the server has the files')) });
  return loaded.run({ signature: 'serving_default', inputs });
}

function variantFor(backend: BackendId): string {
  const variant = everyday10.manifest.variants.find(({ format }) => backend.startsWith(format.slice(0, 4)));
  if (!variant) throw new Error(`everyday10 has no variant for ${backend}`);
  return variant.id;
}

function bestOf(scores: ArrayLike<number>): number {
  return Array.from(scores).reduce((best, score, index) => (score > (scores[best] ?? 0) ? index : best), 0);
}

import { afterAll, beforeAll, expect, test } from 'vitest';
import { digestOf, encodeManifest, encodeVersions, prepareImage, taskOf } from '../../src/core/index.ts';
import { createRestServer, type Transport } from '../../src/server/transports/index.ts';
import { systemClock } from '../../src/worker/clock.ts';
import { createMediaWorker } from '../../src/worker/media/index.ts';
import { createMemoryStore } from '../../src/worker/store/index.ts';
import { bright, createStandInContext, createStandInFiles, createStandInStore, labelsFile } from '../server/transports/support/stand-in.ts';

let transport: Transport;
let far: string;
beforeAll(async () => {
  const manifests = ['1', '2'].map((version) => encodeManifest({ ...bright.manifest, version }));
  const [one, two] = await Promise.all(manifests.map(digestOf));
  const versions = encodeVersions({
    schemaVersion: 1,
    name: 'bright',
    versions: [
      { version: '1', digest: one ?? '' },
      { version: '2', digest: two ?? '' },
    ],
    labels: { stable: '1', canary: '2' },
    traffic: { stable: 50, canary: 50 },
  });
  const [first, second] = manifests.map((bytes) => ({ bytes }));
  transport = createRestServer({
    ...createStandInContext(createStandInStore([bright])),
    files: createStandInFiles({
      'bright/1/labels.txt': { bytes: labelsFile },
      'bright/versions.json': { bytes: versions },
      ...(first && { 'bright/1/manifest.json': first }),
      ...(second && { 'bright/2/manifest.json': second }),
    }),
    metricsPage: { contentType: 'text/plain', metrics: async () => '' },
    corsAllowedOrigins: [],
    timeoutMs: 30_000,
  });
  far = `http://127.0.0.1:${(await transport.listen({ host: '127.0.0.1', port: 0 })).port}`;
});
afterAll(() => transport.close());

test('sends a server the prepared image, or prepares decoded pixels first', async () => {
  const bodies: unknown[] = [];
  const watched: typeof fetch = (url, init) => {
    bodies.push(init?.body);
    return fetch(url, init);
  };
  const media = createMediaWorker({ openStore: async () => ({ store: createMemoryStore() }), fetch: watched, clock: systemClock });
  const { name, version, digest, manifest } = bright;
  const target = { servers: [far], name, pin: { version, digest }, manifest };
  const pixels = { width: 5, height: 7, channels: 4, data: Uint8ClampedArray.from({ length: 140 }, (_, index) => index) } as const;
  const image = prepareImage(pixels, taskOf(manifest, 'image-classification').input);

  const ofImage = await media.classifyOnServer(target, { callId: 1, image, topK: 1 });
  const ofPixels = await media.classifyOnServer(target, { callId: 2, image: pixels, topK: 1 });

  expect(bodies).toEqual([image.data, image.data]);
  expect(ofPixels.answer.predictions).toEqual(ofImage.answer.predictions);
  expect(ofPixels.answer.predictions).toHaveLength(1);
});

test('is one client for as long as it lives, also where the browser keeps nothing', async () => {
  const media = createMediaWorker({ openStore: async () => ({ store: createMemoryStore() }), fetch, clock: systemClock });
  const request = { name: 'bright', choice: {}, repositories: [`${far}/models`], lock: undefined, trust: [], wantsLabels: false };

  const settled = await Promise.all(Array.from({ length: 20 }, (_, callId) => media.resolve(callId, request, () => undefined)));

  expect(new Set(settled.map(({ pin }) => pin.version)).size).toBe(1);
});

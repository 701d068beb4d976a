import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareImage, taskOf } from '../../src/core/index.ts';
import { createRestServer, type Transport } from '../../src/server/transports/index.ts';
import { systemClock } from '../../src/worker/clock.ts';
import { createMediaWorker } from '../../src/worker/media/index.ts';
import { createMemoryStore } from '../../src/worker/store/index.ts';
import { bright, createStandInContext, createStandInFiles, createStandInStore, labelsFile } from '../server/transports/support/stand-in.ts';

let transport: Transport;
let far: string;
beforeAll(async () => {
  transport = createRestServer({
    ...createStandInContext(createStandInStore([bright])),
    files: createStandInFiles({ 'bright/1/labels.txt': { bytes: labelsFile } }),
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

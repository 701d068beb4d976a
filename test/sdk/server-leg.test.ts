import { expect, test } from 'vitest';
import { NearfarError } from '../../src/core/index.ts';
import { setUpClient } from './open-client.ts';
import { image, inputs, otherPin, pin, timing } from './stand-in-workers.ts';

test.each([
  ['refuses the digest', otherPin.digest, { version: pin.version, digest: otherPin.digest }],
  ['answers from another version', { ...otherPin }, otherPin],
  ['names no version', { version: null, digest: null }, { version: 'unknown', digest: 'unknown' }],
])('a server that %s shows as a version event', async (_, got, detail) => {
  const { client, workers, eventsOf } = setUpClient();
  await using model = await client.open('tiny', { mode: 'only-server' });
  workers.media.predictOnServer = async () => {
    throw new NearfarError('version-mismatch', 'another version is there', { details: { want: pin, got } });
  };

  await expect(model.predict(inputs)).rejects.toMatchObject({ code: 'version-mismatch' });

  expect(eventsOf('version').at(-1)?.detail).toEqual({ model: 'tiny', ...detail, reason: 'another version is there' });
});

test('servers that failed before the one that answered are retry events and stand in the run', async () => {
  const { client, workers, eventsOf } = setUpClient({ server: ['https://a.test', 'https://b.test'] });
  const retry = { url: 'https://a.test', attempt: 1, code: 'network', message: 'https://a.test cannot be reached' } as const;
  const answer = { predictions: [{ label: 'far', index: 0, score: 1 }], timing };
  workers.media.classifyOnServer = async () => ({ answer, pin, backend: 'onnx-cpu', variant: 'onnx', retries: [retry] });
  await using model = await client.open('tiny', { mode: 'only-server' });

  const { run } = await model.classify(new Blob([image.data]));
  const { run: other } = await model.predict(inputs);

  expect(run.retries).toEqual([retry]);
  expect(eventsOf('retry').map(({ detail }) => detail)).toEqual([
    { ...retry, type: 'retry', model: 'tiny', reason: `${retry.url}: ${retry.message}` },
  ]);
  expect(other).not.toHaveProperty('retries');
});

import { expect, test } from 'vitest';
import { NearfarError } from '../../src/core/index.ts';
import { setUpClient } from './open-client.ts';
import { inputs, otherPin, pin } from './stand-in-workers.ts';

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

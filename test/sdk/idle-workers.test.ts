import { expect, test } from 'vitest';
import { setUpClient } from './open-client.ts';
import { createGate } from './stand-in-workers.ts';

test('the last model that closes leaves work on the cache its worker, which ends behind it', async () => {
  const { client, workers } = setUpClient();
  const model = await client.open('tiny', { mode: 'only-on-device' });
  const gate = createGate<{ chunks: number; corrupt: [] }>();
  workers.device.verifyCache = () => gate.promise;

  const verifying = client.cache.verify();
  await model.close();
  const endedEarly = [...workers.ended];
  gate.open({ chunks: 3, corrupt: [] });

  await expect(verifying).resolves.toEqual({ chunks: 3, corrupt: [] });
  expect(endedEarly).toEqual([]);
  expect(workers.ended).toContain('device');
});

test('a question about availability is answered although the last model closes meanwhile', async () => {
  const { client, workers } = setUpClient();
  const model = await client.open('tiny');
  const gate = createGate<boolean>();
  workers.media.isReadyOnServer = () => gate.promise;

  const asking = client.availability('tiny');
  await model.close();
  gate.open(true);

  await expect(asking).resolves.toMatchObject({ state: 'downloadable' });
});

test('work on the cache alone keeps the workers for the model that comes next', async () => {
  const { client, workers } = setUpClient();

  await client.cache.report();
  await using _model = await client.open('tiny', { mode: 'only-on-device' });

  expect(workers.started.filter((role) => role === 'device')).toHaveLength(1);
});

test('closing the client lets work on the cache finish', async () => {
  const { client, workers } = setUpClient();
  const gate = createGate<number>();
  const entered = createGate<void>();
  workers.device.clearCache = () => {
    entered.open();
    return gate.promise;
  };

  const clearing = client.cache.clear();
  await entered.promise;
  const closing = client.close();
  gate.open(7);

  await expect(clearing).resolves.toBe(7);
  await closing;
  expect(workers.ended).toContain('device');
});

import { expect, test, vi } from 'vitest';
import { setUpClient } from './open-client.ts';
import { inputs } from './stand-in-workers.ts';

test('without a server, a device worker that hangs under a call is started again and gets the call again', async () => {
  const { client, workers, clock } = setUpClient({ server: [], hangTimeoutMs: 1_000 });
  await using model = await client.open('tiny');
  await vi.waitFor(() => expect(clock.pending).toBe(0));
  workers.freeze('device');

  const call = model.predict(inputs);
  await vi.waitFor(() => expect(clock.pending).toBeGreaterThan(0));
  clock.advance(1_000);
  const { run } = await call;

  expect(run).toMatchObject({ leg: 'on-device', fallback: { from: 'on-device', code: 'device-lost' } });
  expect(workers.ended).toEqual(['device']);
});

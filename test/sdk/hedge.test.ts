import { expect, test } from 'vitest';
import { NearfarError } from '../../src/core/index.ts';
// Here before the first call, which would wait for it.
import '../../src/sdk/hedge.ts';
import { setUpClient } from './open-client.ts';
import { createGate, inputs, opened, throwing, timing } from './stand-in-workers.ts';

const near = (value: number) => ({
  outputs: { y: { dtype: 'float32' as const, shape: [1, 2], data: new Float32Array([value, 0]) } },
  timing,
});
const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

/** A model on both legs, ready on this device, whose device answers when the test says so. */
async function setUpSlowDevice(
  options: Parameters<typeof setUpClient>[0] = { hedgeAfterMs: 100 },
  mode: 'prefer-on-device' | 'only-on-device' = 'prefer-on-device',
) {
  const setUp = setUpClient(options);
  const answer = createGate<ReturnType<typeof near>>();
  const cancelled: string[] = [];
  setUp.workers.device.predict = () => answer.promise;
  setUp.workers.device.cancel = (callId) => void (callId > 0 && cancelled.push('device'));
  setUp.workers.media.cancel = (callId) => void (callId > 0 && cancelled.push('media'));
  const model = await setUp.client.open('tiny', { mode });
  while (model.info.leg !== 'on-device') await settled();
  return { ...setUp, model, answer, cancelled };
}

test('a device that is slow is hedged: the server is asked after the time, its answer taken, the call on the device cancelled', async () => {
  const { model, clock, workers, cancelled, eventsOf } = await setUpSlowDevice();

  const call = model.predict(inputs);
  await settled();
  clock.advance(99);
  await settled();
  const early = workers.calls.filter((name) => name === 'media.predictOnServer').length;
  clock.advance(1);
  const { run } = await call;
  await settled();

  expect(early).toBe(0);
  expect(run).toMatchObject({ leg: 'server', hedgedOn: 'server', fallback: { from: 'on-device', code: 'deadline-exceeded' } });
  expect(cancelled).toEqual(['device']);
  expect(eventsOf('fallback')).toMatchObject([{ detail: { from: 'on-device', to: 'server', code: 'deadline-exceeded' } }]);
});

test('a device that answers after all wins, and the call on the server is cancelled', async () => {
  const { model, clock, workers, answer, cancelled } = await setUpSlowDevice();
  const never = createGate<never>();
  workers.media.predictOnServer = () => never.promise;

  const call = model.predict(inputs);
  await settled();
  clock.advance(100);
  await settled();
  answer.open(near(1));
  const { run } = await call;
  await settled();

  expect(run).toMatchObject({ leg: 'on-device', hedgedOn: 'server' });
  expect(run).not.toHaveProperty('fallback');
  expect(cancelled).toEqual(['media']);
});

test('a device that answers in time asks nobody else', async () => {
  const { model, workers, answer, clock } = await setUpSlowDevice();
  // What opening owes ends first.
  await settled();
  const pending = clock.pending;

  const call = model.predict(inputs);
  answer.open(near(1));
  const { run } = await call;

  expect(run).not.toHaveProperty('hedgedOn');
  expect(workers.calls).not.toContain('media.predictOnServer');
  expect(clock.pending).toBe(pending);
});

test('a device that fails before the time is followed at once', async () => {
  const { model, answer } = await setUpSlowDevice();

  const call = model.predict(inputs);
  await settled();
  answer.fail(new NearfarError('internal', 'by the test'));
  const { run } = await call;

  expect(run).toMatchObject({ leg: 'server', fallback: { code: 'internal' } });
  expect(run).not.toHaveProperty('hedgedOn');
});

test('when both fail the error names both', async () => {
  const { model, clock, workers, answer } = await setUpSlowDevice();
  workers.media.predictOnServer = throwing('unavailable');

  const call = model.predict(inputs).catch((error) => error);
  await settled();
  clock.advance(100);
  await settled();
  answer.fail(new NearfarError('internal', 'by the test'));

  expect((await call).details.attempts.map(({ leg }: { leg: string }) => leg).sort()).toEqual(['on-device', 'server']);
});

test('an abort ends both legs and rejects with its reason', async () => {
  const { model, clock, workers, cancelled } = await setUpSlowDevice();
  workers.media.predictOnServer = () => createGate<never>().promise;
  const abort = new AbortController();
  const reason = new Error('the user left');

  const call = model.predict(inputs, { signal: abort.signal }).catch((error) => error);
  await settled();
  clock.advance(100);
  await settled();
  abort.abort(reason);

  expect(await call).toBe(reason);
  await settled();
  expect(cancelled.sort()).toEqual(['device', 'media']);
});

test('a call has its own time, and may have one where the client has none', async () => {
  const { model, clock } = await setUpSlowDevice({});

  const call = model.predict(inputs, { hedgeAfterMs: 5 });
  await settled();
  clock.advance(5);

  expect((await call).run.hedgedOn).toBe('server');
});

test('only-on-device never asks the server, however slow the device is', async () => {
  const { model, clock, workers, answer } = await setUpSlowDevice({ hedgeAfterMs: 100 }, 'only-on-device');

  const call = model.predict(inputs);
  await settled();
  clock.advance(5_000);
  await settled();
  answer.open(near(1));

  expect((await call).run).not.toHaveProperty('hedgedOn');
  expect(workers.calls).not.toContain('media.predictOnServer');
});

test('a device that is not ready is not hedged on', async () => {
  const { client, workers, clock } = setUpClient({ hedgeAfterMs: 100 });
  const opening = createGate<typeof opened>();
  workers.device.open = () => opening.promise;
  await using model = await client.open('tiny');
  const answer = createGate<Awaited<ReturnType<NonNullable<typeof workers.media.predictOnServer>>>>();
  workers.media.predictOnServer = () => answer.promise;

  const call = model.predict(inputs, { hedgeAfterMs: 1 });
  await settled();
  clock.advance(100);
  await settled();
  answer.open({ answer: near(2), pin: opened.pin, backend: 'onnx-cpu', variant: 'onnx' });

  expect((await call).run).toMatchObject({ leg: 'server', fallback: { code: 'unavailable' } });
  expect((await call).run).not.toHaveProperty('hedgedOn');
  opening.open(opened);
});

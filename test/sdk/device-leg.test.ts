import { expect, test, vi } from 'vitest';
import { NearfarError, type OpenedModel } from '../../src/core/index.ts';
import { setUpClient } from './open-client.ts';
import { createGate, inputs, opened, otherPin } from './stand-in-workers.ts';

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

test('a model that the worker opened just before the abort is given back', async () => {
  const { client, workers } = setUpClient({ server: [] });
  await using _other = await client.open('tiny');
  const entered = createGate<void>();
  const gate = createGate<OpenedModel>();
  workers.device.open = () => {
    entered.open();
    return gate.promise;
  };
  const closed: number[] = [];
  workers.device.close = async (handle) => void closed.push(handle);
  const abort = new AbortController();

  const opening = client.open('tiny', { signal: abort.signal });
  await entered.promise;
  abort.abort(new Error('the user left'));
  await expect(opening).rejects.toThrow('the user left');
  gate.open({ ...opened, handle: 8 });

  await vi.waitFor(() => expect(closed).toEqual([8]));
});

test('a model that was opened at another digest is given back', async () => {
  const { client, workers } = setUpClient({ server: [] });
  await using _other = await client.open('tiny');
  workers.device.open = async () => ({ ...opened, handle: 8, pin: otherPin });
  const closed: number[] = [];
  workers.device.close = async (handle) => void closed.push(handle);

  await expect(client.open('tiny')).rejects.toMatchObject({ code: 'version-mismatch' });

  await vi.waitFor(() => expect(closed).toEqual([8]));
});

test('a backend whose opening hangs the worker again and again is given up for the next one', async () => {
  const { client, workers, clock, eventsOf } = setUpClient();
  const asked: (readonly string[])[] = [];
  workers.device.open = async (_callId, { backends }, notify) => {
    asked.push(backends);
    if (backends[0] !== 'tfjs-webgpu') return { ...opened, backend: 'onnx-webgpu', variant: 'onnx' };
    notify({ type: 'phase', phase: 'compile', backend: 'tfjs-webgpu' });
    // What the channel says of a worker that it had to end.
    await vi.waitFor(() => expect(eventsOf('phase').length).toBe(asked.length));
    throw new NearfarError('unavailable', 'the device worker gave no sign of life', { details: { worker: 'device' } });
  };
  await using model = await client.open('tiny');

  // In steps, far below what a worker may be silent.
  await vi.waitFor(
    () => {
      clock.advance(1_000);
      expect(eventsOf('retry')).toHaveLength(3);
    },
    { timeout: 10_000, interval: 20 },
  );
  await vi.waitFor(() => expect(model.info.leg).toBe('on-device'));
  const { run } = await model.predict(inputs);

  expect(asked.map(([first]) => first)).toEqual(['tfjs-webgpu', 'tfjs-webgpu', 'tfjs-webgpu', 'onnx-webgpu']);
  expect(run).toMatchObject({ engine: 'onnx', fallback: { from: 'tfjs-webgpu', code: 'device-lost' } });
});

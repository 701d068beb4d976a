import { proxy } from 'comlink';
import { afterEach, expect, test, vi } from 'vitest';
import { type DeviceWorkerApi, NearfarError } from '../../src/core/index.ts';
import { Channel } from '../../src/sdk/channel.ts';
import { createFakeClock } from './fake-clock.ts';
import { createGate, createStandIns, throwing } from './stand-in-workers.ts';

const open: Channel<DeviceWorkerApi>[] = [];

function setUp() {
  const clock = createFakeClock();
  const workers = createStandIns();
  const channel = new Channel<DeviceWorkerApi>({
    role: 'device',
    createWorker: workers.createWorker,
    clock,
    hangTimeoutMs: 1_000,
    startTimeoutMs: 8_000,
    cancel: (api, callId) => api.cancel(callId),
  });
  open.push(channel);
  return { clock, workers, channel };
}

afterEach(() => {
  for (const channel of open.splice(0)) channel.terminate();
});

test('starts the worker with the first call and tells it its role', async () => {
  const { channel, workers } = setUp();
  const before = workers.started.length;

  const stats = await channel.call((api) => api.stats());

  expect(before).toBe(0);
  expect(workers.started).toEqual(['device']);
  expect(stats).toEqual({ models: 0, tensors: 0, bytes: 0 });
});

test('rebuilds the error class with code, message and details', async () => {
  const { channel, workers } = setUp();
  workers.device.clearCache = async () => {
    throw new NearfarError('quota-exceeded', 'full', { details: { neededBytes: 2, availableBytes: 1 } });
  };

  const call = channel.call((api) => api.clearCache());

  await expect(call).rejects.toBeInstanceOf(NearfarError);
  await expect(call).rejects.toMatchObject({
    code: 'quota-exceeded',
    message: 'full',
    details: { neededBytes: 2, availableBytes: 1 },
  });
});

test('an abort rejects with the reason unchanged and cancels the call in the worker', async () => {
  const { channel, workers } = setUp();
  const cancelled = createGate<number>();
  const entered = createGate<void>();
  workers.device.cancel = (callId) => cancelled.open(callId);
  workers.device.plan = async () => {
    entered.open();
    return createGate<never>().promise;
  };
  const abort = new AbortController();
  const reason = { any: 'value' };
  let sentId = 0;

  const call = channel.call(
    (api, callId) => {
      sentId = callId;
      const request = { name: 'tiny', repositories: [], choice: {}, backends: [], allowSoftwareAdapter: false, cacheBudgetBytes: 0 };
      return api.plan(
        callId,
        request,
        proxy(() => {}),
      );
    },
    { signal: abort.signal },
  );
  await entered.promise;
  abort.abort(reason);

  await expect(call).rejects.toBe(reason);
  await expect(cancelled.promise).resolves.toBe(sentId);
});

test('a signal that is aborted already starts no worker', async () => {
  const { channel, workers } = setUp();

  const call = channel.call((api) => api.stats(), { signal: AbortSignal.abort('no') });

  await expect(call).rejects.toBe('no');
  expect(workers.started).toEqual([]);
});

test('a worker that answers not even a ping is ended, and the next call starts another one', async () => {
  const { channel, workers, clock } = setUp();
  const deaths: string[] = [];
  channel.onDeath(({ message }) => deaths.push(message));
  await channel.call((api) => api.stats());
  workers.freeze('device');

  const call = channel.call((api) => api.stats());
  clock.advance(1_000);

  await expect(call).rejects.toMatchObject({ code: 'unavailable', message: 'the device worker gave no sign of life for 1000 ms' });
  expect(deaths).toHaveLength(1);
  expect(workers.ended).toEqual(['device']);
  await expect(channel.call((api) => api.stats())).resolves.toMatchObject({ models: 0 });
  expect(workers.started).toEqual(['device', 'device']);
});

test('a slow call is waited for as long as the worker answers pings', async () => {
  const { channel, workers, clock } = setUp();
  const gate = createGate<{ models: number; tensors: number; bytes: number }>();
  workers.device.stats = () => gate.promise;
  await channel.call((api) => api.probe());

  const call = channel.call((api) => api.stats());
  for (let ping = 1; ping <= 3; ping += 1) {
    clock.advance(500);
    await vi.waitFor(() => expect(workers.calls.filter((name) => name === 'device.cancel')).toHaveLength(ping));
    await channel.call((api) => api.probe());
  }
  gate.open({ models: 1, tensors: 0, bytes: 0 });

  await expect(call).resolves.toMatchObject({ models: 1 });
  expect(workers.ended).toEqual([]);
});

test('an aborted call whose worker hangs still ends the worker', async () => {
  const { channel, workers, clock } = setUp();
  await channel.call((api) => api.stats());
  workers.freeze('device');
  const abort = new AbortController();

  const call = channel.call((api) => api.stats(), { signal: abort.signal });
  abort.abort();
  await expect(call).rejects.toMatchObject({ name: 'AbortError' });
  clock.advance(1_000);

  expect(workers.ended).toEqual(['device']);
});

test('a longer limit for one call holds for the worker while that call is open', async () => {
  const { channel, workers, clock } = setUp();
  await channel.call((api) => api.stats());
  workers.freeze('device');

  const call = channel.call((api) => api.stats(), { hangTimeoutMs: 5_000 });
  clock.advance(4_999);
  const endedEarly = workers.ended.length;
  clock.advance(1);

  await expect(call).rejects.toMatchObject({ code: 'unavailable' });
  expect(endedEarly).toBe(0);
});

test('waking from sleep, with no ping sent yet, gives the worker another chance', async () => {
  const { channel, workers } = setUp();
  let now = 0;
  const wake: (() => void)[] = [];
  const asleep = new Channel<DeviceWorkerApi>({
    role: 'device',
    createWorker: workers.createWorker,
    clock: {
      now: () => now,
      after: (_, callback) => {
        wake.push(callback);
        return () => {};
      },
    },
    hangTimeoutMs: 1_000,
    startTimeoutMs: 8_000,
    cancel: (api, callId) => api.cancel(callId),
  });
  open.push(asleep, channel);
  const gate = createGate<{ models: number; tensors: number; bytes: number }>();
  workers.device.stats = () => gate.promise;

  const call = asleep.call((api) => api.stats());
  await vi.waitFor(() => expect(workers.calls).toContain('device.stats'));
  now = 3_600_000;
  wake.at(-1)?.();
  gate.open({ models: 2, tensors: 0, bytes: 0 });

  await expect(call).resolves.toMatchObject({ models: 2 });
});

test('a timer that comes late itself gives the worker another ping, and an unanswered one ends it', async () => {
  const { workers } = setUp();
  let now = 0;
  const timers: (() => void)[] = [];
  const busy = new Channel<DeviceWorkerApi>({
    role: 'device',
    createWorker: workers.createWorker,
    clock: {
      now: () => now,
      after: (_, callback) => {
        timers.push(callback);
        return () => {};
      },
    },
    hangTimeoutMs: 1_000,
    startTimeoutMs: 8_000,
    cancel: (api, callId) => api.cancel(callId),
  });
  open.push(busy);
  await busy.call((api) => api.stats());
  workers.freeze('device');
  const call = busy.call((api) => api.stats());
  const fireAt = (ms: number) => {
    now = ms;
    timers.at(-1)?.();
  };

  fireAt(500);
  fireAt(7_000);
  const endedLate = [...workers.ended];
  fireAt(7_500);

  await expect(call).rejects.toMatchObject({ code: 'unavailable' });
  expect(endedLate).toEqual([]);
  expect(workers.ended).toEqual(['device']);
});

test('a worker whose script is still on its way gets more time', async () => {
  const { channel, workers, clock } = setUp();
  const call = channel.call((api) => api.stats());
  workers.freeze('device');
  const outcome = call.catch((error: NearfarError) => error.code);

  clock.advance(7_999);
  const endedEarly = workers.ended.length;

  expect(endedEarly).toBe(0);
  await expect(outcome).resolves.toEqual({ models: 0, tensors: 0, bytes: 0 });
});

test('a script that does not load fails the call with what the browser says', async () => {
  const { channel, workers } = setUp();
  workers.device.stats = () => createGate<never>().promise;

  const call = channel.call((api) => api.stats());
  workers.crash('device', 'blocked by CSP');

  await expect(call).rejects.toMatchObject({ code: 'unavailable', message: 'the device worker could not be started: blocked by CSP' });
});

test('an argument that cannot be cloned is the caller’s mistake', async () => {
  const { channel } = setUp();
  const inputs = { x: { dtype: 'float32', shape: [1], data: new Float32Array(1), extra: () => 0 } } as const;

  const call = channel.call((api, callId) => api.predict(1, { callId, signature: 's', inputs }));

  await expect(call).rejects.toMatchObject({ code: 'invalid-argument' });
});

test('leaves no timer behind when nothing is owed', async () => {
  const { channel, workers, clock } = setUp();
  workers.device.verifyCache = throwing('internal');

  await channel.call((api) => api.stats());
  await channel.call((api) => api.verifyCache()).catch(() => {});

  expect(clock.pending).toBe(0);
});

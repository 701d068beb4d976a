import { expect, test, vi } from 'vitest';
import { type ClassifyAnswer, type ClassifyCall, NearfarError, type OpenedModel, type OpenRequest } from '../../src/core/index.ts';
import { setUpClient } from './open-client.ts';
import { createGate, inputs, manifest, opened, otherPin, pin, throwing, timing } from './stand-in-workers.ts';

const photo = new Blob([new Uint8Array([1])]);

test('creating a client starts no worker', () => {
  const { workers } = setUpClient();

  expect(workers.started).toEqual([]);
});

test('only-on-device: answers near and says nothing to a server', async () => {
  const { client, workers } = setUpClient();

  await using model = await client.open('tiny', { mode: 'only-on-device' });
  const { predictions, run } = await model.classify(photo);

  expect(predictions[0]?.label).toBe('near');
  expect(run).toMatchObject({ model: 'tiny', ...pin, leg: 'on-device', engine: 'tfjs', backend: 'webgpu', variant: 'tfjs', cache: 'hit' });
  expect(run).not.toHaveProperty('fallback');
  expect(workers.calls.filter((call) => /OnServer/.test(call))).toEqual([]);
});

test('only-on-device: no input reaches a server even when the device fails under the call', async () => {
  const { client, workers } = setUpClient();
  await using model = await client.open('tiny', { mode: 'only-on-device' });
  workers.device.predict = throwing('internal', 'shader broke');

  const call = model.predict(inputs);

  await expect(call).rejects.toMatchObject({ code: 'internal', message: 'shader broke' });
  expect(workers.calls.filter((name) => /OnServer/.test(name))).toEqual([]);
});

test('only-on-device: fails to open with the reason of the device', async () => {
  const { client, workers } = setUpClient();
  workers.device.probe = async () => ({ probeMs: 1 });

  const opening = client.open('tiny', { mode: 'only-on-device', backends: ['tfjs-webgpu'] });

  await expect(opening).rejects.toMatchObject({ code: 'device-unfit' });
  expect(workers.ended.sort()).toEqual(['device', 'media']);
});

test('backends without a GPU wait for no probe of one', async () => {
  const { client, workers } = setUpClient();
  workers.device.probe = () => new Promise(() => undefined);

  await using model = await client.open('tiny', { mode: 'only-on-device', backends: ['tfjs-wasm'] });

  expect(model.info.leg).toBe('on-device');
  expect(workers.calls).not.toContain('device.probe');
});

test('only-server: starts no device worker and answers far', async () => {
  const { client, workers } = setUpClient();

  await using model = await client.open('tiny', { mode: 'only-server' });
  const { outputs, run } = await model.predict(inputs);

  expect([...(outputs['y']?.data ?? [])]).toEqual([2, 0]);
  expect(run).toMatchObject({ leg: 'server', engine: 'onnx', backend: 'cpu', cache: 'miss' });
  expect(workers.started).toEqual(['media']);
});

test('only-server: needs a server', async () => {
  const { client } = setUpClient({ server: [] });

  await expect(client.open('tiny', { mode: 'only-server' })).rejects.toMatchObject({ code: 'invalid-argument' });
});

test('only-server: does not open while no server has the version', async () => {
  const { client, workers } = setUpClient();
  workers.media.isReadyOnServer = async () => false;

  await expect(client.open('tiny', { mode: 'only-server' })).rejects.toMatchObject({ code: 'unavailable' });
});

test('prefer-on-device: the server answers while the model downloads, then the device takes over', async () => {
  const { client, workers, eventsOf } = setUpClient();
  const download = createGate<OpenedModel>();
  workers.device.open = () => download.promise;
  await using model = await client.open('tiny');
  await vi.waitFor(() => expect(workers.calls).toContain('device.open'));
  workers.notify({ type: 'phase', phase: 'download' });
  await vi.waitFor(() => expect(eventsOf('phase')).toHaveLength(1));

  const during = await model.predict(inputs);
  const ready = new Promise((resolve) => model.addEventListener('switch', resolve, { once: true }));
  download.open(opened);
  await ready;
  const after = await model.predict(inputs);

  expect(during.run).toMatchObject({
    leg: 'server',
    fallback: { from: 'on-device', code: 'unavailable', message: 'the model is still downloading on this device' },
  });
  expect(after.run).toMatchObject({ leg: 'on-device' });
  expect(after.run).not.toHaveProperty('fallback');
  expect(eventsOf('switch').map(({ detail }) => detail)).toEqual([
    { model: 'tiny', from: 'server', to: 'on-device', reason: 'the model is ready on this device (tfjs-webgpu)' },
  ]);
});

test('prefer-on-device: a device that throws is followed by the server, in the report and as an event', async () => {
  const { client, workers, eventsOf } = setUpClient();
  await using model = await client.open('tiny');
  await vi.waitFor(() => expect(model.info.leg).toBe('on-device'));
  workers.device.classify = throwing('internal', 'shader broke');

  const { predictions, run } = await model.classify(photo);

  expect(predictions[0]?.label).toBe('far');
  expect(run.fallback).toEqual({ from: 'on-device', code: 'internal', message: 'shader broke' });
  expect(eventsOf('fallback')[0]?.detail).toMatchObject({ from: 'on-device', to: 'server', code: 'internal', reason: 'shader broke' });
});

test('prefer-on-device: a lost device is opened again in the background while the server answers', async () => {
  const { client, workers, eventsOf } = setUpClient();
  await using model = await client.open('tiny');
  await vi.waitFor(() => expect(model.info.leg).toBe('on-device'));
  workers.device.predict = throwing('device-lost', 'driver reset');
  const reopening = createGate<OpenedModel>();
  workers.device.open = () => reopening.promise;

  const lost = await model.predict(inputs);
  const meanwhile = await model.predict(inputs);
  delete workers.device.predict;
  reopening.open({ ...opened, handle: 8 });
  await vi.waitFor(() => expect(model.info.leg).toBe('on-device'));
  const after = await model.predict(inputs);

  expect(lost.run.fallback).toMatchObject({ code: 'device-lost', message: 'driver reset' });
  expect(meanwhile.run.fallback).toMatchObject({ code: 'device-lost' });
  expect(after.run.leg).toBe('on-device');
  expect(eventsOf('device-lost')).toHaveLength(1);
  expect(eventsOf('switch').map(({ detail }) => ('to' in detail ? detail.to : undefined))).toEqual(['server', 'on-device']);
  expect(workers.calls).toContain('device.close');
});

test('prefer-on-device: a hung device worker is ended and the same call answered by the server', async () => {
  const { client, workers, clock } = setUpClient({ hangTimeoutMs: 1_000 });
  await using model = await client.open('tiny');
  await vi.waitFor(() => expect(model.info.leg).toBe('on-device'));
  await vi.waitFor(() => expect(clock.pending).toBe(0));
  workers.freeze('device');

  const call = model.predict(inputs);
  await vi.waitFor(() => expect(clock.pending).toBeGreaterThan(0));
  clock.advance(1_000);
  const { run } = await call;

  expect(run).toMatchObject({ leg: 'server', fallback: { from: 'on-device', code: 'device-lost' } });
  expect(workers.ended).toEqual(['device']);
  await vi.waitFor(() => expect(workers.started).toEqual(['device', 'media', 'device']));
  await vi.waitFor(() => expect(model.info.leg).toBe('on-device'));
});

test('without a server, a device lost under a call is reopened and gets the call again', async () => {
  const { client, workers } = setUpClient({ server: [] });
  await using model = await client.open('tiny');
  let calls = 0;
  workers.device.predict = async (...args) => {
    calls += 1;
    if (calls === 1) throw new NearfarError('device-lost', 'driver reset');
    delete workers.device.predict;
    return { outputs: args[1].inputs, timing: { queueMs: 0, preprocessMs: 0, inferMs: 0, postprocessMs: 0 } };
  };

  const { run } = await model.predict(inputs);

  expect(run).toMatchObject({ leg: 'on-device', fallback: { from: 'on-device', code: 'device-lost', message: 'driver reset' } });
});

test('without a server, errors of the device surface typed', async () => {
  const { client, workers } = setUpClient({ server: [] });
  await using model = await client.open('tiny');
  workers.device.predict = throwing('internal', 'shader broke');

  await expect(model.predict(inputs)).rejects.toMatchObject({ code: 'internal', message: 'shader broke' });
});

test('prefer-server: the server answers first, the device when it fails', async () => {
  const { client, workers } = setUpClient();
  await using model = await client.open('tiny', { mode: 'prefer-server' });
  await vi.waitFor(() => expect(workers.calls).toContain('device.open'));

  const first = await model.predict(inputs);
  workers.media.predictOnServer = throwing('network', 'no route');
  const second = await model.predict(inputs);

  expect(first.run).toMatchObject({ leg: 'server' });
  expect(first.run).not.toHaveProperty('fallback');
  expect(second.run).toMatchObject({ leg: 'on-device', fallback: { from: 'server', code: 'network', message: 'no route' } });
});

test('prefer-server: an answer of another digest is dropped, never returned', async () => {
  const { client, workers, eventsOf } = setUpClient();
  await using model = await client.open('tiny', { mode: 'only-server' });
  workers.media.predictOnServer = async () => ({
    answer: { outputs: {}, timing: { queueMs: 0, preprocessMs: 0, inferMs: 0, postprocessMs: 0 } },
    pin: otherPin,
    backend: 'onnx-cpu',
    variant: 'onnx',
  });

  const call = model.predict(inputs);

  await expect(call).rejects.toMatchObject({ code: 'version-mismatch', details: { want: pin, got: otherPin } });
  expect(eventsOf('version').at(-1)?.detail).toMatchObject(otherPin);
});

test('the device is opened at exactly the version and digest that was settled on', async () => {
  const { client, workers } = setUpClient();
  let request: OpenRequest | undefined;
  workers.device.open = async (_, asked) => {
    request = asked;
    return opened;
  };

  await using model = await client.open('tiny', { mode: 'only-on-device', label: 'stable' });

  expect(model.info).toMatchObject({ name: 'tiny', ...pin, labels: ['cat', 'dog'], leg: 'on-device' });
  expect(request).toMatchObject({ choice: { version: pin.version }, lock: { lockfileVersion: 1, models: { tiny: pin } } });
});

test('a device that opens another digest is refused', async () => {
  const { client, workers } = setUpClient();
  workers.device.open = async () => ({ ...opened, pin: otherPin });

  await expect(client.open('tiny', { mode: 'only-on-device' })).rejects.toMatchObject({ code: 'version-mismatch' });
});

test('a backend behind the preferred one shows as a fallback of every run', async () => {
  const { client, workers, eventsOf } = setUpClient();
  workers.device.probe = async () => ({ probeMs: 1 });
  workers.device.open = async () => ({ ...opened, backend: 'tfjs-wasm' });

  await using model = await client.open('tiny', { mode: 'only-on-device' });
  const { run } = await model.predict(inputs);

  expect(run).toMatchObject({ engine: 'tfjs', backend: 'wasm', fallback: { from: 'tfjs-webgpu', code: 'device-unfit' } });
  expect(eventsOf('fallback')[0]?.detail).toMatchObject({ from: 'tfjs-webgpu', to: 'tfjs-wasm' });
});

test('an opening that failed for a passing reason is tried again in the background', async () => {
  const { client, workers, clock, eventsOf } = setUpClient();
  workers.device.open = throwing('network', 'connection reset');
  await using model = await client.open('tiny');
  await vi.waitFor(() => expect(clock.pending).toBeGreaterThan(0));
  const far = await model.predict(inputs);

  delete workers.device.open;
  clock.advance(1_000);
  await vi.waitFor(() => expect(model.info.leg).toBe('on-device'));
  const near = await model.predict(inputs);

  expect(far.run).toMatchObject({ leg: 'server', fallback: { code: 'network', message: 'connection reset' } });
  expect(near.run.leg).toBe('on-device');
  expect(eventsOf('retry')[0]?.detail).toMatchObject({ attempt: 2, code: 'network' });
});

test('the media worker settles the version when the device worker cannot', async () => {
  const { client, workers } = setUpClient();
  workers.device.plan = throwing('internal', 'worker is unwell');

  await using model = await client.open('tiny');

  expect(model.info.digest).toBe(pin.digest);
  expect(workers.calls).toContain('media.resolve');
});

test('a version that disagrees with the lock is refused without asking another way', async () => {
  const { client, workers } = setUpClient();
  workers.device.plan = throwing('version-mismatch');

  await expect(client.open('tiny')).rejects.toMatchObject({ code: 'version-mismatch' });
  expect(workers.calls).not.toContain('media.resolve');
});

test('when no leg can answer, opening fails with what each said', async () => {
  const { client, workers } = setUpClient();
  workers.device.open = throwing('self-test-failed', 'off by 0.4');
  workers.media.isReadyOnServer = throwing('network', 'no route');

  await expect(client.open('tiny')).rejects.toMatchObject({
    code: 'self-test-failed',
    details: { attempts: [{ code: 'self-test-failed' }, { code: 'network' }] },
  });
  expect(workers.ended.sort()).toEqual(['device', 'media']);
});

test('an abort during the opening rejects with the reason, cancels the worker and ends it', async () => {
  const { client, workers } = setUpClient();
  const entered = createGate<void>();
  const cancelled = createGate<void>();
  workers.device.open = () => {
    entered.open();
    return createGate<OpenedModel>().promise;
  };
  workers.device.cancel = () => cancelled.open();
  const abort = new AbortController();
  const reason = new Error('the user left');

  const opening = client.open('tiny', { mode: 'only-on-device', signal: abort.signal });
  await entered.promise;
  abort.abort(reason);

  await expect(opening).rejects.toBe(reason);
  expect(workers.ended.sort()).toEqual(['device', 'media']);
});

test('an abort of a call reaches both legs and rejects with the reason', async () => {
  const { client, workers } = setUpClient();
  await using model = await client.open('tiny');
  await vi.waitFor(() => expect(model.info.leg).toBe('on-device'));
  const entered = createGate<void>();
  workers.device.predict = throwing('internal');
  workers.media.predictOnServer = () => {
    entered.open();
    return createGate<never>().promise;
  };
  const abort = new AbortController();
  const reason = new Error('the user left');

  const call = model.predict(inputs, { signal: abort.signal });
  await entered.promise;
  abort.abort(reason);

  await expect(call).rejects.toBe(reason);
  await vi.waitFor(() => expect(workers.calls).toContain('media.cancel'));
});

test('one deadline covers both legs', async () => {
  const { client, workers, clock } = setUpClient();
  await using model = await client.open('tiny');
  await vi.waitFor(() => expect(model.info.leg).toBe('on-device'));
  const asked: unknown[] = [];
  workers.device.predict = () => createGate<never>().promise;
  workers.media.predictOnServer = (_, { deadlineMs }) => {
    asked.push(deadlineMs);
    return createGate<never>().promise;
  };

  const call = model.predict(inputs, { deadlineMs: 1_000 });
  const outcome = expect(call).rejects.toMatchObject({ code: 'deadline-exceeded', details: { deadlineMs: 1_000 } });
  await vi.waitFor(() => expect(workers.calls).toContain('device.predict'));
  clock.advance(500);
  await vi.waitFor(() => expect(asked).toEqual([500]));
  clock.advance(500);

  await outcome;
});

test('a server that never answers does not hold a call without a deadline', async () => {
  const { client, workers, clock } = setUpClient({ serverTimeoutMs: 2_000 });
  await using model = await client.open('tiny', { mode: 'only-server' });
  workers.media.predictOnServer = () => createGate<never>().promise;

  const call = model.predict(inputs);
  const outcome = expect(call).rejects.toMatchObject({ code: 'deadline-exceeded' });
  await vi.waitFor(() => expect(workers.calls).toContain('media.predictOnServer'));
  clock.advance(2_000);

  await outcome;
});

test('wrong inputs are refused before any leg is asked', async () => {
  const { client, workers } = setUpClient();
  await using model = await client.open('tiny', { mode: 'only-on-device' });
  const x = (dtype: 'float32' | 'int32', shape: number[], data: Float32Array | Int32Array) => ({ x: { dtype, shape, data } });

  const calls = [
    model.predict({}),
    // @ts-expect-error the dtype does not go with the array
    model.predict(x('int32', [1, 2], new Int32Array(2))),
    // @ts-expect-error the dtype does not go with the array
    model.predict(x('float32', [1, 3], new Float32Array(3))),
    // @ts-expect-error the dtype does not go with the array
    model.predict(x('float32', [1, 2], new Int32Array(2))),
    model.predict(inputs, { signature: 'other' }),
    model.predict(inputs, { outputs: ['z'] }),
    model.classify(photo, { topK: 0 }),
    model.predict(inputs, { deadlineMs: Number.NaN }),
  ];
  const codes = await Promise.all(calls.map((call) => call.catch((error: NearfarError) => error.code)));

  expect(codes).toEqual([
    'invalid-argument',
    'dtype-mismatch',
    'shape-mismatch',
    'invalid-argument',
    'invalid-argument',
    'invalid-argument',
    'invalid-argument',
    'invalid-argument',
  ]);
  expect(workers.calls).not.toContain('device.predict');
});

test('inputs stay with the caller', async () => {
  const { client } = setUpClient();
  await using model = await client.open('tiny', { mode: 'only-on-device' });
  const mine = { x: { dtype: 'float32' as const, shape: [1, 2], data: new Float32Array([5, 6]) } };

  await model.predict(mine);

  expect([...mine.x.data]).toEqual([5, 6]);
});

test('closing finishes what is under way, refuses what comes later and ends the workers', async () => {
  const { client, workers } = setUpClient();
  const model = await client.open('tiny', { mode: 'only-on-device' });
  const gate = createGate<void>();
  workers.device.predict = async () => {
    await gate.promise;
    return { outputs: {}, timing: { queueMs: 0, preprocessMs: 0, inferMs: 0, postprocessMs: 0 } };
  };

  const call = model.predict(inputs);
  const closing = model.close();
  const late = model.predict(inputs);
  const again = model.close();
  await expect(late).rejects.toMatchObject({ code: 'failed-precondition' });
  const endedEarly = [...workers.ended];
  gate.open();

  await expect(call).resolves.toMatchObject({ run: { leg: 'on-device' } });
  await Promise.all([closing, again]);
  expect(endedEarly).toEqual([]);
  expect(workers.ended).toEqual(['device', 'media']);
});

test('the last model that closes ends the workers; another one starts them again', async () => {
  const { client, workers } = setUpClient();
  const one = await client.open('tiny', { mode: 'only-on-device' });
  const two = await client.open('tiny', { mode: 'only-on-device' });

  await one.close();
  const afterFirst = [...workers.ended];
  await two.close();
  await using _three = await client.open('tiny', { mode: 'only-on-device' });

  expect(afterFirst).toEqual([]);
  expect(workers.started).toEqual(['device', 'media', 'device', 'media']);
});

test('closing the client closes its models, stops what is being opened and refuses what comes later', async () => {
  const { client, workers } = setUpClient();
  const model = await client.open('tiny', { mode: 'only-on-device' });
  workers.device.open = () => createGate<OpenedModel>().promise;
  const opening = client.open('tiny', { mode: 'only-on-device' });
  const outcome = expect(opening).rejects.toMatchObject({ code: 'failed-precondition' });

  await Promise.all([client.close(), client.close()]);

  await outcome;
  await expect(model.predict(inputs)).rejects.toMatchObject({ code: 'failed-precondition' });
  await expect(client.open('tiny')).rejects.toMatchObject({ code: 'failed-precondition' });
  await expect(client.availability('tiny')).rejects.toMatchObject({ code: 'failed-precondition' });
  await expect(client.cache.report()).rejects.toMatchObject({ code: 'failed-precondition' });
  expect(workers.ended).toEqual(['device', 'media']);
});

test('the monitor gets the platform’s progress with real bytes, and phases', async () => {
  const { client, workers } = setUpClient();
  const seen: unknown[] = [];
  workers.device.open = async (_, __, notify) => {
    notify({ type: 'phase', phase: 'download' });
    notify({ type: 'downloadprogress', loadedBytes: 25, totalBytes: 100 });
    notify({ type: 'phase', phase: 'ready', backend: 'tfjs-webgpu' });
    return opened;
  };

  await using _model = await client.open('tiny', {
    mode: 'only-on-device',
    monitor: (monitor) => {
      monitor.addEventListener('downloadprogress', ({ loaded, total, loadedBytes, totalBytes }) =>
        seen.push({ loaded, total, loadedBytes, totalBytes }),
      );
      monitor.addEventListener('phase', ({ detail }) => seen.push(detail.phase));
    },
  });

  await vi.waitFor(() => expect(seen).toEqual(['download', { loaded: 0.25, total: 1, loadedBytes: 25, totalBytes: 100 }, 'ready']));
});

test('availability tells what would have to be fetched and on what it would run', async () => {
  const { client, workers } = setUpClient();

  const availability = await client.availability('tiny');

  expect(availability).toMatchObject({
    state: 'downloadable',
    reason: undefined,
    details: { ...pin, legs: ['on-device', 'server'], cachedBytes: 0, totalBytes: 100 },
  });
  expect(workers.calls).not.toContain('device.open');
});

test('availability of a model that does not exist is unavailable, with the reason', async () => {
  const { client, workers } = setUpClient();
  workers.device.plan = throwing('not-found', 'no such model');

  const availability = await client.availability('tiny');

  expect(availability).toMatchObject({ state: 'unavailable', reason: { code: 'not-found', message: 'no such model' } });
});

test('availability fetches no class names, an opening does', async () => {
  const { client, workers } = setUpClient();
  const wanted: unknown[] = [];
  workers.media.resolve = async (_callId, { wantsLabels }) => {
    wanted.push(wantsLabels);
    return { pin, manifest };
  };

  await client.availability('tiny', { mode: 'only-server' });
  await using _ = await client.open('tiny', { mode: 'only-server' });

  expect(wanted).toEqual([false, true]);
});

test('availability is downloading while the model is on its way', async () => {
  const { client, workers } = setUpClient();
  workers.device.open = async (_, __, notify) => {
    notify({ type: 'phase', phase: 'download' });
    return createGate<OpenedModel>().promise;
  };
  await using _model = await client.open('tiny');

  await vi.waitFor(async () => expect(await client.availability('tiny')).toMatchObject({ state: 'downloading' }));
});

test('a run event carries the report of every answer', async () => {
  const { client, eventsOf } = setUpClient();
  await using model = await client.open('tiny', { mode: 'only-on-device' });

  const { run } = await model.classify(photo);

  expect(eventsOf('run').map(({ detail }) => detail)).toEqual([
    { model: 'tiny', run, reason: 'on-device answered as the mode only-on-device prefers' },
  ]);
  expect(run.timing).toEqual({ queueMs: 1, preprocessMs: 7, inferMs: 3, postprocessMs: 4, totalMs: 0 });
});

/** ImageData as the SDK knows it in any realm: Node has none. */
function imageData(width: number, height: number, value: number) {
  const data = new Uint8ClampedArray(width * height * 4).fill(value);
  return { width, height, data, colorSpace: 'srgb', [Symbol.toStringTag]: 'ImageData' } as unknown as ImageData;
}

test('decoded pixels go straight to the worker that answers', async () => {
  const { client, workers } = setUpClient();
  const seen: ClassifyCall[] = [];
  workers.device.classify = async (_, call) => {
    seen.push(call);
    return { predictions: [], timing };
  };
  await using model = await client.open('tiny', { mode: 'only-on-device' });
  const picture = imageData(2, 1, 9);

  const { run } = await model.classify(picture);

  expect(seen[0]?.image).toEqual({ width: 2, height: 1, channels: 4, data: new Uint8ClampedArray(8).fill(9) });
  expect(workers.calls).not.toContain('media.prepareImage');
  expect(run.timing).toMatchObject(timing);
  expect(picture.data).toEqual(new Uint8ClampedArray(8).fill(9));
});

test('more than a megabyte of pixels is prepared beside the device worker', async () => {
  const { client, workers } = setUpClient();
  await using model = await client.open('tiny', { mode: 'only-on-device' });

  await model.classify(imageData(512, 513, 9));

  expect(workers.calls).toContain('media.prepareImage');
});

test('the leg that follows gets the pixels of the call, whatever became of them meanwhile', async () => {
  const { client, workers } = setUpClient();
  const near = createGate<ClassifyAnswer>();
  const far: ClassifyCall[] = [];
  workers.device.classify = () => near.promise;
  workers.media.classifyOnServer = async (_, call) => {
    far.push(call);
    return { answer: { predictions: [], timing }, pin, backend: 'onnx-cpu', variant: 'onnx' };
  };
  await using model = await client.open('tiny');
  await vi.waitFor(() => expect(model.info.leg).toBe('on-device'));
  const picture = imageData(2, 1, 9);

  const call = model.classify(picture);
  await vi.waitFor(() => expect(workers.calls).toContain('device.classify'));
  picture.data.fill(0);
  near.fail(new NearfarError('internal', 'shader broke'));
  const { run } = await call;

  expect(run).toMatchObject({ leg: 'server', fallback: { code: 'internal' } });
  expect(far[0]?.image.data).toEqual(new Uint8ClampedArray(8).fill(9));
  expect(workers.calls).not.toContain('media.prepareImage');
});

test('a model without an image task refuses to classify', async () => {
  const { client, workers } = setUpClient();
  const { tasks: _, ...taskless } = manifest;
  workers.device.plan = async () => ({ pin, manifest: taskless, cachedBytes: 0, totalBytes: 0 });
  await using model = await client.open('tiny', { mode: 'only-on-device' });

  await expect(model.classify(photo)).rejects.toMatchObject({ code: 'unsupported' });
});

test('a server that was cut is answered for by the device', async () => {
  const { client, workers } = setUpClient();
  await using model = await client.open('tiny', { mode: 'prefer-server' });
  await vi.waitFor(() => expect(workers.calls).toContain('device.open'));

  model.faults.cutServer(true);
  const { run } = await model.predict(inputs);

  expect(run).toMatchObject({ leg: 'on-device', fallback: { from: 'server', code: 'network' } });
});

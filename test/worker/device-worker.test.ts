import { readFileSync } from 'node:fs';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type BackendId,
  createTensor,
  type Engine,
  encodeSafetensors,
  type Manifest,
  NearfarError,
  type OpenRequest,
  type Signature,
  type TensorInfo,
  type TensorMap,
  type WorkerEvent,
} from '../../src/core/index.ts';
import { type Clock, systemClock } from '../../src/worker/clock.ts';
import { createDeviceWorker, type DeviceProbe, nearfarVersion, type OpenEngine } from '../../src/worker/device/index.ts';
import { type ChunkStore, createMemoryStore } from '../../src/worker/store/index.ts';
import { openTabs } from '../../src/worker/tabs/index.ts';
import { serveFaulty } from '../support/fault-server.ts';
import { createSmallRepository } from '../support/small-repository.ts';

// The model of these tests doubles its input; engines are stand-ins, so that each can fail in its own way.

const example = (...values: number[]): TensorMap => ({ x: createTensor('float32', [1, values.length], Float32Array.from(values)) });
const shape = [-1, 3];
const golden = {
  in: encodeSafetensors(example(1, 2, 3)),
  out: encodeSafetensors({ y: createTensor('float32', [1, 3], Float32Array.of(2, 4, 6)) }),
};
const describeDoubling = (manifest: Manifest): Manifest => ({
  ...manifest,
  signatures: {
    serving_default: { method: 'predict', inputs: { x: { dtype: 'float32', shape } }, outputs: { y: { dtype: 'float32', shape } } },
  },
  variants: [
    {
      id: 'f16',
      format: 'tfjs-graph',
      precision: 'float16',
      entry: 'graph.json',
      files: ['graph.json'],
      requires: ['shader-f16'],
      tolerance: { absolute: 1e-2, relative: 0 },
    },
    {
      id: 'f32',
      format: 'tfjs-graph',
      precision: 'float32',
      entry: 'graph.json',
      files: ['graph.json'],
      requires: [],
      tolerance: { absolute: 1e-4, relative: 0 },
    },
    {
      id: 'onnx',
      format: 'onnx',
      precision: 'float32',
      entry: 'model.onnx',
      files: ['model.onnx'],
      requires: [],
      tolerance: { absolute: 1e-4, relative: 0 },
    },
  ],
  tasks: {
    'image-classification': {
      signature: 'serving_default',
      input: {
        name: 'x',
        resize: { size: [1, 1], filter: 'bilinear', antialias: true },
        crop: [1, 1],
        layout: 'NHWC',
        scale: 1,
        mean: [0, 0, 0],
        std: [1, 1, 1],
      },
      output: { name: 'y', activation: 'none' },
    },
  },
  golden: [{ signature: 'serving_default', inputs: 'golden/0.in.safetensors', outputs: 'golden/0.out.safetensors' }],
});

const text = (value: string) => new TextEncoder().encode(value);
const models = { 'graph.json': text('a graph'), 'model.onnx': text('an onnx model') };
const files = { ...models, 'golden/0.in.safetensors': golden.in, 'golden/0.out.safetensors': golden.out };
const repository = await createSmallRepository([{ version: '1', chunkBytes: 64, files }], { name: 'doubling', describe: describeDoubling });
const server = await serveFaulty(repository.folder);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await repository[Symbol.asyncDispose]();
});
beforeEach(() => {
  server.fail(() => undefined);
  server.forget();
});

interface Behaviour {
  readonly openError?: NearfarError;
  readonly runError?: NearfarError;
  readonly factor?: number;
  /** What each run waits for. */
  readonly until?: () => Promise<void>;
  readonly isFallbackAdapter?: boolean;
}

/** Engines that multiply, and what became of them. */
function createEngines(behaviours: Partial<Record<BackendId, Behaviour>> = {}) {
  const log: string[] = [];
  const variants: string[] = [];
  const runs: { readonly signature: string; readonly shape: readonly number[] | undefined }[] = [];
  const live = new Set<Engine>();
  const openEngine: OpenEngine = async (backend, { allowSoftwareAdapter }) => {
    const { openError, runError, factor = 2, isFallbackAdapter = false, until } = behaviours[backend] ?? {};
    log.push(`open ${backend}`);
    if (openError) throw openError;
    if (isFallbackAdapter && !allowSoftwareAdapter) throw new NearfarError('device-unfit', 'a software adapter');
    let running = 0;
    let lose: (reason: string) => void = () => undefined;
    const engine: Engine = {
      backend,
      device: { kind: 'gpu', isFallbackAdapter },
      lost: new Promise((resolve) => {
        lose = resolve;
      }),
      loseDevice: () => lose('destroyed'),
      memory: () => ({ tensors: 1, bytes: 4, variants: 1 }),
      async load({ variant, readFile }) {
        await readFile(variant.entry);
        variants.push(variant.id);
        return {
          async run({ signature, inputs }, { signal } = {}) {
            signal?.throwIfAborted();
            runs.push({ signature, shape: inputs['x']?.shape });
            expect(++running).toBe(1);
            await (until?.() ?? new Promise((resolve) => setImmediate(resolve)));
            running--;
            if (runError) throw runError;
            const x = inputs['x'];
            if (x?.dtype !== 'float32') throw new NearfarError('dtype-mismatch', 'x is float32');
            return {
              y: createTensor(
                'float32',
                x.shape,
                x.data.map((value) => value * factor),
              ),
            };
          },
          async [Symbol.asyncDispose]() {
            log.push(`unload ${backend}`);
          },
        };
      },
      async [Symbol.asyncDispose]() {
        live.delete(engine);
        log.push(`close ${backend}`);
      },
    };
    live.add(engine);
    return engine;
  };
  return { openEngine, log, variants, runs, live };
}

const noGpu: DeviceProbe = { profile: async () => ({ probeMs: 0 }), adapter: async () => undefined };

const hardware = { kind: 'gpu', vendor: 'acme', maxBufferBytes: 2 ** 30, features: ['shader-f16'] } as const;

interface Surroundings {
  readonly clock?: Clock;
  readonly store?: ChunkStore;
  readonly refusal?: NearfarError;
  readonly browser?: string;
}

function createWorker(engines = createEngines(), probe = noGpu, surroundings: Surroundings = {}) {
  const { store = createMemoryStore(), refusal, browser = 'a browser', clock = systemClock } = surroundings;
  const preloaded: BackendId[] = [];
  const device = createDeviceWorker({
    openStore: async () => ({ store, ...(refusal && { refusal }) }),
    tabs: openTabs(undefined),
    openEngine: engines.openEngine,
    probe,
    preload: (backend) => void preloaded.push(backend),
    browser: async () => browser,
    fetch: globalThis.fetch,
    clock,
    nextTask: () => new Promise((resolve) => setImmediate(resolve)),
  });
  const events: WorkerEvent[] = [];
  const of = (type: WorkerEvent['type']) => events.filter((event) => event.type === type);
  let lastCallId = 0;
  const requestFor = (request: Partial<OpenRequest>): OpenRequest => ({
    name: 'doubling',
    repositories: [server.origin],
    choice: {},
    lock: repository.lockTo('1'),
    backends: ['tfjs-webgpu', 'onnx-webgpu', 'tfjs-wasm'],
    allowSoftwareAdapter: false,
    cacheBudgetBytes: 1_000_000,
    ...request,
  });
  const open = (request: Partial<OpenRequest> = {}, callId = ++lastCallId) =>
    device.open(callId, requestFor(request), (event) => events.push(event));
  /** As the page does before it opens. */
  const plan = (request: Partial<OpenRequest> = {}) =>
    device.plan(++lastCallId, requestFor({ ...request, isOpening: true }), () => undefined);
  const predict = (handle: number, callId = ++lastCallId) =>
    device.predict(handle, { callId, signature: 'serving_default', inputs: example(4, 5, 6) });
  return { device, store, engines, events, of, open, plan, predict, preloaded };
}

describe('golden examples', () => {
  const visits = (change: { browser?: string; vendor?: string } = {}, engines = createEngines(), store = createMemoryStore()) => {
    const { browser = 'a browser', vendor = 'acme' } = change;
    return createWorker(engines, { ...noGpu, adapter: async () => ({ ...hardware, features: [], vendor }) }, { store, browser });
  };
  const isKnown = (events: readonly WorkerEvent[]) =>
    events.flatMap((event) => (event.type === 'phase' && event.phase === 'warm-up' ? [event.isSelfTestKnown] : []));

  test('that passed are not run again on the same device, where a GPU is only warmed up', async () => {
    const first = visits();
    await first.device.close((await first.open()).handle);
    await first.device.close((await first.open({ backends: ['tfjs-wasm'] })).handle);
    const second = visits({}, createEngines(), first.store);
    server.forget();

    const opened = await second.open();
    const onWasm = await second.open({ backends: ['tfjs-wasm'] });

    expect([opened.cache, onWasm.cache]).toEqual(['hit', 'hit']);
    expect(isKnown(second.events)).toEqual([true, true]);
    // The example has one row of three values, too, but so have the zeros: one run for the GPU, none for wasm.
    expect(first.engines.runs).toHaveLength(2);
    expect(second.engines.runs).toEqual([{ signature: 'serving_default', shape: [1, 3] }]);
    expect(server.requests).toEqual([]);
  });

  test.each([{ browser: 'its next version' }, { vendor: 'another GPU' }])('are run again where the device has %j', async (change) => {
    const first = visits();
    await first.device.close((await first.open()).handle);
    const second = visits(change, createEngines({ 'tfjs-webgpu': { factor: 3 } }), first.store);

    const opened = await second.open();

    expect(opened).toMatchObject({ backend: 'onnx-webgpu', skipped: [{ backend: 'tfjs-webgpu', code: 'self-test-failed' }] });
  });

  test('that failed are remembered: the backend is skipped with its reason, without its engine or a byte', async () => {
    const first = visits({}, createEngines({ 'tfjs-webgpu': { factor: 3 } }));
    await first.device.close((await first.open()).handle);
    const second = visits({}, createEngines({ 'tfjs-webgpu': { factor: 3 } }), first.store);

    const opened = await second.open();

    expect(opened).toMatchObject({ backend: 'onnx-webgpu', cache: 'hit' });
    expect(second.of('fallback')).toMatchObject([{ from: 'tfjs-webgpu', to: 'onnx-webgpu', code: 'self-test-failed' }]);
    expect(second.of('fallback')[0]).toHaveProperty('message', expect.stringMatching(/not reproduced.*earlier visit/));
    expect(second.engines.log).toEqual(['open onnx-webgpu']);
  });

  test('that failed are run again once the cache was cleared', async () => {
    const engines = createEngines({ 'tfjs-webgpu': { factor: 3 } });
    const first = visits({}, engines);
    await first.device.close((await first.open()).handle);
    await first.device.clearCache('doubling');

    await visits({}, engines, first.store).open();

    expect(engines.log.filter((line) => line === 'open tfjs-webgpu')).toHaveLength(2);
  });

  test('a device that is lost while they run has proved nothing', async () => {
    const first = visits({}, createEngines({ 'tfjs-webgpu': { runError: new NearfarError('device-lost', 'a reset') } }));
    await first.open();
    const second = visits({}, createEngines(), first.store);

    expect(await second.open()).toMatchObject({ backend: 'tfjs-webgpu' });
    expect(isKnown(second.events)).toEqual([false]);
  });

  test('belong to one nearfar', () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

    expect(nearfarVersion).toBe(version);
  });
});

describe('a planned opening', () => {
  const profile = async () => ({ adapter: hardware, kernelMs: 1, probeMs: 1 });
  const choice = { version: '1' };
  const reads = (store: ChunkStore) => {
    const digests: string[] = [];
    const readChunk = (digest: string) => {
      digests.push(digest);
      return store.readChunk(digest);
    };
    return { digests, store: { ...store, readChunk } };
  };

  test('reads cached files once, while the page decides, and tells its phases when it comes', async () => {
    const first = createWorker();
    await first.device.close((await first.open({ backends: ['tfjs-wasm'] })).handle);
    const { store, digests } = reads(first.store);
    const { plan, open, of, preloaded } = createWorker(createEngines(), noGpu, { store });

    await plan({ backends: ['tfjs-wasm'] });
    await expect.poll(() => digests.length).toBeGreaterThan(0);
    const opened = await open({ backends: ['tfjs-wasm'], choice });

    expect(opened.cache).toBe('hit');
    expect(new Set(digests).size).toBe(digests.length);
    expect(preloaded).toEqual(['tfjs-wasm']);
    const phases = of('phase').map((event) => event.type === 'phase' && event.phase);
    expect(phases).toEqual(['download', 'verify', 'compile', 'warm-up', 'ready']);
  });

  test.each([['tfjs-wasm'], ['tfjs-webgpu']] as const)(
    'on %s: an engine that needs no GPU starts at once, and is opened once',
    async (backend) => {
      const { plan, open, device, engines } = createWorker(createEngines(), { ...noGpu, adapter: async () => hardware, profile });

      await plan({ backends: [backend] });
      await new Promise((resolve) => setImmediate(resolve));
      const early = [...engines.log];
      const { handle } = await open({ backends: [backend], choice });
      await device.close(handle);

      expect(early).toEqual(backend === 'tfjs-wasm' ? ['open tfjs-wasm'] : []);
      expect(engines.log.filter((line) => !line.startsWith('unload'))).toEqual([`open ${backend}`, `close ${backend}`]);
    },
  );

  test('fetches nothing of the model before it comes', async () => {
    const { plan, open } = createWorker();

    await plan({ backends: ['tfjs-wasm'] });
    const asked = server.requests.map(({ path }) => path);
    const opened = await open({ backends: ['tfjs-wasm'], choice });

    expect(asked).toEqual(['doubling/1/manifest.json']);
    expect(opened.cache).toBe('miss');
  });

  test('that never comes is forgotten with the bytes it read', async () => {
    let expire: () => void = () => undefined;
    const delay = () =>
      new Promise<void>((resolve) => {
        expire = resolve;
      });
    const first = createWorker();
    await first.device.close((await first.open({ backends: ['tfjs-wasm'] })).handle);
    const { store, digests } = reads(first.store);
    const { plan, open, engines } = createWorker(createEngines(), noGpu, { store, clock: { ...systemClock, delay } });
    await plan({ backends: ['tfjs-wasm'] });
    await expect.poll(() => digests.length).toBe(1);
    await expect.poll(() => engines.live.size).toBe(1);

    expire();
    await expect.poll(() => engines.live.size).toBe(0);
    const opened = await open({ backends: ['tfjs-wasm'], choice });

    expect(opened.cache).toBe('hit');
    expect(digests).toEqual([digests[0], digests[0]]);
  });
});

describe('opening a model', () => {
  test('takes the first backend and tells each phase in order', async () => {
    const { open, of, predict } = createWorker();

    const opened = await open();

    expect(opened).toMatchObject({ backend: 'tfjs-webgpu', variant: 'f32', cache: 'miss', skipped: [], pin: repository.pins['1'] });
    expect(of('phase').map((event) => event.type === 'phase' && event.phase)).toEqual([
      'download',
      'verify',
      'compile',
      'warm-up',
      'ready',
    ]);
    expect((await predict(opened.handle)).outputs['y']?.data).toEqual(Float32Array.of(8, 10, 12));
  });

  test('goes to the next backend when a golden example is not reproduced', async () => {
    const { open, of, engines } = createWorker(createEngines({ 'tfjs-webgpu': { factor: 2.01 } }));

    const opened = await open();

    expect(opened).toMatchObject({
      backend: 'onnx-webgpu',
      variant: 'onnx',
      skipped: [{ backend: 'tfjs-webgpu', code: 'self-test-failed' }],
    });
    expect(of('fallback')).toMatchObject([{ from: 'tfjs-webgpu', to: 'onnx-webgpu', code: 'self-test-failed' }]);
    expect(engines.log).toContain('close tfjs-webgpu');
  });

  test('goes to the next backend when a variant answers in another dtype than declared', async () => {
    const runError = new NearfarError('dtype-mismatch', 'output "y" is declared float32, the model gives int32');
    const { open } = createWorker(createEngines({ 'tfjs-webgpu': { runError } }));

    const opened = await open();

    expect(opened).toMatchObject({ backend: 'onnx-webgpu', skipped: [{ backend: 'tfjs-webgpu', code: 'dtype-mismatch' }] });
  });

  test('fetches no model byte for a device that cannot run it', async () => {
    const { open } = createWorker(createEngines({ 'tfjs-webgpu': { isFallbackAdapter: true } }));

    await expect(open({ backends: ['tfjs-webgpu'] })).rejects.toMatchObject({ code: 'device-unfit' });

    expect(server.requests.map(({ path }) => path)).toEqual(['doubling/1/manifest.json']);
  });

  test('uses a software adapter where that is allowed', async () => {
    const { open } = createWorker(createEngines({ 'tfjs-webgpu': { isFallbackAdapter: true } }));

    expect(await open({ allowSoftwareAdapter: true })).toMatchObject({ backend: 'tfjs-webgpu', device: { isFallbackAdapter: true } });
  });

  test('names every reason when no backend passes', async () => {
    const unfit = new NearfarError('device-unfit', 'no adapter');
    const { open, engines } = createWorker(createEngines({ 'tfjs-webgpu': { openError: unfit }, 'tfjs-wasm': { factor: 3 } }));

    const error = await open({ backends: ['tfjs-webgpu', 'tfjs-wasm'] }).catch((reason: unknown) => reason);

    expect(error).toMatchObject({
      code: 'device-unfit',
      details: {
        skipped: [
          { backend: 'tfjs-webgpu', code: 'device-unfit' },
          { backend: 'tfjs-wasm', code: 'self-test-failed' },
        ],
      },
    });
    expect(engines.live.size).toBe(0);
  });

  test('takes the variant whose features the device has', async () => {
    const { open, engines } = createWorker(createEngines(), { ...noGpu, adapter: async () => hardware });

    expect(await open()).toMatchObject({ variant: 'f16' });
    expect(await open({ backends: ['tfjs-wasm'] })).toMatchObject({ variant: 'f32' });
    expect(engines.variants).toEqual(['f16', 'f32']);
  });

  test('does not hide a broken network behind the next backend', async () => {
    server.fail((path) => (path.endsWith('graph.json') ? { status: 404 } : undefined));
    const { open, engines, of } = createWorker();

    await expect(open()).rejects.toMatchObject({ code: 'not-found' });

    expect(of('fallback')).toEqual([]);
    expect(engines.live.size).toBe(0);
  });

  test('runs offline on the first backend whose files are all cached, and says why not on those before it', async () => {
    const { open, device, of } = createWorker();
    await device.close((await open({ backends: ['tfjs-wasm'] })).handle);
    server.fail((path) => (path.includes('/1/') ? { status: 503 } : undefined));
    server.forget();

    const opened = await open({ backends: ['onnx-webgpu', 'onnx-wasm', 'tfjs-wasm'] });

    expect(opened).toMatchObject({
      backend: 'tfjs-wasm',
      cache: 'hit',
      skipped: [
        { backend: 'onnx-webgpu', code: 'network' },
        { backend: 'onnx-wasm', code: 'network' },
      ],
    });
    expect(of('fallback')).toMatchObject([
      { from: 'onnx-webgpu', to: 'tfjs-wasm', code: 'network' },
      { from: 'onnx-wasm', to: 'tfjs-wasm', code: 'network' },
    ]);
    expect(new Set(server.requests.map(({ path }) => path))).toEqual(new Set(['doubling/1/model.onnx']));
  });

  test('offline, a cached backend that fails itself leaves the network as the reason', async () => {
    const engines = createEngines({ 'tfjs-wasm': { factor: 3 } });
    const { open, engines: shared } = createWorker(engines);
    await open({ backends: ['tfjs-wasm'] }).catch(() => undefined);
    server.fail((path) => (path.includes('/1/') ? { status: 503 } : undefined));

    await expect(open({ backends: ['onnx-webgpu', 'tfjs-wasm'] })).rejects.toMatchObject({ code: 'network' });
    await expect(open({ backends: ['onnx-webgpu', 'onnx-wasm'] })).rejects.toMatchObject({ code: 'network' });

    expect(shared.live.size).toBe(0);
  });

  test('without golden examples, runs once each signature that zeros can stand for', async () => {
    const { serving_default: doubling } = describeDoubling({} as Manifest).signatures;
    const of = (x: TensorInfo): Signature => ({ method: 'predict', inputs: { x }, outputs: doubling?.outputs ?? {} });
    const signatures = {
      rows: of({ dtype: 'float32', shape: [-1, 3] }),
      fixed: of({ dtype: 'float32', shape: [2, 3] }),
      open: of({ dtype: 'float32', shape: [-1, -1] }),
      words: of({ dtype: 'string', shape: [-1] }),
    };
    const describeCold = (manifest: Manifest): Manifest => ({ ...describeDoubling(manifest), signatures, tasks: {}, golden: [] });
    await using cold = await createSmallRepository([{ version: '1', chunkBytes: 64, files: models }], {
      name: 'cold',
      describe: describeCold,
    });
    await using origin = await serveFaulty(cold.folder);
    const { open, engines } = createWorker();

    const opened = await open({ name: 'cold', repositories: [origin.origin], lock: cold.lockTo('1') });

    expect(opened.backend).toBe('tfjs-webgpu');
    expect(engines.runs).toEqual([
      { signature: 'fixed', shape: [2, 3] },
      { signature: 'rows', shape: [1, 3] },
    ]);
  });

  test.each(['device-lost', 'out-of-memory'] as const)('goes to the next backend when warming up ends in %s', async (code) => {
    const describeCold = (manifest: Manifest): Manifest => ({ ...describeDoubling(manifest), golden: [] });
    await using cold = await createSmallRepository([{ version: '1', chunkBytes: 64, files: models }], {
      name: 'cold',
      describe: describeCold,
    });
    await using origin = await serveFaulty(cold.folder);
    const runError = new NearfarError(code, 'while warming up');
    const { open } = createWorker(createEngines({ 'tfjs-webgpu': { runError } }));

    const opened = await open({ name: 'cold', repositories: [origin.origin], lock: cold.lockTo('1') });

    expect(opened).toMatchObject({ backend: 'onnx-webgpu', skipped: [{ backend: 'tfjs-webgpu', code }] });
  });

  test('can be cancelled, and leaves no engine behind', async () => {
    let answer: () => void = () => undefined;
    const until = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const { open, device, engines, store } = createWorker();
    const asked = new Promise<void>((resolve) => {
      server.fail((path) => {
        if (!path.endsWith('graph.json')) return undefined;
        resolve();
        return { until };
      });
    });
    const opening = open({}, 77);
    await asked;

    device.cancel(77);

    await expect(opening).rejects.toMatchObject({ code: 'cancelled' });
    answer();
    expect(engines.live.size).toBe(0);
    expect(await store.listVersions()).toMatchObject([{ committed: [] }]);
    expect(await device.stats()).toEqual({ models: 0, tensors: 0, bytes: 0 });
  });
});

describe('an open model', () => {
  test('is shared by openings at the same time and closed with the last of them', async () => {
    const { open, device, engines, predict } = createWorker();
    const [first, second] = await Promise.all([open(), open()]);

    await device.close(first.handle);
    await device.close(first.handle);
    const answer = await predict(second.handle);
    const before = await device.stats();
    await device.close(second.handle);

    expect(second.cache).toBe('memory');
    expect(answer.outputs['y']?.data).toEqual(Float32Array.of(8, 10, 12));
    expect(before.models).toBe(1);
    expect(engines.log).toEqual(['open tfjs-webgpu', 'unload tfjs-webgpu', 'close tfjs-webgpu']);
    expect(await device.stats()).toEqual({ models: 0, tensors: 0, bytes: 0 });
    await expect(predict(second.handle)).rejects.toMatchObject({ code: 'failed-precondition' });
  });

  test('is opened again from the cache', async () => {
    const { open, device } = createWorker();
    await device.close((await open()).handle);
    server.forget();

    expect((await open()).cache).toBe('hit');
    expect(server.requests).toEqual([]);
  });

  test('finishes the runs under way before it closes', async () => {
    const { open, device, predict } = createWorker();
    const { handle } = await open();
    const runs = [predict(handle), predict(handle), predict(handle)];

    await device.close(handle);

    const answers = await Promise.all(runs);
    expect(answers).toHaveLength(3);
    expect(answers[2]?.timing.queueMs).toBeGreaterThanOrEqual(answers[1]?.timing.queueMs ?? Number.POSITIVE_INFINITY);
  });

  test('lets a call that still waits be cancelled', async () => {
    const { open, device, predict } = createWorker();
    const { handle } = await open();
    const first = predict(handle, 100);
    const second = predict(handle, 101);

    device.cancel(101);

    await expect(second).rejects.toMatchObject({ code: 'cancelled' });
    await expect(first).resolves.toHaveProperty('outputs');
  });

  test('tells when its device is lost, and is loaded anew when opened again', async () => {
    const { open, device, of, engines } = createWorker();
    const first = await open();

    await device.loseDevice(first.handle);
    const second = await open();
    await device.close(first.handle);
    await device.close(second.handle);

    expect(of('device-lost')).toEqual([{ type: 'device-lost', backend: 'tfjs-webgpu', message: 'destroyed' }]);
    expect(second.cache).toBe('hit');
    expect(engines.log.filter((line) => line === 'open tfjs-webgpu')).toHaveLength(2);
    expect(engines.live.size).toBe(0);
  });

  test('is not evicted to make room for another', async () => {
    const { open, of, device } = createWorker();
    await open();

    await open({ backends: ['onnx-webgpu'], cacheBudgetBytes: 300 });

    expect(of('eviction')).toEqual([]);
    expect((await device.cacheReport(300)).versions).toHaveLength(1);
  });
});

describe('the memory budget', () => {
  // graph.json has 7 bytes, model.onnx 13.
  const tfjs = { backends: ['tfjs-wasm'], memoryBudgetBytes: 15 } satisfies Partial<OpenRequest>;
  const onnx = { backends: ['onnx-wasm'], memoryBudgetBytes: 15 } satisfies Partial<OpenRequest>;

  test('unloads the model used longest ago, which its next call loads again from the cache', async () => {
    const { open, predict, of, device, engines } = createWorker();
    const first = await open(tfjs);
    const second = await open(onnx);
    const unloaded = engines.log.filter((line) => line.startsWith('unload'));
    server.forget();

    const answers = [await predict(first.handle), await predict(second.handle), await predict(first.handle)];

    expect(unloaded).toEqual(['unload tfjs-wasm']);
    expect(answers.map(({ outputs }) => outputs['y']?.data)).toEqual(Array(3).fill(Float32Array.of(8, 10, 12)));
    expect(of('eviction')).toMatchObject([
      { from: 'memory', name: 'doubling', version: '1', bytes: 7 },
      { from: 'memory', bytes: 13 },
      { from: 'memory', bytes: 7 },
      { from: 'memory', bytes: 13 },
    ]);
    expect(server.requests).toEqual([]);
    expect(await device.stats()).toMatchObject({ models: 2 });
    await Promise.all([device.close(first.handle), device.close(second.handle)]);
    expect(engines.live.size).toBe(0);
  });

  test('keeps a model under a call, and calls of one that is loaded again in their order', async () => {
    let gate = Promise.resolve();
    const { open, predict, engines, of } = createWorker(createEngines({ 'tfjs-wasm': { until: () => gate } }));
    const first = await open(tfjs);
    let finish: () => void = () => undefined;
    gate = new Promise((resolve) => {
      finish = resolve;
    });
    const busy = predict(first.handle);

    const opening = open(onnx);
    await expect.poll(() => engines.log).toContain('open onnx-wasm');
    finish();
    const second = await opening;
    await busy;
    const early = of('eviction').length;
    await open({ backends: ['tfjs-webgpu'], memoryBudgetBytes: 1 });
    const order: number[] = [];
    const calls = [1, 2, 3].map((call) => predict(first.handle).then(() => order.push(call)));
    await Promise.all([...calls, predict(second.handle)]);

    expect(early).toBe(0);
    expect(order).toEqual([1, 2, 3]);
    expect(engines.log.filter((line) => line === 'open tfjs-wasm')).toHaveLength(2);
  });

  test('a model that is opened again while it is unloaded is loaded once for both', async () => {
    const { open, predict, engines, device } = createWorker();
    const first = await open(tfjs);
    await open(onnx);

    const again = await open(tfjs);
    await Promise.all([predict(first.handle), predict(again.handle)]);
    await device.close(first.handle);

    expect(engines.variants).toEqual(['f32', 'onnx', 'f32']);
    expect((await predict(again.handle)).outputs['y']?.data).toEqual(Float32Array.of(8, 10, 12));
  });

  test('a model that cannot be loaded again tells its call why, and is tried again by the next', async () => {
    const { open, predict, store } = createWorker();
    const first = await open(tfjs);
    await open(onnx);
    await store.deleteAll();
    server.fail((path) => (path.endsWith('graph.json') ? { status: 404 } : undefined));

    await expect(predict(first.handle)).rejects.toMatchObject({ code: 'not-found' });
    server.fail(() => undefined);

    await expect(predict(first.handle)).resolves.toHaveProperty('outputs');
  });
});

test('classifies a prepared image and decoded pixels, which it prepares itself', async () => {
  const { device, open } = createWorker();
  const { handle } = await open();
  const prepared = { width: 1, height: 1, data: Uint8Array.of(10, 30, 20) };
  const opaque = { width: 1, height: 2, channels: 4, data: Uint8ClampedArray.of(10, 30, 20, 255, 10, 30, 20, 255) } as const;
  const clear = { width: 1, height: 1, channels: 4, data: Uint8ClampedArray.of(10, 30, 20, 0) } as const;

  const scores = [];
  for (const image of [prepared, opaque, clear]) {
    const { predictions } = await device.classify(handle, { callId: 1, image, topK: 3 });
    scores.push(predictions.map(({ index, score }) => [index, score]));
  }

  const best = [
    [1, 60],
    [2, 40],
    [0, 20],
  ];
  const white = [0, 1, 2].map((index) => [index, 510]);
  expect(scores).toEqual([best, best, white]);
});

test('refuses pixels whose bytes do not fit their size', async () => {
  const { device, open } = createWorker();
  const { handle } = await open();
  const image = { width: 2, height: 2, channels: 4, data: new Uint8ClampedArray(4) } as const;

  await expect(device.classify(handle, { callId: 1, image, topK: 1 })).rejects.toMatchObject({ code: 'shape-mismatch' });
});

test('a plan says how many bytes are missing, and fetches none of them', async () => {
  const { device, open } = createWorker();
  const request: OpenRequest = {
    name: 'doubling',
    repositories: [server.origin],
    choice: {},
    lock: repository.lockTo('1'),
    backends: ['tfjs-wasm'],
    allowSoftwareAdapter: false,
    cacheBudgetBytes: 1_000_000,
  };
  const totalBytes = 7 + golden.in.byteLength + golden.out.byteLength;

  const before = await device.plan(1, request, () => {});
  const requested = server.requests.map(({ path }) => path);
  await open({ backends: ['tfjs-wasm'] });
  const after = await device.plan(2, request, () => {});

  expect(before).toMatchObject({ pin: repository.pins['1'], cachedBytes: 0, totalBytes });
  expect(requested).toEqual(['doubling/1/manifest.json']);
  expect(after.cachedBytes).toBe(totalBytes);
});

test('a plan counts the bytes of the first backend that fits the device, not of one that it cannot run', async () => {
  const { device, open } = createWorker();
  await open({ backends: ['tfjs-wasm'] });

  const planned = await device.plan(
    1,
    {
      name: 'doubling',
      repositories: [server.origin],
      choice: {},
      lock: repository.lockTo('1'),
      backends: ['onnx-webgpu', 'tfjs-wasm'],
      allowSoftwareAdapter: false,
      cacheBudgetBytes: 1_000_000,
    },
    () => {},
  );

  expect(planned.totalBytes).toBe(7 + golden.in.byteLength + golden.out.byteLength);
  expect(planned.cachedBytes).toBe(planned.totalBytes);
});

test('a cache that cannot be opened is told with what the browser said, and the model opens all the same', async () => {
  const refusal = new NearfarError('unavailable', "the browser's storage cannot be opened: a private window");
  const { open, of } = createWorker(createEngines(), noGpu, { refusal });

  const opened = await open();

  expect(opened.cache).toBe('miss');
  expect(of('quota')).toMatchObject([{ action: 'memory', availableBytes: 0, message: refusal.message }]);
});

test('a plan made offline tells that it rests on the last known versions.json', async () => {
  const { device } = createWorker();
  const request: OpenRequest = {
    name: 'doubling',
    repositories: [server.origin],
    choice: {},
    backends: ['tfjs-wasm'],
    allowSoftwareAdapter: false,
    cacheBudgetBytes: 1_000_000,
  };
  const events: WorkerEvent[] = [];
  await device.plan(1, request, () => {});
  server.fail((path) => (path.endsWith('versions.json') ? { status: 503 } : undefined));

  const planned = await device.plan(2, { ...request, lock: undefined }, (event) => events.push(event));

  expect(planned.pin).toEqual(repository.pins['1']);
  expect(events).toMatchObject([{ type: 'fallback', from: 'versions.json', code: 'network' }]);
});

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { compareOutputs, createTensor, type TensorMap } from '../../src/core/index.ts';
import { BufferPool } from '../../src/server/buffer-pool.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import {
  errorOf,
  golden,
  goldenInputs,
  goldenTolerance,
  openServingBench,
  predict,
  type ServingBench,
  statesOf,
  until,
} from '../support/serving.ts';

let bench: ServingBench;

beforeEach(async () => {
  bench = await openServingBench();
});

afterEach(() => bench[Symbol.asyncDispose]());

/** Every engine worker that got a message from here on, and, for each call, what to do to it. */
function watchWorkers(onCall: (worker: Worker, method: string) => void = () => {}): Set<Worker> {
  const workers = new Set<Worker>();
  const post = Worker.prototype.postMessage;
  vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (this: Worker, ...args: Parameters<typeof post>) {
    workers.add(this);
    post.apply(this, args);
    const message: { readonly call?: { readonly method: string } } | null = args[0];
    if (message?.call) onCall(this, message.call.method);
  });
  return workers;
}

/** Some calls never reach their worker, as if it hung. */
function loseMessages(isLost: (call: { readonly method: string } | undefined) => boolean): void {
  const post = Worker.prototype.postMessage;
  vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (this: Worker, ...args: Parameters<typeof post>) {
    const message: { readonly call?: { readonly method: string } } | null = args[0];
    if (!isLost(message?.call)) post.apply(this, args);
  });
}

/** With `setTimeout` faked; files and workers go on meanwhile. */
async function passTime(ms: number): Promise<void> {
  vi.advanceTimersByTime(ms);
  await new Promise(setImmediate);
}

/** By an exception that nobody catches, between two runs: `terminate()` under a native run would take the test's process along. */
function crash(workers: Iterable<Worker>): void {
  for (const worker of [...workers]) worker.postMessage(null);
}

describe('requests', () => {
  test('that nobody waits for any more never reach the engine', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const serving = bench.open();
    await serving.whenReady();
    const clients = Array.from({ length: 20 }, () => new AbortController());
    const reason = new TypeError('the client hung up');

    const first = predict(serving);
    const abandoned = clients.map(({ signal }) => predict(serving, {}, { signal }));
    const last = predict(serving);
    for (const client of clients) client.abort(reason);

    const outcomes = await Promise.allSettled(abandoned);
    expect(outcomes.every((outcome) => outcome.status === 'rejected' && outcome.reason === reason)).toBe(true);
    const { timing } = await first;
    const lastTiming = (await last).timing;
    // Behind at most the first run and the one that waited in the worker already, not behind twenty.
    expect(lastTiming.queueMs).toBeLessThan(10 * Math.max(timing.inferMs, lastTiming.inferMs) + 50);
  });

  test('beyond the limit in flight are refused as overloaded', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const serving = bench.open({ maxInFlight: 3 });
    await serving.whenReady();

    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => predict(serving)));

    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected']);
    expect(outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason.code] : []))).toEqual([
      'overloaded',
      'overloaded',
    ]);
  });

  test('that do not fit the signature are refused by the engine, with its code', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const serving = bench.open();
    await serving.whenReady();
    using handle = serving.servables.lend({ name: 'everyday10' });

    await expect(handle.run({ signature: 'none', inputs: goldenInputs() }, {})).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(handle.run({ signature: 'serving_default', inputs: {} }, {})).rejects.toMatchObject({ code: 'invalid-argument' });
  });

  test('that run when the server closes are answered', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const serving = bench.open();
    await serving.whenReady();

    const running = Array.from({ length: 8 }, () => predict(serving));
    serving.startDraining();
    const isReadyWhileDraining = serving.servables.isReady();
    const late = predict(serving);
    await serving.drain();

    expect(isReadyWhileDraining).toBe(false);
    expect(await Promise.all([...running, late])).toHaveLength(9);
    expect(() => serving.servables.lend({ name: 'everyday10' })).toThrow(expect.objectContaining({ code: 'unavailable' }));
  });
});

describe('inputs in lent memory', () => {
  /** The golden inputs behind other bytes, as they lie in the body of a request. */
  function lentInputs(buffers: BufferPool): TensorMap {
    const entries = Object.entries(goldenInputs()).map(([name, { shape, data }]) => {
      if (!(data instanceof Float32Array)) throw new Error(`${name} is not float32`);
      const lent = new Float32Array(buffers.take(65_536 + data.byteLength), 1024, data.length);
      lent.set(data);
      return [name, createTensor('float32', shape, lent)];
    });
    return Object.fromEntries(entries);
  }

  test('move whole to the engine and come back when it has run, for the next ones', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const buffers = new BufferPool();
    const serving = bench.open({}, buffers);
    await serving.whenReady();
    using handle = serving.servables.lend({ name: 'everyday10' });
    const bytesFree: number[] = [];

    for (let run = 0; run < 3; run++) {
      const inputs = lentInputs(buffers);
      const running = handle.run({ signature: 'serving_default', inputs }, {});
      expect(Object.values(inputs).map(({ data }) => data.length)).toEqual([0]);
      const { outputs } = await running;
      expect(() => compareOutputs(outputs, golden.outputs, goldenTolerance)).not.toThrow();
      bytesFree.push(buffers.freeBytes);
    }

    expect(bytesFree[0]).toBeGreaterThanOrEqual(65_536);
    expect(new Set(bytesFree).size).toBe(1);
  });

  test('of eight requests at once stay apart', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const buffers = new BufferPool();
    const serving = bench.open({}, buffers);
    await serving.whenReady();
    using handle = serving.servables.lend({ name: 'everyday10' });
    const scaled = (factor: number) => {
      const inputs = lentInputs(buffers);
      for (const { data } of Object.values(inputs)) if (data instanceof Float32Array) data.set(data.map((value) => value * factor));
      return inputs;
    };
    const factors = Array.from({ length: 8 }, (_, index) => index / 8);
    const run = async (factor: number) => (await handle.run({ signature: 'serving_default', inputs: scaled(factor) }, {})).outputs;

    const alone: TensorMap[] = [];
    for (const factor of factors) alone.push(await run(factor));
    const together = await Promise.all(factors.map(run));

    expect(together).toEqual(alone);
    expect(together[0]).not.toEqual(together[7]);
  });
});

describe('a worker that dies', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test('fails what it ran as unavailable; what waits is answered by the next one', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const workers = watchWorkers();
    const serving = bench.open();
    await serving.whenReady();

    const running = Array.from({ length: 10 }, () => predict(serving));
    const settled = Promise.allSettled(running);
    await vi.waitUntil(() => workers.size === 1);
    crash(workers);
    const outcomes = await settled;

    const failed = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    // One that ran and one that waited in the worker already: their inputs died with it.
    expect(failed.length).toBeLessThanOrEqual(2);
    for (const error of failed) expect(error).toMatchObject({ code: 'unavailable' });
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled')
        expect(compareOutputs(golden.outputs, outcome.value.outputs, goldenTolerance).isWithin).toBe(true);
    }
    expect(await serving.metrics.registry.metrics()).toContain('nearfar_engine_worker_restarts_total 1');
    expect(workers.size).toBe(2);
    expect(statesOf(serving)).toEqual({ '1': 'AVAILABLE' });
  });

  test('again and again of the version that it loads anew gives it up, says so in the status and tries again later', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    let isDeadly = false;
    const workers = watchWorkers((worker, method) => {
      if (isDeadly && method === 'load') crash([worker]);
    });
    const serving = bench.open();
    await serving.whenReady();

    isDeadly = true;
    crash(workers);
    await until(() => errorOf(serving, '1') !== '');
    const given = { states: statesOf(serving), error: errorOf(serving, '1') };
    isDeadly = false;
    await until(() => statesOf(serving)['1'] === 'AVAILABLE');

    expect(given).toEqual({ states: { '1': 'LOADING' }, error: expect.stringContaining('the engine worker stopped') });
    expect((await predict(serving)).version).toBe('1');
  });

  test('while a version loads lets it load again', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const workers = watchWorkers();
    const serving = bench.open();

    await until(() => workers.size === 1);
    crash(workers);
    await serving.whenReady();

    expect((await predict(serving)).version).toBe('1');
    expect(workers.size).toBe(2);
  });
});

describe('engine workers', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test('load a version in one that serves nothing, so that no run waits for it, and are used again', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const workers = watchWorkers();
    const serving = bench.open();
    await serving.whenReady();
    const counts = [workers.size];

    for (const version of ['2', '3', '4']) {
      await copyEveryday10(bench.modelFolder, version);
      await until(() => statesOf(serving)[version] === 'AVAILABLE' && !Object.values(statesOf(serving)).includes('UNLOADING'));
      counts.push(workers.size);
    }

    expect(counts).toEqual([1, 2, 2, 2]);
  });

  test('share their versions when there may be no more of them', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const workers = watchWorkers();
    const serving = bench.open({ maxEngineWorkers: 1 });
    await serving.whenReady();

    await copyEveryday10(bench.modelFolder, '2');
    await until(() => statesOf(serving)['2'] === 'AVAILABLE');

    expect((await predict(serving)).version).toBe('2');
    expect(workers.size).toBe(1);
  });

  test('run one version side by side; when one dies the others take what waits', async () => {
    await copyEveryday10(bench.modelFolder, '1');
    const workers = watchWorkers();
    const serving = bench.open({ engineWorkers: 2 });
    await serving.whenReady();
    using handle = serving.servables.lend({ name: 'everyday10' });
    expect(handle.parallelism).toBe(2);

    const running = Array.from({ length: 20 }, () => predict(serving));
    const settled = Promise.allSettled(running);
    await until(() => workers.size === 2);
    crash([...workers].slice(0, 1));
    const outcomes = await settled;

    const failed = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    expect(failed.length).toBeLessThanOrEqual(2);
    for (const error of failed) expect(error).toMatchObject({ code: 'unavailable' });
    // The one that died comes back.
    await until(() => workers.size === 3);
    expect((await predict(serving)).version).toBe('1');
  });

  test('no more versions than there may unload at a time', async () => {
    for (const version of ['1', '2', '3']) await copyEveryday10(bench.modelFolder, version);
    const model = { name: 'everyday10', basePath: bench.modelFolder, policy: { kind: 'all' } as const };
    const serving = bench.open({ modelsRoot: undefined, models: [model], unloadThreads: 1 });
    await until(() => Object.values(statesOf(serving)).join() === 'AVAILABLE,AVAILABLE,AVAILABLE');
    const unloading = { now: 0, most: 0, all: 0 };
    watchWorkers((worker, method) => {
      if (method !== 'unload') return;
      unloading.all++;
      unloading.most = Math.max(unloading.most, ++unloading.now);
      worker.once('message', () => unloading.now--);
    });

    for (const version of ['1', '2']) await rm(join(bench.modelFolder, version), { recursive: true });
    await until(() => unloading.all === 2 && unloading.now === 0);

    expect(unloading.most).toBe(1);
  });

  test('an unload that is never answered holds the next one up for a minute, not for ever', async () => {
    for (const version of ['1', '2', '3']) await copyEveryday10(bench.modelFolder, version);
    const model = { name: 'everyday10', basePath: bench.modelFolder, policy: { kind: 'all' } as const };
    const serving = bench.open({ modelsRoot: undefined, models: [model], unloadThreads: 1 });
    await until(() => Object.values(statesOf(serving)).join() === 'AVAILABLE,AVAILABLE,AVAILABLE');
    let unloads = 0;
    loseMessages((call) => call?.method === 'unload' && unloads++ === 0);

    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    await rm(join(bench.modelFolder, '1'), { recursive: true });
    while (unloads === 0) await passTime(20);
    const whileItHangs = statesOf(serving);
    await rm(join(bench.modelFolder, '2'), { recursive: true });
    while (statesOf(serving)['2'] !== 'UNLOADING') await passTime(20);
    const next = unloads;
    await passTime(60_000);
    while (statesOf(serving)['2'] === 'UNLOADING') await passTime(20);

    expect(whileItHangs['1']).toBe('UNLOADING');
    expect(next).toBe(1);
    expect(unloads).toBe(2);
    expect((await predict(serving)).version).toBe('3');
  });
});

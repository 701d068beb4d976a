import { describe, expect, test } from 'vitest';
import { createTensor, NearfarError, type RunRequest, type TensorMap } from '../../../src/core/index.ts';
import { BufferPool } from '../../../src/server/buffer-pool.ts';
import { type CacheMetrics, openResults, withResultCache } from '../../../src/server/cache/index.ts';
import { createLog } from '../../../src/server/log.ts';
import { createStandInStore, half123, type StandInVersion } from '../transports/support/stand-in.ts';

// The decorator over plain functions: who runs, who waits, who goes.

interface Started {
  readonly request: RunRequest;
  readonly signal: AbortSignal | undefined;
  readonly finish: (outputs: TensorMap) => void;
  readonly fail: (error: unknown) => void;
}

function open(options: { ttlMs?: number; digests?: string[]; budgetBytes?: number } = {}) {
  const { ttlMs = 1000, budgetBytes = 1e6 } = options;
  const started: Started[] = [];
  const run: StandInVersion['run'] = (request, { signal }) =>
    new Promise((finish, fail) => {
      signal?.addEventListener('abort', () => fail(signal.reason));
      started.push({ request, signal, finish, fail });
    });
  const model = { ...half123, run };
  const versions: StandInVersion[] = [model];
  const inner = createStandInStore(versions);
  const counts: Record<string, number> = {};
  const count = (name: string) => {
    counts[name] = (counts[name] ?? 0) + 1;
  };
  const metrics: CacheMetrics = {
    recordLookup: (_, model, outcome) => count(`${model} ${outcome}`),
    recordRemoval: (_, reason) => count(reason),
    setCacheBytes: () => {},
    recordRedisFailure: count,
  };
  let now = 0;
  const results = openResults({ budgetBytes, redisUrl: undefined, redisTimeoutMs: 50, metrics, log: createLog('silent'), now: () => now });
  const buffers = new BufferPool();
  const store = withResultCache(inner, { results, ttlMsOf: () => ttlMs, buffers, metrics });
  const ask = async (request: Partial<RunRequest> = {}, signal?: AbortSignal) => {
    using handle = store.lend({ name: 'half_plus_two' });
    return await handle.run({ signature: 'serving_default', inputs: { x: floats(1) }, ...request }, { signal });
  };
  const pass = (ms: number) => {
    now += ms;
  };
  const replace = (digest: string) => versions.splice(0, 1, { ...model, digest });
  return { inner, store, started, counts, ask, pass, replace, buffers };
}

const floats = (...values: number[]) => createTensor('float32', [values.length], Float32Array.from(values));
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('withResultCache', () => {
  test('answers an equal request without a run, until its time is over', async () => {
    const { ask, started, counts, pass } = open({ ttlMs: 100 });
    const first = ask();
    started[0]!.finish({ y: floats(7) });

    const answers = [await first, await ask()];
    pass(100);
    const later = ask();
    started[1]!.finish({ y: floats(8) });

    expect(answers.map(({ outputs }) => outputs)).toEqual([{ y: floats(7) }, { y: floats(7) }]);
    expect(answers.map(({ timing }) => timing)).toEqual([
      { queueMs: 1.5, inferMs: 2.25, cache: 'miss' },
      { queueMs: 0, inferMs: 0, cache: 'hit' },
    ]);
    expect((await later).outputs).toEqual({ y: floats(8) });
    expect(counts).toEqual({ 'half_plus_two miss': 2, 'half_plus_two hit': 1, expired: 1 });
  });

  test('lets equal requests in flight share one run', async () => {
    const { ask, started, counts } = open();
    const asking = Array.from({ length: 5 }, () => ask());

    started[0]!.finish({ y: floats(7) });
    const answers = await Promise.all(asking);

    expect(started).toHaveLength(1);
    for (const { outputs } of answers) expect(outputs).toEqual({ y: floats(7) });
    expect(answers.map(({ timing }) => timing.cache)).toEqual(['miss', 'joined', 'joined', 'joined', 'joined']);
    expect(counts).toEqual({ 'half_plus_two miss': 1, 'half_plus_two joined': 4 });
  });

  test('a caller that aborts cancels nobody else, and the version stays lent for those who wait', async () => {
    const { ask, started, inner } = open();
    const [first, second] = [new AbortController(), new AbortController()];
    const asking = [ask({}, first.signal), ask({}, second.signal)];

    first.abort(new NearfarError('cancelled', 'gone'));
    await expect(asking[0]).rejects.toMatchObject({ code: 'cancelled' });
    const lentToOthers = inner.lent;
    const isAborted = started[0]!.signal?.aborted;
    started[0]!.finish({ y: floats(7) });
    const answer = await asking[1]!;
    await settled();

    expect([lentToOthers, isAborted]).toEqual([2, false]);
    expect(answer.outputs).toEqual({ y: floats(7) });
    expect(inner.lent).toBe(0);
  });

  test('the last caller that aborts cancels the run, and nobody joins it any more', async () => {
    const { ask, started, inner } = open();
    const [first, second] = [new AbortController(), new AbortController()];
    const asking = [ask({}, first.signal), ask({}, second.signal)];

    first.abort(new NearfarError('cancelled', 'gone'));
    second.abort(new NearfarError('deadline-exceeded', 'late'));
    await expect(asking[0]).rejects.toMatchObject({ code: 'cancelled' });
    await expect(asking[1]).rejects.toMatchObject({ code: 'deadline-exceeded' });
    const again = ask();

    expect(started).toHaveLength(2);
    expect(started[0]!.signal?.reason).toMatchObject({ code: 'deadline-exceeded' });
    started[1]!.finish({ y: floats(7) });
    expect((await again).outputs).toEqual({ y: floats(7) });
    await settled();
    expect(inner.lent).toBe(0);
  });

  test('keeps no failure: all who waited get it, the next one runs again', async () => {
    const { ask, started } = open();
    const asking = [ask(), ask()];
    started[0]!.fail(new NearfarError('overloaded', 'full'));

    for (const asked of asking) await expect(asked).rejects.toMatchObject({ code: 'overloaded' });
    const again = ask();
    started[1]!.finish({ y: floats(7) });

    expect((await again).timing.cache).toBe('miss');
  });

  test('gives a version that was replaced in place no answer of the other', async () => {
    const { ask, started, replace } = open();
    const first = ask();
    started[0]!.finish({ y: floats(1) });
    await first;

    replace(`sha256:${'9'.repeat(64)}`);
    const second = ask();
    started[1]!.finish({ y: floats(2) });

    expect((await second).outputs).toEqual({ y: floats(2) });
  });

  test('gives outputs in the order of the asker, and all of them under one key however they are asked for', async () => {
    const { ask, started } = open();
    const many = { signature: 'many', inputs: { x: floats(1), n: floats(2), s_bytes: floats(3) } };
    const first = ask(many);
    started[0]!.finish({ y: floats(1), s_bytes: floats(2), n: floats(3) });
    await first;

    const { outputs, timing } = await ask({ ...many, outputs: ['n', 'y', 's_bytes'] });

    expect(timing.cache).toBe('hit');
    expect(Object.keys(outputs)).toEqual(['n', 'y', 's_bytes']);
  });

  test('holds a copy of an output that is a part of a larger buffer', async () => {
    const { ask, started } = open({ budgetBytes: 10_000 });
    const batch = new Float32Array(1e6).fill(7);
    const first = ask();
    started[0]!.finish({ y: createTensor('float32', [1], batch.subarray(5, 6)) });
    await first;
    batch.fill(8);

    const { outputs, timing } = await ask();

    expect(timing.cache).toBe('hit');
    const data = outputs['y']!.data as Float32Array;
    expect([data[0], data.buffer.byteLength]).toEqual([7, 4]);
  });

  test('runs every request of a model whose answers are not kept, and joins none', async () => {
    const { ask, started, counts } = open({ ttlMs: 0 });
    const asking = [ask(), ask()];

    for (const { finish } of started) finish({ y: floats(7) });
    const answers = await Promise.all(asking);

    expect(started).toHaveLength(2);
    expect(answers.map(({ timing }) => timing.cache)).toEqual([undefined, undefined]);
    expect(counts).toEqual({});
  });

  test('gives the memory of inputs back that no engine took', async () => {
    const { ask, started, buffers } = open();
    const lent = () => {
      const data = new Float32Array(buffers.take(2 ** 17), 0, 2 ** 15).fill(1);
      return { inputs: { x: createTensor('float32', [2 ** 15], data) } };
    };
    const asking = [ask(lent()), ask(lent())];
    const afterJoin = buffers.freeBytes;
    started[0]!.finish({ y: floats(7) });
    await Promise.all(asking);

    await ask(lent());

    expect([afterJoin, buffers.freeBytes]).toEqual([2 ** 17, 2 ** 17]);
  });
});

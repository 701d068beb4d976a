import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createTensor, NearfarError, type RunRequest, type TensorMap } from '../../../src/core/index.ts';
import { defaultBatchingOptions, withBatching } from '../../../src/server/batching/index.ts';
import { BufferPool } from '../../../src/server/buffer-pool.ts';
import type { Batching, BatchingOptions } from '../../../src/server/model-options.ts';
import type { ServableStore } from '../../../src/server/servables/index.ts';
import { counting, createRowStore, plusOne, silent } from '../../support/row-store.ts';

const fixed = (options: Partial<BatchingOptions> = {}): Batching => ({
  kind: 'fixed',
  options: { ...defaultBatchingOptions, numBatchThreads: 1, ...options },
});

interface Counted {
  readonly batches: { readonly threadPool: string; readonly rows: number; readonly padding: number }[];
  readonly queued: { readonly threadPool: string; readonly queueMs: number }[];
}

function batchedStore(store: ServableStore, batching: Batching | (() => Batching), buffers = new BufferPool()) {
  const counted: Counted = { batches: [], queued: [] };
  const batched = withBatching(store, {
    batchingOf: () => (typeof batching === 'function' ? batching() : batching),
    buffers,
    metrics: {
      recordQueued: (queued) => void counted.queued.push(queued),
      recordBatch: ({ threadPool, rows, padding }) => void counted.batches.push({ threadPool, rows, padding }),
      recordTuning: () => {},
    },
    log: silent,
    maxInFlight: 100,
  });
  return { batched, counted };
}

async function run(store: ServableStore, request: Partial<RunRequest> & { inputs: TensorMap }, signal?: AbortSignal) {
  using handle = store.lend({ name: 'm' });
  return await handle.run({ signature: 'serving_default', ...request }, { signal });
}

function openGate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

const dataOf = (tensor: TensorMap[string] | undefined): unknown[] => Array.from<unknown>(tensor?.data ?? []);

describe('concurrent requests', () => {
  test('run together, and each gets its own rows back', async () => {
    const store = createRowStore();
    const { batched, counted } = batchedStore(store, fixed({ threadPoolName: 'pool' }));

    const answers = await Promise.all([1, 3, 2].map((count, index) => run(batched, { inputs: { x: counting(index * 100, count, 2) } })));

    expect(store.runs).toEqual([6]);
    expect(answers.map(({ outputs }) => outputs['y']?.shape)).toEqual([
      [1, 2],
      [3, 2],
      [2, 2],
    ]);
    expect(answers.map(({ outputs }) => dataOf(outputs['y']))).toEqual([
      [1, 2],
      [101, 102, 103, 104, 105, 106],
      [201, 202, 203, 204],
    ]);
    expect(answers.map(({ timing }) => timing.batchSize)).toEqual([6, 6, 6]);
    expect(counted.batches).toEqual([{ threadPool: 'pool', rows: 6, padding: 0 }]);
    expect(counted.queued.map(({ threadPool }) => threadPool)).toEqual(['pool', 'pool', 'pool']);
    expect(store.lent).toBe(0);
  });

  test('run apart when signature, wanted outputs or the shape of a row differ', async () => {
    const store = createRowStore(({ inputs, signature }) => {
      const rows = Object.values(inputs)[0]?.shape[0] ?? 0;
      return { y: counting(signature === 'sum' ? 0 : 100, rows) };
    });
    const { batched } = batchedStore(store, fixed());

    await Promise.all([
      run(batched, { inputs: { x: counting(0, 1, 2) } }),
      run(batched, { inputs: { x: counting(0, 1, 2) }, outputs: ['y'] }),
      run(batched, { inputs: { x: counting(0, 1, 3) } }),
      run(batched, { inputs: { x: counting(0, 1, 2) } }),
      run(batched, { inputs: { a: counting(0, 4), b: counting(0, 4) }, signature: 'sum' }),
    ]);

    expect([...store.runs].sort()).toEqual([1, 1, 2, 4]);
  });

  test('of a signature with an output that has no batch dimension pass through, unless another one is wanted', async () => {
    const store = createRowStore(({ inputs }) => ({ y: counting(0, 3), z: inputs['x'] ?? counting(0, 1) }));
    const { batched } = batchedStore(store, fixed());
    const ask = (outputs?: string[]) => run(batched, { signature: 'constant', inputs: { x: counting(0, 1, 2) }, outputs });

    const answers = await Promise.all([ask(), ask()]);
    await Promise.all([ask(['z']), ask(['z'])]).catch(() => {});

    expect(store.runs.slice(0, 3)).toEqual([1, 1, 2]);
    expect(answers.map(({ timing }) => timing.batchSize)).toEqual([undefined, undefined]);
  });

  test('never get rows of others, whatever their sizes, limits and cancellations', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ rows: fc.integer({ min: 1, max: 9 }), cancels: fc.boolean() }), { minLength: 1, maxLength: 30 }),
        fc.record({
          maxBatchSize: fc.integer({ min: 9, max: 20 }),
          maxExecutionBatchSize: fc.integer({ min: 1, max: 9 }),
          enableLargeBatchSplitting: fc.boolean(),
          numBatchThreads: fc.integer({ min: 1, max: 3 }),
        }),
        async (requests, options) => {
          const store = createRowStore();
          const { batched } = batchedStore(store, fixed({ ...options, maxEnqueuedBatches: 1000 }));
          const answers = requests.map(async ({ rows, cancels }, index) => {
            const client = new AbortController();
            const answer = run(batched, { inputs: { x: counting(index * 1000, rows, 2) } }, client.signal);
            if (cancels) client.abort(new TypeError('gone'));
            return answer;
          });

          const outcomes = await Promise.allSettled(answers);

          for (const [index, outcome] of outcomes.entries()) {
            const { rows, cancels } = requests[index] ?? { rows: 0, cancels: true };
            if (cancels) expect(outcome.status).toBe('rejected');
            else if (outcome.status === 'rejected') throw outcome.reason;
            else expect(dataOf(outcome.value.outputs['y'])).toEqual(dataOf(counting(index * 1000 + 1, rows, 2)));
          }
          const limit = options.enableLargeBatchSplitting ? options.maxExecutionBatchSize : options.maxBatchSize;
          expect(Math.max(0, ...store.runs)).toBeLessThanOrEqual(limit);
          expect(store.lent).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('how a version is batched', () => {
  test('can change while it is loaded', async () => {
    const store = createRowStore();
    const [two, off]: Batching[] = [fixed({ maxBatchSize: 2 }), 'off'];
    let batching: Batching = 'off';
    const { batched } = batchedStore(store, () => batching);
    const ask = () => Promise.all([0, 1].map((from) => run(batched, { inputs: { x: counting(from, 1, 2) } })));

    for (const next of [off, two, off]) {
      batching = next ?? 'off';
      await ask();
    }

    expect(store.runs).toEqual([1, 1, 2, 1, 1]);
    expect(batched.batching()).toEqual([]);
  });

  test('is told for each signature that can be', async () => {
    const { batched } = batchedStore(createRowStore(), fixed({ maxBatchSize: 7, batchTimeoutMicros: 5 }));
    await run(batched, { inputs: { x: counting(0, 1, 2) } });

    const reports = batched.batching();

    expect(reports.map(({ signature }) => signature)).toEqual(['serving_default', 'sum', 'words']);
    expect(reports[0]).toEqual({
      model: 'm',
      version: '1',
      signature: 'serving_default',
      batching: 'fixed',
      maxBatchSize: 7,
      batchTimeoutMicros: 5,
    });
  });

  test('is tuned where that is asked for: on where runs take the same time whatever their rows, off where rows add up', async () => {
    const tuned = { kind: 'auto', p99TargetMs: 1000 } as const;
    const states = [() => 1, (rows: number) => rows].map(async (inferMs) => {
      const store = createRowStore(plusOne, { inferMs });
      const { batched } = batchedStore(store, tuned);
      for (let round = 0; round < 60; round++) {
        const answers = await Promise.all(Array.from({ length: 64 }, (_, index) => run(batched, { inputs: { x: counting(index, 1, 2) } })));
        for (const [index, { outputs }] of answers.entries()) expect(dataOf(outputs['y'])).toEqual([index + 1, index + 2]);
      }
      return { ...batched.batching()[0], largest: Math.max(...store.runs) };
    });

    const [on, off] = await Promise.all(states);

    expect(on).toMatchObject({ batching: 'auto', tuning: { state: 'batching' } });
    expect(on?.largest).toBeGreaterThanOrEqual(32);
    expect(off).toMatchObject({ maxBatchSize: 1, tuning: { state: 'off' } });
    expect(off?.largest).toBe(8);
  });
});

describe('a batch', () => {
  test('is filled up to the next allowed size with a row that is there', async () => {
    const seen: unknown[] = [];
    const store = createRowStore((request) => {
      seen.push(dataOf(request.inputs['x']));
      return plusOne(request);
    });
    const { batched, counted } = batchedStore(store, fixed({ maxBatchSize: 8, allowedBatchSizes: [2, 4, 8] }));

    const answers = await Promise.all([0, 10, 20].map((from) => run(batched, { inputs: { x: counting(from, 1, 2) } })));

    expect(seen).toEqual([[0, 1, 10, 11, 20, 21, 20, 21]]);
    expect(answers.map(({ outputs }) => dataOf(outputs['y']))).toEqual([
      [1, 2],
      [11, 12],
      [21, 22],
    ]);
    expect(counted.batches).toMatchObject([{ rows: 3, padding: 1 }]);
  });

  test('of rows of different lengths is padded with zeros, or empty strings, where that is allowed', async () => {
    const seen: TensorMap[] = [];
    const store = createRowStore(({ inputs }) => {
      seen.push(inputs);
      return { y: inputs['x'] ?? counting(0, 1) };
    });
    const { batched } = batchedStore(store, fixed({ padVariableLengthInputs: true }));
    const words = (...texts: string[]) =>
      createTensor(
        'string',
        [1, texts.length],
        texts.map((text) => new TextEncoder().encode(text)),
      );

    await Promise.all([run(batched, { inputs: { x: counting(1, 2, 2) } }), run(batched, { inputs: { x: counting(5, 1, 3) } })]);
    await Promise.all([
      run(batched, { signature: 'words', inputs: { x: words('a') } }),
      run(batched, { signature: 'words', inputs: { x: words('b', 'c') } }),
    ]);

    expect(seen[0]?.['x']?.shape).toEqual([3, 3]);
    expect(dataOf(seen[0]?.['x'])).toEqual([1, 2, 0, 3, 4, 0, 5, 6, 7]);
    expect(dataOf(seen[1]?.['x']).map((bytes) => new TextDecoder().decode(bytes as Uint8Array))).toEqual(['a', '', 'b', 'c']);
  });

  test('splits a request that is larger than what may run at once, and joins its answer', async () => {
    const store = createRowStore();
    const { batched } = batchedStore(store, fixed({ maxBatchSize: 20, enableLargeBatchSplitting: true, maxExecutionBatchSize: 4 }));

    const [large, small] = await Promise.all([
      run(batched, { inputs: { x: counting(0, 10, 2) } }),
      run(batched, { inputs: { x: counting(500, 1, 2) } }),
    ]);

    expect(store.runs).toEqual([4, 4, 3]);
    expect(dataOf(large?.outputs['y'])).toEqual(dataOf(counting(1, 10, 2)));
    expect(large?.timing.inferMs).toBe(3);
    expect(dataOf(small?.outputs['y'])).toEqual([501, 502]);
  });

  test('waits for its timeout when it is not full, and keeps its version lent meanwhile', async () => {
    const store = createRowStore();
    const timers: { ms: number; callback: () => void }[] = [];
    let now = 0;
    const batched = withBatching(store, {
      batchingOf: () => fixed({ batchTimeoutMicros: 5000 }),
      buffers: new BufferPool(),
      metrics: { recordQueued: () => {}, recordBatch: () => {}, recordTuning: () => {} },
      log: silent,
      maxInFlight: 100,
      clock: {
        now: () => now,
        defer: (callback) => queueMicrotask(callback),
        wait: (ms, callback) => {
          timers.push({ ms, callback });
          return () => {};
        },
      },
    });

    const first = run(batched, { inputs: { x: counting(0, 1, 2) } });
    await Promise.resolve();
    now = 3;
    const second = run(batched, { inputs: { x: counting(10, 1, 2) } });
    await Promise.resolve();
    await Promise.resolve();
    const runsBefore = [...store.runs];
    now = 5;
    timers.at(-1)?.callback();
    const answers = await Promise.all([first, second]);

    expect(timers.map(({ ms }) => ms)).toEqual([5, 2]);
    expect(runsBefore).toEqual([]);
    expect(store.runs).toEqual([2]);
    expect(answers.map(({ timing }) => timing.queueMs)).toEqual([5, 2]);
  });

  test('gives memory that was lent for its requests back', async () => {
    const buffers = new BufferPool();
    const { batched } = batchedStore(createRowStore(), fixed(), buffers);
    const lent = () => createTensor('float32', [1, 2 ** 15], new Float32Array(buffers.take(2 ** 17), 0, 2 ** 15));

    await Promise.all([run(batched, { inputs: { x: lent() } }), run(batched, { inputs: { x: lent() } })]);

    expect(buffers.freeBytes).toBe(2 * 2 ** 17);
  });
});

describe('refused as TensorFlow Serving does', () => {
  test.each([
    [
      'inputs of different numbers of rows',
      { a: counting(0, 2), b: counting(0, 3) },
      'Batching Run() input tensors must have equal 0th-dimension size',
    ],
    ['an input without a dimension', { a: counting(0), b: counting(0) }, 'Batching Run() input tensors must have at least one dimension'],
    ['no input', {}, 'Batching Run() must have at least one input tensor'],
  ])('are %s', async (_, inputs: TensorMap, message) => {
    const { batched } = batchedStore(createRowStore(), fixed());

    await expect(run(batched, { signature: 'sum', inputs })).rejects.toMatchObject({ code: 'invalid-argument', message });
  });

  test('is a request that finds the queue full', async () => {
    const { batched } = batchedStore(createRowStore(), fixed({ maxBatchSize: 1, maxEnqueuedBatches: 2 }));

    const outcomes = await Promise.allSettled([0, 1, 2].map((from) => run(batched, { inputs: { x: counting(from, 1, 2) } })));

    expect(outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason : undefined))).toMatchObject([
      undefined,
      undefined,
      { code: 'overloaded', message: 'The batch scheduling queue to which this task was submitted is full' },
    ]);
  });
});

describe('one of a batch', () => {
  test('that the engine refuses fails alone', async () => {
    const store = createRowStore((request) => {
      if (dataOf(request.inputs['x']).includes(13)) throw new NearfarError('invalid-argument', 'unlucky');
      return plusOne(request);
    });
    const { batched } = batchedStore(store, fixed());

    const outcomes = await Promise.allSettled([0, 13, 20].map((from) => run(batched, { inputs: { x: counting(from, 1, 2) } })));

    expect(store.runs).toEqual([3, 1, 1, 1]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(outcomes[1]).toMatchObject({ reason: { message: 'unlucky' } });
    expect(store.lent).toBe(0);
  });

  test('fails with all others when the engine is gone', async () => {
    const store = createRowStore(() => {
      throw new NearfarError('unavailable', 'the engine worker stopped');
    });
    const { batched } = batchedStore(store, fixed());

    const outcomes = await Promise.allSettled([0, 1].map((from) => run(batched, { inputs: { x: counting(from, 1, 2) } })));

    expect(store.runs).toEqual([2]);
    expect(outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.code)).toEqual(['unavailable', 'unavailable']);
  });

  test('that gives up leaves the queue, or the run, without harm; the run is dropped when all gave up', async () => {
    const engine = openGate();
    const started = openGate();
    const store = createRowStore(async (request) => {
      started.open();
      await engine.opened;
      return plusOne(request);
    });
    const { batched } = batchedStore(store, fixed());
    const clients = Array.from({ length: 3 }, () => new AbortController());
    const [waits, first, second] = clients;
    const outcomes = Promise.allSettled(clients.map(({ signal }, index) => run(batched, { inputs: { x: counting(index, 1, 2) } }, signal)));

    waits?.abort(new TypeError('gone'));
    await started.opened;
    first?.abort(new TypeError('gone'));
    const droppedByOne = store.signals[0]?.aborted;
    second?.abort(new TypeError('gone'));
    const droppedByAll = store.signals[0]?.aborted;
    engine.open();
    await outcomes;

    expect(store.runs).toEqual([2]);
    expect([droppedByOne, droppedByAll]).toEqual([false, true]);
  });

  test('gets its answer alone where answers have no row for each row, from then on without a batch', async () => {
    const store = createRowStore(({ inputs }) => ({ y: counting(inputs['x']?.shape[0] ?? 0, 1, 2) }));
    const { batched } = batchedStore(store, fixed());
    const ask = () => Promise.all([run(batched, { inputs: { x: counting(0, 1, 2) } }), run(batched, { inputs: { x: counting(0, 1, 2) } })]);

    const before = await ask();
    await ask();

    expect(store.runs).toEqual([2, 1, 1, 1, 1]);
    expect(before.map(({ outputs }) => dataOf(outputs['y']))).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });
});

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createTensor, NearfarError, type RunRequest, type TensorMap } from '../../src/core/index.ts';
import * as microBatching from '../../src/worker/device/micro-batching.ts';
import { createRunQueue, type ModelCall, type RunModel, type RunQueue } from '../../src/worker/device/run-queue.ts';

// Engines are stand-ins that take as much of the time as each test says; test/browser has real ones.

let now = 0;
beforeEach(() => {
  now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
});
afterEach(() => vi.restoreAllMocks());

const nextTask = () => new Promise<void>((resolve) => setImmediate(resolve));
const { signal: never } = new AbortController();
const queue = () => createRunQueue(nextTask, async () => microBatching);

interface Behaviour {
  /** What a run of so many rows takes, in milliseconds. @default 10 + rows */
  readonly ms?: (rows: number) => number;
  /** The numbers of all rows → theirs in the output. @default twice as much */
  readonly compute?: (values: Float32Array<ArrayBuffer>) => Float32Array<ArrayBuffer>;
  /** Called before each run. */
  readonly onRun?: (rows: number, values: Float32Array) => void;
}

const double = (values: Float32Array<ArrayBuffer>) => values.map((value) => 2 * value);

/** A model of rows of two numbers, and the rows of each of its runs. */
function createModel({ ms = (rows) => 10 + rows, compute = double, onRun }: Behaviour = {}) {
  const runs: number[] = [];
  const shape = [-1, -1];
  const info = { dtype: 'float32', shape } as const;
  const loaded = {
    async run({ inputs }: RunRequest): Promise<TensorMap> {
      const x = inputs['x'];
      if (x?.dtype !== 'float32') throw new Error('no x');
      const [rows = 0] = x.shape;
      runs.push(rows);
      await nextTask();
      onRun?.(rows, x.data);
      now += ms(rows);
      return { y: createTensor('float32', x.shape, compute(x.data.slice())) };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  const model = {
    manifest: { name: 'pairs', signatures: { serve: { method: 'predict', inputs: { x: info }, outputs: { y: info } } } },
    variant: { tolerance: { absolute: 1e-2, relative: 1e-2 } },
    loaded,
  } as unknown as RunModel; // what a run does not read is left out
  return { model, runs };
}

function callOf(model: RunModel, row: readonly number[], change: Partial<ModelCall<unknown>> = {}): ModelCall<number[]> {
  return {
    model,
    signal: never,
    signature: 'serve',
    encode: () => ({ inputs: { x: createTensor('float32', [1, row.length], Float32Array.from(row)) } }),
    decode: ({ y }) => (y?.dtype === 'float32' ? [...y.data] : []),
    ...change,
  } as ModelCall<number[]>;
}

const rowsOf = (count: number) => Array.from({ length: count }, (_, index) => [index, index / 2]);

/** Calls of rows at once; the answers, in order, when all is quiet again. */
async function burst(calls: RunQueue, model: RunModel, count: number) {
  const answers = await Promise.all(rowsOf(count).map((row) => calls.run(callOf(model, row))));
  await calls.work(async () => undefined);
  await nextTask();
  // A call that comes at the moment a run ends waits for those behind it.
  now += 1;
  return answers;
}

test('the first burst is answered alone and compared, the next ones together, more and more at a time', async () => {
  const { model, runs } = createModel();
  const calls = queue();

  const first = await burst(calls, model, 10);
  const second = await burst(calls, model, 9);
  const third = await burst(calls, model, 33);

  // The first call finds nobody before it, the second one loads what compares.
  expect(runs).toEqual([1, ...Array(8).fill(1), 8, 1, 1, 8, 1, 16, 16]);
  for (const answers of [first, second, third]) {
    expect(answers.map(({ answer }) => answer)).toEqual(rowsOf(answers.length).map((row) => row.map((value) => 2 * value)));
  }
  expect(first.map(({ timing }) => timing.batchSize)).toEqual(Array(10).fill(undefined));
  expect(second.map(({ timing }) => timing.batchSize)).toEqual([undefined, ...Array(8).fill(8)]);
  expect(second.map(({ timing }) => [timing.queueMs, timing.inferMs])).toEqual([[0, 11], ...Array(8).fill([11, 18])]);
});

test.each([
  ['their mean', (values: Float32Array) => values.reduce((sum, value) => sum + value / values.length, 0)],
  ['their largest', (values: Float32Array) => Math.max(...values)],
])('a model whose rows depend on %s is never run together', async (_, shared) => {
  const { model, runs } = createModel({
    compute: (values) => values.map((value) => value - shared(values)),
  });
  const calls = queue();

  await burst(calls, model, 5);
  now += 10 * 60_000;
  const answers = await burst(calls, model, 9);

  expect(runs.filter((rows) => rows > 1)).toEqual([4]);
  expect(answers.map(({ timing }) => timing.batchSize)).toEqual(Array(9).fill(undefined));
});

test('a model whose outputs have no row for each call is never run together', async () => {
  const { model, runs } = createModel({ compute: double });
  const { run } = model.loaded;
  model.loaded.run = async (request) => {
    const { y } = await run(request);
    return y?.dtype === 'float32' ? { y: createTensor('float32', [1, 2], y.data.slice(0, 2)) } : {};
  };
  const calls = queue();

  await burst(calls, model, 5);
  await burst(calls, model, 5);

  expect(runs.filter((rows) => rows > 1)).toEqual([4]);
});

test('where it does not pay it is tried three times, and again five minutes later', async () => {
  const { model, runs } = createModel({ ms: (rows) => 10 * rows });
  const calls = queue();
  const shared = () => runs.filter((rows) => rows > 1).length;

  for (let index = 0; index < 5; index++) await burst(calls, model, 5);
  const before = shared();
  now += 5 * 60_000;
  await burst(calls, model, 5);

  expect(before).toBe(3);
  expect(shared()).toBe(4);
});

test('a model that takes long alone is not held up by comparisons', async () => {
  const { model, runs } = createModel({ ms: () => 200 });

  await burst(queue(), model, 9);

  expect(runs).toEqual(Array(9).fill(1));
});

/** A queue that knows the model to gain by running together. */
async function provenQueue(model: RunModel): Promise<RunQueue> {
  const calls = queue();
  await burst(calls, model, 9);
  return calls;
}

test('answers have memory of their own', async () => {
  const { model } = createModel();
  const calls = await provenQueue(model);

  const answers = await Promise.all(rowsOf(5).map((row) => calls.run(callOf(model, row, { decode: ({ y }) => y?.data }))));

  const buffers = answers.map(({ answer }) => (answer as unknown as Float32Array).buffer);
  expect(new Set(buffers).size).toBe(5);
  expect(buffers.map(({ byteLength }) => byteLength)).toEqual(Array(5).fill(8));
});

test('a call that is aborted while it waits or runs harms none of those it shares the run with', async () => {
  const controllers = rowsOf(9).map(() => new AbortController());
  let isArmed = false;
  const { model, runs } = createModel({
    onRun: (rows) => {
      if (isArmed && rows > 1) controllers[4]?.abort(new Error('while it runs'));
    },
  });
  const calls = await provenQueue(model);
  isArmed = true;
  runs.length = 0;

  const answers = rowsOf(9).map((row, index) => calls.run(callOf(model, row, { signal: controllers[index]?.signal ?? never })));
  controllers[2]?.abort(new Error('while it waits'));
  const outcomes = await Promise.allSettled(answers);

  expect(outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value.answer[0] : String(outcome.reason)))).toEqual([
    0,
    2,
    'Error: while it waits',
    6,
    'Error: while it runs',
    ...[10, 12, 14, 16],
  ]);
  expect(runs).toEqual([1, 7]);
});

test('when a shared run fails, each call runs alone and only the bad one fails', async () => {
  let isBad = false;
  const bad = new NearfarError('invalid-argument', 'row 3 is bad');
  const { model, runs } = createModel({
    onRun: (_, values) => {
      if (isBad && values.includes(3)) throw bad;
    },
  });
  const calls = await provenQueue(model);
  isBad = true;
  runs.length = 0;

  const outcomes = await Promise.allSettled(rowsOf(5).map((row) => calls.run(callOf(model, row))));

  expect(runs).toEqual([1, 4, 1, 1, 1, 1]);
  expect(outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value.answer[0] : outcome.reason))).toEqual([0, 2, 4, bad, 8]);
});

test('when the device is lost under a shared run, all its calls are told, and none runs again here', async () => {
  let isLost = false;
  const { model, runs } = createModel({
    onRun: (rows) => {
      if (isLost && rows > 1) throw new NearfarError('device-lost', 'a reset');
    },
  });
  const calls = await provenQueue(model);
  isLost = true;
  runs.length = 0;

  const outcomes = await Promise.allSettled(rowsOf(5).map((row) => calls.run(callOf(model, row))));

  expect(runs).toEqual([1, 4]);
  expect(outcomes.slice(1)).toEqual(Array(4).fill(expect.objectContaining({ reason: expect.objectContaining({ code: 'device-lost' }) })));
});

test('calls of a model are answered in their order, whatever their shapes, and let calls of other models pass', async () => {
  const one = createModel();
  const other = createModel();
  const calls = await provenQueue(one.model);
  one.runs.length = 0;
  const order: string[] = [];
  const ask = (name: string, model: RunModel, row: readonly number[]) => calls.run(callOf(model, row)).then(() => order.push(name));

  await Promise.all([
    ask('a1', one.model, [1, 1]),
    ask('a2', one.model, [2, 2]),
    ask('b1', other.model, [1, 1]),
    ask('a3', one.model, [3, 3]),
    ask('a4 wide', one.model, [4, 4, 4]),
    ask('a5', one.model, [5, 5]),
    ask('a6', one.model, [6, 6]),
  ]);

  expect(order.filter((name) => name.startsWith('a'))).toEqual(['a1', 'a2', 'a3', 'a4 wide', 'a5', 'a6']);
  expect(order).toContain('b1');
  expect(one.runs).toEqual([1, 2, 1, 2]);
});

test('an input that cannot be encoded fails its own call alone', async () => {
  const { model } = createModel();
  const calls = await provenQueue(model);
  const encode = () => {
    throw new NearfarError('shape-mismatch', 'of no use');
  };

  const outcomes = await Promise.allSettled(rowsOf(5).map((row, index) => calls.run(callOf(model, row, index === 2 ? { encode } : {}))));

  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
});

test('a call that comes at the moment a run ends waits for those that were sent with it', async () => {
  const { model, runs } = createModel();
  const calls = await provenQueue(model);
  runs.length = 0;

  await calls.run(callOf(model, [1, 1]));
  await nextTask();
  await Promise.all(rowsOf(4).map((row) => calls.run(callOf(model, row))));

  expect(runs).toEqual([1, 4]);
});

test('work that is no call waits for the calls before it', async () => {
  const { model } = createModel();
  const calls = await provenQueue(model);
  const order: string[] = [];

  await Promise.all([
    ...rowsOf(5).map((row) => calls.run(callOf(model, row)).then(() => order.push('call'))),
    calls.work(async () => void order.push('work')),
  ]);

  expect(order).toEqual([...Array(5).fill('call'), 'work']);
});

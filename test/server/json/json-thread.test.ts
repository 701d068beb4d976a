import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTensor, encodeInferRequest } from '../../../src/core/index.ts';
import { BufferPool } from '../../../src/server/buffer-pool.ts';
import { JsonThread, type RunJsonJob, runJsonJobHere } from '../../../src/server/json/index.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const signatures = {
  serving_default: { inputs: { x: { dtype: 'float32' as const, shape: [-1, 4] } } },
  mixed: { inputs: { s_bytes: { dtype: 'string' as const, shape: [-1] }, n: { dtype: 'int64' as const, shape: [-1] } } },
};
const numbers = (rows: number) =>
  JSON.stringify({ instances: Array.from({ length: rows }, (_, row) => [row, row + 0.1, -row / 3, row * 1e-9]) });
const decodePredict = (text: string) => ({ body: bytes(text), signatures });
const outputs = {
  y: createTensor('float32', [2, 2], new Float32Array([0.1, Number.NaN, -3, 1e10])),
  s_bytes: createTensor('string', [2], [bytes('a'), bytes('')]),
};
const binary = encodeInferRequest({ inputs: { x: createTensor('float32', [2], new Float32Array([1, 2])), ...outputs } });

const buffers = new BufferPool();
let thread: JsonThread;

beforeAll(() => {
  thread = new JsonThread({ maxWaiting: 3, buffers });
});

afterAll(() => thread[Symbol.asyncDispose]());

/** The worker that the next job starts. */
async function nextWorker(): Promise<Worker> {
  const [worker] = await once(process, 'worker');
  return worker;
}

describe('the JSON thread', () => {
  test.each<[string, (run: RunJsonJob) => Promise<unknown>]>([
    ['rows of numbers', (run) => run('decodePredict', decodePredict(numbers(500)))],
    [
      'rows of bytes and of long integers',
      (run) =>
        run('decodePredict', decodePredict('{"signature_name":"mixed","instances":[{"s_bytes":{"b64":"AAE="},"n":9007199254740993}]}')),
    ],
    [
      'an inference request in JSON',
      (run) => {
        const body = bytes(`{"id":"7","inputs":[{"name":"x","datatype":"INT64","shape":[2],"data":[[1],[2]]}]}`);
        return run('decodeInfer', { body, headerLength: undefined, signature: undefined });
      },
    ],
    [
      'an inference request with bytes behind the JSON',
      (run) => run('decodeInfer', { ...binary, body: binary.body.slice(), signature: undefined }),
    ],
    ['examples', (run) => run('decodeExamples', { body: bytes('{"context":{"a":1},"examples":[{"x":0.5},{"x":[1,2]}]}') })],
    ['predictions', (run) => run('encodePredict', { outputs, format: 'columnar' })],
    [
      'an inference answer, a part of it in binary',
      (run) => run('encodeInfer', { modelName: 'm', modelVersion: '1', id: 'é', outputs, binary: ['y'] }),
    ],
  ])('reads and writes %s as the main thread would', async (_, job) => {
    expect(await job(thread.run)).toEqual(await job(runJsonJobHere));
  });

  test.each([
    ['{"instances": [1, 2', 'invalid-argument'],
    ['{"instances": [[1, 2], [1, "two"]]}', 'invalid-argument'],
    ['{"inputs": [1, "two"]}', 'dtype-mismatch'],
    ['{"signature_name": "other", "instances": [1]}', 'invalid-argument'],
    ['', 'invalid-argument'],
  ])('hands on what is wrong with %j', async (text, code) => {
    const expected = await runJsonJobHere('decodePredict', decodePredict(text)).catch((error: unknown) => error);

    const decoding = thread.run('decodePredict', decodePredict(text));

    const { message, details } = expected as { message: string; details: object };
    await expect(decoding).rejects.toMatchObject({ name: 'NearfarError', code, message, details });
  });

  test('takes a body over, and leaves a part of a larger buffer and the tensors of an answer where they are', async () => {
    const whole = decodePredict(numbers(10));
    const part = bytes(`${numbers(10)} `).subarray(0, -1);

    await thread.run('decodePredict', whole);
    await thread.run('decodePredict', { body: part, signatures });
    await thread.run('encodePredict', { outputs, format: 'row' });

    expect([whole.body.length, part.length > 0, outputs.y.data.length, outputs.s_bytes.data[0]?.length]).toEqual([0, true, 4, 1]);
  });

  test('moves the memory that was lent for a body, and gives it back', async () => {
    const text = bytes(numbers(10));
    const body = new Uint8Array(buffers.take(100_000), 0, text.length);
    body.set(text);

    const { inputs } = await thread.run('decodePredict', { body, signatures });

    expect(inputs['x']?.shape).toEqual([10, 4]);
    expect([body.length, buffers.freeBytes]).toEqual([0, 131_072]);
  });

  test('rejects at once when nobody waits any more, and goes on with the next', async () => {
    const client = new AbortController();
    const reason = new TypeError('the client hung up');

    const abandoned = [1, 2].map(() => thread.run('decodePredict', decodePredict(numbers(2000)), client));
    client.abort(reason);
    const outcomes = await Promise.allSettled(abandoned);
    const next = await thread.run('decodePredict', decodePredict(numbers(3)));

    expect(outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason === reason)).toEqual([true, true]);
    expect(next.inputs['x']?.shape).toEqual([3, 4]);
    await expect(thread.run('decodePredict', decodePredict('{}'), client)).rejects.toBe(reason);
  });

  test('refuses more than may wait, and everything once it is closed', async () => {
    const closed = new JsonThread({ maxWaiting: 3, buffers });
    const decode = () => closed.run('decodePredict', decodePredict(numbers(100)));

    const outcomes = await Promise.allSettled(Array.from({ length: 4 }, decode));
    const waiting = decode();
    const closing = Promise.all([expect(waiting).rejects.toMatchObject({ code: 'unavailable' }), closed[Symbol.asyncDispose]()]);

    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected']);
    expect(outcomes[3]).toMatchObject({ reason: { code: 'overloaded', details: { limit: 3 } } });
    await closing;
    await expect(decode()).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('fails what waits when its worker ends, and starts another one for the next', async () => {
    await using mortal = new JsonThread({ maxWaiting: 3, buffers });
    const starting = nextWorker();
    const lost = mortal.run('decodePredict', decodePredict(numbers(100)));
    const worker = await starting;

    await Promise.all([
      expect(lost).rejects.toMatchObject({ code: 'unavailable', message: 'the JSON worker stopped: it exited' }),
      worker.terminate(),
    ]);

    const { inputs } = await mortal.run('decodePredict', decodePredict(numbers(3)));
    expect(inputs['x']?.shape).toEqual([3, 4]);
  });

  test('keeps the event loop free while it reads 6 MB, which the main thread would be held up by', async () => {
    const text = numbers(100_000);
    const here = await blockedShare(runJsonJobHere, text);
    await thread.run('decodePredict', decodePredict('{"instances":[1]}')); // its start is not what is measured

    // The best of some: a busy machine may keep any thread waiting now and then.
    const shares = [];
    for (let round = 0; round < 4; round++) shares.push(await blockedShare(thread.run, text));

    expect(Math.min(...shares)).toBeLessThan(here / 3);
  });
});

/** The longest time that the event loop stood still, as a share of the time that the body took. */
async function blockedShare(run: RunJsonJob, text: string): Promise<number> {
  const request = decodePredict(text);
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  await new Promise((resolve) => setTimeout(resolve, 5)); // it tells the time between two of its turns
  const startedAt = performance.now();
  await run('decodePredict', request);
  const tookMs = performance.now() - startedAt;
  // The delay that the last block made is known in the next turn of the loop, where the first of these may come before it.
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setTimeout(resolve, 2));
  delays.disable();
  return delays.max / 1e6 / tookMs;
}

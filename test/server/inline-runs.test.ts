import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTensor, NearfarError, parseManifest, type RunRequest } from '../../src/core/index.ts';
import { publish } from '../../src/publish/index.ts';
import { createLog } from '../../src/server/log.ts';
import { InlineRuns } from '../../src/server/servables/index.ts';
import { scalingModel } from '../support/onnx-writer.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nearfar-inline-'));
  await writeFile(join(folder, 'scale.onnx'), scalingModel(2));
  await publish([join(folder, 'scale.onnx')], { name: 'scale', repository: join(folder, 'models') });
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** A version whose engine thread is a stand-in that takes so long, loaded with runs on this thread below 100 ms. */
async function load(inferMs: () => number, options: { belowMs?: number } = {}) {
  const directory = join(folder, 'models/scale/1');
  const manifestBytes = new Uint8Array(await readFile(join(directory, 'manifest.json')));
  const manifest = parseManifest(manifestBytes);
  const [variant] = manifest.variants;
  const thread = { runs: 0, isUnloaded: false, lose: (_: NearfarError) => {} };
  const inlineRuns = new InlineRuns({ belowMs: options.belowMs ?? 100, log: createLog('error') });
  const loadInThread = inlineRuns.around(async (_, { onLost }) => {
    let lost: NearfarError | undefined;
    thread.lose = (error) => {
      lost = error;
      onLost(error);
    };
    return {
      backend: 'onnx-cpu',
      variant: variant?.id ?? '',
      device: { kind: 'cpu' },
      skipped: [],
      warmup: undefined,
      parallelism: 1,
      run: async () => {
        if (lost) throw lost;
        thread.runs++;
        return { outputs: {}, timing: { queueMs: 0, inferMs: inferMs() } };
      },
      unload: async () => {
        thread.isUnloaded = true;
      },
    };
  });
  const source = { version: '1', digest: 'sha256:00', manifest, manifestBytes, directory };
  const hosted = await loadInThread(source, { signal: new AbortController().signal, onLost: () => {} });
  const signature = manifest.signatures['serving_default'];
  const [input = '', output = ''] = [...Object.keys(signature?.inputs ?? {}), ...Object.keys(signature?.outputs ?? {})];
  const requestOf = (rows: number): RunRequest => ({
    signature: 'serving_default',
    inputs: { [input]: createTensor('float32', [rows, 3], new Float32Array(rows * 3).fill(1.5)) },
  });
  const run = async (times: number, rows = 1) => {
    const before = thread.runs;
    let last: unknown;
    for (let i = 0; i < times; i++) last = (await hosted.run(requestOf(rows))).outputs[output]?.data;
    return { inThread: thread.runs - before, last };
  };
  return { hosted, thread, run, requestOf, inlineRuns };
}

test('a model whose runs are short in the engine thread is run where its requests are answered', async () => {
  const { run, hosted, thread, inlineRuns } = await load(() => 0.02);

  expect((await run(32)).inThread).toBe(32);
  const after = await run(62);

  expect(after).toEqual({ inThread: 0, last: Float32Array.of(3, 3, 3) });
  await hosted.unload();
  expect(thread.isUnloaded).toBe(true);
  await inlineRuns[Symbol.asyncDispose]();
});

test('a larger request than those that were short is run by the thread', async () => {
  const { run } = await load(() => 0.02);
  await run(32);

  expect((await run(10, 2)).inThread).toBe(10);
  expect((await run(10, 1)).inThread).toBe(0);
});

test('a model that is slow here goes back to the thread, until 32 runs were fast there', async () => {
  const { run } = await load(() => 0, { belowMs: 1e-6 });
  await run(32);

  const [here, back, again] = [await run(32), await run(32), await run(32)];

  expect([here, back, again].map(({ inThread }) => inThread)).toEqual([0, 32, 0]);
});

test('a request that is fast is answered before the call returns, and no other', async () => {
  const { run, hosted, requestOf } = await load(() => 0.02);
  const before = hosted.runNow?.(requestOf(1));
  await run(32);

  const [small, large] = [hosted.runNow?.(requestOf(1)), hosted.runNow?.(requestOf(2))];

  expect([before, large]).toEqual([undefined, undefined]);
  expect(small?.timing).toEqual({ queueMs: 0, inferMs: expect.any(Number) });
  expect(Object.values(small?.outputs ?? {}).map(({ data }) => data)).toEqual([Float32Array.of(3, 3, 3)]);
  await hosted.unload();
  expect(hosted.runNow?.(requestOf(1))).toBe(undefined);
});

test('what does not fit is refused here as by a thread', async () => {
  const { run, hosted } = await load(() => 0.02);
  await run(32);

  const wrong = createTensor('float32', [1, 1, 3], new Float32Array(3));

  expect(() => hosted.runNow?.({ signature: 'serving_default', inputs: { x: wrong } })).toThrow(/expects \[-1,3\]/);
  expect(() => hosted.runNow?.({ signature: 'serving_default', inputs: { z: wrong } })).toThrow(/missing: x; unknown: z/);
  expect(() => hosted.runNow?.({ signature: 'none', inputs: {} })).toThrow(/has no signature "none"/);
});

test.each([
  ['is slow', { inferMs: 500 }],
  ['is fast, where runs on the event loop are off', { inferMs: 0.02, belowMs: 0 }],
])('a model that %s is always run by the thread', async (_, { inferMs, ...options }) => {
  const { run } = await load(() => inferMs, options);

  expect((await run(100)).inThread).toBe(100);
});

test('a version that its thread lost runs nowhere', async () => {
  const { run, thread } = await load(() => 0.02);
  await run(32);

  thread.lose(new NearfarError('unavailable', 'the engine worker stopped'));

  await expect(run(1)).rejects.toMatchObject({ code: 'unavailable' });
});

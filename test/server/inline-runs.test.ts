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

/** A version whose engine thread is a stand-in that takes so long, loaded with runs on this thread below 0.1 ms. */
async function load(inferMs: () => number, options: { belowMs?: number } = {}) {
  const directory = join(folder, 'models/scale/1');
  const manifestBytes = new Uint8Array(await readFile(join(directory, 'manifest.json')));
  const manifest = parseManifest(manifestBytes);
  const [variant] = manifest.variants;
  const thread = { runs: 0, isUnloaded: false, lose: (_: NearfarError) => {} };
  const inlineRuns = new InlineRuns({ belowMs: options.belowMs ?? 0.1, log: createLog('error') });
  const loadInThread = inlineRuns.around(async (_, { onLost }) => {
    thread.lose = onLost;
    return {
      backend: 'onnx-cpu',
      variant: variant?.id ?? '',
      device: { kind: 'cpu' },
      skipped: [],
      warmup: undefined,
      parallelism: 1,
      run: async () => {
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
  return { hosted, thread, run, inlineRuns };
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

test('a model that becomes slow goes back to the thread, where one of 64 runs is still timed', async () => {
  let inferMs = 0.02;
  const { run } = await load(() => inferMs);
  await run(32);
  expect((await run(640)).inThread).toBe(10);
  inferMs = 5;

  await run(64 * 32);

  expect((await run(20)).inThread).toBe(20);
});

test.each([
  ['is slow', { inferMs: 5 }],
  ['is fast, where runs on the event loop are off', { inferMs: 0.02, belowMs: 0 }],
])('a model that %s is always run by the thread', async (_, { inferMs, ...options }) => {
  const { run } = await load(() => inferMs, options);

  expect((await run(100)).inThread).toBe(100);
});

test('a version that its thread lost runs nowhere', async () => {
  const { run, thread } = await load(() => 0.02);
  await run(32);

  thread.lose(new NearfarError('unavailable', 'the engine worker stopped'));

  await expect(run(1)).rejects.toMatchObject({ code: 'failed-precondition' });
});

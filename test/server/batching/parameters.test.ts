import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createVersionBatching, defaultBatchingOptions, resolveBatching } from '../../../src/server/batching/index.ts';
import type { VersionOnDisk } from '../../../src/server/repository/index.ts';
import { openTempFolder } from '../../support/model-folder.ts';
import { sharedData } from '../../support/shared-data.ts';

const tfsFile = sharedData('tfs-testdata/batching_config.txt');

let folder: Awaited<ReturnType<typeof openTempFolder>>;

beforeAll(async () => {
  folder = await openTempFolder();
});

afterAll(() => folder[Symbol.asyncDispose]());

async function fileOf(text: string): Promise<string> {
  const path = join(folder.path, 'batching.pbtxt');
  await writeFile(path, text);
  return path;
}

const resolve = (parametersFile: string | undefined, isEnabled = true) =>
  resolveBatching({ isEnabled, parametersFile, p99TargetMs: undefined });

describe('batching flags', () => {
  test('ask for nothing by default, and for the defaults of TensorFlow Serving without a file', () => {
    expect(resolve(undefined, false)).toBe('off');
    expect(resolve(undefined)).toEqual({
      kind: 'fixed',
      options: { ...defaultBatchingOptions, threadPoolName: 'model_server_batch_threads' },
    });
  });

  test('read every parameter of a file', async () => {
    const file = await fileOf(`
      max_batch_size { value: 128 }  batch_timeout_micros { value: 500 }  max_enqueued_batches { value: 7 }
      num_batch_threads { value: 3 }  thread_pool_name { value: "pool" }  allowed_batch_sizes: [8, 32]
      pad_variable_length_inputs: true  enable_large_batch_splitting { value: true }  max_execution_batch_size { value: 32 }`);

    expect(resolve(file)).toEqual({
      kind: 'fixed',
      options: {
        maxBatchSize: 128,
        batchTimeoutMicros: 500,
        maxEnqueuedBatches: 7,
        numBatchThreads: 3,
        allowedBatchSizes: [8, 32],
        padVariableLengthInputs: true,
        enableLargeBatchSplitting: true,
        maxExecutionBatchSize: 32,
        threadPoolName: 'pool',
      },
    });
  });

  test('end the start for a file without --enable_batching, in the words of TensorFlow Serving', async () => {
    const file = await fileOf('');

    expect(() => resolve(file, false)).toThrow(
      'server_options.batching_parameters_file is set without setting server_options.enable_batching to true.',
    );
  });

  test('tune by a target alone, not along with a file', async () => {
    const file = await fileOf('');

    expect(resolveBatching({ isEnabled: false, parametersFile: undefined, p99TargetMs: 20 })).toEqual({ kind: 'auto', p99TargetMs: 20 });
    expect(() => resolveBatching({ isEnabled: true, parametersFile: file, p99TargetMs: 20 })).toThrow('give one of them');
  });

  test.each([
    [
      'max_batch_size { value: 4 } allowed_batch_sizes: [2, 8]',
      'Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 4',
    ],
    ['max_batch_size { value: 4 } allowed_batch_sizes: [4, 2, 4]', 'allowed_batch_sizes entries must be monotonically increasing'],
    ['max_batch_size { value: 0 }', 'max_batch_size expects a whole number of at least 1, got 0'],
    ['max_batch_size: 4 }', /1:\d+/],
    ['batch_size { value: 4 }', 'has no field named "batch_size"'],
  ])('end the start for %s', async (text, message) => {
    const file = await fileOf(text);

    expect(() => resolve(file)).toThrow(message);
    expect(() => resolve(file)).toThrow(file);
  });

  test('name a file that is not there', () => {
    expect(() => resolve('/nowhere/batching.txt')).toThrow(expect.objectContaining({ code: 'not-found' }));
  });

  test.skipIf(!tfsFile)('read the file of TensorFlow Serving’s own tests', () => {
    expect(resolve(tfsFile)).toMatchObject({
      kind: 'fixed',
      options: { maxBatchSize: 128, maxEnqueuedBatches: 1_000_000, numBatchThreads: 8 },
    });
  });
});

describe('a version', () => {
  const versionIn = (directory: string, original?: string) => ({ manifest: {}, directory, original }) as VersionOnDisk; // all that is read of it
  const common = { kind: 'fixed', options: { ...defaultBatchingOptions, numBatchThreads: 5, threadPoolName: 'shared' } } as const;

  test('brings its own parameters in the directory it was imported from, but for the thread pool', async () => {
    const original = join(folder.path, 'plain/1');
    await mkdir(original, { recursive: true });
    await writeFile(join(original, 'batching_params.pbtxt'), 'max_batch_size { value: 10 } num_batch_threads { value: 2 }');
    const batching = createVersionBatching(common);
    const version = versionIn('/cache/imported', original);

    await batching.read(version);

    expect(batching.of(version.manifest)).toMatchObject({ options: { maxBatchSize: 10, numBatchThreads: 5, threadPoolName: 'shared' } });
  });

  test('that brings none is not batched, and one whose file cannot be read does not load', async () => {
    const broken = join(folder.path, 'broken/1');
    await mkdir(broken, { recursive: true });
    await writeFile(join(broken, 'batching_params.pbtxt'), 'max_batch_size {');
    const batching = createVersionBatching(common);
    const plain = versionIn(join(folder.path, 'none'));

    await batching.read(plain);

    expect(batching.of(plain.manifest)).toBe('off');
    await expect(batching.read(versionIn(broken))).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

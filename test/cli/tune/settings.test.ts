import { expect, test } from 'vitest';
import { frontierOf } from '../../../src/cli/tune/files.ts';
import { batchingParameters, type Settings, settingsOf } from '../../../src/cli/tune/settings.ts';
import { affordable } from '../../../src/cli/tune/tune.ts';
import { parseBatchingParameters } from '../../../src/server/batching/parameters.ts';
import { tinyOnnx } from '../../support/tiny-models.ts';

const { manifest } = tinyOnnx('float32');
const space = { manifest, backends: ['onnx-cpu', 'tfjs-wasm'], cores: 4, isBatchable: true, p99TargetMs: 100 } as const;

test('workers and threads share the cores, and a backend without a variant is passed over', () => {
  const all = settingsOf(space);

  expect(new Set(all.map(({ backend }) => backend))).toEqual(new Set(['onnx-cpu']));
  expect(Math.max(...all.map(({ engineWorkers, engineThreads }) => engineWorkers * engineThreads))).toBe(4);
  expect(all).toContainEqual({ backend: 'onnx-cpu', variant: 'onnx-tiny', engineWorkers: 1, engineThreads: 3, batching: undefined });
});

test('what cannot be batched is not, and no batch waits for half of the target', () => {
  const unbatched = settingsOf({ ...space, isBatchable: false });
  const hurried = settingsOf({ ...space, p99TargetMs: 4 });

  expect(unbatched.every(({ batching }) => batching === undefined)).toBe(true);
  expect(Math.max(...hurried.map(({ batching }) => batching?.timeoutMicros ?? 0))).toBe(500);
});

test('the parameters of every batch are those of TensorFlow Serving, and valid', () => {
  for (const settings of [...settingsOf(space), ...settingsOf({ ...space, backends: ['onnx-webgpu'] })]) {
    if (!settings.batching) continue;
    const { maxBatchSize, batchTimeoutMicros, numBatchThreads } = parseBatchingParameters(
      batchingParameters(settings, settings.batching),
      'batching.pbtxt',
    );

    expect([maxBatchSize, batchTimeoutMicros, numBatchThreads]).toEqual([
      settings.batching.maxBatchSize,
      settings.batching.timeoutMicros,
      settings.engineWorkers + 1,
    ]);
  }
});

test('a GPU, which compiles for each shape, gets batches of powers of two', () => {
  const settings: Settings = {
    backend: 'onnx-webgpu',
    variant: 'onnx-tiny',
    engineWorkers: 1,
    engineThreads: 1,
    batching: { maxBatchSize: 8, timeoutMicros: 0 },
  };

  expect(parseBatchingParameters(batchingParameters(settings, { maxBatchSize: 8, timeoutMicros: 0 }), '').allowedBatchSizes).toEqual([
    1, 2, 4, 8,
  ]);
});

test('so many candidates are tried as can be started and measured, the defaults and one other at least', () => {
  expect([affordable(500, 90_000, 900), affordable(5, 90_000, 900), affordable(500, 100, 900)]).toEqual([20, 5, 2]);
});

test('the frontier has what nothing else beats in both', () => {
  const points = [
    { x: 5, y: 50 },
    { x: 1, y: 10 },
    { x: 2, y: 8 },
    { x: 3, y: 60 },
  ];

  expect(frontierOf(points)).toEqual([
    { x: 1, y: 10 },
    { x: 3, y: 60 },
  ]);
});

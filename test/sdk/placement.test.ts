import { expect, test } from 'vitest';
import { type DeviceProfile, judgeAvailability, type PlacementPolicy, placeModel } from '../../src/core/index.ts';
import { manifest } from './stand-in-workers.ts';

const { variants } = manifest;
const gpu: DeviceProfile = { adapter: { kind: 'gpu', maxBufferBytes: 2 ** 28, features: [] }, kernelMs: 3, probeMs: 10 };
const noGpu: DeviceProfile = { probeMs: 1 };
const policy: PlacementPolicy = { mode: 'prefer-on-device', hasServer: true, allowSoftwareAdapter: false };

test('prefers the GPU, then wasm, tfjs before ONNX', () => {
  const placement = placeModel(variants, gpu, policy);

  expect(placement).toEqual({
    legs: ['on-device', 'server'],
    backends: ['tfjs-webgpu', 'onnx-webgpu', 'tfjs-wasm', 'onnx-wasm'],
    skipped: [],
  });
});

test('leaves out backends that the version has no variant for, without a word', () => {
  const onnxOnly = variants.filter(({ format }) => format === 'onnx');

  expect(placeModel(onnxOnly, gpu, policy)).toMatchObject({ backends: ['onnx-webgpu', 'onnx-wasm'], skipped: [] });
});

test.each<[string, DeviceProfile, string]>([
  ['no adapter', noGpu, 'this browser offers no WebGPU adapter'],
  ['a software adapter', { ...gpu, adapter: { ...gpu.adapter!, isFallbackAdapter: true } }, 'the only GPU adapter is a software adapter'],
  ['a slow adapter', { ...gpu, kernelMs: 250 }, 'the GPU adapter needed 250 ms for a trivial kernel'],
  ['an adapter that errs', { ...gpu, kernelMs: Number.POSITIVE_INFINITY }, 'the GPU adapter gave a wrong result of a trivial kernel'],
])('falls to wasm with %s and says why', (_, profile, message) => {
  const placement = placeModel(variants, profile, policy);

  expect(placement.backends).toEqual(['tfjs-wasm', 'onnx-wasm']);
  expect(placement.skipped).toEqual([
    { backend: 'tfjs-webgpu', code: 'device-unfit', message },
    { backend: 'onnx-webgpu', code: 'device-unfit', message },
  ]);
});

test('tries the GPU where the probe had to stop before the browser named an adapter', () => {
  const placement = placeModel(variants, { ...noGpu, isAdapterPending: true }, policy);

  expect(placement.backends[0]).toBe('tfjs-webgpu');
});

test('takes a software adapter where the application allows it, however slow', () => {
  const software = { ...gpu, adapter: { ...gpu.adapter!, isFallbackAdapter: true }, kernelMs: 900 };

  expect(placeModel(variants, software, { ...policy, allowSoftwareAdapter: true }).backends[0]).toBe('tfjs-webgpu');
});

test('skips a GPU that lacks the features of every variant', () => {
  const half = variants.map((variant) => ({ ...variant, requires: ['shader-f16'] }));

  const placement = placeModel(half, gpu, policy);

  expect(placement.backends).toEqual([]);
  expect(placement.skipped[0]).toMatchObject({ backend: 'tfjs-webgpu', message: 'the GPU adapter lacks shader-f16' });
  expect(placement.legs).toEqual(['server']);
});

test('keeps an explicit order and refuses backends of a server', () => {
  const placement = placeModel(variants, gpu, { ...policy, backends: ['onnx-cuda', 'onnx-wasm', 'tfjs-cpu'] });

  expect(placement.backends).toEqual(['onnx-wasm', 'tfjs-cpu']);
  expect(placement.skipped).toEqual([{ backend: 'onnx-cuda', code: 'unsupported', message: 'onnx-cuda does not run in a browser' }]);
});

test('remembers a backend that gave wrong numbers, and one that was lost three times', () => {
  const lost = { backend: 'onnx-webgpu', code: 'device-lost', message: 'reset' } as const;
  const wrong = { backend: 'tfjs-webgpu', code: 'self-test-failed', message: 'off by 0.4' } as const;

  const twice = placeModel(variants, gpu, policy, [wrong, lost, lost]);
  const thrice = placeModel(variants, gpu, policy, [wrong, lost, lost, lost]);

  expect(twice.backends).toEqual(['onnx-webgpu', 'tfjs-wasm', 'onnx-wasm']);
  expect(thrice.backends).toEqual(['tfjs-wasm', 'onnx-wasm']);
  expect(thrice.skipped.map(({ code }) => code)).toEqual(['self-test-failed', 'device-lost']);
});

const facts = {
  placement: placeModel(variants, gpu, policy),
  policy,
  profile: gpu,
  cachedBytes: 0,
  totalBytes: 100,
  isDownloading: false,
  server: 'ready' as const,
};

test.each([
  ['nothing is cached', {}, 'downloadable', undefined],
  ['everything is cached', { cachedBytes: 100 }, 'available', undefined],
  ['it is on its way', { isDownloading: true }, 'downloading', undefined],
  ['it does not fit', { profile: { ...gpu, quotaBytes: 50, usageBytes: 10 } }, 'downloadable', 'quota-exceeded'],
  ['the server is preferred and ready', { policy: { ...policy, mode: 'prefer-server' as const } }, 'available', undefined],
  [
    'the server alone is asked and not ready',
    { policy: { ...policy, mode: 'only-server' as const }, server: { code: 'network' as const, message: 'no route' } },
    'unavailable',
    'network',
  ],
])('a model is %s: state %3$s', (_, change, state, code) => {
  const judged = judgeAvailability({ ...facts, ...change });

  expect(judged.state).toBe(state);
  expect(judged.reason?.code).toBe(code);
});

test('a device that is not fit leaves the model available through the server, with the reason', () => {
  const placement = placeModel(variants, noGpu, { ...policy, backends: ['tfjs-webgpu'] });

  const judged = judgeAvailability({ ...facts, placement });

  expect(judged).toEqual({
    state: 'available',
    reason: { code: 'device-unfit', message: 'tfjs-webgpu: this browser offers no WebGPU adapter' },
  });
});

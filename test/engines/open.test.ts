import { expect, test } from 'vitest';
import { findSoftwareVulkan } from '../../scripts/find-browser.mjs';
import type { EngineDevice } from '../../src/core/index.ts';
import { type EnginePlatform, openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { everyday10 } from '../support/engine-models.ts';

const platform = await openNodePlatform({ gpu: false });
const vulkan = findSoftwareVulkan();
const noVulkan = vulkan.env ? undefined : vulkan.reason;

/** A platform whose only GPU adapter says this about itself; it gives no device. */
function withAdapter(info: Record<string, unknown>, isFallbackAdapter?: boolean): EnginePlatform {
  const adapter = { info, isFallbackAdapter, features: new Set(), limits: {}, requestDevice: () => Promise.reject(new Error('no device')) };
  const gpu = { requestAdapter: async () => adapter } as unknown as GPU;
  return { ...platform, gpu };
}

test.each(['tfjs-webgpu', 'onnx-webgpu'] as const)('%s without WebGPU is device-unfit, with the reason', async (backend) => {
  await expect(openEngine(backend, platform)).rejects.toMatchObject({
    code: 'device-unfit',
    message: expect.stringContaining('switched off'),
  });
});

test('Dawn is not even loaded for a software adapter, unless that is allowed', async ({ skip }) => {
  skip(noVulkan !== undefined, noVulkan);

  const refused = await openNodePlatform();
  const isLoaded = 'GPUBufferUsage' in globalThis;
  const allowed = await openNodePlatform({ allowSoftwareAdapter: true });

  expect(refused).toMatchObject({ gpu: undefined, gpuAbsence: expect.stringContaining('software') });
  expect(isLoaded).toBe(false);
  expect(await allowed.gpu?.requestAdapter()).not.toBeNull();
});

test.each([
  ['by its info', { vendor: 'google', isFallbackAdapter: true }, undefined],
  ['by the adapter, in older browsers', { vendor: 'google' }, true],
  ['by its name', { vendor: 'mesa', description: 'llvmpipe (LLVM 15.0.6, 256 bits)' }, undefined],
])('a software adapter, known %s, is refused unless it is allowed', async (_, info, isFallbackAdapter) => {
  const soft = withAdapter(info, isFallbackAdapter);

  await expect(openEngine('tfjs-webgpu', soft)).rejects.toMatchObject({
    code: 'device-unfit',
    message: expect.stringContaining('software'),
    details: { isFallbackAdapter: true } satisfies Partial<EngineDevice>,
  });
  await expect(openEngine('tfjs-webgpu', { ...soft, allowSoftwareAdapter: true })).rejects.toMatchObject({
    code: 'device-unfit',
    message: expect.stringContaining('no device'),
  });
});

test('a provider that this build or machine has not is refused, not replaced by the CPU', async () => {
  for (const backend of ['onnx-cuda', 'onnx-tensorrt'] as const) {
    const opening = openEngine(backend, platform);
    const outcome = await opening.catch((error: unknown) => error);
    if (typeof outcome === 'object' && outcome !== null && 'backend' in outcome) {
      expect(outcome.backend).toBe(backend); // a machine with CUDA
      await (await opening)[Symbol.asyncDispose]();
    } else expect(outcome).toMatchObject({ code: expect.stringMatching(/^(unsupported|device-unfit)$/) });
  }
});

test('a wasm file that cannot be read is device-unfit with the reason, and the backend opens once it can', async () => {
  const nowhere = { 'tfjs-backend-wasm.wasm': '/nowhere/a.wasm', 'tfjs-backend-wasm-simd.wasm': '/nowhere/b.wasm' };

  await expect(openEngine('tfjs-wasm', { ...platform, tfjsWasmFiles: nowhere })).rejects.toMatchObject({
    code: 'device-unfit',
    message: expect.stringContaining('/nowhere/b.wasm'),
  });
  await using engine = await openEngine('tfjs-wasm', platform);
  expect(engine.backend).toBe('tfjs-wasm');
});

test('an aborted open rejects with the reason', async () => {
  const reason = new Error('not needed');

  await expect(openEngine('tfjs-cpu', platform, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test("the process keeps the application's own listeners, and no others", async () => {
  const own = () => undefined;
  process.on('unhandledRejection', own);
  const before = { exceptions: process.listeners('uncaughtException'), rejections: process.listeners('unhandledRejection') };

  const engine = await openEngine('tfjs-wasm', platform);
  await engine[Symbol.asyncDispose]();

  expect(process.listeners('uncaughtException')).toEqual(before.exceptions);
  expect(process.listeners('unhandledRejection')).toEqual(before.rejections);
  process.off('unhandledRejection', own);
});

test('two engines of one realm answer by turns, each with its own backend', async () => {
  const model = await everyday10();
  await using first = await openEngine('tfjs-cpu', platform);
  await using second = await openEngine('onnx-cpu', platform);
  const image = { dtype: 'float32', shape: [1, 32, 32, 3], data: new Float32Array(3072).fill(0.5) } as const;
  const request = { signature: 'serving_default', inputs: { image } };
  const variants = [
    await first.load(model.source('tfjs')),
    await second.load(model.source('onnx')),
    await first.load(model.source('tfjs')),
  ];

  const answers = await Promise.all(variants.map((variant) => variant.run(request)));

  const [a, b, c] = answers.map(({ probabilities }) => Array.from(probabilities!.data as Float32Array));
  expect(c).toEqual(a);
  for (const [index, value] of a!.entries()) expect(b![index]).toBeCloseTo(value, 5);
});

import { type BackendId, type Engine, type EngineDevice, type LoadedVariant, NearfarError, type VariantSource } from '../../core/index.ts';
import { messageOf, requestDevice, requestFitAdapter } from '../gpu.ts';
import { watchDeviceLoss } from '../loss.ts';
import type { EnginePlatform, OrtModule, OrtProvider } from '../platform.ts';
import { createSerial, type Serial } from '../serial.ts';
import { probeProvider } from './probe.ts';
import { type SessionSetup, sessionOptions } from './session-options.ts';
import { loadSessionVariant } from './session-variant.ts';

export type OnnxBackendId = Extract<BackendId, `onnx-${string}`>;

const providers: Record<OnnxBackendId, OrtProvider> = {
  'onnx-webgpu': 'webgpu',
  'onnx-wasm': 'wasm',
  'onnx-cpu': 'cpu',
  'onnx-cuda': 'cuda',
  'onnx-tensorrt': 'tensorrt',
};

// onnxruntime-web has one wasm runtime per realm, which runs one call at a time.
let realm: Serial | undefined;

/**
 * Opens ONNX Runtime on exactly one execution provider and proves with a model of one node that it computes.
 * @throws {NearfarError} `unsupported` when the build has no such provider, `device-unfit` when it does not work here.
 */
export async function openOnnxEngine(id: OnnxBackendId, platform: EnginePlatform): Promise<Engine> {
  const provider = providers[id];
  const ort = await platform.loadOrt(provider);
  const isWeb = ort.env.versions.web !== undefined;
  ort.env.logLevel = 'error';
  // Read once, when the first session starts the runtime.
  if (isWeb) ort.env.wasm.numThreads = platform.threads;
  const { device, gpuDevice } = await openDevice(provider, isWeb, platform);
  const setup: SessionSetup = { provider, threads: platform.threads, gpuDevice };
  realm ??= createSerial(platform.nextTask);
  const serial: Serial = isWeb ? realm : async (work) => work();
  try {
    await serial(() => probeProvider(ort, sessionOptions(setup, true)));
  } catch (cause) {
    gpuDevice?.destroy();
    throw new NearfarError('device-unfit', `ONNX Runtime cannot run its ${provider} provider here: ${messageOf(cause)}`, { cause });
  }
  return createOnnxEngine(id, { ort, setup, serial, device, openSessionNow: provider === 'cpu' ? platform.openSessionNow : undefined });
}

/** On webgpu: an adapter that may be used, and for onnxruntime-web the device itself (onnxruntime-node makes its own). */
async function openDevice(
  provider: OrtProvider,
  isWeb: boolean,
  platform: EnginePlatform,
): Promise<{ device: EngineDevice; gpuDevice?: GPUDevice }> {
  if (provider === 'cpu' || provider === 'wasm') return { device: { kind: 'cpu' } };
  if (provider !== 'webgpu') return { device: { kind: 'gpu' } };
  const fit = await requestFitAdapter(platform);
  return isWeb ? { device: fit.device, gpuDevice: await requestDevice(fit) } : { device: fit.device };
}

interface OnnxParts {
  readonly ort: OrtModule;
  readonly setup: SessionSetup;
  readonly serial: Serial;
  readonly device: EngineDevice;
  readonly openSessionNow: EnginePlatform['openSessionNow'];
}

function createOnnxEngine(id: OnnxBackendId, { ort, setup, serial, device, openSessionNow }: OnnxParts): Engine {
  const variants = new Map<LoadedVariant, { bytes: number; liveTensors: () => number }>();
  const loss = watchDeviceLoss(id, setup.gpuDevice?.lost);
  let closing: Promise<void> | undefined;
  return {
    backend: id,
    device,
    lost: loss.lost,
    async load(source: VariantSource, { signal } = {}) {
      signal?.throwIfAborted();
      if (closing) throw new NearfarError('failed-precondition', `engine ${id} is closed`);
      loss.assertAlive();
      const loaded = await loadSessionVariant(source, { id, ort, setup, serial, loss, openSessionNow, signal });
      const variant: LoadedVariant = {
        run: loaded.run,
        runNow: loaded.runNow,
        [Symbol.asyncDispose]: async () => {
          await loaded[Symbol.asyncDispose]();
          variants.delete(variant);
        },
      };
      variants.set(variant, loaded);
      return variant;
    },
    memory: () => {
      const loaded = [...variants.values()];
      return {
        tensors: loaded.reduce((sum, { liveTensors }) => sum + liveTensors(), 0),
        bytes: loaded.reduce((sum, { bytes }) => sum + bytes, 0),
        variants: variants.size,
      };
    },
    loseDevice: setup.gpuDevice && (() => setup.gpuDevice?.destroy()),
    [Symbol.asyncDispose]() {
      closing ??= (async () => {
        for (const variant of [...variants.keys()]) await variant[Symbol.asyncDispose]();
        loss.end();
        setup.gpuDevice?.destroy();
      })();
      return closing;
    },
  };
}

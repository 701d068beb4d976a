import * as tf from '@tensorflow/tfjs-core';
import { type EngineDevice, NearfarError } from '../../core/index.ts';
import { messageOf, requestDevice, requestFitAdapter } from '../gpu.ts';
import type { EnginePlatform } from '../platform.ts';
import { createSerial, type Serial } from '../serial.ts';
import { backendCode } from '../tfjs-backend-code.ts';
import { installKernels } from './kernels.ts';

/** One backend of TensorFlow.js, opened for one engine. */
export interface TfjsBackend {
  readonly kind: TfjsBackendKind;
  readonly device: EngineDevice;
  /** The GPU device, on webgpu. */
  readonly gpuDevice?: GPUDevice | undefined;
  /**
   * Runs `work` with this backend as the current one. TensorFlow.js has one current backend and one stack of scopes per
   * realm, so the work of all engines in a realm waits in one line; reading tensors back needs no place in it.
   */
  use<T>(work: () => T | Promise<T>): Promise<T>;
  /** Makes this backend the current one; inside the work of another backend of the realm only, which then selects itself again. */
  select(): Promise<void>;
  hasKernel(kernel: string): boolean;
  /** Gives pooled memory back; only while no tensor is alive. */
  trim(): void;
  /** Tensors alive on this backend. */
  liveTensors(): number;
  close(): Promise<void>;
}

export type TfjsBackendKind = 'webgpu' | 'wasm' | 'cpu';

// TensorFlow.js itself is one object per realm: its line of work and its shared backends are so too.
let realm: Serial | undefined;
const shared = new Map<string, number>();
const wasmFiles: Record<string, string> = {};
let nextId = 1;

/**
 * @throws {NearfarError} `device-unfit` when the backend cannot be had here.
 */
export async function openTfjsBackend(kind: TfjsBackendKind, platform: EnginePlatform): Promise<TfjsBackend> {
  realm ??= createSerial(platform.nextTask);
  // Without its debug checks, and without its advertisement for tfjs-node.
  tf.enableProdMode();
  switch (kind) {
    case 'cpu':
      return openShared('cpu', realm, platform, async () => {
        await backendCode.cpu();
      });
    case 'wasm':
      return openShared('wasm', realm, platform, async () => {
        const { setWasmPaths } = await backendCode.wasm();
        // 4.22 computes on one thread whatever is asked (tensorflow/tfjs issue 8513), and its threaded build breaks when minified.
        tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
        Object.assign(wasmFiles, platform.tfjsWasmFiles);
        if (!wasmFiles['tfjs-backend-wasm-threaded-simd.wasm']) {
          // It asks for three names. After a failed start it takes no other map, but it looks into this one again.
          wasmFiles['tfjs-backend-wasm-threaded-simd.wasm'] = platform.tfjsWasmFiles['tfjs-backend-wasm-simd.wasm'];
          setWasmPaths(wasmFiles);
        }
      });
    case 'webgpu':
      return openWebGpu(realm, platform);
  }
}

/**
 * The CPU and wasm backends keep state in their modules, so a realm has one of each: engines share and count it. It is
 * registered under a name of ours, so that closing it leaves an application's own backend alone.
 */
async function openShared(kind: 'cpu' | 'wasm', serial: Serial, platform: EnginePlatform, load: () => Promise<void>): Promise<TfjsBackend> {
  const name = `nearfar-${kind}`;
  const keep = platform.keepProcessListeners ?? ((work) => Promise.resolve(work()));
  await load();
  await serial(async () => {
    if (!shared.has(name)) await keep(() => registerShared(kind, name, platform));
    shared.set(name, (shared.get(name) ?? 0) + 1);
  });
  const release = async () => {
    const engines = shared.get(name) ?? 0;
    if (engines > 1) shared.set(name, engines - 1);
    else {
      shared.delete(name);
      await keep(() => unregister(name));
    }
  };
  return createBackend(name, { kind: 'cpu' }, serial, { kind, release, trim: () => undefined });
}

async function registerShared(kind: 'cpu' | 'wasm', name: string, { tfjsWasmFiles }: EnginePlatform): Promise<void> {
  const factory = tf.findBackendFactory(kind);
  if (factory === null) throw new NearfarError('internal', `@tensorflow/tfjs-backend-${kind} registered no backend`);
  let failure: unknown;
  tf.registerBackend(name, async () => {
    try {
      return await factory();
    } catch (error) {
      failure = error;
      throw error;
    }
  });
  tf.copyRegisteredKernels(kind, name);
  installKernels(kind, name);
  if ((await tf.setBackend(name)) && tf.getBackend() === name) return;
  unregister(name);
  const files = kind === 'wasm' ? ` (from ${Object.values(tfjsWasmFiles).join(' or ')})` : '';
  throw new NearfarError('device-unfit', `TensorFlow.js cannot start its ${kind} backend${files}: ${reasonOf(failure)}`, {
    cause: failure,
  });
}

async function openWebGpu(serial: Serial, platform: EnginePlatform): Promise<TfjsBackend> {
  const fit = await requestFitAdapter(platform);
  const gpuDevice = await requestDevice(fit);
  try {
    const { WebGPUBackend } = await backendCode.webgpu();
    const name = `nearfar-webgpu-${nextId++}`;
    const backend = withNavigatorGpu(platform.gpu, () => new WebGPUBackend(gpuDevice, fit.info));
    await serial(async () => {
      tf.registerBackend(name, () => backend);
      tf.copyRegisteredKernels('webgpu', name);
      installKernels('webgpu', name);
      if ((await tf.setBackend(name)) && tf.getBackend() === name) return;
      unregister(name);
      throw new NearfarError('device-unfit', 'TensorFlow.js cannot start its webgpu backend');
    });
    return createBackend(name, fit.device, serial, {
      kind: 'webgpu',
      gpuDevice,
      release: async () => {
        unregister(name);
        gpuDevice.destroy();
      },
      trim: () => {
        // What is recorded still holds buffers of the pool: hand it in first.
        backend.ensureCommandEncoderReady();
        backend.endComputePassEncoder();
        backend.submitQueue();
        if (backend.numDataIds() === 0) backend.bufferManager.dispose();
      },
    });
  } catch (error) {
    gpuDevice.destroy();
    throw error;
  }
}

interface BackendParts {
  readonly kind: TfjsBackendKind;
  readonly gpuDevice?: GPUDevice;
  readonly release: () => Promise<void>;
  readonly trim: () => void;
}

function createBackend(name: string, device: EngineDevice, serial: Serial, { kind, gpuDevice, release, trim }: BackendParts): TfjsBackend {
  let closing: Promise<void> | undefined;
  const select = async () => {
    if (tf.getBackend() !== name) await tf.setBackend(name);
  };
  return {
    kind,
    device,
    gpuDevice,
    use: (work) =>
      serial(async () => {
        await select();
        return work();
      }),
    select,
    hasKernel: (kernel) => tf.getKernel(kernel, name) !== undefined,
    trim,
    liveTensors: () => tf.findBackend(name)?.numDataIds() ?? 0,
    close: () => {
      closing ??= serial(release);
      return closing;
    },
  };
}

function unregister(name: string): void {
  tf.removeBackend(name);
  for (const { kernelName } of tf.getKernelsForBackend(name)) tf.unregisterKernel(kernelName, name);
}

/**
 * WebGPUBackend looks for `navigator.gpu` when it is made, which Node has not. It is shown only for that moment: Dawn keeps
 * the process alive as long as a global names it.
 */
function withNavigatorGpu<T>(gpu: GPU | undefined, work: () => T): T {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  if (globalThis.navigator?.gpu !== undefined) return work();
  Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
  try {
    return work();
  } finally {
    if (own) Object.defineProperty(globalThis, 'navigator', own);
    else Reflect.deleteProperty(globalThis, 'navigator');
  }
}

// The wasm backend rejects with a plain object that has a message.
function reasonOf(failure: unknown): string {
  const { message } = (failure ?? {}) as { message?: unknown };
  return typeof message === 'string' ? message : messageOf(failure ?? 'no reason given');
}

import * as tf from '@tensorflow/tfjs-core';
import { type EngineDevice, NearfarError } from '../../core/index.ts';
import { messageOf, requestDevice, requestFitAdapter } from '../gpu.ts';
import type { DeviceLossNotice } from '../loss.ts';
import type { EnginePlatform } from '../platform.ts';
import { createSerial, type Serial } from '../serial.ts';
import { backendCode } from '../tfjs-backend-code.ts';
import { cpuKernels, installKernels, type Replacements, webGpuKernels } from './kernels.ts';

/** One backend of TensorFlow.js, opened for one engine. */
export interface TfjsBackend {
  readonly kind: TfjsBackendKind;
  readonly device: EngineDevice;
  /** The GPU device, on webgpu. */
  readonly gpuDevice?: GPUDevice | undefined;
  /** Resolves when nothing can be computed here any more: the GPU device is lost, or a kernel of wasm has trapped. */
  readonly lost?: DeviceLossNotice | undefined;
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
const shared = new Map<'cpu' | 'wasm', SharedBackend>();
let nextId = 1;

/** What a shared backend needs beside its own code. */
interface SharedParts {
  readonly kernels: Replacements;
  /** Called before a kernel of the backend is set up. */
  readonly watch?: (backend: tf.KernelBackend) => DeviceLossNotice;
}

interface SharedBackend {
  readonly name: string;
  readonly lost: DeviceLossNotice | undefined;
  users: number;
}

/**
 * @throws {NearfarError} `device-unfit` when the backend cannot be had here.
 */
export async function openTfjsBackend(kind: TfjsBackendKind, platform: EnginePlatform): Promise<TfjsBackend> {
  realm ??= createSerial(platform.nextTask);
  // Without its debug checks, and without its advertisement for tfjs-node.
  tf.enableProdMode();
  switch (kind) {
    case 'cpu':
      return openShared('cpu', realm, platform, () => backendCode.cpu().then(() => ({ kernels: cpuKernels })));
    case 'wasm':
      return openShared('wasm', realm, platform, async () => {
        const [{ setWasmPaths }, { setUpWasm, watchWasm, wasmKernels }] = await backendCode.wasm();
        setUpWasm(setWasmPaths, platform);
        return { kernels: wasmKernels, watch: watchWasm };
      });
    case 'webgpu':
      return openWebGpu(realm, platform);
  }
}

/**
 * The CPU and wasm backends keep state in their modules, so a realm has one of each: engines share and count it. It is
 * registered under a name of ours, so that closing it leaves an application's own backend alone.
 */
async function openShared(
  kind: 'cpu' | 'wasm',
  serial: Serial,
  platform: EnginePlatform,
  load: () => Promise<SharedParts>,
): Promise<TfjsBackend> {
  const keep = platform.keepProcessListeners ?? ((work) => Promise.resolve(work()));
  const parts = await load();
  const own = await serial(async () => {
    const known = shared.get(kind) ?? (await keep(() => registerShared(kind, platform, parts)));
    known.users += 1;
    shared.set(kind, known);
    return known;
  });
  const forget = () => shared.get(kind) === own && shared.delete(kind);
  void own.lost?.then(forget);
  const release = async () => {
    own.users -= 1;
    if (own.users > 0) return;
    forget();
    await keep(() => unregister(own.name));
  };
  return createBackend(own.name, { kind: 'cpu' }, serial, { kind, lost: own.lost, release, trim: () => undefined });
}

async function registerShared(
  kind: 'cpu' | 'wasm',
  { tfjsWasmFiles }: EnginePlatform,
  { kernels, watch }: SharedParts,
): Promise<SharedBackend> {
  const name = `nearfar-${kind}-${nextId++}`;
  const factory = tf.findBackendFactory(kind);
  if (factory === null) throw new NearfarError('internal', `@tensorflow/tfjs-backend-${kind} registered no backend`);
  let failure: unknown;
  let lost: DeviceLossNotice | undefined;
  tf.registerBackend(name, async () => {
    try {
      const backend = await factory();
      lost = watch?.(backend);
      return backend;
    } catch (error) {
      failure = error;
      throw error;
    }
  });
  tf.copyRegisteredKernels(kind, name);
  installKernels(kernels, name);
  if ((await tf.setBackend(name)) && tf.getBackend() === name) return { name, lost, users: 0 };
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
      installKernels(webGpuKernels, name);
      if ((await tf.setBackend(name)) && tf.getBackend() === name) return;
      unregister(name);
      throw new NearfarError('device-unfit', 'TensorFlow.js cannot start its webgpu backend');
    });
    return createBackend(name, fit.device, serial, {
      kind: 'webgpu',
      gpuDevice,
      lost: gpuDevice.lost,
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
  readonly lost: DeviceLossNotice | undefined;
  readonly release: () => Promise<void>;
  readonly trim: () => void;
}

function createBackend(
  name: string,
  device: EngineDevice,
  serial: Serial,
  { kind, gpuDevice, lost, release, trim }: BackendParts,
): TfjsBackend {
  let closing: Promise<void> | undefined;
  const select = async () => {
    if (tf.getBackend() !== name) await tf.setBackend(name);
  };
  return {
    kind,
    device,
    gpuDevice,
    lost,
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

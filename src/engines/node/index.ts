import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { NearfarError } from '../../core/index.ts';
import type { EnginePlatform, OrtModule, OrtProvider } from '../index.ts';
import { type GpuLook, openDawn } from './dawn.ts';
import { findSessionsNow } from './session-now.ts';

export { type GpuLook, lookForGpu } from './dawn.ts';

export interface NodePlatformOptions {
  /** Software GPU adapters are refused unless this is true. @default false */
  readonly allowSoftwareAdapter?: boolean;
  /** Threads of one ONNX Runtime session. @default all cores but one */
  readonly threads?: number | undefined;
  /** Whether to look for a GPU through Dawn, which loads a native library of 30 MB. @default true */
  readonly gpu?: boolean;
  /** Whether ONNX Runtime's sessions on the CPU are to run in the caller's turn of the event loop, which they hold up. @default false */
  readonly runsNow?: boolean;
  /** What `lookForGpu` found, where that is known already. */
  readonly knownGpu?: GpuLook | undefined;
}

/**
 * What engines need of Node: the door beside `engines/index.ts` that only Node code may import. Packages that are not
 * installed are no error here; the engine that needs one says so when it opens.
 * @remarks `onnxruntime-node` and the wasm backend block their thread: a server opens engines in worker threads. All of them
 * run there, Dawn too, in several at once. But `Worker.terminate()` while `onnxruntime-node` or Dawn computes aborts the whole
 * process (a native exception nobody can catch): let the runs end and the engines close, then let the thread exit.
 */
export async function openNodePlatform(options: NodePlatformOptions = {}): Promise<EnginePlatform> {
  const {
    allowSoftwareAdapter = false,
    threads = Math.max(1, availableParallelism() - 1),
    gpu: wantsGpu = true,
    runsNow = false,
    knownGpu,
  } = options;
  const dawn = wantsGpu ? await openDawn({ allowSoftwareAdapter, knownGpu }) : { gpu: undefined, absence: 'it was switched off' };
  return {
    gpu: dawn.gpu,
    gpuAbsence: dawn.absence,
    allowSoftwareAdapter,
    tfjsWasmFiles: findTfjsWasmFiles(),
    loadOrt,
    openSessionNow: runsNow ? findSessionsNow() : undefined,
    threads,
    nextTask: () => new Promise((resolve) => setImmediate(resolve)),
    keepProcessListeners,
  };
}

function findTfjsWasmFiles(): EnginePlatform['tfjsWasmFiles'] {
  const folder = dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm'));
  return {
    'tfjs-backend-wasm.wasm': join(folder, 'tfjs-backend-wasm.wasm'),
    'tfjs-backend-wasm-simd.wasm': join(folder, 'tfjs-backend-wasm-simd.wasm'),
  };
}

async function loadOrt(provider: OrtProvider): Promise<OrtModule> {
  if (provider === 'wasm') return import('onnxruntime-web');
  const { listSupportedBackends, ...ort } = await importOrtNode();
  const built = listSupportedBackends().map(({ name }) => name);
  if (built.includes(provider)) {
    if (provider === 'cuda' || provider === 'tensorrt') assertProviderLibrary(provider);
    return ort;
  }
  throw new NearfarError('unsupported', `this build of onnxruntime-node has no ${provider} provider; it has ${built.join(', ')}`, {
    details: { provider, built },
  });
}

/** ONNX Runtime looks for it beside its own library, and writes red lines to standard error where it is not. */
function assertProviderLibrary(provider: OrtProvider): void {
  const { platform, arch } = process;
  const [prefix, suffix] = platform === 'win32' ? ['', 'dll'] : ['lib', 'so'];
  const binaries = join(dirname(createRequire(import.meta.url).resolve('onnxruntime-node')), '../bin');
  const name = `${prefix}onnxruntime_providers_${provider}.${suffix}`;
  if (readdirSync(binaries).some((folder) => existsSync(join(binaries, folder, platform, arch, name)))) return;
  throw new NearfarError('unsupported', `${name} of onnxruntime-node is not there; its install script downloads it where CUDA is`, {
    details: { provider, library: name },
  });
}

async function importOrtNode(): Promise<typeof import('onnxruntime-node')> {
  try {
    return await import('onnxruntime-node');
  } catch (cause) {
    throw new NearfarError(
      'unsupported',
      'onnxruntime-node is not there (npm leaves it out when its install script cannot download); install it with: ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30.0',
      { cause, details: { missingPackage: 'onnxruntime-node' } },
    );
  }
}

/**
 * The wasm backend's emscripten code makes every unhandled rejection of the process an exception when it starts, and takes
 * all such listeners, the application's too, when it ends.
 */
async function keepProcessListeners<T>(work: () => T | Promise<T>): Promise<T> {
  const exceptions = process.listeners('uncaughtException');
  const rejections = process.listeners('unhandledRejection');
  try {
    return await work();
  } finally {
    const newExceptions = process.listeners('uncaughtException');
    const newRejections = process.listeners('unhandledRejection');
    for (const added of newExceptions.filter((listener) => !exceptions.includes(listener))) process.off('uncaughtException', added);
    for (const added of newRejections.filter((listener) => !rejections.includes(listener))) process.off('unhandledRejection', added);
    for (const taken of exceptions.filter((listener) => !newExceptions.includes(listener))) process.on('uncaughtException', taken);
    for (const taken of rejections.filter((listener) => !newRejections.includes(listener))) process.on('unhandledRejection', taken);
  }
}

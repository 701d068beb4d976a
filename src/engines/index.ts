import { type BackendId, type Engine, NearfarError } from '../core/index.ts';
import type { EnginePlatform } from './platform.ts';
import { backendCode } from './tfjs-backend-code.ts';

export { describeAdapter } from './gpu.ts';
export type { EnginePlatform, OrtModule, OrtProvider, OrtSession } from './platform.ts';
export { classifyOnServer, isReadyOnServer, openRemoteEngine, predictOnServer } from './remote/index.ts';

/**
 * Opens one engine on exactly one backend and loads no other engine's code.
 * @throws {NearfarError} `device-unfit` when this device cannot run the backend, `unsupported` when this platform's build has
 * no such backend, each with the reason; rejects with `signal.reason` when aborted.
 */
export async function openEngine(
  backend: BackendId,
  platform: EnginePlatform,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Engine> {
  const { signal } = options;
  signal?.throwIfAborted();
  const engine = await openUnchecked(backend, platform);
  if (signal?.aborted) {
    await engine[Symbol.asyncDispose]();
    throw signal.reason;
  }
  return engine;
}

async function openUnchecked(backend: BackendId, platform: EnginePlatform): Promise<Engine> {
  switch (backend) {
    case 'tfjs-webgpu':
    case 'tfjs-wasm':
    case 'tfjs-cpu': {
      const { openTfjsEngine } = await import('./tfjs/index.ts');
      return openTfjsEngine(tfjsKinds[backend], platform);
    }
    case 'onnx-webgpu':
    case 'onnx-wasm':
    case 'onnx-cpu':
    case 'onnx-cuda':
    case 'onnx-tensorrt': {
      const { openOnnxEngine } = await import('./onnx/index.ts');
      return openOnnxEngine(backend, platform);
    }
    default:
      throw new NearfarError('unsupported', `there is no backend "${String(backend)}"`);
  }
}

/** Fetches the code of a browser's backend without starting it. */
export async function preloadEngine(backend: BackendId, platform: EnginePlatform): Promise<void> {
  const [engine, provider] = backend.split('-');
  const kind = provider === 'webgpu' ? 'webgpu' : 'wasm';
  if (engine === 'tfjs') await Promise.all([import('./tfjs/index.ts'), backendCode[kind]()]);
  else await Promise.all([import('./onnx/index.ts'), platform.loadOrt(kind)]);
}

const tfjsKinds = { 'tfjs-webgpu': 'webgpu', 'tfjs-wasm': 'wasm', 'tfjs-cpu': 'cpu' } as const;

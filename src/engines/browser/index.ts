import { NearfarError } from '../../core/index.ts';
import type { EnginePlatform, OrtModule, OrtProvider } from '../platform.ts';

export interface BrowserPlatformOptions {
  /** Software GPU adapters are refused unless this is true. */
  readonly allowSoftwareAdapter: boolean;
  /**
   * Threads of one ONNX Runtime session on wasm; more than one needs a cross-origin isolated page.
   * @default half the cores where the page is cross-origin isolated, else 1
   */
  readonly threads?: number | undefined;
}

/** What engines need of a browser's page or worker. Nothing is fetched before an engine opens. */
export function openBrowserPlatform({ allowSoftwareAdapter, threads }: BrowserPlatformOptions): EnginePlatform {
  return {
    gpu: globalThis.navigator?.gpu,
    gpuAbsence: globalThis.isSecureContext ? 'this browser has no WebGPU' : 'WebGPU needs a secure context (https or localhost)',
    allowSoftwareAdapter,
    // Literal URLs, so that bundlers see the files and emit them.
    tfjsWasmFiles: {
      'tfjs-backend-wasm.wasm': new URL('./tfjs-backend-wasm.wasm', import.meta.url).href,
      'tfjs-backend-wasm-simd.wasm': new URL('./tfjs-backend-wasm-simd.wasm', import.meta.url).href,
    },
    loadOrt,
    threads: threads ?? defaultThreads(),
    nextTask,
  };
}

// More than half the cores made ONNX Runtime slower on a busy machine, and threads need shared memory.
function defaultThreads(): number {
  if (!globalThis.crossOriginIsolated) return 1;
  return Math.max(1, Math.floor((globalThis.navigator?.hardwareConcurrency ?? 1) / 2));
}

async function loadOrt(provider: OrtProvider): Promise<OrtModule> {
  switch (provider) {
    case 'wasm':
      return import('onnxruntime-web/wasm');
    case 'webgpu':
      // JSPI's build is two thirds of the other's size and starts up to 2.6 times as fast.
      return 'Suspending' in WebAssembly ? import('onnxruntime-web/jspi') : import('onnxruntime-web/webgpu');
    default:
      throw new NearfarError('unsupported', `ONNX Runtime in a browser has no ${provider} provider; it has wasm and webgpu`);
  }
}

// A message to oneself: timers are held back to 4 ms after a few in a row, and to 1 s in hidden pages.
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}

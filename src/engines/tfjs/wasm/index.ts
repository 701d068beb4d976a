import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { NearfarError } from '../../../core/index.ts';
import type { DeviceLossNotice } from '../../loss.ts';
import type { EnginePlatform } from '../../platform.ts';

export { wasmKernels } from './kernels.ts';

const files: Record<string, string> = {};

/** Tells the wasm backend where its files are. */
export function setUpWasm(setWasmPaths: (files: Record<string, string>) => void, { tfjsWasmFiles }: EnginePlatform): void {
  // 4.22 computes on one thread whatever is asked (tensorflow/tfjs issue 8513), and its threaded build breaks when minified.
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  Object.assign(files, tfjsWasmFiles);
  if (files['tfjs-backend-wasm-threaded-simd.wasm']) return;
  // It asks for three names. After a failed start it takes no other map, but it looks into this one again.
  files['tfjs-backend-wasm-threaded-simd.wasm'] = tfjsWasmFiles['tfjs-backend-wasm-simd.wasm'];
  setWasmPaths(files);
}

/** What of the wasm backend touches its memory; its own types leave most of it out. */
interface WasmModule {
  _malloc(bytes: number): number;
  _free(offset: number): void;
  cwrap(name: string, ...types: unknown[]): (...values: unknown[]) => unknown;
  readonly tfjs: { disposeData(id: number): void; dispose(): void };
}

/** The address space of wasm: malloc takes its argument modulo this. */
const addressBytes = 2 ** 32;

/**
 * Keeps the wasm backend of TensorFlow.js from computing on broken memory. It takes whatever malloc answers: 0 when memory has run out, and
 * of 4 GiB and more a piece that is too small; it would then write over its own heap, and answer wrongly or hang from then on. Such a request
 * fails with `out-of-memory` instead, before anything is written. A trap inside a kernel leaves the heap as it may be: from then on nothing is
 * given back to it, and nobody may compute on it.
 * @returns Resolves with the reason when a kernel has trapped.
 */
export function watchWasm(backend: tf.KernelBackend): DeviceLossNotice {
  const own = backend as BackendWasm;
  const makeOutput = own.makeOutput.bind(own);
  own.makeOutput = (shape, ...rest) => {
    if (shape.every((size) => size >= 0)) return makeOutput(shape, ...rest);
    throw new NearfarError('invalid-argument', `an operator was told to make a tensor of shape [${shape}]`, { details: { shape } });
  };
  const wasm = own.wasm as unknown as WasmModule;
  // Their first calls put other functions into their places.
  wasm._free(wasm._malloc(1));
  const { _malloc: malloc, cwrap } = wasm;
  wasm._malloc = (bytes) => {
    const offset = bytes < addressBytes ? malloc(bytes) : 0;
    if (offset === 0 && bytes > 0) throw new NearfarError('out-of-memory', `tfjs-wasm has no ${bytes} bytes left for a tensor`);
    return offset;
  };
  return new Promise((resolve) => {
    wasm.cwrap = (...signature) => {
      const kernel = cwrap(...signature);
      return (...values) => {
        try {
          return kernel(...values);
        } catch (error) {
          // WebAssembly.RuntimeError, also for an abort of Emscripten.
          if (error instanceof Error && error.name === 'RuntimeError') {
            const nothing = () => {};
            wasm._free = nothing;
            Object.assign(wasm.tfjs, { disposeData: nothing, dispose: nothing });
            resolve({ reason: 'trap', message: `${signature[0]} failed: ${error.message}` });
          }
          throw error;
        }
      };
    };
  });
}

import type { InferenceSession } from 'onnxruntime-common';
import type { OrtProvider } from '../platform.ts';

export interface SessionSetup {
  readonly provider: OrtProvider;
  readonly threads: number;
  /** The device that sessions share, on onnxruntime-web's webgpu. */
  readonly gpuDevice?: GPUDevice | undefined;
}

/**
 * Options that ask for one provider alone.
 * @param isStrict ONNX Runtime moves what a provider cannot run to the CPU without a word; strict sessions fail instead.
 */
export function sessionOptions({ provider, threads, gpuDevice }: SessionSetup, isStrict: boolean): InferenceSession.SessionOptions {
  const isCpu = provider === 'cpu' || provider === 'wasm';
  return {
    executionProviders: [gpuDevice && provider === 'webgpu' ? { name: 'webgpu', device: gpuDevice } : provider],
    graphOptimizationLevel: 'all',
    executionMode: 'sequential',
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    extra: {
      session: {
        // Waiting threads that spin take the cores from the event loop and from other sessions, and gain nothing measurable.
        intra_op: { allow_spinning: '0' },
        ...(isStrict && !isCpu && { disable_cpu_ep_fallback: '1' }),
      },
    },
  };
}

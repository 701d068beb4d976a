import type * as ort from 'onnxruntime-common';

export type OrtModule = typeof ort;

/** What an engine needs of the platform it runs on, passed in so that one adapter serves browser and Node. */
export interface EnginePlatform {
  /** `navigator.gpu` in a browser, Dawn's in Node; absent where there is none. */
  readonly gpu?: GPU | undefined;
  /** Software GPU adapters are refused unless this is true. */
  readonly allowSoftwareAdapter: boolean;
  /** URL (browser) or path (Node) of the folder that holds the wasm files of @tensorflow/tfjs-backend-wasm, with a slash at its end. */
  readonly tfjsWasmPath: string;
  /** The ONNX Runtime build that has the wanted execution provider. */
  readonly loadOrt: (provider: 'wasm' | 'webgpu' | 'cpu' | 'cuda' | 'tensorrt') => Promise<OrtModule>;
  /** Threads of one session. */
  readonly threads: number;
}

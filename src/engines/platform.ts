import type * as ort from 'onnxruntime-common';

export type OrtModule = typeof ort;

/** What the adapter needs of a session of ONNX Runtime. */
export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly { readonly name: string; readonly isTensor: boolean; readonly shape?: readonly (number | string)[] }[];
  run(feeds: ort.InferenceSession.OnnxValueMapType, outputs: readonly string[]): Promise<ort.InferenceSession.OnnxValueMapType>;
  /** The same before it returns. */
  runNow?(feeds: ort.InferenceSession.OnnxValueMapType, outputs: readonly string[]): ort.InferenceSession.OnnxValueMapType;
  release(): Promise<void>;
}

/** Execution providers of ONNX Runtime, by its names. */
export type OrtProvider = 'wasm' | 'webgpu' | 'cpu' | 'cuda' | 'tensorrt';

/** The wasm files of @tensorflow/tfjs-backend-wasm that may be loaded; its threaded build is never used. */
type TfjsWasmFile = 'tfjs-backend-wasm.wasm' | 'tfjs-backend-wasm-simd.wasm';

/** What an engine needs of the platform it runs on, passed in so that one adapter serves browser and Node. */
export interface EnginePlatform {
  /** `navigator.gpu` in a browser, Dawn's in Node; absent where there is none. */
  readonly gpu?: GPU | undefined;
  /** Why `gpu` is absent, for the message of `device-unfit`. */
  readonly gpuAbsence?: string | undefined;
  /** Software GPU adapters are refused unless this is true. */
  readonly allowSoftwareAdapter: boolean;
  /** URL (browser) or path (Node) of each wasm file of @tensorflow/tfjs-backend-wasm. */
  readonly tfjsWasmFiles: Readonly<Record<TfjsWasmFile, string>>;
  /**
   * The ONNX Runtime build that has the wanted execution provider.
   * @throws {NearfarError} `unsupported` with the way to get it, where it is not installed or not for this platform.
   */
  readonly loadOrt: (provider: OrtProvider) => Promise<OrtModule>;
  /** Opens sessions that run in the caller's turn of the event loop; absent where none are wanted, or can be had. */
  readonly openSessionNow?: ((model: Uint8Array, options: ort.InferenceSession.SessionOptions) => OrtSession) | undefined;
  /** Threads of one ONNX Runtime session on the CPU. */
  readonly threads: number;
  /** Resolves in a later task of the event loop, so that messages and aborts get in between two blocking runs. */
  readonly nextTask: () => Promise<void>;
  /** Runs `work` and takes back the listeners that it left on the process (emscripten's, in Node). */
  readonly keepProcessListeners?: (<T>(work: () => T | Promise<T>) => Promise<T>) | undefined;
}

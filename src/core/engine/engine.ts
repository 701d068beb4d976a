import type { Manifest, Variant } from '../manifest/index.ts';
import type { TensorMap } from '../tensor/index.ts';
import type { Layout } from './layout.ts';

/** An engine on one backend, as named in `backends`, `--backend`, reports and tests. */
export type BackendId = 'tfjs-webgpu' | 'tfjs-wasm' | 'tfjs-cpu' | 'onnx-webgpu' | 'onnx-wasm' | 'onnx-cpu' | 'onnx-cuda' | 'onnx-tensorrt';

/** The adapter or processor an engine runs on, as the platform reports it. */
export interface EngineDevice {
  readonly kind: 'gpu' | 'cpu' | 'server';
  readonly vendor?: string;
  readonly architecture?: string;
  readonly description?: string;
  /** True for a GPU adapter implemented in software. */
  readonly isFallbackAdapter?: boolean;
}

/** One variant of one version, its files readable and already verified against the manifest. */
export interface VariantSource {
  readonly manifest: Manifest;
  readonly variant: Variant;
  /** The verified bytes of a file of the variant, by its path in the manifest. */
  readonly readFile: (path: string) => Promise<Uint8Array<ArrayBuffer>>;
}

/** One call: tensors by the names of the signature, in the layout of the signature. */
export interface RunRequest {
  readonly signature: string;
  readonly inputs: TensorMap;
  /** Inputs of another layout than the signature's: one in the variant's own need not be changed again. */
  readonly layouts?: Readonly<Record<string, Layout>> | undefined;
  /** Names of the wanted outputs; all when absent. */
  readonly outputs?: readonly string[] | undefined;
}

/**
 * The port that every engine adapter implements: it loads variants on exactly one backend. It never falls back: a
 * backend that cannot be had is an error when the engine opens.
 */
export interface Engine {
  readonly backend: BackendId | 'remote';
  readonly device: EngineDevice;
  /** Resolves with the reason when the device is lost; stays pending while it lives and after an ordinary close. */
  readonly lost: Promise<string>;
  /**
   * @throws {NearfarError} `unsupported` (an operator or format the engine does not have, all problems listed),
   * `out-of-memory`, `device-lost`, `integrity-mismatch`; rejects with `signal.reason` when aborted.
   */
  load(source: VariantSource, options?: { signal?: AbortSignal | undefined }): Promise<LoadedVariant>;
  /** Live tensors, buffers and sessions, to show that they return to where they began. */
  memory(): { readonly tensors: number; readonly bytes: number; readonly variants: number };
  /** Destroys the device under the engine, as a driver reset would; absent where there is none. For demos and tests of failover. */
  readonly loseDevice?: (() => void) | undefined;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A variant ready to run. */
export interface LoadedVariant {
  /**
   * Runs a signature. Inputs are not changed, nor read once it has settled; outputs belong to the caller.
   * @throws {NearfarError} `invalid-argument` (unknown signature, input or output), `dtype-mismatch`, `shape-mismatch`,
   * `device-lost`, `out-of-memory`, `internal`; rejects with `signal.reason` when aborted before the run starts.
   */
  run(request: RunRequest, options?: { signal?: AbortSignal | undefined }): Promise<TensorMap>;
  /** The same before it returns, which holds up the event loop; undefined for a request that this cannot. Absent where no run can. */
  readonly runNow?: ((request: RunRequest) => TensorMap | undefined) | undefined;
  [Symbol.asyncDispose](): Promise<void>;
}

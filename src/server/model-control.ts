import type { ChangeOptions } from './served-models.ts';

/** How a model is to be loaded. */
export interface LoadRequest {
  /** Triton's model configuration, as its JSON has it; undefined for what is configured already. */
  readonly config: Readonly<Record<string, unknown>> | undefined;
  /** What the model's folder holds instead of what lies there, by paths such as `1/model.onnx`; empty for what lies there. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** Loads and unloads models while the server runs. */
export interface ModelControl {
  /**
   * Loads a model, or loads it again.
   * @returns when a version can answer.
   * @throws {NearfarError} `not-found` for a model that is not in the repository; why no version could be loaded.
   */
  load(name: string, request: LoadRequest, options?: ChangeOptions): Promise<void>;
  /**
   * Unloads all versions of a model, which stays in the repository.
   * @returns when no version can answer any more.
   * @throws {NearfarError} `not-found`.
   */
  unload(name: string, options?: Pick<ChangeOptions, 'by'>): Promise<void>;
}

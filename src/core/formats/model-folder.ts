/** One file of a model, read in parts: on disk, in a browser's Blob, in memory. */
export interface ModelFile {
  readonly byteLength: number;
  /**
   * @param end Exclusive.
   * @returns Exactly `end - start` bytes.
   * @throws {NearfarError} `invalid-argument` when the range leaves the file.
   */
  read(start: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** The files of a model by their paths with forward slashes, relative to the folder, sorted. */
export type ModelFolder = ReadonlyMap<string, ModelFile>;

/** A file to be written, made in parts so that it need not be in memory at once. The same call gives the same bytes. */
export interface EmittedFile {
  readonly byteLength: number;
  /** Where the weights lie, for the borders of chunks. */
  readonly tensors: readonly { readonly start: number; readonly end: number }[];
  read(): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/** How the names of one signature meet the tensors of an emitted model; layouts only where they differ from NHWC. */
export interface EmittedBindings {
  readonly inputs: Readonly<Record<string, { readonly tensor: string; readonly layout?: 'NCHW' | undefined }>>;
  readonly outputs: Readonly<Record<string, { readonly tensor: string; readonly layout?: 'NCHW' | undefined }>>;
}

/** A graph written in one format. */
export interface EmittedModel {
  readonly format: 'tfjs-graph' | 'onnx';
  readonly precision: 'float32' | 'float16' | 'uint16' | 'uint8' | 'int8';
  /** Name of the entry among `files`. */
  readonly entry: string;
  readonly files: ReadonlyMap<string, EmittedFile>;
  /** By signature. */
  readonly bindings: Readonly<Record<string, EmittedBindings>>;
  /** Operators in use, sorted. */
  readonly ops: readonly string[];
  /** What the format computes otherwise than the model says, one line each: narrower types, for one. */
  readonly notes?: readonly string[];
}

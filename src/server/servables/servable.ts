import type { BackendId, Manifest, RunRequest, TensorMap, Traffic } from '../../core/index.ts';

/** Life-cycle states of a version, with TensorFlow Serving's names and numbers. */
export const servableStates = { UNKNOWN: 0, START: 10, LOADING: 20, AVAILABLE: 30, UNLOADING: 40, END: 50 } as const;
export type ServableState = keyof typeof servableStates;

export interface VersionStatus {
  readonly version: string;
  /** Of its manifest; not known while the version cannot be read or is being imported. */
  readonly digest?: string | undefined;
  readonly state: ServableState;
  /** Canonical gRPC status number; 0 when nothing is wrong. */
  readonly errorCode: number;
  readonly errorMessage: string;
}

/**
 * Which version a request means; nothing but the name means the client's share, else `stable` where the model has a versions.json, else the
 * highest available one, as in TensorFlow Serving.
 */
export interface ServableSpec {
  readonly name: string;
  readonly version?: string | undefined;
  readonly label?: string | undefined;
  /** The digest the client is pinned to; any other is `version-mismatch`. */
  readonly digest?: string | undefined;
  /** Tells the client apart where a model's versions are shared out; asked only there. */
  readonly client?: (() => string) | undefined;
}

export interface ServableTiming {
  readonly queueMs: number;
  readonly inferMs: number;
  /** Rows of all requests that ran together, when the batcher ran it. */
  readonly batchSize?: number | undefined;
  /** Absent where no answers are kept. */
  readonly cache?: CacheOutcome | undefined;
}

/** Why another version answers than the one that a client's share, or `stable`, names. */
export interface ServableFallback {
  readonly label: string;
  /** The version that the label names. */
  readonly version: string;
  readonly code: 'unavailable';
  readonly message: string;
}

/** Where an answer comes from: `joined` is the run of an equal request that was under way already. */
export type CacheOutcome = 'hit' | 'miss' | 'joined';

/** A counted loan of a loaded version: it is not unloaded before every handle is disposed. */
export interface ServableHandle extends Disposable {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly manifest: Manifest;
  readonly labels: readonly string[];
  readonly backend: BackendId;
  readonly variant: string;
  /** `tensorflow` or `onnx`, for the metadata of both protocols. */
  readonly platform: string;
  /** Set where the version that the request means cannot answer, and another one does. */
  readonly fallback?: ServableFallback | undefined;
  /** How many of its runs can go on side by side as it is lent. */
  readonly parallelism: number;
  /** Takes the inputs over: buffers that they own whole, or that were lent for them, are moved to the engine's thread and are empty here afterwards. */
  run(request: RunRequest, options: { signal?: AbortSignal | undefined }): Promise<Ran>;
  /**
   * The same before it returns, where the version can answer this request on this thread; undefined where `run` is to be asked. Absent
   * where it never can.
   */
  readonly runNow?: ((request: RunRequest) => Ran | undefined) | undefined;
}

/** What a run gave, and how long it took. */
export interface Ran {
  readonly outputs: TensorMap;
  readonly timing: ServableTiming;
}

/** What transports know of the servables. */
export interface ServableStore {
  /**
   * @throws {NearfarError} `not-found` with TensorFlow Serving's texts (`Servable not found for request: Latest(m)`,
   * `Specific(m, 5)`), `invalid-argument` (`Unrecognized servable version label: l`), `version-mismatch`, `unavailable`
   * when the server has closed. A digest without version and label names the version that has it.
   */
  lend(spec: ServableSpec): ServableHandle;
  /**
   * Versions newest first; all of them when no version is named.
   * @throws {NearfarError} `not-found`: `Could not find any versions of model X`.
   */
  status(spec: { name: string; version?: string | undefined }): readonly VersionStatus[];
  /**
   * The version that each label of a model means to `lend` now: versions.json may be ahead of it, naming a version that is not
   * available yet. Empty for a model that has no versions.
   */
  labels(name: string): Readonly<Record<string, string>>;
  /** Shares of clients by label; undefined where all clients that name no version get the same. */
  traffic(name: string): Traffic | undefined;
  /** Names of the models that are configured, loaded or not. */
  names(): readonly string[];
  /** True when the model of that name, or every configured one where none is named, has an available version and the server is not draining. */
  isReady(name?: string): boolean;
  /** Calls the listener after every change of a version's state and of the server's own, until it is disposed. */
  watch(listener: () => void): Disposable;
}

import { type BackendId, errorStatuses, NearfarError, type RunRequest } from '../../core/index.ts';
import { type BackOff, backOff, retryNote } from '../back-off.ts';
import type { Logger } from '../log.ts';
import type { VersionOnDisk } from '../repository/index.ts';
import type { HostedVersion } from './engine-host.ts';
import { readMlMetadataUuid } from './ml-metadata.ts';
import type { Ran, ServableFallback, ServableHandle, ServableState, VersionStatus } from './servable.ts';
import { failedWarmupOf } from './warm-up.ts';

/** Loads a version onto an engine, see `EngineHost.load`. */
export type LoadVersion = (
  source: VersionOnDisk,
  options: { signal: AbortSignal; onLost: (error: NearfarError) => void },
) => Promise<HostedVersion>;

/** Where loads and states are counted. */
export interface ServingMetrics {
  /** Of a version's number, also while a directory that was written anew replaces its former self. */
  setState(model: string, version: string, state: ServableState): void;
  forgetVersion(model: string, version: string): void;
  /** A version whose signatures clients of the one before it cannot use. */
  recordSignatureChange(change: { readonly model: string; readonly version: string; readonly outcome: 'reported' | 'refused' }): void;
  /** The model is served no more. */
  forgetModel(model: string): void;
  recordLoad(load: {
    readonly model: string;
    readonly version: string;
    /** Its directory, by which TensorFlow Serving's metrics name it. */
    readonly path: string;
    readonly digest: string;
    readonly backend: BackendId | '';
    readonly outcome: 'loaded' | 'failed' | 'skipped';
    readonly durationMs: number;
    /** Why it failed. */
    readonly message?: string | undefined;
  }): void;
  /** A request that a share, or `stable`, meant for a version that is not available. */
  recordFallback(fallback: { readonly model: string; readonly label: string }): void;
  /** Says by which UUID ML Metadata knows a version. */
  setMlMetadata(known: { readonly model: string; readonly version: string; readonly uuid: string }): void;
  /** @param warmup.status Canonical name of what it ended with. */
  recordWarmup(warmup: { readonly path: string; readonly status: string; readonly records: number; readonly durationMs: number }): void;
}

export interface ServableVersionOptions {
  readonly load: LoadVersion;
  readonly maxLoadRetries: number;
  readonly backOff: BackOff;
  readonly metrics: ServingMetrics;
  readonly log: Logger;
  /** Called after every change of state. */
  readonly onChange: (version: ServableVersion) => void;
}

/** A version that is loaded, as it is now. */
export interface LoadedVersion {
  readonly source: VersionOnDisk;
  readonly backend: BackendId;
  readonly variant: string;
  /** Engine workers that hold it. */
  readonly workers: number;
  /** ISO 8601, in UTC. */
  readonly loadedAt: string;
  /** Requests that it was lent to and that have not ended: those that wait and those that run. */
  readonly inFlight: number;
}

/** One version from the moment it is wanted until it is unloaded: START → LOADING → AVAILABLE → UNLOADING → END. */
export class ServableVersion {
  readonly source: VersionOnDisk;
  /** Whether the repository still asks for it; an unwanted one may have to serve on until another takes over. */
  isWanted = true;
  readonly #name: string;
  readonly #options: ServableVersionOptions;
  readonly #retired = new AbortController();
  #state: ServableState = 'START';
  #error: NearfarError | undefined;
  /** Shown with the state while nothing is wrong. */
  #note = '';
  #isRefused = false;
  #hasServed = false;
  #failures = 0;
  /** Behind the error in the status. */
  #retryNote = '';
  #retry: NodeJS.Timeout | undefined;
  /** The last attempt; it never rejects. */
  #loading: Promise<void> | undefined;
  #hosted: HostedVersion | undefined;
  #loadedAt = '';
  #handles = 0;
  #onDrained: (() => void) | undefined;
  #retiring: Promise<void> | undefined;

  /** @param name The model's name here, which may differ from the one in the manifest. */
  constructor(name: string, source: VersionOnDisk, options: ServableVersionOptions) {
    this.#name = name;
    this.source = source;
    this.#options = options;
  }

  get state(): ServableState {
    return this.#state;
  }

  /** Whether it was available at any time: clients may know it. */
  get hasServed(): boolean {
    return this.#hasServed;
  }

  /** Whether it is kept from loading, see `refuse`. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  get status(): VersionStatus {
    const error = this.#error;
    return {
      version: this.source.version,
      digest: this.source.digest,
      state: this.#state,
      errorCode: error ? errorStatuses[error.code].grpc : 0,
      errorMessage: error ? `${error.message}${this.#retryNote}` : this.#note,
    };
  }

  /** Keeps it from loading, with the reason in its status, until `start`. */
  refuse(error: NearfarError): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    this.#error = error;
    this.#options.log.error({ model: this.#name, version: this.source.version, code: error.code }, error.message);
    this.#options.metrics.recordSignatureChange({ model: this.#name, version: this.source.version, outcome: 'refused' });
    this.#enter('END');
  }

  /** Tells, in its status too, that clients of the version before it may have trouble with it. */
  report(note: string): void {
    if (this.#note === note) return;
    this.#note = note;
    this.#options.log.warn({ model: this.#name, version: this.source.version }, note);
    this.#options.metrics.recordSignatureChange({ model: this.#name, version: this.source.version, outcome: 'reported' });
  }

  /** Handles that are lent and not given back. */
  get handles(): number {
    return this.#handles;
  }

  /** @returns undefined unless it is available. */
  get loaded(): LoadedVersion | undefined {
    const hosted = this.#hosted;
    if (this.#state !== 'AVAILABLE' || !hosted) return undefined;
    const { backend, variant, parallelism: workers } = hosted;
    return { source: this.source, backend, variant, workers, loadedAt: this.#loadedAt, inFlight: this.#handles };
  }

  /** Where the operator put it, not where its import is kept. */
  get #path(): string {
    return this.source.original ?? this.source.directory;
  }

  /** Loads it, and again after each failure, for as long as it is wanted and retries are left. */
  start(): void {
    this.#loading = this.#load();
  }

  async #load(): Promise<void> {
    const { load, metrics, log } = this.#options;
    const { version, digest } = this.source;
    const { signal } = this.#retired;
    const startedAt = performance.now();
    const record = (backend: BackendId | '', outcome: 'loaded' | 'failed' | 'skipped', message?: string) =>
      metrics.recordLoad({
        model: this.#name,
        version,
        path: this.#path,
        digest,
        backend,
        outcome,
        durationMs: performance.now() - startedAt,
        message,
      });
    if (this.#isRefused) this.#error = undefined;
    this.#isRefused = false;
    this.#enter('LOADING');
    let lost: NearfarError | undefined;
    let isServing = false;
    const onLost = (error: NearfarError) => {
      lost = error;
      if (isServing) this.#fail(error);
    };
    try {
      const hosted = await load(this.source, { signal, onLost });
      if (signal.aborted || lost) await hosted.unload();
      if (signal.aborted) return;
      // Its worker died before it was handed over.
      if (lost) throw lost;
      isServing = true;
      for (const { backend, code, message } of hosted.skipped) {
        record(backend, 'skipped');
        log.info({ model: this.#name, version, backend, code }, `backend not taken: ${message}`);
      }
      record(hosted.backend, 'loaded');
      if (hosted.warmup) metrics.recordWarmup({ path: this.#path, status: 'OK', ...hosted.warmup });
      const { variant, device, warmup } = hosted;
      log.info({ model: this.#name, version, digest, backend: hosted.backend, variant, device, warmup }, 'loaded');
      this.#hosted = hosted;
      this.#loadedAt = new Date().toISOString();
      this.#failures = 0;
      this.#error = undefined;
      this.#hasServed = true;
      this.#enter('AVAILABLE');
      void this.#tellMlMetadata();
    } catch (error) {
      if (signal.aborted) return;
      const failure = error instanceof NearfarError ? error : new NearfarError('internal', String(error), { cause: error });
      record('', 'failed', failure.message);
      const warmup = failedWarmupOf(failure);
      if (warmup) metrics.recordWarmup({ path: this.#path, ...warmup });
      this.#fail(failure);
    }
  }

  async #tellMlMetadata(): Promise<void> {
    const { metrics, log } = this.#options;
    const { version } = this.source;
    try {
      const uuid = await readMlMetadataUuid(this.#path);
      if (uuid !== undefined) metrics.setMlMetadata({ model: this.#name, version, uuid });
    } catch (error) {
      log.warn({ model: this.#name, version, err: error }, 'its UUID for ML Metadata cannot be read');
    }
  }

  #fail(error: NearfarError): void {
    const { maxLoadRetries, log } = this.#options;
    if (this.#retired.signal.aborted) return;
    this.#hosted = undefined;
    this.#error = error;
    const isLast = this.#failures >= maxLoadRetries;
    const pauseMs = backOff(this.#options.backOff, this.#failures++);
    log.error(
      { model: this.#name, version: this.source.version, code: error.code, failures: this.#failures, pauseMs, isLast },
      error.message,
    );
    this.#retryNote = isLast ? '' : ` (${retryNote(this.#failures, pauseMs)})`;
    if (!isLast) this.#retry = setTimeout(() => this.start(), pauseMs);
    // As in TensorFlow Serving a version is LOADING while retries are left; what went wrong shows beside it.
    this.#enter(isLast ? 'END' : 'LOADING');
  }

  /** @returns undefined unless it is available. */
  lend(labels: readonly string[], fallback?: ServableFallback): ServableHandle | undefined {
    const hosted = this.#hosted;
    if (this.#state !== 'AVAILABLE' || !hosted) return undefined;
    this.#handles++;
    const giveBack = () => {
      if (--this.#handles === 0) this.#onDrained?.();
    };
    return new LentVersion(this.#name, this.source, labels, hosted, giveBack, fallback);
  }

  /** Ends it: a load under way is aborted, and waited for, as it takes memory until then; a loaded version lends no more, waits for its handles and is unloaded. */
  retire(): Promise<void> {
    this.#retiring ??= this.#retire();
    return this.#retiring;
  }

  get isRetired(): boolean {
    return this.#retired.signal.aborted;
  }

  async #retire(): Promise<void> {
    const hosted = this.#hosted;
    this.#retired.abort();
    clearTimeout(this.#retry);
    if (hosted) {
      this.#enter('UNLOADING');
      if (this.#handles > 0) {
        await new Promise<void>((resolve) => {
          this.#onDrained = resolve;
        });
      }
      this.#hosted = undefined;
      const { log } = this.#options;
      const of = { model: this.#name, version: this.source.version };
      await hosted.unload().then(
        () => log.info(of, 'unloaded'),
        (error: unknown) => log.error({ ...of, err: error }, 'unloading failed'),
      );
    } else if (this.#loading) await this.#loading;
    this.#enter('END');
  }

  #enter(state: ServableState): void {
    this.#state = state;
    this.#options.onChange(this);
  }
}

/** What both protocols call the kind of a model. */
export function platformOf(backend: BackendId): string {
  return backend.startsWith('onnx-') ? 'onnx' : 'tensorflow';
}

/** One is made for each request: its methods are shared. */
class LentVersion implements ServableHandle {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly manifest: VersionOnDisk['manifest'];
  readonly labels: readonly string[];
  readonly backend: BackendId;
  readonly variant: string;
  readonly parallelism: number;
  readonly platform: string;
  readonly fallback: ServableFallback | undefined;
  readonly #hosted: HostedVersion;
  readonly #giveBack: () => void;
  #isReturned = false;

  constructor(
    name: string,
    { version, digest, manifest }: VersionOnDisk,
    labels: readonly string[],
    hosted: HostedVersion,
    giveBack: () => void,
    fallback: ServableFallback | undefined,
  ) {
    this.name = name;
    this.version = version;
    this.digest = digest;
    this.manifest = manifest;
    this.labels = labels;
    this.backend = hosted.backend;
    this.variant = hosted.variant;
    this.parallelism = hosted.parallelism;
    this.platform = platformOf(hosted.backend);
    this.#hosted = hosted;
    this.#giveBack = giveBack;
    this.fallback = fallback;
  }

  async run(request: RunRequest, options: { signal?: AbortSignal | undefined }): Promise<Ran> {
    if (this.#isReturned) throw new NearfarError('failed-precondition', 'the handle was given back already');
    return this.#hosted.run(request, options);
  }

  runNow(request: RunRequest): Ran | undefined {
    return this.#isReturned ? undefined : this.#hosted.runNow?.(request);
  }

  [Symbol.dispose](): void {
    if (this.#isReturned) return;
    this.#isReturned = true;
    this.#giveBack();
  }
}

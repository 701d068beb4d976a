import { type BackendId, type EngineDevice, NearfarError, type RunRequest, type SkippedBackend, type TensorMap } from '../../core/index.ts';
import { type BackOff, backOff } from '../back-off.ts';
import type { BufferPool } from '../buffer-pool.ts';
import type { Logger } from '../log.ts';
import type { VersionOnDisk } from '../repository/index.ts';
import { type EngineWorkerData, type LoadAnswer, type LoadCall, sharedNow } from './engine-protocol.ts';
import { EngineThread } from './engine-thread.ts';
import type { ServableTiming } from './servable.ts';
import { packTensors } from './transfer.ts';

export interface EngineHostOptions extends EngineWorkerData {
  /** Runs accepted and not yet answered; more are refused. */
  readonly maxInFlight: number;
  /** What inputs may lie in; it goes back there when they are used. */
  readonly buffers: BufferPool;
  readonly log: Logger;
  /** Called when a worker that crashed is started again. */
  readonly onRestart: () => void;
}

/** A version loaded on an engine. It survives the loss of its worker or device: it is then loaded again, on what is left. */
export interface HostedVersion {
  readonly backend: BackendId;
  readonly variant: string;
  readonly device: EngineDevice;
  readonly skipped: readonly SkippedBackend[];
  /**
   * Runs a signature. Takes the inputs over: their buffers may be moved to the engine's thread.
   * @throws {NearfarError} `overloaded`, `unavailable` (the worker died under it), what the engine throws; rejects with
   * `signal.reason` as soon as it aborts, and is then dropped unless it is running already.
   */
  run(request: RunRequest, options?: { signal?: AbortSignal | undefined }): Promise<{ outputs: TensorMap; timing: ServableTiming }>;
  unload(): Promise<void>;
}

interface Hosted {
  readonly call: LoadCall;
  readonly onLost: (error: NearfarError) => void;
  answer: LoadAnswer;
  /** False while it is being loaded again. */
  isReady: boolean;
}

interface Job {
  readonly hosted: Hosted;
  readonly request: RunRequest;
  readonly signal: AbortSignal | undefined;
  readonly enqueuedAt: number;
  readonly resolve: (answer: { outputs: TensorMap; timing: ServableTiming }) => void;
  readonly reject: (error: unknown) => void;
}

/** One run and one that waits in the worker already, so that the engine never idles for the trip between threads. */
const dispatchWindow = 2;

const restartBackOff: BackOff = { firstMs: 50, maxMs: 10_000 };

/**
 * Owns the engine worker: the queue in front of it, its restart after a crash, and what is loaded in it. Only what the worker held
 * when it died fails; what still queued here runs once the worker is back.
 */
export class EngineHost implements AsyncDisposable {
  readonly #options: EngineHostOptions;
  readonly #hosted = new Map<number, Hosted>();
  readonly #waiting: Job[] = [];
  /** Packages whose absence was logged. */
  readonly #missing = new Set<string>();
  #dispatched = 0;
  #thread: EngineThread | undefined;
  #lastId = 0;
  /** Crashes since the last answered run. */
  #crashes = 0;
  #restart: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: EngineHostOptions) {
    this.#options = options;
  }

  /**
   * Loads a version on the first backend that takes it and reproduces its golden examples there.
   * @param options.onLost Called when the version was lost and could not be loaded again.
   * @throws {NearfarError} as `loadVersion`; `unavailable` when the worker dies meanwhile; rejects with `signal.reason` when aborted.
   */
  async load(
    { manifest, directory }: Pick<VersionOnDisk, 'manifest' | 'directory'>,
    backends: readonly BackendId[],
    options: { signal: AbortSignal; onLost: (error: NearfarError) => void },
  ): Promise<HostedVersion> {
    const { signal, onLost } = options;
    signal.throwIfAborted();
    const id = ++this.#lastId;
    const call: LoadCall = { id, manifest, directory, backends };
    const answer = await this.#requireThread()
      .call({ method: 'load', request: call }, { signal })
      .catch((error: unknown) => {
        throw signal.aborted ? signal.reason : error;
      });
    const hosted: Hosted = { call, onLost, answer, isReady: true };
    this.#hosted.set(id, hosted);
    this.#warnOfMissing(answer);
    return {
      get backend() {
        return hosted.answer.backend;
      },
      get variant() {
        return hosted.answer.variant;
      },
      get device() {
        return hosted.answer.device;
      },
      get skipped() {
        return hosted.answer.skipped;
      },
      run: (request, { signal } = {}) => this.#enqueue(hosted, request, signal),
      unload: () => this.#unload(hosted),
    };
  }

  /** A slower backend answers than the one meant, which only an installation can change: said once, loud enough for the demo too. */
  #warnOfMissing({ backend, skipped }: LoadAnswer): void {
    for (const { missingPackage, message } of skipped) {
      if (missingPackage === undefined || this.#missing.has(missingPackage)) continue;
      this.#missing.add(missingPackage);
      this.#options.log.warn({ missingPackage, backend }, `${backend} answers instead: ${message}`);
    }
  }

  /** Runs that were accepted and are not answered yet. */
  get inFlight(): number {
    return this.#waiting.length + this.#dispatched;
  }

  async #enqueue(
    hosted: Hosted,
    request: RunRequest,
    signal: AbortSignal | undefined,
  ): Promise<{ outputs: TensorMap; timing: ServableTiming }> {
    signal?.throwIfAborted();
    if (this.#isClosed || this.#hosted.get(hosted.call.id) !== hosted)
      throw new NearfarError('unavailable', 'the version is no longer loaded');
    if (this.inFlight >= this.#options.maxInFlight) {
      throw new NearfarError('overloaded', `${this.inFlight} requests are in flight already`, {
        details: { limit: this.#options.maxInFlight },
      });
    }
    let onAbort = () => {};
    try {
      return await new Promise((resolve, reject) => {
        const job: Job = { hosted, request, signal, enqueuedAt: sharedNow(), resolve, reject };
        onAbort = () => {
          this.#drop(job);
          reject(signal?.reason);
        };
        signal?.addEventListener('abort', onAbort, { once: true });
        this.#waiting.push(job);
        this.#pump();
      });
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #drop(job: Job): void {
    const index = this.#waiting.indexOf(job);
    if (index >= 0) this.#waiting.splice(index, 1);
  }

  #pump(): void {
    while (this.#thread && this.#dispatched < dispatchWindow) {
      const job = this.#waiting.find(({ hosted }) => hosted.isReady);
      if (!job) return;
      this.#drop(job);
      void this.#dispatch(this.#thread, job);
    }
  }

  async #dispatch(thread: EngineThread, { hosted, request, signal, enqueuedAt, resolve, reject }: Job): Promise<void> {
    this.#dispatched++;
    try {
      const { buffers } = this.#options;
      const { tensors, transfer } = packTensors(request.inputs, { isMovable: (buffer) => buffers.isLent(buffer) });
      const returnsInputs = transfer.some((buffer) => buffers.isLent(buffer));
      const call = { method: 'run', request: { id: hosted.call.id, request: { ...request, inputs: tensors }, returnsInputs } } as const;
      const { outputs, startedAt, inferMs, returned } = await thread.call(call, { signal, transfer });
      this.#crashes = 0;
      for (const buffer of returned) buffers.give(buffer);
      resolve({ outputs, timing: { queueMs: Math.max(0, startedAt - enqueuedAt), inferMs } });
    } catch (error) {
      reject(error);
    } finally {
      this.#dispatched--;
      this.#pump();
    }
  }

  async #unload(hosted: Hosted): Promise<void> {
    if (!this.#hosted.delete(hosted.call.id)) return;
    this.#failWaiting(hosted, new NearfarError('unavailable', 'the version was unloaded'));
    if (!hosted.isReady) return; // the reload that is under way unloads it again when it is done
    // A worker that dies under this call has unloaded everything too.
    await this.#thread?.call({ method: 'unload', request: { id: hosted.call.id } }).catch(() => {});
  }

  #failWaiting(hosted: Hosted, error: NearfarError): void {
    for (const job of this.#waiting.filter((waiting) => waiting.hosted === hosted)) {
      this.#drop(job);
      job.reject(error);
    }
  }

  /** The worker starts with the first load: a server that cannot listen has none to end. */
  #requireThread(): EngineThread {
    if (this.#isClosed) throw new NearfarError('unavailable', 'the server is closing');
    if (!this.#thread && this.#restart) throw new NearfarError('unavailable', 'the engine worker is starting again');
    this.#thread ??= this.#openThread();
    return this.#thread;
  }

  #openThread(): EngineThread {
    const { threads, allowSoftwareAdapter, gpu } = this.#options;
    return new EngineThread(
      { threads, allowSoftwareAdapter, gpu },
      {
        onLost: (ids, error) => {
          this.#options.log.error({ code: error.code }, error.message);
          for (const id of ids) void this.#reload(this.#hosted.get(id));
        },
        onCrash: (error) => this.#recover(error),
      },
    );
  }

  #recover(error: NearfarError): void {
    this.#thread = undefined;
    if (this.#isClosed) return;
    for (const hosted of this.#hosted.values()) hosted.isReady = false;
    const pauseMs = backOff(restartBackOff, this.#crashes++);
    this.#options.log.error({ crashes: this.#crashes, pauseMs }, `${error.message}; it is started again`);
    this.#restart = setTimeout(() => {
      this.#options.onRestart();
      this.#thread = this.#openThread();
      for (const hosted of this.#hosted.values()) void this.#reload(hosted);
    }, pauseMs);
  }

  /** Loads a lost version again; runs that wait for it go on waiting meanwhile. */
  async #reload(hosted: Hosted | undefined): Promise<void> {
    const thread = this.#thread;
    if (!hosted || !thread) return;
    hosted.isReady = false;
    const { id } = hosted.call;
    const isCurrent = () => this.#thread === thread && this.#hosted.get(id) === hosted;
    try {
      hosted.answer = await thread.call({ method: 'load', request: hosted.call });
      if (!isCurrent()) return void thread.call({ method: 'unload', request: { id } }).catch(() => {});
      hosted.isReady = true;
      this.#pump();
    } catch (cause) {
      if (!isCurrent()) return; // unloaded meanwhile, or the worker died again and the next one reloads it
      const error = cause instanceof NearfarError ? cause : new NearfarError('internal', String(cause), { cause });
      this.#hosted.delete(id);
      this.#failWaiting(hosted, error);
      hosted.onLost(error);
    }
  }

  /** Ends the worker: the run that it is at is answered, everything else in flight fails as `unavailable`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#restart);
    const error = new NearfarError('unavailable', 'the server is closing');
    for (const job of this.#waiting.splice(0)) job.reject(error);
    await this.#thread?.[Symbol.asyncDispose]();
    this.#thread = undefined;
  }
}

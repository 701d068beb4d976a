import { join } from 'node:path';
import {
  type BackendId,
  type EngineDevice,
  NearfarError,
  type RunRequest,
  type SkippedBackend,
  type TensorMap,
  warmupPath,
} from '../../core/index.ts';
import { type GpuLook, lookForGpu } from '../../engines/node/index.ts';
import type { BufferPool } from '../buffer-pool.ts';
import type { Logger } from '../log.ts';
import type { VersionOnDisk } from '../repository/index.ts';
import { packTensors } from '../transfer.ts';
import { type LoadAnswer, type LoadCall, sharedNow } from './engine-protocol.ts';
import { type EngineInstance, EngineSlot } from './engine-slot.ts';
import { Gate } from './gate.ts';
import type { Ran, ServableTiming } from './servable.ts';
import type { WarmupStats } from './warm-up.ts';

export interface EngineHostOptions {
  /** Threads of one engine session. */
  readonly threads: number;
  readonly allowSoftwareAdapter: boolean;
  /** Whether to look for a GPU. */
  readonly gpu: boolean;
  /** In how many workers each version is loaded, so that so many of its runs go on side by side. */
  readonly workersPerVersion: number;
  /** Most workers. A version gets workers of its own up to here; then versions share them, and wait for one another. */
  readonly maxWorkers: number;
  /** Versions that load at the same time. */
  readonly mostLoads: number;
  /** Versions that unload at the same time. */
  readonly mostUnloads: number;
  /** Variants that are tried before the others of their version, in this order. */
  readonly variants?: readonly string[];
  /** How often each recorded warm-up request runs; 0: they are not read. */
  readonly warmupIterations: number;
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
  readonly warmup: WarmupStats | undefined;
  /** How many of its runs can go on side by side now: the workers that have it. */
  readonly parallelism: number;
  /**
   * Runs a signature. Takes the inputs over: their buffers may be moved to the engine's thread.
   * @throws {NearfarError} `overloaded`, `unavailable` (the worker died under it), what the engine throws; rejects with
   * `signal.reason` as soon as it aborts, and is then dropped unless it is running already.
   */
  run(request: RunRequest, options?: { signal?: AbortSignal | undefined }): Promise<Ran>;
  /** As {@link ServableHandle.runNow}. */
  readonly runNow?: ((request: RunRequest) => Ran | undefined) | undefined;
  /** @throws {NearfarError} `deadline-exceeded` when a worker does not answer within a minute: then nothing waits for it any more. */
  unload(): Promise<void>;
}

interface Hosted {
  readonly onLost: (error: NearfarError) => void;
  readonly instances: Set<EngineInstance>;
  /** Accepted runs that no worker has yet, oldest first. */
  readonly waiting: Job[];
  answer: LoadAnswer;
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

/** An unload that takes longer, in milliseconds, holds up no other. */
const longestUnloadMs = 60_000;

const unloadHangs = `an engine worker did not unload the version within ${longestUnloadMs / 1000} s, and is left to itself: its memory stays taken`;

const neverAborted = new AbortController().signal;

/**
 * Owns the engine workers: which versions lie in which, the queues in front of them, their restart after a crash. Only what a worker
 * held when it died fails; what still queued here runs in another one, or once it is back.
 * @remarks A load blocks its worker for as long as it takes: while there are workers left it gets one that serves nothing. Workers are
 * threads: an exception that nobody catches, or memory that runs out in V8, ends one of them; a crash of native code ends the process.
 */
export class EngineHost implements AsyncDisposable {
  readonly #options: EngineHostOptions;
  readonly #slots = new Set<EngineSlot>();
  readonly #hosted = new Map<number, Hosted>();
  readonly #ending = new Set<Promise<void>>();
  readonly #loads: Gate;
  readonly #unloads: Gate;
  /** Packages whose absence was logged. */
  readonly #missing = new Set<string>();
  #look: Promise<GpuLook> | undefined;
  #waiting = 0;
  #lastId = 0;
  #isClosed = false;

  constructor(options: EngineHostOptions) {
    this.#options = options;
    this.#loads = new Gate(options.mostLoads);
    this.#unloads = new Gate(options.mostUnloads);
  }

  /**
   * Loads a version on the first backend that takes it and reproduces its golden examples there.
   * @param options.onLost Called when the version was lost and could not be loaded again.
   * @throws {NearfarError} as `loadVersion`; `unavailable` when the worker dies meanwhile; rejects with `signal.reason` when aborted.
   */
  async load(
    source: Pick<VersionOnDisk, 'manifest' | 'directory' | 'original'>,
    backends: readonly BackendId[],
    options: { signal: AbortSignal; onLost: (error: NearfarError) => void },
  ): Promise<HostedVersion> {
    const { signal, onLost } = options;
    const { manifest, directory, original = directory } = source;
    const { warmupIterations, variants } = this.#options;
    const knownGpu = this.#options.gpu ? await this.#lookForGpu() : undefined;
    return this.#loads.pass(signal, async () => {
      const id = ++this.#lastId;
      const warmup = warmupIterations > 0 ? { path: join(original, warmupPath), iterations: warmupIterations } : undefined;
      const call: LoadCall = { id, manifest, directory, backends, variants, warmup };
      const loaded = await this.#loadInstances(call, knownGpu, signal);
      const [first] = loaded;
      if (!first) throw new NearfarError('internal', 'a version is loaded in one worker at least');
      const hosted: Hosted = { onLost, instances: new Set(loaded.map(({ instance }) => instance)), waiting: [], answer: first.answer };
      this.#hosted.set(id, hosted);
      this.#warnOfMissing(first.answer);
      return this.#createHandle(hosted, id);
    });
  }

  #createHandle(hosted: Hosted, id: number): HostedVersion {
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
      warmup: hosted.answer.warmup,
      get parallelism() {
        return hosted.instances.size;
      },
      run: (request, { signal } = {}) => this.#enqueue(hosted, id, request, signal),
      unload: () => this.#unload(hosted, id),
    };
  }

  /** In as many workers as there are to be; all of them, or none. */
  async #loadInstances(call: LoadCall, knownGpu: GpuLook | undefined, signal: AbortSignal) {
    if (this.#isClosed) throw new NearfarError('unavailable', 'the server is closing');
    const loads = Array.from({ length: this.#options.workersPerVersion }, () => {
      const slot = this.#chooseSlot(call.id, knownGpu);
      // Begun at once, so that the next choice sees it.
      const load = slot.load(call, signal).catch((error: unknown) => {
        this.#endIfIdle(slot);
        throw signal.aborted ? signal.reason : error;
      });
      return load;
    });
    const outcomes = await Promise.allSettled(loads);
    const loaded = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    // A worker may die while the others still load.
    const isWhole = loaded.every(({ instance }) => instance.slot.has(call.id));
    if (!failure && isWhole) return loaded;
    await Promise.all(loaded.map(({ instance }) => this.#unloadInstance(instance)));
    throw failure ? failure.reason : new NearfarError('unavailable', 'an engine worker died while the version loaded');
  }

  #lookForGpu(): Promise<GpuLook> {
    this.#look ??= lookForGpu(this.#options);
    return this.#look;
  }

  /** A worker that has nothing, a new one while there may be more, else the one with the fewest versions. */
  #chooseSlot(id: number, knownGpu: GpuLook | undefined): EngineSlot {
    const { maxWorkers, workersPerVersion } = this.#options;
    const candidates = [...this.#slots].filter((slot) => slot.thread && !slot.has(id)).sort((a, b) => a.size - b.size);
    const [fewest] = candidates;
    if (fewest?.size === 0) return fewest;
    if (fewest && this.#slots.size >= Math.max(maxWorkers, workersPerVersion)) return fewest;
    return this.#openSlot(knownGpu);
  }

  #openSlot(knownGpu: GpuLook | undefined): EngineSlot {
    const { threads, allowSoftwareAdapter, gpu, log, onRestart } = this.#options;
    const slot: EngineSlot = new EngineSlot(
      { threads, allowSoftwareAdapter, gpu, knownGpu },
      {
        onCrash: (error, restart) => {
          if (!restart) this.#slots.delete(slot);
          log.error({ ...restart }, restart ? `${error.message}; it is started again` : error.message);
          this.#pumpAll();
        },
        onRestart,
        onDeviceLost: (error) => log.error({ code: error.code }, error.message),
        onReloaded: (instance, answer) => {
          const hosted = this.#hosted.get(instance.call.id);
          if (hosted) hosted.answer = answer;
          this.#pump(slot);
        },
        onLost: (instance, error) => this.#loseInstance(instance, error),
      },
    );
    this.#slots.add(slot);
    return slot;
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
    let dispatched = 0;
    for (const slot of this.#slots) dispatched += slot.dispatched;
    return this.#waiting + dispatched;
  }

  async #enqueue(
    hosted: Hosted,
    id: number,
    request: RunRequest,
    signal: AbortSignal | undefined,
  ): Promise<{ outputs: TensorMap; timing: ServableTiming }> {
    signal?.throwIfAborted();
    if (this.#isClosed || this.#hosted.get(id) !== hosted) throw new NearfarError('unavailable', 'the version is no longer loaded');
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
        hosted.waiting.push(job);
        this.#waiting++;
        this.#dispatchWaiting(hosted);
      });
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #drop(job: Job): void {
    const { waiting } = job.hosted;
    const index = waiting.indexOf(job);
    if (index < 0) return;
    waiting.splice(index, 1);
    this.#waiting--;
  }

  /** Hands what waits for a version to the least busy of its workers. */
  #dispatchWaiting(hosted: Hosted): void {
    for (let job = hosted.waiting[0]; job; job = hosted.waiting[0]) {
      let idlest: EngineInstance | undefined;
      for (const instance of hosted.instances) {
        if (hasRoom(instance) && !(idlest && idlest.slot.dispatched <= instance.slot.dispatched)) idlest = instance;
      }
      if (!idlest) return;
      this.#drop(job);
      void this.#dispatch(idlest, job);
    }
  }

  /** Gives a worker what waits longest for one of its versions. */
  #pump(slot: EngineSlot): void {
    while (slot.dispatched < dispatchWindow) {
      let oldest: { readonly instance: EngineInstance; readonly job: Job } | undefined;
      for (const instance of slot.instances) {
        const job = hasRoom(instance) ? this.#hosted.get(instance.call.id)?.waiting[0] : undefined;
        if (job && !(oldest && oldest.job.enqueuedAt <= job.enqueuedAt)) oldest = { instance, job };
      }
      if (!oldest) return;
      this.#drop(oldest.job);
      void this.#dispatch(oldest.instance, oldest.job);
    }
  }

  #pumpAll(): void {
    for (const slot of this.#slots) this.#pump(slot);
  }

  async #dispatch({ slot, call }: EngineInstance, { request, signal, enqueuedAt, resolve, reject }: Job): Promise<void> {
    slot.dispatched++;
    try {
      const { buffers } = this.#options;
      const { tensors, transfer } = packTensors(request.inputs, { isMovable: (buffer) => buffers.isLent(buffer) });
      const returnsInputs = transfer.some((buffer) => buffers.isLent(buffer));
      const run = { method: 'run', request: { id: call.id, request: { ...request, inputs: tensors }, returnsInputs } } as const;
      if (!slot.thread) throw new NearfarError('unavailable', 'the engine worker is starting again');
      const { outputs, startedAt, inferMs, returned } = await slot.thread.call(run, { signal, transfer });
      slot.recordSuccess();
      for (const buffer of returned) buffers.give(buffer);
      resolve({ outputs, timing: { queueMs: Math.max(0, startedAt - enqueuedAt), inferMs } });
    } catch (error) {
      reject(error);
    } finally {
      slot.dispatched--;
      this.#pump(slot);
    }
  }

  #loseInstance(instance: EngineInstance, error: NearfarError): void {
    const { id } = instance.call;
    const hosted = this.#hosted.get(id);
    this.#endIfIdle(instance.slot);
    if (!hosted?.instances.delete(instance)) return;
    if (hosted.instances.size > 0) {
      this.#options.log.error(
        { code: error.code, workers: hosted.instances.size },
        `a version is left with fewer workers: ${error.message}`,
      );
      return;
    }
    this.#hosted.delete(id);
    this.#failWaiting(hosted, error);
    hosted.onLost(error);
  }

  async #unload(hosted: Hosted, id: number): Promise<void> {
    if (!this.#hosted.delete(id)) return;
    this.#failWaiting(hosted, new NearfarError('unavailable', 'the version was unloaded'));
    await this.#unloads.pass(neverAborted, () => Promise.all([...hosted.instances].map((instance) => this.#unloadInstance(instance))));
  }

  async #unloadInstance(instance: EngineInstance): Promise<void> {
    const { slot } = instance;
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new NearfarError('deadline-exceeded', unloadHangs)), longestUnloadMs).unref();
    });
    try {
      await Promise.race([slot.unload(instance), limit]);
      this.#endIfIdle(slot);
    } catch (error) {
      // It is stuck in native code, which nothing interrupts. What loads in it meanwhile fails with it, and is loaded again in another one.
      if ([...slot.instances].every(({ state }) => state !== 'ready')) this.#end(slot);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** One worker without versions stays for the next load, others end. */
  #endIfIdle(slot: EngineSlot): void {
    if (slot.size > 0 || !this.#slots.has(slot)) return;
    const isSpare = [...this.#slots].every((other) => other === slot || other.size > 0);
    if (!isSpare) this.#end(slot);
  }

  #end(slot: EngineSlot): void {
    this.#slots.delete(slot);
    const ending = slot[Symbol.asyncDispose]().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  #failWaiting({ waiting }: Hosted, error: NearfarError): void {
    for (const job of waiting.splice(0)) {
      this.#waiting--;
      job.reject(error);
    }
  }

  /** Ends the workers: the runs that they are at are answered, everything else in flight fails as `unavailable`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const error = new NearfarError('unavailable', 'the server is closing');
    for (const hosted of this.#hosted.values()) this.#failWaiting(hosted, error);
    await Promise.all([...[...this.#slots].map((slot) => slot[Symbol.asyncDispose]()), ...this.#ending]);
    this.#slots.clear();
  }
}

function hasRoom({ state, slot }: EngineInstance): boolean {
  return state === 'ready' && slot.thread !== undefined && slot.dispatched < dispatchWindow;
}

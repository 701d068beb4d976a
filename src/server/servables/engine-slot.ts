import { NearfarError } from '../../core/index.ts';
import { type BackOff, backOff } from '../back-off.ts';
import type { EngineWorkerData, LoadAnswer, LoadCall } from './engine-protocol.ts';
import { EngineThread } from './engine-thread.ts';

/** A version in one worker. */
export interface EngineInstance {
  readonly slot: EngineSlot;
  readonly call: LoadCall;
  /** It takes runs while it is ready. It is lost with its worker or device, and then loaded again. */
  state: 'loading' | 'ready' | 'lost' | 'reloading';
}

export interface EngineSlotEvents {
  /** The thread ended by itself. It is started again after the pause, unless nothing was loaded in it: then the slot is over. */
  readonly onCrash: (error: NearfarError, restart: { readonly pauseMs: number; readonly crashes: number } | undefined) => void;
  readonly onRestart: () => void;
  /** An engine lost its device; its versions are loaded again. */
  readonly onDeviceLost: (error: NearfarError) => void;
  /** A lost version is back. */
  readonly onReloaded: (instance: EngineInstance, answer: LoadAnswer) => void;
  /** A lost version could not be loaded again, or its worker died of it again and again, and is gone. */
  readonly onLost: (instance: EngineInstance, error: NearfarError) => void;
}

/** After so many crashes in a row, with no run answered in between, a version that was being loaded again counts as the cause. */
const mostCrashes = 3;

const restartBackOff: BackOff = { firstMs: 50, maxMs: 10_000 };

/** The place of one engine worker: its thread, started again after a crash, and the versions in it, which are then loaded again. */
export class EngineSlot implements AsyncDisposable {
  readonly #data: EngineWorkerData;
  readonly #events: EngineSlotEvents;
  readonly #instances = new Map<number, EngineInstance>();
  #thread: EngineThread | undefined;
  #restart: NodeJS.Timeout | undefined;
  /** Crashes since the last answered run. */
  #crashes = 0;
  #isClosed = false;
  /** Runs that the thread has and did not answer yet. */
  dispatched = 0;

  constructor(data: EngineWorkerData, events: EngineSlotEvents) {
    this.#data = data;
    this.#events = events;
    this.#thread = this.#openThread();
  }

  get instances(): Iterable<EngineInstance> {
    return this.#instances.values();
  }

  get size(): number {
    return this.#instances.size;
  }

  has(id: number): boolean {
    return this.#instances.has(id);
  }

  /** Undefined between a crash and the restart. */
  get thread(): EngineThread | undefined {
    return this.#thread;
  }

  /** A run was answered. */
  recordSuccess(): void {
    this.#crashes = 0;
  }

  /**
   * Loads a version here; it counts among the instances at once, and no more when that fails.
   * @throws {NearfarError} as `loadVersion`; `unavailable` when the worker dies meanwhile.
   */
  async load(call: LoadCall, signal: AbortSignal): Promise<{ readonly instance: EngineInstance; readonly answer: LoadAnswer }> {
    const instance: EngineInstance = { slot: this, call, state: 'loading' };
    this.#instances.set(call.id, instance);
    try {
      if (!this.#thread) throw new NearfarError('unavailable', 'the engine worker is starting again');
      const answer = await this.#thread.call({ method: 'load', request: call }, { signal });
      instance.state = 'ready';
      return { instance, answer };
    } catch (error) {
      this.#instances.delete(call.id);
      throw error;
    }
  }

  async unload(instance: EngineInstance): Promise<void> {
    const { id } = instance.call;
    if (!this.#instances.delete(id) || instance.state !== 'ready') return; // the reload that is under way unloads it again when it is done
    instance.state = 'lost';
    // A worker that dies under this call has unloaded everything too.
    await this.#thread?.call({ method: 'unload', request: { id } }).catch(() => {});
  }

  #openThread(): EngineThread {
    return new EngineThread(this.#data, {
      onLost: (ids, error) => {
        this.#events.onDeviceLost(error);
        for (const id of ids) void this.#reload(this.#instances.get(id));
      },
      onCrash: (error) => this.#recover(error),
    });
  }

  #recover(error: NearfarError): void {
    this.#thread = undefined;
    if (this.#isClosed) return;
    if (this.#crashes >= mostCrashes) {
      for (const instance of this.#instances.values()) if (instance.state === 'reloading') this.#lose(instance, error);
    }
    const lost = [...this.#instances.values()].filter(({ state }) => state !== 'loading');
    if (lost.length === 0) {
      this.#isClosed = true;
      this.#events.onCrash(error, undefined);
      return;
    }
    for (const instance of lost) instance.state = 'lost';
    const pauseMs = backOff(restartBackOff, this.#crashes++);
    this.#events.onCrash(error, { pauseMs, crashes: this.#crashes });
    this.#restart = setTimeout(() => {
      this.#events.onRestart();
      this.#thread = this.#openThread();
      for (const instance of lost) void this.#reload(instance);
    }, pauseMs);
  }

  async #reload(instance: EngineInstance | undefined): Promise<void> {
    const thread = this.#thread;
    if (!instance || !thread || !this.#isHere(instance)) return;
    instance.state = 'reloading';
    const isCurrent = () => this.#thread === thread && this.#isHere(instance);
    try {
      const answer = await thread.call({ method: 'load', request: instance.call });
      if (!isCurrent()) return void thread.call({ method: 'unload', request: { id: instance.call.id } }).catch(() => {});
      instance.state = 'ready';
      this.#events.onReloaded(instance, answer);
    } catch (cause) {
      if (!isCurrent()) return; // unloaded meanwhile, or the worker died again and the next one reloads it
      this.#lose(instance, cause instanceof NearfarError ? cause : new NearfarError('internal', String(cause), { cause }));
    }
  }

  #lose(instance: EngineInstance, error: NearfarError): void {
    this.#instances.delete(instance.call.id);
    this.#events.onLost(instance, error);
  }

  #isHere(instance: EngineInstance): boolean {
    return this.#instances.get(instance.call.id) === instance;
  }

  /** Ends the worker: the run that it is at is answered, what else it has fails as `unavailable`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#restart);
    await this.#thread?.[Symbol.asyncDispose]();
    this.#thread = undefined;
  }
}

import { type BackendId, type DeviceProfile, type DeviceWorkerApi, type MediaWorkerApi, type Mode, NearfarError } from '../core/index.ts';
import type { Availability } from './availability.ts';
import { createModelCache, type ModelCache } from './cache.ts';
import type { CacheContext } from './cache-calls.ts';
import { Channel } from './channel.ts';
import { type Clock, systemClock } from './clock.ts';
import { markLeft } from './conditions.ts';
import { type DownloadMonitor, EventHub, listen, type NearfarEvent, type NearfarEventTarget, unlisten } from './events.ts';
import { untilAborted } from './failover.ts';
import type { Model } from './model.ts';
import { type ModelRequest, type OpenContext, openModel } from './open-model.ts';
import { type ClientOptions, checkBackends, checkMode, type ResolvedOptions, resolveOptions } from './options.ts';
import { createPackagedWorker, type WorkerFactory } from './worker-endpoint.ts';

export interface AvailabilityOptions {
  /** @default 'prefer-on-device' */
  readonly mode?: Mode | undefined;
  /** A positive int64 as a decimal string. */
  readonly version?: string | undefined;
  /** A movable name of a version, such as `stable` or `canary`. */
  readonly label?: string | undefined;
  /** Backends of the device for this model, in this order. @default the client's */
  readonly backends?: readonly BackendId[] | undefined;
  /** Stops it; rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

export interface OpenOptions extends AvailabilityOptions {
  /** Receives `downloadprogress` and every event of the model, from before the first byte. */
  readonly monitor?: ((monitor: DownloadMonitor) => void) | undefined;
}

export interface Client extends NearfarEventTarget, AsyncDisposable {
  /**
   * Opens one exact version: explicit version > lock > explicit label > `stable` > highest. Resolves as soon as a leg
   * that the mode allows can answer; with `prefer-on-device` the server answers while the model downloads.
   * @throws {NearfarError} `not-found`, `version-mismatch` (disagrees with the lock), `invalid-argument`, `device-unfit`,
   * `integrity-mismatch`, `self-test-failed`, `network`, `unavailable`, `quota-exceeded`, `out-of-memory`, `unsupported`,
   * `failed-precondition` (client closed); rejects with `signal.reason` when aborted.
   */
  open(name: string, options?: OpenOptions): Promise<Model>;
  /** How soon a model could answer; fetches no byte of the model itself. Rejects with `signal.reason` when aborted. */
  availability(name: string, options?: AvailabilityOptions): Promise<Availability>;
  readonly cache: ModelCache;
  /** Stops what is being opened, finishes the calls under way, closes every model, ends the workers. Twice is harmless. */
  close(): Promise<void>;
}

/** What a client takes from its surroundings; tests pass their own. */
export interface Environment {
  readonly clock: Clock;
  /** In place of the packaged worker and of the application's. */
  readonly createWorker?: WorkerFactory | undefined;
  /** What relative URLs start at. */
  readonly baseUrl: string | undefined;
}

/**
 * Makes a client of model repositories and, optionally, servers. Costs nothing until a model is opened.
 * @throws {NearfarError} `invalid-argument` that names the option; `unsupported` for a later lock file.
 */
export function createClient(options: ClientOptions): Client {
  return createClientIn(options, { clock: systemClock, baseUrl: globalThis.document?.baseURI ?? globalThis.location?.href });
}

export function createClientIn(options: ClientOptions, environment: Environment): Client {
  return new OpenClient(resolveOptions(options, environment.baseUrl), environment);
}

class OpenClient implements Client {
  readonly cache: ModelCache;
  readonly #events = new EventTarget();
  readonly #context: OpenContext;
  readonly #device: Channel<DeviceWorkerApi>;
  readonly #media: Channel<MediaWorkerApi>;
  readonly #models = new Set<Model>();
  readonly #closing = new AbortController();
  /** Names of the models whose bytes are on their way, as their `phase` events say. */
  readonly #downloading = new Set<string>();
  /** Promises of models that are being opened. */
  readonly #opening = new Set<Promise<unknown>>();
  /** Work of the workers for no open model: the cache, questions about availability. */
  readonly #visits = new Set<Promise<unknown>>();
  /** The last model closed under a visit, whose end ends the workers. */
  #isEndDue = false;
  #profile: Promise<DeviceProfile> | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: ResolvedOptions, { clock, createWorker, baseUrl }: Environment) {
    const channel = {
      startTimeoutMs: options.openHangTimeoutMs,
      createWorker: createWorker ?? options.createWorker ?? createPackagedWorker,
      clock,
      hangTimeoutMs: options.hangTimeoutMs,
    };
    this.#device = new Channel({ ...channel, role: 'device', cancel: (api, callId) => api.cancel(callId) });
    this.#media = new Channel({ ...channel, role: 'media', cancel: (api, callId) => api.cancel(callId) });
    this.#context = { options, clock, device: this.#device, media: this.#media, baseUrl, profile: (signal) => this.#probe(signal) };
    const cacheContext: CacheContext = {
      options,
      device: this.#device,
      requestOf: (name, wanted) => this.#requestOf(name, wanted),
      hubOf: (name) => new EventHub(name, this.#events),
      joined: (signal) => this.#joined(signal),
    };
    globalThis.addEventListener?.('pagehide', markLeft);
    this.cache = createModelCache((work) => this.#visit(async () => work((await import('./cache-calls.ts')).openModelCache(cacheContext))));
  }
  readonly addEventListener: Client['addEventListener'] = (type, listener, options) => {
    listen(this.#events, type, listener, options);
  };

  readonly removeEventListener: Client['removeEventListener'] = (type, listener, options) => {
    unlisten(this.#events, type, listener, options);
  };

  async open(name: string, options: OpenOptions = {}): Promise<Model> {
    this.#assertOpen();
    const request = this.#requestOf(name, options);
    const opening = this.#open(request, options);
    this.#opening.add(opening);
    try {
      return await opening;
    } finally {
      this.#opening.delete(opening);
      this.#endIdleWorkers();
    }
  }

  availability(name: string, options: AvailabilityOptions = {}): Promise<Availability> {
    return this.#visit(async () => {
      const request = this.#requestOf(name, options);
      const signal = this.#joined(options.signal);
      const hub = new EventHub(name, this.#events);
      const { findAvailability } = await import('./availability.ts');
      return findAvailability(this.#context, request, { hub, signal, isDownloading: this.#downloading.has(name) });
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#finish();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #open(request: ModelRequest, { monitor, signal }: OpenOptions): Promise<Model> {
    const { name } = request;
    const hub = new EventHub(name, this.#events);
    listen<NearfarEvent<'phase'>>(hub, 'phase', ({ detail }) => {
      if (detail.phase === 'download') this.#downloading.add(name);
      else this.#downloading.delete(name);
    });
    monitor?.({ addEventListener: (type, listener, options) => listen(hub, type, listener, options) });
    const joined = this.#joined(signal);
    joined.throwIfAborted();
    try {
      const model: Model = await openModel(this.#context, request, hub, joined, () => this.#forget(model));
      this.#models.add(model);
      return model;
    } catch (error) {
      this.#downloading.delete(name);
      throw error;
    }
  }

  #requestOf(name: string, { mode = 'prefer-on-device', version, label, backends }: AvailabilityOptions): ModelRequest {
    const { options } = this.#context;
    if (typeof name !== 'string' || name === '') throw new NearfarError('invalid-argument', 'name: expected the name of a model');
    if (checkMode(mode) === 'only-server' && options.servers.length === 0) {
      throw new NearfarError('invalid-argument', 'mode: only-server needs the option server of createClient');
    }
    return { name, mode, choice: { version, label }, backends: backends ? checkBackends(backends) : options.backends };
  }

  /** The device does not change under a client: it is probed once, and again after a probe that failed or had to stop early. */
  async #probe(signal: AbortSignal): Promise<DeviceProfile> {
    const probing = this.#profile ?? this.#device.call((api) => api.probe());
    this.#profile = probing;
    const forget = () => {
      if (this.#profile === probing) this.#profile = undefined;
    };
    probing.then(({ isAdapterPending }) => isAdapterPending && forget(), forget);
    return untilAborted(probing, signal);
  }

  #forget(model: Model): void {
    this.#models.delete(model);
    this.#downloading.delete(model.info.name);
    this.#endIdleWorkers();
  }

  /** Ending a worker is the only way to give wasm memory back. */
  #endIdleWorkers(): void {
    if (this.#models.size > 0 || this.#opening.size > 0) return;
    this.#isEndDue = this.#visits.size > 0;
    if (this.#isEndDue) return;
    if (this.#device.isRunning) markLeft();
    this.#device.terminate();
    this.#media.terminate();
  }

  /** Keeps the workers until the work is done. */
  async #visit<T>(work: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    const visit = work();
    this.#visits.add(visit);
    try {
      return await visit;
    } finally {
      this.#visits.delete(visit);
      if (this.#isEndDue) this.#endIdleWorkers();
    }
  }

  async #finish(): Promise<void> {
    this.#closing.abort(closedClient());
    await Promise.allSettled([...this.#opening, ...this.#visits]);
    await Promise.all([...this.#models].map((model) => model.close()));
    this.#endIdleWorkers();
  }

  #joined(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([signal, this.#closing.signal]) : this.#closing.signal;
  }

  #assertOpen(): void {
    if (this.#closed) throw closedClient();
  }
}

function closedClient(): NearfarError {
  return new NearfarError('failed-precondition', 'the client is closed');
}

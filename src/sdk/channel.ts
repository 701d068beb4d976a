import { type Endpoint, type Remote, wrap } from 'comlink';
import { deserializeError, isSerializedError, NearfarError, type RoleMessage, type WorkerRole } from '../core/index.ts';
import type { Clock } from './clock.ts';
import type { WorkerEndpoint, WorkerFactory } from './worker-endpoint.ts';

export interface ChannelOptions<Api> {
  readonly role: WorkerRole;
  readonly createWorker: WorkerFactory;
  readonly clock: Clock;
  /** A worker that owes an answer and gives no sign of life for this long is terminated. */
  readonly hangTimeoutMs: number;
  /** The same before its first word: its script may come over a slow network. */
  readonly startTimeoutMs: number;
  /** Ends a call in the worker; answered at once by a worker that lives. */
  readonly cancel: (api: Remote<Api>, callId: number) => Promise<void>;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** In place of the channel's own, for calls that may block the worker. */
  readonly hangTimeoutMs?: number | undefined;
}

interface Owed {
  readonly hangTimeoutMs: number;
  readonly fail: (error: NearfarError) => void;
}

interface LiveWorker<Api> {
  readonly endpoint: WorkerEndpoint;
  readonly api: Remote<Api>;
  /** Answers that are due, pings and cancellations among them. */
  readonly owed: Set<Owed>;
  heardAt: number;
  /** When a ping was sent after the last sign of life. */
  pingedAt: number | undefined;
  hasSpoken: boolean;
  forgetTimer: (() => void) | undefined;
}

/**
 * Calls to one worker: started with the first call, watched while it owes an answer, started anew by the next call
 * after it hung or crashed.
 */
export class Channel<Api> {
  readonly #options: ChannelOptions<Api>;
  #live: LiveWorker<Api> | undefined;
  #lastCallId = 0;
  readonly #deathListeners = new Set<(error: NearfarError) => void>();

  constructor(options: ChannelOptions<Api>) {
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#live !== undefined;
  }

  /** Calls back when the worker hung or crashed, with everything it held; the function returned stops that. */
  onDeath(listener: (error: NearfarError) => void): () => void {
    this.#deathListeners.add(listener);
    return () => this.#deathListeners.delete(listener);
  }

  /**
   * Calls the worker.
   * @throws {NearfarError} what the worker threw; `unavailable` when it cannot be started, crashed or hung;
   * `invalid-argument` when an argument cannot be sent. Rejects with `signal.reason` at once when aborted.
   */
  call<T>(invoke: (api: Remote<Api>, callId: number) => Promise<T>, { signal, hangTimeoutMs }: CallOptions = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      signal?.throwIfAborted();
      const live = this.#start();
      this.#lastCallId += 1;
      const callId = this.#lastCallId;
      let done = () => {};
      const settle = (end: () => void) => {
        signal?.removeEventListener('abort', abort);
        done();
        end();
      };
      done = this.#owe(live, (error) => settle(() => reject(error)), hangTimeoutMs);
      const abort = () => {
        settle(() => reject(signal?.reason));
        this.#ping(live, callId);
      };
      signal?.addEventListener('abort', abort, { once: true });
      invoke(live.api, callId).then(
        (value) => settle(() => resolve(value)),
        (error: unknown) => settle(() => reject(rebuildError(error))),
      );
    });
  }

  /** Starts the worker before its first call, so that its script loads while something else is waited for. */
  start(): void {
    this.#start();
  }

  /** Ends the worker at once; calls under way fail with `unavailable`, the next call starts another one. */
  terminate(): void {
    this.#end(new NearfarError('unavailable', `the ${this.#options.role} worker was ended`));
  }

  #start(): LiveWorker<Api> {
    if (this.#live) return this.#live;
    const { role, createWorker, clock } = this.#options;
    const endpoint = openEndpoint(role, createWorker);
    const live: LiveWorker<Api> = {
      endpoint,
      api: wrap<Api>(asComlinkEndpoint(endpoint)),
      owed: new Set(),
      heardAt: clock.now(),
      pingedAt: undefined,
      hasSpoken: false,
      forgetTimer: undefined,
    };
    endpoint.addEventListener('message', () => {
      live.heardAt = clock.now();
      live.pingedAt = undefined;
      live.hasSpoken = true;
    });
    endpoint.addEventListener('error', (event) => {
      // An error nobody caught leaves a worker running; before its first word it means that the script did not load.
      if (!live.hasSpoken) this.#die(live, `the ${role} worker could not be started${messageOf(event)}`);
    });
    endpoint.addEventListener('messageerror', () => this.#die(live, `an answer of the ${role} worker could not be read`));
    endpoint.postMessage({ nearfarRole: role } satisfies RoleMessage);
    this.#live = live;
    return live;
  }

  /** Notes that the worker owes an answer; the function returned notes that it came or is no longer wanted. */
  #owe(live: LiveWorker<Api>, fail: Owed['fail'], hangTimeoutMs = this.#options.hangTimeoutMs): () => void {
    const owed: Owed = { hangTimeoutMs, fail };
    if (live.owed.size === 0) live.heardAt = this.#options.clock.now();
    live.owed.add(owed);
    if (!live.forgetTimer) this.#watch(live);
    return () => {
      live.owed.delete(owed);
      live.forgetTimer?.();
      live.forgetTimer = undefined;
      if (live.owed.size > 0 && this.#live === live) this.#watch(live);
    };
  }

  /** Sends a cancellation, which a live worker answers at once, whether it knows the call or not. */
  #ping(live: LiveWorker<Api>, callId = 0): void {
    const done = this.#owe(live, () => {});
    this.#options.cancel(live.api, callId).then(done, done);
  }

  /**
   * Pings a worker that was silent for half the time it has, and ends it when the ping stays unanswered for the other
   * half: silence alone may only mean that the computer slept. Where this comes late itself, the thread was busy or
   * asleep and the answer may wait behind it: the worker is pinged once more.
   */
  #watch(live: LiveWorker<Api>): void {
    const { clock, role, startTimeoutMs } = this.#options;
    const limits = [...live.owed].map(({ hangTimeoutMs }) => hangTimeoutMs);
    const graceMs = Math.max(live.hasSpoken ? 0 : startTimeoutMs, ...limits) / 2;
    const now = clock.now();
    const waitMs = (live.pingedAt ?? live.heardAt) + graceMs - now;
    if (live.pingedAt !== undefined && waitMs <= 0 && waitMs > -graceMs / 10) {
      this.#die(live, `the ${role} worker gave no sign of life for ${Math.round(now - live.heardAt)} ms`);
      return;
    }
    live.forgetTimer = clock.after(waitMs > 0 ? waitMs : graceMs, () => this.#watch(live));
    if (waitMs > 0) return;
    live.pingedAt = now;
    this.#ping(live);
  }

  #die(live: LiveWorker<Api>, message: string): void {
    if (this.#live !== live) return;
    const error = new NearfarError('unavailable', message, { details: { worker: this.#options.role } });
    this.#end(error);
    for (const listener of [...this.#deathListeners]) listener(error);
  }

  #end(error: NearfarError): void {
    const live = this.#live;
    if (!live) return;
    this.#live = undefined;
    live.forgetTimer?.();
    live.endpoint.terminate();
    for (const owed of [...live.owed]) owed.fail(error);
  }
}

function openEndpoint(role: WorkerRole, createWorker: WorkerFactory): WorkerEndpoint {
  try {
    return createWorker(role);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new NearfarError('unavailable', `the ${role} worker could not be started: ${message}`, { cause });
  }
}

/** comlink declares its own event types; the worker's own methods are kept as they are. */
function asComlinkEndpoint(endpoint: WorkerEndpoint): Endpoint {
  const listeners = new Map<object, (event: Event) => void>();
  return {
    postMessage: (message, transfer) => endpoint.postMessage(message, transfer),
    addEventListener: (_type, listener) => {
      const forward = (event: Event) => ('handleEvent' in listener ? listener.handleEvent(event) : listener(event));
      listeners.set(listener, forward);
      endpoint.addEventListener('message', forward);
    },
    removeEventListener: (_type, listener) => {
      const forward = listeners.get(listener);
      if (forward) endpoint.removeEventListener('message', forward);
      listeners.delete(listener);
    },
  };
}

function messageOf(event: Event): string {
  return 'message' in event && typeof event.message === 'string' && event.message !== '' ? `: ${event.message}` : '';
}

/** Rebuilds what crossed from a worker; whatever else went wrong becomes a typed error, too. */
function rebuildError(error: unknown): NearfarError {
  if (error instanceof NearfarError) return error;
  if (isSerializedError(error)) return deserializeError(error);
  if (error instanceof DOMException && error.name === 'DataCloneError') {
    return new NearfarError('invalid-argument', `an argument cannot be sent to a worker: ${error.message}`, { cause: error });
  }
  return new NearfarError('internal', error instanceof Error ? error.message : String(error), { cause: error });
}

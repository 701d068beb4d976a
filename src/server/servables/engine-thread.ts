import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { deserializeError, NearfarError } from '../../core/index.ts';
import { workerUrl } from '../worker-url.ts';
import type { EngineAnswer, EngineCall, EngineCalls, EngineWorkerData, FromWorker, ToWorker } from './engine-protocol.ts';

export interface EngineThreadEvents {
  /** An engine lost its device and with it what was loaded under these ids. */
  readonly onLost: (ids: readonly number[], error: NearfarError) => void;
  /** The thread ended by itself; every open call is rejected. */
  readonly onCrash: (error: NearfarError) => void;
}

interface OpenCall {
  readonly resolve: (answer: EngineAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/** How long closing waits for the call that the thread is at. */
const lastCallMs = 10_000;

/** One worker thread with engines in it, from its start to its end: typed calls in, answers out. */
export class EngineThread implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #events: EngineThreadEvents;
  readonly #calls = new Map<number, OpenCall>();
  #lastCallId = 0;
  #reason = 'it exited';
  #cause: unknown;
  /** Takes no more calls. */
  #isClosed = false;
  #hasEnded = false;

  constructor(data: EngineWorkerData, events: EngineThreadEvents) {
    this.#events = events;
    this.#worker = new Worker(workerUrl('engine-worker', import.meta.url), { workerData: data, name: 'nearfar-engine' });
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) => {
      this.#reason = error instanceof Error ? error.message : String(error);
      this.#cause = error;
    });
    this.#worker.once('exit', () => this.#end());
  }

  /**
   * Sends a call; an abort tells the worker to drop it when it has not begun. Settles when the worker is done with it.
   * @param options.transfer Buffers that move with the request.
   * @throws {NearfarError} `unavailable` when the thread ends first; `cancelled` after an abort; what the call itself throws.
   */
  async call<C extends EngineCall>(
    call: C,
    options: { signal?: AbortSignal | undefined; transfer?: ArrayBuffer[] } = {},
  ): Promise<EngineCalls[C['method']]['answer']> {
    const { signal, transfer = [] } = options;
    const callId = ++this.#lastCallId;
    const cancel = () => this.#post({ type: 'cancel', callId });
    try {
      return await new Promise<EngineCalls[C['method']]['answer']>((resolve, reject) => {
        if (this.#isClosed) return reject(this.#endedError());
        // A worker answers each call with the answer of its own method.
        this.#calls.set(callId, { resolve: resolve as OpenCall['resolve'], reject });
        this.#post({ type: 'call', callId, call }, transfer);
        signal?.addEventListener('abort', cancel, { once: true });
      });
    } finally {
      signal?.removeEventListener('abort', cancel);
      this.#calls.delete(callId);
    }
  }

  #post(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case 'answer':
        this.#calls.get(message.callId)?.resolve(message.answer);
        break;
      case 'failure':
        this.#calls.get(message.callId)?.reject(deserializeError(message.error));
        break;
      case 'lost':
        this.#events.onLost(message.ids, new NearfarError('device-lost', `the device of ${message.backend} was lost: ${message.reason}`));
        break;
    }
  }

  #end(): void {
    const wasClosed = this.#isClosed;
    this.#isClosed = true;
    this.#hasEnded = true;
    const error = this.#endedError();
    for (const { reject } of this.#calls.values()) reject(error);
    if (!wasClosed) this.#events.onCrash(error);
  }

  #endedError(): NearfarError {
    return new NearfarError('unavailable', `the engine worker stopped: ${this.#reason}`, { cause: this.#cause });
  }

  /**
   * Begins nothing more: the call that runs is answered, those that wait are rejected as `unavailable`, the engines close and
   * the thread ends. Settles then, or after ten seconds with a call that does not come back.
   * @remarks Never `Worker.terminate()`: under a native run (ONNX Runtime, Dawn) it aborts the whole process, which may be an
   * application's own. A thread that does not end in time is left to itself, and no longer keeps the process alive.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#hasEnded) return;
    this.#reason = 'the server is closing';
    if (!this.#isClosed) this.#post({ type: 'close' });
    this.#isClosed = true;
    const limit = AbortSignal.timeout(lastCallMs);
    await once(this.#worker, 'exit', { signal: limit }).catch(() => this.#worker.unref());
    this.#end();
  }
}

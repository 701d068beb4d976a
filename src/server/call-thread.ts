import { Worker } from 'node:worker_threads';
import { deserializeError, NearfarError } from '../core/index.ts';
import type { FromCallWorker, ToCallWorker } from './call-protocol.ts';

interface OpenCall<Answer> {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

export interface CallThreadOptions {
  /** What it is called in errors: `the <name> worker stopped`. */
  readonly name: string;
  /** The file of its worker, which calls `serveCalls`. */
  readonly url: URL;
  /** Calls taken and not yet answered; more are refused. */
  readonly maxWaiting: number;
}

/** A worker thread that starts with its first call and answers one after the other: the event loop goes on meanwhile. */
export class CallThread<Request, Answer> implements AsyncDisposable {
  readonly #options: CallThreadOptions;
  readonly #calls = new Map<number, OpenCall<Answer>>();
  #worker: Worker | undefined;
  #lastCallId = 0;
  #isClosed = false;

  constructor(options: CallThreadOptions) {
    this.#options = options;
  }

  /**
   * @param options.transfer Buffers that move with the request.
   * @throws {NearfarError} `overloaded`; `unavailable` when the thread ends first; what the call itself throws. Rejects with
   * `signal.reason` as soon as it aborts, and the call is then dropped unless it has begun.
   */
  async call(
    request: Request,
    { signal, transfer = [] }: { readonly signal?: AbortSignal | undefined; readonly transfer?: readonly ArrayBuffer[] } = {},
  ): Promise<Answer> {
    const { name, maxWaiting } = this.#options;
    signal?.throwIfAborted();
    if (this.#isClosed) throw closingError();
    if (this.#calls.size >= maxWaiting) {
      throw new NearfarError('overloaded', `${this.#calls.size} requests wait for the ${name} worker already`, {
        details: { limit: maxWaiting },
      });
    }
    this.#worker ??= this.#openWorker();
    const worker = this.#worker;
    const post = (message: ToCallWorker<Request>) => worker.postMessage(message, message.type === 'call' ? transfer : []);
    const callId = ++this.#lastCallId;
    let onAbort = () => {};
    try {
      return await new Promise<Answer>((resolve, reject) => {
        this.#calls.set(callId, { resolve, reject });
        onAbort = () => {
          post({ type: 'cancel', callId });
          reject(signal?.reason);
        };
        signal?.addEventListener('abort', onAbort, { once: true });
        post({ type: 'call', callId, request });
      });
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#calls.delete(callId);
    }
  }

  #openWorker(): Worker {
    const { name, url } = this.#options;
    const worker = new Worker(url, { name: `nearfar-${name}` });
    let reason = 'it exited';
    worker.on('message', (message: FromCallWorker<Answer>) => {
      const call = this.#calls.get(message.callId);
      if (message.type === 'answer') call?.resolve(message.answer);
      else call?.reject(deserializeError(message.error));
    });
    worker.on('error', (error) => {
      reason = error instanceof Error ? error.message : String(error);
    });
    worker.once('exit', () => {
      this.#worker = undefined; // the next call starts another one
      this.#rejectAll(new NearfarError('unavailable', `the ${name} worker stopped: ${reason}`));
    });
    return worker;
  }

  #rejectAll(error: NearfarError): void {
    for (const { reject } of this.#calls.values()) reject(error);
  }

  /**
   * Ends the thread; calls that wait fail as `unavailable`.
   * @remarks Worker.terminate(), which is not safe under engines: only for workers that run no native code, or such as Node waits for.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#rejectAll(closingError());
    await this.#worker?.terminate();
  }
}

function closingError(): NearfarError {
  return new NearfarError('unavailable', 'the server is closing');
}

/** Bytes that may be moved: a small Buffer is part of a pool that others use too. */
export function asOwnBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteLength } = bytes;
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? new Uint8Array(buffer) : new Uint8Array(bytes);
}

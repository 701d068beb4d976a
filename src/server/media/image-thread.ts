import { Worker } from 'node:worker_threads';
import { deserializeError, NearfarError, type RgbImage } from '../../core/index.ts';
import { workerUrl } from '../worker-url.ts';
import type { FromImageWorker, ToImageWorker } from './image-protocol.ts';
import type { PrepareImage } from './prepare-image.ts';

interface OpenCall {
  readonly resolve: (image: RgbImage) => void;
  readonly reject: (error: unknown) => void;
}

/** Prepares pictures in a worker thread, which starts with the first one: the event loop goes on answering meanwhile. */
export class ImageThread implements AsyncDisposable {
  readonly #maxWaiting: number;
  readonly #calls = new Map<number, OpenCall>();
  #worker: Worker | undefined;
  #lastCallId = 0;
  #isClosed = false;

  /** @param options.maxWaiting Pictures taken and not yet prepared; more are refused. */
  constructor({ maxWaiting }: { readonly maxWaiting: number }) {
    this.#maxWaiting = maxWaiting;
  }

  /**
   * As `prepareImageHere`, bit for bit. Takes the bytes over: a buffer that they fill is moved to the thread.
   * @throws {NearfarError} also `overloaded`, and `unavailable` when the thread ends first; rejects with `signal.reason` as soon
   * as it aborts, and the picture is then dropped unless it is being resized already.
   */
  readonly prepare: PrepareImage = async (bytes, input, { signal } = {}) => {
    signal?.throwIfAborted();
    if (this.#isClosed) throw closingError();
    if (this.#calls.size >= this.#maxWaiting) {
      throw new NearfarError('overloaded', `${this.#calls.size} pictures wait already`, { details: { limit: this.#maxWaiting } });
    }
    this.#worker ??= this.#openWorker();
    const worker = this.#worker;
    const post = (message: ToImageWorker, transfer: ArrayBuffer[] = []) => worker.postMessage(message, transfer);
    const callId = ++this.#lastCallId;
    let onAbort = () => {};
    try {
      return await new Promise<RgbImage>((resolve, reject) => {
        this.#calls.set(callId, { resolve, reject });
        onAbort = () => {
          post({ type: 'cancel', callId });
          reject(signal?.reason);
        };
        signal?.addEventListener('abort', onAbort, { once: true });
        const own = asOwnBytes(bytes);
        post({ type: 'prepare', callId, bytes: own, input }, [own.buffer]);
      });
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#calls.delete(callId);
    }
  };

  #openWorker(): Worker {
    const worker = new Worker(workerUrl('image-worker', import.meta.url), { name: 'nearfar-image' });
    let reason = 'it exited';
    worker.on('message', (message: FromImageWorker) => {
      const call = this.#calls.get(message.callId);
      if (message.type === 'image') call?.resolve(message.image);
      else call?.reject(deserializeError(message.error));
    });
    worker.on('error', (error) => {
      reason = error instanceof Error ? error.message : String(error);
    });
    worker.once('exit', () => {
      this.#worker = undefined; // the next picture starts another one
      this.#rejectAll(new NearfarError('unavailable', `the image worker stopped: ${reason}`));
    });
    return worker;
  }

  #rejectAll(error: NearfarError): void {
    for (const { reject } of this.#calls.values()) reject(error);
  }

  /** Ends the thread; pictures that wait fail as `unavailable`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#rejectAll(closingError());
    // Safe at any moment, as it is not for engines: Node waits for the decoder's own threads before the worker goes.
    await this.#worker?.terminate();
  }
}

function closingError(): NearfarError {
  return new NearfarError('unavailable', 'the server is closing');
}

/** Bytes that may be moved: a small Buffer is part of a pool that others use too. */
function asOwnBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteLength } = bytes;
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? new Uint8Array(buffer) : new Uint8Array(bytes);
}

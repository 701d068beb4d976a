import type { RgbImage } from '../../core/index.ts';
import { asOwnBytes, CallThread } from '../call-thread.ts';
import { workerUrl } from '../worker-url.ts';
import type { ImageJob } from './image-worker.ts';
import type { PrepareImage } from './prepare-image.ts';

/** Prepares pictures in a worker thread, which starts with the first one: the event loop goes on answering meanwhile. */
export class ImageThread implements AsyncDisposable {
  readonly #thread: CallThread<ImageJob, RgbImage>;

  /** @param options.maxWaiting Pictures taken and not yet prepared; more are refused. */
  constructor({ maxWaiting }: { readonly maxWaiting: number }) {
    this.#thread = new CallThread({ name: 'image', url: workerUrl('image-worker', import.meta.url), maxWaiting });
  }

  /**
   * As `prepareImageHere`, bit for bit. Takes the bytes over: a buffer that they fill is moved to the thread.
   * @throws {NearfarError} also `overloaded`, and `unavailable` when the thread ends first; rejects with `signal.reason` as soon
   * as it aborts, and the picture is then dropped unless it is being resized already.
   */
  readonly prepare: PrepareImage = async (bytes, input, { signal } = {}) => {
    signal?.throwIfAborted(); // before a copy, and its bytes may have been taken already
    const own = asOwnBytes(bytes);
    return this.#thread.call({ bytes: own, input }, { signal, transfer: [own.buffer] });
  };

  /** Ends the thread; pictures that wait fail as `unavailable`. Node waits for the decoder's own threads before the worker goes. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#thread[Symbol.asyncDispose]();
  }
}

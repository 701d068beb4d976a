import type { PreparedPicture } from '../../core/index.ts';
import { asOwnBytes, CallThread } from '../call-thread.ts';
import { copyTensors } from '../transfer.ts';
import { workerUrl } from '../worker-url.ts';
import type { AnswerPicture, PictureAnswer } from './answer-picture.ts';
import type { ImageJob } from './image-worker.ts';
import type { PrepareImage } from './prepare-image.ts';

/** Works on pictures in a worker thread, which starts with the first one: the event loop goes on answering meanwhile. */
export class ImageThread implements AsyncDisposable {
  readonly #thread: CallThread<ImageJob, PreparedPicture | PictureAnswer>;

  /** @param options.maxWaiting Pictures taken and not yet done; more are refused. */
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
    const prepared = await this.#thread.call({ kind: 'prepare', bytes: own, input }, { signal, transfer: [own.buffer] });
    return prepared as PreparedPicture; // each job is answered by its own kind
  };

  /** As `answerPictureHere`, on copies of the outputs. @throws {NearfarError} as `prepare`. */
  readonly answer: AnswerPicture = async (job, { signal } = {}) => {
    signal?.throwIfAborted(); // before anything is copied
    const { tensors, transfer } = copyTensors(job.outputs);
    return (await this.#thread.call({ kind: 'answer', job: { ...job, outputs: tensors } }, { signal, transfer })) as PictureAnswer;
  };

  /** Ends the thread; pictures that wait fail as `unavailable`. Node waits for the decoder's own threads before the worker goes. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#thread[Symbol.asyncDispose]();
  }
}

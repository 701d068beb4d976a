import type { BufferPool } from '../buffer-pool.ts';
import { asOwnBytes, CallThread } from '../call-thread.ts';
import { copyTensors } from '../transfer.ts';
import { workerUrl } from '../worker-url.ts';
import { type JsonJobKind, type JsonJobs, jsonJobs } from './json-jobs.ts';
import type { JsonJob, JsonReply } from './json-worker.ts';

/** Does work on JSON. @throws {NearfarError} what the work itself throws; rejects with `signal.reason` when aborted. */
export type RunJsonJob = <K extends JsonJobKind>(
  kind: K,
  request: JsonJobs[K]['request'],
  options?: { readonly signal?: AbortSignal | undefined },
) => Promise<JsonJobs[K]['answer']>;

/** Does it in this thread, which a body of 1.4 MB holds up for some 5 ms. */
export const runJsonJobHere: RunJsonJob = async (kind, request) => (await jsonJobs[kind](request)) as JsonJobs[typeof kind]['answer']; // of its own kind, which a promise hides

/** Does it in a worker thread, which starts with the first job: the event loop goes on answering meanwhile. */
export class JsonThread implements AsyncDisposable {
  readonly #thread: CallThread<JsonJob, JsonReply>;
  readonly #buffers: BufferPool;

  /** @param options.maxWaiting Jobs taken and not yet done; more are refused. */
  constructor({ maxWaiting, buffers }: { readonly maxWaiting: number; readonly buffers: BufferPool }) {
    this.#buffers = buffers;
    this.#thread = new CallThread({ name: 'JSON', url: workerUrl('json-worker', import.meta.url), maxWaiting });
  }

  /**
   * As `runJsonJobHere`. Takes bodies over: a buffer that one fills, or that was lent for it, is moved to the thread. Tensors are copied.
   * @throws {NearfarError} also `overloaded`, and `unavailable` when the thread ends first; rejects with `signal.reason` as soon
   * as it aborts, and the job is then dropped unless it has begun.
   */
  readonly run: RunJsonJob = async (kind, request, { signal } = {}) => {
    signal?.throwIfAborted(); // before anything is copied
    const isLent = 'body' in request && this.#buffers.isLent(request.body.buffer);
    const { moved, transfer } = move(request, isLent);
    const { answer, lent } = await this.#thread.call({ kind, request: moved, isLent } as JsonJob, { signal, transfer });
    if (lent) this.#buffers.give(lent);
    // A worker answers each job with the answer of its own kind.
    return answer as JsonJobs[typeof kind]['answer'];
  };

  /** Ends the thread; jobs that wait fail as `unavailable`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#thread[Symbol.asyncDispose]();
  }
}

function move<R extends JsonJobs[JsonJobKind]['request']>(
  request: R,
  isLent: boolean,
): { readonly moved: R; readonly transfer: ArrayBuffer[] } {
  if ('body' in request) {
    const { buffer } = request.body;
    if (isLent && buffer instanceof ArrayBuffer) return { moved: request, transfer: [buffer] };
    const body = asOwnBytes(request.body);
    return { moved: { ...request, body }, transfer: [body.buffer] };
  }
  const { tensors, transfer } = copyTensors(request.outputs);
  return { moved: { ...request, outputs: tensors }, transfer };
}

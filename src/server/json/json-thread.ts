import type { TensorMap } from '../../core/index.ts';
import { asOwnBytes, CallThread } from '../call-thread.ts';
import { packTensors } from '../transfer.ts';
import { workerUrl } from '../worker-url.ts';
import { type JsonJobKind, type JsonJobs, jsonJobs } from './json-jobs.ts';
import type { JsonAnswer, JsonJob } from './json-worker.ts';

/** Does work on JSON. @throws {NearfarError} what the work itself throws; rejects with `signal.reason` when aborted. */
export type RunJsonJob = <K extends JsonJobKind>(
  kind: K,
  request: JsonJobs[K]['request'],
  options?: { readonly signal?: AbortSignal | undefined },
) => Promise<JsonJobs[K]['answer']>;

/** Does it in this thread, which a body of 1.6 MB holds up for some 5 ms. */
export const runJsonJobHere: RunJsonJob = async (kind, request) => jsonJobs[kind](request);

/** Does it in a worker thread, which starts with the first job: the event loop goes on answering meanwhile. */
export class JsonThread implements AsyncDisposable {
  readonly #thread: CallThread<JsonJob, JsonAnswer>;

  /** @param options.maxWaiting Jobs taken and not yet done; more are refused. */
  constructor({ maxWaiting }: { readonly maxWaiting: number }) {
    this.#thread = new CallThread({ name: 'JSON', url: workerUrl('json-worker', import.meta.url), maxWaiting });
  }

  /**
   * As `runJsonJobHere`. Takes bodies over: a buffer that one fills is moved to the thread. Tensors are copied.
   * @throws {NearfarError} also `overloaded`, and `unavailable` when the thread ends first; rejects with `signal.reason` as soon
   * as it aborts, and the job is then dropped unless it has begun.
   */
  readonly run: RunJsonJob = async (kind, request, { signal } = {}) => {
    signal?.throwIfAborted(); // before anything is copied
    const { moved, transfer } = move(request);
    // A worker answers each job with the answer of its own kind.
    return (await this.#thread.call({ kind, request: moved } as JsonJob, { signal, transfer })) as JsonJobs[typeof kind]['answer'];
  };

  /** Ends the thread; jobs that wait fail as `unavailable`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#thread[Symbol.asyncDispose]();
  }
}

function move<R extends JsonJobs[JsonJobKind]['request']>(request: R): { readonly moved: R; readonly transfer: ArrayBuffer[] } {
  if ('body' in request) {
    const body = asOwnBytes(request.body);
    return { moved: { ...request, body }, transfer: [body.buffer] };
  }
  const { tensors, transfer } = packTensors(copyOf(request.outputs));
  return { moved: { ...request, outputs: tensors }, transfer };
}

/** Others may read them still, and a view would be posted with all of its buffer. */
function copyOf(tensors: TensorMap): TensorMap {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [name, tensor.dtype === 'string' ? tensor : { ...tensor, data: tensor.data.slice() }]),
  ) as TensorMap; // the data is of the dtype, which the union cannot see
}

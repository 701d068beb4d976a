import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { deserializeError, isSerializedError, NearfarError } from '../../core/index.ts';
import { workerUrl } from '../worker-url.ts';
import type { ImportVersion } from './import-cache.ts';
import type { ImportJob } from './import-worker.ts';

/** Threads that import side by side, so that one large version does not hold up all others. */
const mostThreads = Math.max(2, availableParallelism() - 1);

/** A job that waits for its turn. */
interface Turn {
  readonly rank: number;
  readonly begin: () => void;
}

/**
 * Imports plain TensorFlow Serving versions in threads of its own. A thread takes what waits, newest versions first, one after the other,
 * since loading the importer takes longer than a small import, and ends when nothing waits.
 * @param options.isServing Whether there is somebody to hold up: then imports run at low priority.
 * @returns which throws what `importDirectory` throws; `internal` when the thread dies; rejects when aborted.
 */
export function createImporter({ isServing }: { isServing: () => boolean }): ImportVersion {
  const idle: Worker[] = [];
  const waiting: Turn[] = [];
  const takeNext = (): Turn | undefined => {
    const lowest = Math.min(...waiting.map(({ rank }) => rank));
    const index = waiting.findIndex(({ rank }) => rank === lowest);
    return index < 0 ? undefined : waiting.splice(index, 1)[0];
  };
  let running = 0;

  return async ({ name, version, directory, savedModelTags, rank }, out, signal) => {
    if (running >= mostThreads) await new Promise<void>((begin) => waiting.push({ rank, begin }));
    else running++;
    let worker: Worker | undefined;
    let isIntact = false;
    try {
      signal.throwIfAborted();
      worker = idle.pop() ?? new Worker(workerUrl('import-worker', import.meta.url), { name: 'nearfar-import' });
      const error = await runJob(worker, { name, version, directory, savedModelTags, out, isUrgent: !isServing() }, signal);
      isIntact = true;
      if (isSerializedError(error)) throw deserializeError(error);
    } finally {
      const next = takeNext();
      if (worker && next && isIntact) idle.push(worker);
      // Safe in the middle of a run, as it is not for native code: reference runs are plain JavaScript and WebAssembly.
      else await worker?.terminate();
      // The place goes straight to the next one.
      if (next) next.begin();
      else running--;
    }
  };
}

async function runJob(worker: Worker, job: ImportJob, signal: AbortSignal): Promise<unknown> {
  const listening = new AbortController();
  try {
    const ended = once(worker, 'exit', { signal: listening.signal }).then(([code]): never => {
      throw new NearfarError('internal', `the import thread ended with code ${code}`);
    });
    const answered = once(worker, 'message', { signal: AbortSignal.any([signal, listening.signal]) });
    ended.catch(() => {});
    worker.postMessage(job);
    const [answer]: unknown[] = await Promise.race([answered, ended]);
    return answer;
  } finally {
    listening.abort();
  }
}

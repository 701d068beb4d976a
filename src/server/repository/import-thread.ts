import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { deserializeError, isSerializedError, NearfarError } from '../../core/index.ts';
import { workerUrl } from '../worker-url.ts';
import type { PlainVersion } from './import-cache.ts';
import type { ImportWorkerData } from './import-worker.ts';

/**
 * Imports a plain TensorFlow Serving version in a thread of its own.
 * @throws {NearfarError} what `importDirectory` throws; `internal` when the thread dies; rejects when aborted.
 */
export async function importInThread(plain: PlainVersion, out: string, signal: AbortSignal): Promise<void> {
  const data: ImportWorkerData = { plain, out };
  const worker = new Worker(workerUrl('import-worker', import.meta.url), { workerData: data, name: 'nearfar-import' });
  try {
    const ended = once(worker, 'exit').then(([code]): never => {
      throw new NearfarError('internal', `the import thread ended with code ${code}`);
    });
    const [error]: unknown[] = await Promise.race([once(worker, 'message', { signal }), ended]);
    if (isSerializedError(error)) throw deserializeError(error);
  } finally {
    // Safe in the middle of a run, as it is not for native code: reference runs are plain JavaScript and WebAssembly.
    await worker.terminate();
  }
}

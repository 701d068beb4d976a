import type { WorkerEvent } from '../core/index.ts';

type Notify = (event: WorkerEvent) => unknown;

/**
 * Does work that tells events, and answers or fails only when they have arrived: they cross by a port of their own and could come
 * behind the answer they belong before. comlink's proxy of a function returns a promise, whatever its type says.
 */
export async function telling<T>(notify: Notify, work: (tell: (event: WorkerEvent) => void) => Promise<T>): Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  try {
    return await work((event) => {
      // A listener that throws is the main thread's affair.
      last = Promise.resolve(notify(event)).catch(() => undefined);
    });
  } finally {
    await last;
  }
}

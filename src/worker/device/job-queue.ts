/** Runs jobs one after the other and says how long each has waited. */
export type JobQueue = <T>(job: () => Promise<T>) => Promise<{ result: T; queueMs: number }>;

/**
 * @param nextTask Awaited between two jobs: wasm engines answer in microtasks, so that a queue without it would keep
 * every cancellation out until it is empty.
 */
export function createJobQueue(nextTask: () => Promise<void>): JobQueue {
  let tail: Promise<unknown> = Promise.resolve();
  let length = 0;
  return async (job) => {
    const queuedAt = performance.now();
    const mustWait = length++ > 0;
    const run = tail.then(async () => {
      if (mustWait) await nextTask();
      const queueMs = performance.now() - queuedAt;
      return { result: await job(), queueMs };
    });
    tail = run.then(
      () => length--,
      () => length--,
    );
    return run;
  };
}

/** Lets one piece of work per key go on at a time; those that wait can be aborted. */
export interface KeyedLock {
  run<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T>;
}

export function createKeyedLock(): KeyedLock {
  const tails = new Map<string, Promise<void>>();
  return {
    async run(key, signal, work) {
      const before = tails.get(key) ?? Promise.resolve();
      let release: () => void = () => undefined;
      const done = new Promise<void>((resolve) => {
        release = resolve;
      });
      const tail = before.then(() => done);
      tails.set(key, tail);
      try {
        await untilAborted(before, signal);
        return await work();
      } finally {
        release();
        if (tails.get(key) === tail) tails.delete(key);
      }
    },
  };
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

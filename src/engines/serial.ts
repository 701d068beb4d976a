import type { EnginePlatform } from './platform.ts';

/** Runs pieces of work one after the other, in the order they came. */
export type Serial = <T>(work: () => T | Promise<T>) => Promise<T>;

/**
 * @param nextTask Awaited between two pieces of work that waited for each other: engines on wasm and on the CPU answer in
 * microtasks, so a full queue would otherwise keep every message and abort out until it is empty.
 */
export function createSerial(nextTask: EnginePlatform['nextTask']): Serial {
  let waiting = 0;
  let tail: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mustWait = waiting++ > 0;
    const result = tail.then(() => (mustWait ? nextTask().then(work) : work()));
    tail = result.then(
      () => waiting--,
      () => waiting--,
    );
    return result;
  };
}

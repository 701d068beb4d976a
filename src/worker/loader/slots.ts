/** Requests under way at once in one worker; more only share one connection's bandwidth. */
const parallelRequests = 4;

/** The right to have a request under way, shared by all downloads of a worker. */
export interface Slots {
  /** Waits for a slot; disposing it gives it back. What is needed now comes before what is only fetched ahead. Rejects with `signal.reason`. */
  take(isAhead: boolean, signal: AbortSignal): Promise<Disposable>;
}

export function createSlots(limit = parallelRequests): Slots {
  const waiting: { isAhead: boolean; start: () => void }[] = [];
  let free = limit;
  const slot = (): Disposable => {
    free--;
    let isTaken = true;
    return {
      [Symbol.dispose]() {
        if (!isTaken) return;
        isTaken = false;
        free++;
        const next = waiting.find(({ isAhead }) => !isAhead) ?? waiting[0];
        if (next) next.start();
      },
    };
  };
  return {
    take(isAhead, signal) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        if (free > 0) return resolve(slot());
        const leave = () => {
          waiting.splice(waiting.indexOf(turn), 1);
          signal.removeEventListener('abort', abort);
        };
        const turn = {
          isAhead,
          start() {
            leave();
            resolve(slot());
          },
        };
        const abort = () => {
          leave();
          reject(signal.reason);
        };
        waiting.push(turn);
        signal.addEventListener('abort', abort, { once: true });
      });
    },
  };
}

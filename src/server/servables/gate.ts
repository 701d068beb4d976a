/** Lets so much work of one kind go on at a time; what is more waits in the order it came. */
export class Gate {
  readonly #limit: number;
  readonly #waiting = new Set<() => void>();
  #running = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @throws what the work throws; rejects with `signal.reason` when it aborts before its turn. */
  async pass<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    if (this.#running >= this.#limit) await this.#turn(signal);
    else this.#running++;
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      const [next] = this.#waiting;
      // The place goes straight to the next one, so that nobody who comes meanwhile takes it.
      if (next) next();
      else this.#running--;
    }
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (settle: () => void) => () => {
        this.#waiting.delete(enter);
        signal.removeEventListener('abort', abort);
        settle();
      };
      const enter = leave(resolve);
      const abort = leave(() => reject(signal.reason));
      this.#waiting.add(enter);
      signal.addEventListener('abort', abort, { once: true });
    });
  }
}

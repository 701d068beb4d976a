interface SharedRun<V> {
  readonly result: Promise<V>;
  readonly controller: AbortController;
  waiters: number;
}

/** Runs that several callers wait for: the first one begins it, those who come while it runs join. */
export class SharedRuns<V> {
  readonly #runs = new Map<string, SharedRun<V>>();

  isRunning(key: string): boolean {
    return this.#runs.has(key);
  }

  /**
   * The result of the run under this key. A caller that aborts leaves; when the last one has left, the run is aborted too.
   * @param begin Called when there is no such run.
   * @throws what the run throws, to every caller; rejects with `signal.reason` as soon as it aborts.
   */
  async wait(key: string, begin: (signal: AbortSignal) => Promise<V>, signal?: AbortSignal): Promise<V> {
    signal?.throwIfAborted();
    const run = this.#runs.get(key) ?? this.#begin(key, begin);
    run.waiters++;
    let onAbort = () => {};
    try {
      return await new Promise<V>((resolve, reject) => {
        onAbort = () => reject(signal?.reason);
        signal?.addEventListener('abort', onAbort, { once: true });
        run.result.then(resolve, reject);
      });
    } finally {
      signal?.removeEventListener('abort', onAbort);
      run.waiters--;
      if (run.waiters === 0 && this.#runs.get(key) === run) {
        // Nobody may join a run that is being aborted.
        this.#runs.delete(key);
        run.controller.abort(signal?.reason);
      }
    }
  }

  #begin(key: string, begin: (signal: AbortSignal) => Promise<V>): SharedRun<V> {
    const controller = new AbortController();
    const run: SharedRun<V> = {
      controller,
      waiters: 0,
      result: begin(controller.signal).finally(() => {
        if (this.#runs.get(key) === run) this.#runs.delete(key);
      }),
    };
    this.#runs.set(key, run);
    return run;
  }
}

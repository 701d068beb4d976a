import { monitorEventLoopDelay } from 'node:perf_hooks';

/** @typedef {{ inFlight?: number | undefined, perSecond?: number | undefined, durationMs: number }} LoadOptions */
/** @typedef {{ perSecond: number, p50: number, p95: number, p99: number, late: number, failed: number }} LoadResult */

/**
 * Keeps a number of calls in flight for a while, or begins a number of calls a second whatever becomes of them.
 * @param {() => Promise<unknown>} call
 * @param {LoadOptions} options
 * @returns {Promise<LoadResult>} Calls a second, counted to the end of the last call that was begun in time; milliseconds of a call, at a
 * fixed rate from when it was due (a stalled driver, or server, then shows); `late` is the longest that the driver itself was behind, `failed` counts
 * the calls that were refused at a fixed rate; with a number in flight the first failure ends the bench.
 */
export async function load(call, { inFlight = 1, perSecond, durationMs }) {
  /** @type {number[]} */
  const times = [];
  const startedAt = performance.now();
  let late = 0;
  let failed = 0;
  if (perSecond === undefined) {
    const keepCalling = async () => {
      for (let at = performance.now(); at - startedAt < durationMs; ) {
        await call();
        const now = performance.now();
        times.push(now - at);
        at = now;
      }
    };
    await Promise.all(Array.from({ length: inFlight }, keepCalling));
  } else {
    const pauseMs = 1000 / perSecond;
    /** @type {Promise<void>[]} */
    const open = [];
    const one = async (/** @type {number} */ dueAt) => {
      await call().then(
        () => times.push(performance.now() - dueAt),
        () => failed++,
      );
    };
    for (let dueAt = startedAt; dueAt - startedAt < durationMs; ) {
      const now = performance.now();
      if (dueAt - now > 2) await new Promise((resolve) => setTimeout(resolve, 1));
      else if (dueAt > now) await new Promise((resolve) => setImmediate(resolve));
      else {
        late = Math.max(late, now - dueAt);
        open.push(one(dueAt));
        dueAt += pauseMs;
      }
    }
    await Promise.all(open);
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const sorted = Float64Array.from(times).sort();
  const at = (/** @type {number} */ share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { perSecond: sorted.length / seconds, p50: at(0.5), p95: at(0.95), p99: at(0.99), late, failed };
}

/** Pixel-like values, the same for every side. @param {number} length */
export function inputValues(length) {
  return Float32Array.from({ length }, (_, index) => ((index * 2_654_435_761) % 256) / 128 - 1);
}

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();

/**
 * What this process used of the processors so far, and how long its event loop was held up at the 99th percentile, in milliseconds.
 * @param {{ restart?: boolean }} question Whether the latter begins anew.
 */
export function usage({ restart = false }) {
  const { user, system } = process.cpuUsage();
  // The timer that measures it is due after 1 ms.
  const loopDelayMs = Math.max(0, delay.percentile(99) / 1e6 - 1);
  if (restart) delay.reset();
  return { cpuMs: (user + system) / 1000, loopDelayMs };
}

/** @param {(question: any) => Promise<object>} answer @param {object} ready */
export function answerParent(answer, ready = {}) {
  process.on('message', async (question) => process.send?.(await answer(question)));
  // A parent that dies must leave nobody behind.
  process.on('disconnect', () => process.exit());
  process.send?.(ready);
}

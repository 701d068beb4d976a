import { availableParallelism } from 'node:os';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { exponential } from '../random.ts';

/** What came of asking a server for a while. Times are in milliseconds. */
export interface Load {
  /** Undefined where calls followed one another. */
  readonly offeredPerSecond: number | undefined;
  /** Answers a second. */
  readonly perSecond: number;
  readonly answers: number;
  /** Calls that were refused, or not answered in time. */
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

interface LoadOptions {
  readonly durationMs: number;
  readonly signal: AbortSignal;
}

type Call = () => Promise<void>;

/** Keeps so many calls in flight, each following another: the most that a server can do. A call that fails ends it. */
export async function closedLoop(call: Call, { inFlight, durationMs, signal }: LoadOptions & { readonly inFlight: number }): Promise<Load> {
  const times: number[] = [];
  const startedAt = performance.now();
  const keepCalling = async () => {
    for (let at = performance.now(); at - startedAt < durationMs; ) {
      signal.throwIfAborted();
      await call();
      const now = performance.now();
      times.push(now - at);
      at = now;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, keepCalling));
  return toLoad(undefined, times, 0, performance.now() - startedAt);
}

/** Calls that a server may owe: beyond, it does not keep up, whatever its latencies are so far. */
const mostOwed = 512;

/** How long answers are waited for after the last call. */
const graceMs = 2_000;

/** Where there are so few cores, turning round until a call is due would take one from the server. */
const mayTurn = availableParallelism() >= 4;

/**
 * Begins calls at random times (a Poisson process), so many a second, whatever becomes of those before. A call's time counts from when it
 * was due, so that a server that stalls cannot hold back the calls that would have shown it ("coordinated omission", Gil Tene).
 */
export async function openLoop(
  call: Call,
  { perSecond, durationMs, signal, random }: LoadOptions & { readonly perSecond: number; readonly random: () => number },
): Promise<Load> {
  const times: number[] = [];
  let owed = 0;
  let failed = 0;
  let onAnswer = () => {};
  const begin = async (dueAt: number) => {
    owed++;
    try {
      await call();
      times.push(performance.now() - dueAt);
    } catch {
      failed++;
    }
    owed--;
    onAnswer();
  };
  const startedAt = performance.now();
  let dueAt = startedAt + exponential(random, perSecond) * 1000;
  while (dueAt - startedAt < durationMs) {
    signal.throwIfAborted();
    const waitMs = dueAt - performance.now();
    if (waitMs > 1.5 || (waitMs > 0 && !mayTurn)) await setTimeout(1);
    else if (waitMs > 0) await setImmediate();
    else if (owed >= mostOwed) {
      failed++;
      break;
    } else {
      void begin(dueAt);
      dueAt += exponential(random, perSecond) * 1000;
    }
  }
  const lastAt = performance.now();
  await Promise.race([
    new Promise<void>((resolve) => {
      onAnswer = () => owed === 0 && resolve();
      onAnswer();
    }),
    setTimeout(graceMs, undefined, { ref: false }),
  ]);
  return toLoad(perSecond, times, failed + owed, (owed > 0 ? performance.now() : lastAt) - startedAt);
}

function toLoad(offeredPerSecond: number | undefined, times: readonly number[], failed: number, elapsedMs: number): Load {
  const sorted = Float64Array.from(times).sort();
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.POSITIVE_INFINITY;
  return {
    offeredPerSecond,
    perSecond: (sorted.length / elapsedMs) * 1000,
    answers: sorted.length,
    failed,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  };
}

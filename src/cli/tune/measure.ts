import { NearfarError } from '../../core/index.ts';
import type { Score } from './halving.ts';
import { closedLoop, type Load, openLoop } from './load.ts';

export interface Goal {
  readonly kind: 'throughput' | 'latency';
  /** Of `throughput`: the 99th percentile that is kept to, in milliseconds. */
  readonly p99TargetMs: number;
  /** Of `latency`: calls a second at which it is measured. */
  readonly perSecond: number;
}

/** What was found of one candidate. */
export interface Measured extends Score {
  /** The load that decided; undefined where nothing could be measured. */
  readonly load: Load | undefined;
  readonly loads: readonly Load[];
  /** Whether the goal is met: the target, or answers to all calls. */
  readonly isMet: boolean;
  /** What runs, as the server tells. */
  readonly backend?: string | undefined;
  readonly variant?: string | undefined;
  /** Why it cannot be. */
  readonly problem?: string | undefined;
}

export interface Subject {
  readonly call: () => Promise<void>;
  /** Calls in flight that fill its batches. */
  readonly inFlight: number;
  readonly random: () => number;
  readonly signal: AbortSignal;
}

/** Loads that are tried to find the highest one that keeps to the target, where there is half a second for each. */
const mostTrials = 6;
const trialMs = 500;

/** Fewer answers tell nothing of a high percentile. */
const leastAnswers = 20;

/** Of the rate, as long as the target is kept. */
const growth = 1.6;

/** Parts of the time for warming up and for the most that it can do. */
const warmUpPart = 0.1;
const closedPart = 0.15;

export async function measureGoal(
  subject: Subject,
  goal: Goal,
  { budgetMs, previous }: { readonly budgetMs: number; readonly previous?: Measured | undefined },
): Promise<Measured> {
  const { call, inFlight, signal } = subject;
  await closedLoop(call, { inFlight, durationMs: budgetMs * warmUpPart, signal });
  if (goal.kind === 'throughput') return measureThroughput(subject, goal, { budgetMs: budgetMs * (1 - warmUpPart), previous });
  const load = await openLoop(call, { ...subject, perSecond: goal.perSecond, durationMs: budgetMs * (1 - warmUpPart) });
  const isMet = load.failed === 0;
  return { score: isMet ? -load.p99Ms : Number.NEGATIVE_INFINITY, load, loads: [load], isMet };
}

/** The highest rate of calls that keeps to the target: raised until it does not, then halved towards. */
async function measureThroughput(
  subject: Subject,
  { p99TargetMs }: Goal,
  { budgetMs, previous }: { readonly budgetMs: number; readonly previous: Measured | undefined },
): Promise<Measured> {
  const { call, inFlight, signal } = subject;
  const known = previous?.isMet ? previous.load?.offeredPerSecond : undefined;
  const closed = known === undefined ? await closedLoop(call, { inFlight, durationMs: budgetMs * closedPart, signal }) : undefined;
  const leftMs = budgetMs * (closed ? 1 - closedPart : 1);
  const trials = Math.max(2, Math.min(mostTrials, Math.floor(leftMs / trialMs)));
  const usualMs = leftMs / trials;
  const loads: Load[] = [];
  let low = 0;
  let high = Number.POSITIVE_INFINITY;
  let rate = known ?? 0.8 * (closed?.perSecond ?? 0);
  for (let trial = 0; trial < trials && rate > 0; trial++) {
    // A low rate needs more time for enough answers, of which it may have three times its part.
    const durationMs = Math.min(3 * usualMs, Math.max(usualMs, (1500 * leastAnswers) / rate));
    const load = await openLoop(call, { ...subject, perSecond: rate, durationMs });
    loads.push(load);
    if (keepsTo(load, p99TargetMs)) low = rate;
    else high = rate;
    rate = high === Number.POSITIVE_INFINITY ? rate * growth : low === 0 ? high / 2 : (low + high) / 2;
  }
  const met = loads.filter((load) => keepsTo(load, p99TargetMs)).sort((a, b) => b.perSecond - a.perSecond)[0];
  if (met) return { score: met.perSecond, load: met, loads, isMet: true };
  // Among those that miss the target the one that misses it least comes first.
  const [nearest] = loads.toSorted((a, b) => missOf(a) - missOf(b));
  return { score: nearest ? -missOf(nearest) : Number.NEGATIVE_INFINITY, load: nearest, loads, isMet: false };
}

function keepsTo({ failed, answers, p99Ms }: Load, targetMs: number): boolean {
  return failed === 0 && answers >= leastAnswers && p99Ms <= targetMs;
}

function missOf({ failed, p99Ms }: Load): number {
  return failed > 0 ? Number.POSITIVE_INFINITY : p99Ms;
}

/** A candidate that cannot be measured. */
export function cannot(error: unknown): Measured {
  const problem = error instanceof NearfarError ? error.message : String(error);
  return { score: Number.NEGATIVE_INFINITY, load: undefined, loads: [], isMet: false, problem };
}

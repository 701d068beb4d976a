import { type Leg, legsOf, type Mode, NearfarError, type NearfarErrorCode, type Reason } from '../core/index.ts';
import type { Breaker } from './breaker.ts';
import type { Clock } from './clock.ts';
import { openLimit, withoutLimit } from './limit.ts';
import type { Fallback } from './run-report.ts';

/** One leg as a call sees it. */
export interface CallLeg<Answer> {
  readonly breaker: Breaker;
  /** Why the leg cannot answer at this moment; undefined when it can. */
  readonly obstacle: Reason | undefined;
  /** Resolves once the leg can answer; rejects with the reason when it will not. */
  ready(signal: AbortSignal): Promise<void>;
  run(options: { signal: AbortSignal; deadlineMs: number | undefined }): Promise<Answer>;
}

export interface FailoverCall<Answer> {
  readonly mode: Mode;
  readonly legs: Readonly<Partial<Record<Leg, CallLeg<Answer>>>>;
  readonly clock: Clock;
  /** Aborts the call: the caller's signal and the deadline joined. */
  readonly signal: AbortSignal;
  /** When the deadline ends, by the clock. */
  readonly deadlineAt: number | undefined;
  readonly onFallback: (fallback: Fallback, to: Leg) => void;
  /** When the leg that follows is asked, too. */
  readonly hedgeAfterMs?: number | undefined;
}

export interface FailoverAnswer<Answer> {
  readonly leg: Leg;
  readonly answer: Answer;
  /** Set when another leg than the preferred one answered, or the preferred one only at its second try. */
  readonly fallback: Fallback | undefined;
  /** The leg that was asked, too, while another one was slow. */
  readonly hedgedOn?: Leg | undefined;
}

interface Attempt {
  readonly leg: Leg;
  /** Why this leg does not come first although the mode prefers it. */
  readonly demotion?: Reason | undefined;
  readonly isReplay?: boolean;
}

/** Mistakes of the caller: every leg would answer the same. */
const callerErrors: ReadonlySet<NearfarErrorCode> = new Set([
  'invalid-argument',
  'dtype-mismatch',
  'shape-mismatch',
  'failed-precondition',
  'cancelled',
]);

/**
 * Asks the legs the mode allows, one after the other, until one answers: legs that can answer now and have not kept
 * failing first, in the mode's order, then the others. A leg that another one can follow gets half the time that is left.
 * A device that was lost under the call and has nobody to follow it gets the call once more.
 * @throws {NearfarError} the only error, or the last one with every attempt in `details.attempts`; rejects with the
 * reason of `signal` when aborted.
 */
export async function runWithFailover<Answer>(call: FailoverCall<Answer>): Promise<FailoverAnswer<Answer>> {
  const { mode, signal, onFallback, hedgeAfterMs } = call;
  const attempts = orderLegs(call);
  const [preferred] = legsOf(mode);
  const missing: Reason = { code: 'unavailable', message: `no ${preferred === 'server' ? 'server is configured' : 'device leg is there'}` };
  let why = call.legs[preferred] ? attempts.find(({ leg }) => leg === preferred)?.demotion : missing;
  const failures: { leg: Leg; error: NearfarError }[] = [];
  using _ = { [Symbol.dispose]: () => giveBackTrials(call, attempts) };
  for (let attempt = attempts.shift(); attempt; attempt = attempts.shift()) {
    const { leg } = attempt;
    const isDetour = leg !== preferred || attempt.isReplay === true;
    const fallback = isDetour && why ? { from: preferred, code: why.code, message: why.message } : undefined;
    if (fallback && failures.length > 0) onFallback(fallback, leg);
    const [next] = attempts;
    try {
      // A page that has lost its network, and so this code, asks one leg after the other.
      const hedging = hedgeAfterMs !== undefined && next && !next.demotion && (await loadHedge());
      if (hedging) {
        const ask = (each: Leg, signal: AbortSignal) => runAttempt({ ...call, signal }, each, each === leg);
        return await hedging.hedge(
          { ...call, legs: [leg, next.leg], fallback, failures, ask, onHedge: () => attempts.shift() },
          hedgeAfterMs,
        );
      }
      const answer = await runAttempt(call, leg, attempts.length > 0);
      if (fallback && failures.length === 0) onFallback(fallback, leg);
      return { leg, answer, fallback };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof NearfarError) || callerErrors.has(error.code)) throw error;
      failures.push({ leg, error });
      if (leg === preferred) why = error;
      const isLost = failures.some((failure) => failure.leg === 'on-device' && failure.error.code === 'device-lost');
      const wasReplayed = failures.filter((failure) => failure.leg === 'on-device').length > 1;
      if (attempts.length === 0 && isLost && !wasReplayed) attempts.push({ leg: 'on-device', isReplay: true });
    }
  }
  throw joinErrors(failures, -1) ?? new NearfarError(missing.code, missing.message);
}

/** On its own: in a function with `using` TypeScript leaves the extension of an import as it is. */
const loadHedge = () => import('./hedge.ts').catch(() => undefined);

/** Legs that can answer now, then the demoted ones with why they are. */
function orderLegs<Answer>({ mode, legs }: FailoverCall<Answer>): Attempt[] {
  const attempts = legsOf(mode).flatMap((leg): Attempt[] => {
    const state = legs[leg];
    return state ? [{ leg, demotion: state.obstacle ?? brokenReason(leg, state.breaker) }] : [];
  });
  return [...attempts.filter(({ demotion }) => !demotion), ...attempts.filter(({ demotion }) => demotion)];
}

function brokenReason(leg: Leg, breaker: Breaker): Reason | undefined {
  if (breaker.admit()) return undefined;
  const { reason } = breaker;
  return { code: reason?.code ?? 'unavailable', message: `the ${leg} leg kept failing: ${reason?.message ?? 'it is being tried again'}` };
}

/** Legs that were let through and not needed have proved nothing. */
function giveBackTrials<Answer>({ legs }: FailoverCall<Answer>, unused: readonly Attempt[]): void {
  for (const { leg, demotion } of unused) if (!demotion) legs[leg]?.breaker.abandoned();
}

async function runAttempt<Answer>(call: FailoverCall<Answer>, name: Leg, hasFollower: boolean): Promise<Answer> {
  const leg = call.legs[name];
  if (!leg) throw new NearfarError('unavailable', `there is no ${name} leg`);
  using budget = shareOfDeadline(call, name, hasFollower);
  try {
    // A leg that must get ready first fails with its own reason, which says nothing about how it runs.
    if (leg.obstacle) await untilAborted(leg.ready(budget.signal), budget.signal);
  } catch (error) {
    leg.breaker.abandoned();
    throw error;
  }
  try {
    const answer = await untilAborted(leg.run({ signal: budget.signal, deadlineMs: budget.deadlineMs }), budget.signal);
    leg.breaker.succeeded();
    return answer;
  } catch (error) {
    if (call.signal.aborted || !(error instanceof NearfarError) || callerErrors.has(error.code)) leg.breaker.abandoned();
    else leg.breaker.failed(error);
    throw error;
  }
}

/** A signal that ends with the call, or earlier so that the leg that follows still has time. */
function shareOfDeadline<Answer>({ clock, signal, deadlineAt }: FailoverCall<Answer>, leg: Leg, hasFollower: boolean) {
  if (deadlineAt === undefined) return { ...withoutLimit(signal), deadlineMs: undefined };
  const leftMs = Math.max(0, deadlineAt - clock.now());
  if (!hasFollower) return { ...withoutLimit(signal), deadlineMs: leftMs };
  const deadlineMs = leftMs / 2;
  const message = `the ${leg} leg gave no answer in its share of the deadline, ${Math.round(deadlineMs)} ms`;
  return { ...openLimit(clock, signal, deadlineMs, message, { leg, deadlineMs }), deadlineMs };
}

/** The promise, or the signal's reason as soon as it is aborted: a leg that does not listen cannot hold the call. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** One of several errors, with what each says; undefined where there is none. */
export function joinErrors(failures: readonly { leg?: Leg; error: NearfarError }[], main: number): NearfarError | undefined {
  const error = failures.at(main)?.error;
  if (!error || failures.length < 2) return error;
  const attempts = failures.map(({ leg, error: { code, message } }) => ({ ...(leg && { leg }), code, message }));
  const message = attempts.map(({ leg, message }) => (leg ? `${leg}: ` : '') + message).join('; ');
  return new NearfarError(error.code, message, { cause: error, details: { ...error.details, attempts } });
}

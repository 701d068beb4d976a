import { type Leg, NearfarError } from '../core/index.ts';
import type { FailoverAnswer, FailoverCall } from './failover.ts';
import { atLeast } from './options.ts';
import type { Fallback } from './run-report.ts';

/** A call of two legs, of which the second is asked, too, when the first is slow. */
export interface Race<Answer> extends Pick<FailoverCall<Answer>, 'clock' | 'signal' | 'onFallback'> {
  readonly legs: readonly [first: Leg, second: Leg];
  /** Why the first leg is not the preferred one. */
  readonly fallback: Fallback | undefined;
  /** Gets what the second leg threw. */
  readonly failures: { leg: Leg; error: NearfarError }[];
  readonly ask: (leg: Leg, signal: AbortSignal) => Promise<Answer>;
  /** Told when the second leg is asked. */
  readonly onHedge: () => void;
}

/**
 * The first answer of the two; the other leg is stopped. A first leg that fails before the second was asked fails the race: who runs it
 * asks the second leg itself.
 * @throws what the first leg threw, once both have failed.
 */
export async function hedge<Answer>(
  { clock, signal, onFallback, legs, fallback, failures, ask, onHedge }: Race<Answer>,
  afterMs: number,
): Promise<FailoverAnswer<Answer>> {
  atLeast('hedgeAfterMs', afterMs, 0);
  const [first, second] = legs;
  const stop = new AbortController();
  const stoppable = AbortSignal.any([signal, stop.signal]);
  const asking = ask(first, stoppable).then((answer): FailoverAnswer<Answer> => ({ leg: first, answer, fallback }));
  let isDue: () => void = () => undefined;
  const due = new Promise<undefined>((resolve) => {
    isDue = () => resolve(undefined);
  });
  const forget = clock.after(afterMs, isDue);
  try {
    const early = await Promise.race([asking, due]);
    if (early) return early;
  } finally {
    forget();
  }
  onHedge();
  const slow: Fallback = { from: first, code: 'deadline-exceeded', message: `the ${first} leg gave no answer in ${afterMs} ms` };
  onFallback(slow, second);
  const hedged = ask(second, stoppable).then(
    (answer): FailoverAnswer<Answer> => ({ leg: second, answer, fallback: slow, hedgedOn: second }),
  );
  hedged.catch((error) => error instanceof NearfarError && failures.push({ leg: second, error }));
  try {
    return await Promise.any([asking.then((answer) => ({ ...answer, hedgedOn: second })), hedged]);
  } catch {
    return await asking;
  } finally {
    // The loser; whoever has answered does not hear it.
    stop.abort();
  }
}

import { NearfarError } from '../core/index.ts';
import type { Clock } from './clock.ts';

/** A signal that its owner gives back when the work is done. */
export interface Limit extends Disposable {
  readonly signal: AbortSignal;
}

/** The signal, aborted with `deadline-exceeded` after `limitMs`, too. */
export function openLimit(
  clock: Clock,
  signal: AbortSignal,
  limitMs: number,
  message: string,
  details: Readonly<Record<string, unknown>>,
): Limit {
  const expiry = new AbortController();
  const forget = clock.after(limitMs, () => expiry.abort(new NearfarError('deadline-exceeded', message, { details })));
  return { signal: AbortSignal.any([signal, expiry.signal]), [Symbol.dispose]: forget };
}

/** The signal as it is. */
export function withoutLimit(signal: AbortSignal): Limit {
  return { signal, [Symbol.dispose]() {} };
}

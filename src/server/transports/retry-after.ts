import { NearfarError } from '../../core/index.ts';

/** For refusals that do not say it themselves, such as a full queue. */
const defaultMs = 1000;

/** When to ask again, in milliseconds, of an error that passes by itself. */
export function retryAfterMs(error: unknown): number | undefined {
  if (!(error instanceof NearfarError)) return undefined;
  if (error.code !== 'overloaded' && error.code !== 'rate-limited' && error.code !== 'unavailable') return undefined;
  const ms = error.details['retryAfterMs'];
  return typeof ms === 'number' ? ms : defaultMs;
}

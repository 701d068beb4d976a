import { NearfarError } from '../../core/index.ts';
import type { LoaderContext } from './context.ts';

export interface RetryOptions {
  /** Tries without any progress before the last error is thrown. @default the number of mirrors + 4 */
  readonly attempts?: number;
  /** A number that grows while tries that fail still bring something; growth starts the count anew. */
  readonly progress?: () => number;
}

const firstDelayMs = 250;
const longestDelayMs = 8_000;

/**
 * Tries mirrors in turn until one try succeeds. The first pass and the first retry come at once; later ones wait a
 * random time below a bound that doubles ("full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 * @param mirrors URLs of the same thing, at least one.
 * @throws The last error, when tries are used up or the error cannot get better by trying again.
 */
export async function withRetries<T>(
  context: Pick<LoaderContext, 'clock' | 'notify' | 'signal'>,
  mirrors: readonly string[],
  attempt: (url: string) => Promise<T>,
  options: RetryOptions = {},
): Promise<T> {
  const { attempts = mirrors.length + 4, progress = () => 0 } = options;
  let reached = progress();
  let failures = 0;
  for (let turn = 0; ; turn++) {
    context.signal.throwIfAborted();
    const url = mirrors[turn % mirrors.length];
    if (url === undefined) throw new NearfarError('invalid-argument', 'no repository is given');
    try {
      return await attempt(url);
    } catch (error) {
      context.signal.throwIfAborted();
      if (progress() !== reached) failures = 0;
      reached = progress();
      failures++;
      const hasUntriedMirror = turn + 1 < mirrors.length;
      if (!(error instanceof NearfarError) || failures >= attempts || !isWorthRetrying(error, hasUntriedMirror)) throw error;
      const next = mirrors[(turn + 1) % mirrors.length] ?? url;
      context.notify({ type: 'retry', url: next, attempt: turn + 1, code: error.code, message: error.message });
      await context.clock.delay(hasUntriedMirror ? 0 : delayBefore(failures, context.clock.random()), context.signal);
    }
  }
}

function isWorthRetrying(error: NearfarError, hasUntriedMirror: boolean): boolean {
  if (error.code === 'integrity-mismatch') return false;
  if (hasUntriedMirror) return true;
  return error.code === 'network' && error.details['isRetryable'] === true;
}

function delayBefore(failures: number, random: number): number {
  return failures === 1 ? 0 : random * Math.min(longestDelayMs, firstDelayMs * 2 ** (failures - 2));
}

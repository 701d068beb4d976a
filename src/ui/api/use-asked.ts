import { useSignal } from '@preact/signals';
import { useCallback, useEffect } from 'preact/hooks';
import type { NearfarError } from '../../core/index.ts';
import { toNearfarError } from './ask.ts';

/** What was asked for: on its way, there, or failed; what was there stays while it is asked for again. */
export interface Asked<T> {
  readonly value: T | undefined;
  readonly error: NearfarError | undefined;
  readonly isWaiting: boolean;
}

/**
 * Asks when the component appears and whenever `keys` change; a question that is no longer wanted is aborted.
 * @returns What came, and a function that asks again.
 */
export function useAsked<T>(ask: (signal: AbortSignal) => Promise<T>, keys: readonly unknown[]): [Asked<T>, () => void] {
  const asked = useSignal<Asked<T>>({ value: undefined, error: undefined, isWaiting: true });
  const round = useSignal(0);
  useEffect(() => {
    const aborter = new AbortController();
    const { signal } = aborter;
    asked.value = { ...asked.peek(), isWaiting: true };
    ask(signal).then(
      (value) => {
        if (!signal.aborted) asked.value = { value, error: undefined, isWaiting: false };
      },
      (error) => {
        if (!signal.aborted) asked.value = { value: asked.peek().value, error: toNearfarError(error), isWaiting: false };
      },
    );
    return () => aborter.abort();
  }, [...keys, round.value]);
  const again = useCallback(() => {
    round.value += 1;
  }, []);
  return [asked.value, again];
}

import type { NearfarError } from '../core/index.ts';
import type { Clock } from './clock.ts';

export interface BreakerOptions {
  /** Failures in a row that open the breaker. */
  readonly failureThreshold: number;
  /** How long an open breaker waits before it lets one trial through. */
  readonly coolDownMs: number;
}

/**
 * Remembers what failed, so that a leg that keeps failing is not asked first. Closed: calls pass. Open: they do not.
 * Half-open, after the cool-down: one trial passes, and its end closes or reopens the breaker.
 */
export interface Breaker {
  readonly state: 'closed' | 'open' | 'half-open';
  /** The failure that opened it; undefined while closed. */
  readonly reason: NearfarError | undefined;
  /** Whether a call may pass now; in half-open state that call is the trial, and its end must be told. */
  admit(): boolean;
  succeeded(): void;
  failed(error: NearfarError): void;
  /** The call ended without saying anything about the leg, by an abort for instance. */
  abandoned(): void;
}

export function createBreaker(clock: Clock, { failureThreshold, coolDownMs }: BreakerOptions): Breaker {
  let failures = 0;
  let openedAt: number | undefined;
  let reason: NearfarError | undefined;
  let isTrialRunning = false;
  const state = () => {
    if (openedAt === undefined) return 'closed';
    return clock.now() - openedAt >= coolDownMs ? 'half-open' : 'open';
  };
  return {
    get state() {
      return state();
    },
    get reason() {
      return openedAt === undefined ? undefined : reason;
    },
    admit() {
      const now = state();
      if (now === 'closed') return true;
      if (now === 'open' || isTrialRunning) return false;
      isTrialRunning = true;
      return true;
    },
    succeeded() {
      failures = 0;
      openedAt = undefined;
      isTrialRunning = false;
    },
    failed(error) {
      failures += 1;
      isTrialRunning = false;
      reason = error;
      // A call that was let through while open (the last resort) does not put off the trial.
      if (failures >= failureThreshold && state() !== 'open') openedAt = clock.now();
    },
    abandoned() {
      isTrialRunning = false;
    },
  };
}

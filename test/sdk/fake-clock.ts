import type { Clock } from '../../src/sdk/clock.ts';

/** A clock that stands still until the test advances it. */
export interface FakeClock extends Clock {
  /** Timers that wait. */
  readonly pending: number;
  /** Goes on by so many milliseconds and runs the timers that are due, in their order. */
  advance(ms: number): void;
}

export function createFakeClock(): FakeClock {
  let now = 0;
  const timers = new Set<{ readonly at: number; readonly callback: () => void }>();
  return {
    now: () => now,
    after(delayMs, callback) {
      const timer = { at: now + delayMs, callback };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    get pending() {
      return timers.size;
    },
    advance(ms) {
      const end = now + ms;
      const due = () => [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      for (let timer = due(); timer; timer = due()) {
        timers.delete(timer);
        now = Math.max(now, timer.at);
        timer.callback();
      }
      now = end;
    },
  };
}

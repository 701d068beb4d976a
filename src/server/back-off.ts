/** How long to wait between attempts, in milliseconds. */
export interface BackOff {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** The pause after a failure that followed `attempts` earlier ones: twice as long each time, up to the maximum. */
export function backOff({ firstMs, maxMs }: BackOff, attempts: number): number {
  return Math.min(maxMs, firstMs * 2 ** attempts);
}

/** What a status says of retries. */
export function retryNote(failures: number, pauseMs: number): string {
  return `attempt ${failures}, the next one ${pauseMs / 1000} s later`;
}

/** How long to wait between attempts, in milliseconds. */
export interface BackOff {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** The pause after a failure that followed `attempts` earlier ones: twice as long each time, up to the maximum. */
export function backOff({ firstMs, maxMs }: BackOff, attempts: number): number {
  return Math.min(maxMs, firstMs * 2 ** attempts);
}

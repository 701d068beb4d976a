/** A station with one queue: calls come at random (a Poisson process) to so many workers that are alike. */
export interface Station {
  readonly callsPerSecond: number;
  /** Mean time of one call on a worker. */
  readonly serviceMs: number;
  readonly workers: number;
  /** Whether each call takes the same time (M/D/c) or times are spread exponentially (M/M/c). */
  readonly service: 'fixed' | 'exponential';
}

export interface StationReport {
  /** λS/c; at 1 and more the queue grows without end, and there are no times. */
  readonly utilisation: number;
  readonly isOverloaded: boolean;
  /** Share of the calls that wait: Erlang's C. */
  readonly waitShare: number;
  readonly meanWaitMs: number;
  /** Waiting and served. */
  readonly meanMs: number;
  /** Calls that wait or are served, by Little's law L = λW. */
  readonly inFlight: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * What queueing theory says of a station.
 * @remarks M/M/c is exact (Kleinrock, "Queueing Systems", volume 1, 1975, section 3.5). The mean wait of M/D/c is the approximation of Cosmetatos ("Some
 * approximate equilibrium results for the multi-server queue M/G/r", 1976), exact for one worker; its percentiles take an exponential tail of that mean.
 */
export function describeStation({ callsPerSecond, serviceMs, workers, service }: Station): StationReport {
  const load = (callsPerSecond * serviceMs) / 1000;
  const utilisation = load / workers;
  if (utilisation >= 1) {
    const never = Number.POSITIVE_INFINITY;
    return { utilisation, isOverloaded: true, waitShare: 1, meanWaitMs: never, meanMs: never, inFlight: never, p50Ms: never, p99Ms: never };
  }
  const waitShare = erlangC(load, workers);
  const exponentialWaitMs = (waitShare * serviceMs) / (workers - load);
  const meanWaitMs = service === 'exponential' ? exponentialWaitMs : exponentialWaitMs * fixedFactor(utilisation, workers);
  const meanMs = meanWaitMs + serviceMs;
  const quantile = (share: number) =>
    service === 'exponential'
      ? exponentialQuantile(share, { waitShare, serviceMs, spare: workers - load })
      : serviceMs + waitQuantile(share, waitShare, meanWaitMs);
  return {
    utilisation,
    isOverloaded: false,
    waitShare,
    meanWaitMs,
    meanMs,
    inFlight: (callsPerSecond * meanMs) / 1000,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
  };
}

/** Share of the calls that find all workers busy and wait, by the recursion of Erlang's B. */
export function erlangC(load: number, workers: number): number {
  let blocked = 1;
  for (let count = 1; count <= workers; count++) blocked = (load * blocked) / (count + load * blocked);
  return blocked / (1 - (load / workers) * (1 - blocked));
}

/** Mean wait of M/D/c by that of M/M/c. */
function fixedFactor(utilisation: number, workers: number): number {
  if (utilisation === 0) return 0.5;
  return 0.5 * (1 + ((1 - utilisation) * (workers - 1) * (Math.sqrt(4 + 5 * workers) - 2)) / (16 * utilisation * workers));
}

function waitQuantile(share: number, waitShare: number, meanWaitMs: number): number {
  return 1 - share >= waitShare ? 0 : (meanWaitMs / waitShare) * Math.log(waitShare / (1 - share));
}

/** Of waiting and service together, found by halving: the sum of both has no inverse in closed form. */
function exponentialQuantile(
  share: number,
  { waitShare, serviceMs, spare }: { readonly waitShare: number; readonly serviceMs: number; readonly spare: number },
): number {
  const later = (ms: number) => {
    const served = Math.exp(-ms / serviceMs);
    const waited =
      Math.abs(spare - 1) < 1e-9 ? (1 + ms / serviceMs) * served : (spare * served - Math.exp((-ms * spare) / serviceMs)) / (spare - 1);
    return (1 - waitShare) * served + waitShare * waited;
  };
  let low = 0;
  let high = serviceMs;
  while (later(high) > 1 - share) high *= 2;
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (later(middle) > 1 - share) low = middle;
    else high = middle;
  }
  return high;
}

import { NearfarError, type NearfarErrorCode, type Pin, type ServerPolicy } from '../../core/index.ts';

/** Time and chance as arguments. */
export interface BalanceSources {
  /** Milliseconds since some fixed moment, never going back. */
  now(): number;
  /** A number in [0, 1). */
  random(): number;
}

/** One question to one server, from its begin to its end, which is told once. */
export interface Visit {
  succeeded(): void;
  /** @param retryAfterMs The server's own word on when it may be asked again. */
  failed(error: NearfarError, retryAfterMs?: number): void;
  /** It ended without saying anything about the server: the caller gave up. */
  abandoned(): void;
}

/** What is known about the servers from the calls so far, and who is asked next. */
export interface Balance {
  /** The servers in the order in which they are asked for this version: those that rest or were put out come last. */
  order(servers: readonly string[], pin: Pin, policy: ServerPolicy | undefined): readonly string[];
  /** Why a server must not be asked now: it named a time before which it does not want to be. */
  rest(server: string): NearfarError | undefined;
  begin(server: string, pin: Pin): Visit;
  /** Counts a call, which earns a share of a retry. */
  countCall(): void;
  /** Takes one retry from the budget; false when it is spent. */
  takeRetry(): boolean;
}

/** Failures in a row that put a server out. */
const failureThreshold = 3;
/** How long it is out the first time; twice as long each time after that, up to the longest. */
const firstOutMs = 5_000;
const longestOutMs = 300_000;
/** Retries that each call earns, and that time does: a share of the calls, and some for applications that call seldom. */
const retriesPerCall = 0.2;
const retriesPerMs = 1 / 10_000;
const mostRetries = 10;
/** A server cannot keep its clients away for longer than this. */
const longestRestMs = 60_000;

/** What says something about the server itself, rather than about the call. */
const serverFailures: ReadonlySet<NearfarErrorCode> = new Set(['network', 'unavailable', 'overloaded', 'internal', 'deadline-exceeded']);
/** What says that a server does not have the version: it may come to have it. */
const versionFailures: ReadonlySet<NearfarErrorCode> = new Set(['not-found', 'version-mismatch']);

interface Health {
  failures: number;
  /** Times it was put out since it last answered. */
  outs: number;
  /** Until then it is out; after that one trial decides. */
  outUntil: number | undefined;
  isTrialRunning: boolean;
}

/**
 * Outlier ejection as Envoy has it, a retry budget as Finagle has it, and the power of two choices (Mitzenmacher, 2001). Pure but for the
 * counts it keeps.
 */
export function createBalance({ now, random }: BalanceSources): Balance {
  /** By server, and by server and digest for what concerns one version alone. */
  const healths = new Map<string, Health>();
  const inFlight = new Map<string, number>();
  const rests = new Map<string, { until: number; code: NearfarErrorCode }>();
  let turn = 0;
  let retries = mostRetries;
  let refilledAt = now();

  const healthOf = (key: string): Health => {
    const health = healths.get(key) ?? { failures: 0, outs: 0, outUntil: undefined, isTrialRunning: false };
    healths.set(key, health);
    return health;
  };
  const healthsOf = (server: string, { digest }: Pin) => ({ own: healthOf(server), version: healthOf(`${server} ${digest}`) });
  const fail = (health: Health, threshold: number) => {
    health.failures += 1;
    health.isTrialRunning = false;
    const isOut = health.outUntil !== undefined && health.outUntil > now();
    // One asked as the last resort while it is out does not put off its trial.
    if (health.failures < threshold || isOut) return;
    health.outUntil = now() + Math.min(longestOutMs, firstOutMs * 2 ** health.outs);
    health.outs += 1;
  };
  const heal = (health: Health) => Object.assign(health, { failures: 0, outs: 0, outUntil: undefined, isTrialRunning: false });
  const restOf = (server: string) => {
    const rest = rests.get(server);
    return rest && rest.until > now() ? rest : undefined;
  };
  const stateOf = (server: string, pin: Pin): 'well' | 'trial' | 'out' => {
    if (restOf(server)) return 'out';
    const { own, version } = healthsOf(server, pin);
    const troubled = [own, version].filter(({ outUntil }) => outUntil !== undefined);
    if (troubled.length === 0) return 'well';
    const isDue = troubled.every(({ outUntil = 0, isTrialRunning }) => outUntil <= now() && !isTrialRunning);
    return isDue ? 'trial' : 'out';
  };
  const load = (server: string) => inFlight.get(server) ?? 0;
  const byLoad = (servers: readonly string[]) => [...servers].sort((a, b) => load(a) - load(b));
  const pick = <T>(from: readonly T[]): T | undefined => from[Math.floor(random() * from.length)];
  const inPolicyOrder = (servers: readonly string[], policy: ServerPolicy): readonly string[] => {
    if (policy === 'in-order' || servers.length < 2) return servers;
    if (policy === 'round-robin') {
      const start = turn++ % servers.length;
      return [...servers.slice(start), ...servers.slice(0, start)];
    }
    const one = pick(servers);
    const other = pick(servers.filter((server) => server !== one));
    const [first] = byLoad([one, other].filter((server) => server !== undefined));
    return [...(first === undefined ? [] : [first]), ...byLoad(servers.filter((server) => server !== first))];
  };
  const refill = (earned: number) => {
    retries = Math.min(mostRetries, retries + earned + (now() - refilledAt) * retriesPerMs);
    refilledAt = now();
  };

  return {
    order(servers, pin, policy = 'least-in-flight') {
      const states = new Map(servers.map((server) => [server, stateOf(server, pin)]));
      const those = (state: 'well' | 'trial' | 'out') => servers.filter((server) => states.get(server) === state);
      const [trial, ...waiting] = those('trial');
      // One trial at a time: it has a retry behind it, and whoever waits is asked before those that are out.
      return [...(trial === undefined ? [] : [trial]), ...inPolicyOrder(those('well'), policy), ...waiting, ...byLoad(those('out'))];
    },
    rest(server) {
      const rest = restOf(server);
      if (!rest) return undefined;
      const retryAfterMs = Math.ceil(rest.until - now());
      return new NearfarError(rest.code, `${server} asked for ${retryAfterMs} ms without a request of ours`, {
        details: { server, retryAfterMs },
      });
    },
    begin(server, pin) {
      const { own, version } = healthsOf(server, pin);
      for (const health of [own, version]) if (health.outUntil !== undefined && health.outUntil <= now()) health.isTrialRunning = true;
      inFlight.set(server, load(server) + 1);
      const end = () => inFlight.set(server, load(server) - 1);
      const abandon = (health: Health) => {
        health.isTrialRunning = false;
      };
      return {
        succeeded() {
          end();
          heal(own);
          heal(version);
          rests.delete(server);
        },
        failed(error, retryAfterMs) {
          end();
          if (retryAfterMs !== undefined) {
            rests.set(server, { until: now() + Math.min(longestRestMs, retryAfterMs), code: error.code });
          }
          if (versionFailures.has(error.code)) {
            fail(version, 1);
            heal(own);
          } else if (serverFailures.has(error.code)) {
            fail(own, failureThreshold);
            abandon(version);
          } else {
            // It answered, if only to refuse: the server is well.
            heal(own);
            abandon(version);
          }
        },
        abandoned() {
          end();
          abandon(own);
          abandon(version);
        },
      };
    },
    countCall: () => refill(retriesPerCall),
    takeRetry() {
      refill(0);
      if (retries < 1) return false;
      retries -= 1;
      return true;
    },
  };
}

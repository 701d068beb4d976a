import type { NearfarErrorCode } from '../../core/index.ts';
import type { RequestObserver, RequestRecord } from '../request-record.ts';
import type { ServingMetrics } from '../servables/index.ts';
import { isServerFault } from './charts.ts';

/** A request that failed by the server's fault, or a version that could not be loaded. Nothing of what was sent is in it. */
export interface Failure {
  /** Grows with each failure. */
  readonly id: number;
  /** When it was seen first, and last: ISO 8601, in UTC. */
  readonly time: string;
  readonly lastTime: string;
  /** How often it was seen in between. */
  readonly count: number;
  readonly kind: 'request' | 'load';
  readonly model: string;
  readonly version?: string | undefined;
  readonly signature?: string | undefined;
  readonly api?: string | undefined;
  readonly code: NearfarErrorCode | 'load-failed';
  readonly message: string;
  /** Of the request that was seen last, where its client sent one (W3C Trace Context). */
  readonly traceId?: string | undefined;
}

export interface FailuresQuery {
  /** Of this model alone. */
  readonly model?: string | undefined;
  /** Older than the failure with this id. */
  readonly before?: number | undefined;
  /** At most so many. @default 100 */
  readonly limit?: number | undefined;
}

const mostFailures = 1_000;
/** A failure that repeats itself is one with a count, as long as it is among so many. */
const mostRecent = 50;

/** The latest failures, newest first by when they were seen first. They end with the process. */
export class Failures implements RequestObserver {
  readonly #now: () => number;
  readonly #failures: Failure[] = [];
  readonly #listeners = new Set<(failure: Failure) => void>();
  #lastId = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  recordRequest({ model, errorCode, errorMessage = '', api, servable, header }: RequestRecord): void {
    if (errorCode === undefined || !isServerFault(errorCode)) return;
    const traceId = /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(header?.('traceparent') ?? '')?.[1];
    const { version, signature } = servable ?? {};
    this.#add({ kind: 'request', model, version, signature, api, code: errorCode, message: errorMessage, traceId });
  }

  /** Sees the loads that fail, too. */
  watchingLoads(metrics: ServingMetrics): ServingMetrics {
    return {
      ...metrics,
      recordLoad: (load) => {
        metrics.recordLoad(load);
        const { model, version, outcome, message = '' } = load;
        if (outcome === 'failed') this.#add({ kind: 'load', model, version, code: 'load-failed', message });
      },
    };
  }

  list({ model, before = Number.POSITIVE_INFINITY, limit = 100 }: FailuresQuery = {}): readonly Failure[] {
    return this.#failures.filter((failure) => (model === undefined || failure.model === model) && failure.id < before).slice(0, limit);
  }

  /** Calls back with each failure, and again when it repeats itself; disposing what it returns stops that. */
  watch(listener: (failure: Failure) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  #add(seen: Omit<Failure, 'id' | 'time' | 'lastTime' | 'count'>): void {
    const now = new Date(this.#now()).toISOString();
    const at = this.#failures.slice(0, mostRecent).findIndex((failure) => isAlike(failure, seen));
    const known = this.#failures[at];
    const failure: Failure = known
      ? { ...known, ...seen, lastTime: now, count: known.count + 1 }
      : { ...seen, id: ++this.#lastId, time: now, lastTime: now, count: 1 };
    if (known) this.#failures[at] = failure;
    else this.#failures.unshift(failure);
    this.#failures.length = Math.min(this.#failures.length, mostFailures);
    for (const listener of this.#listeners) listener(failure);
  }
}

function isAlike(a: Omit<Failure, 'id' | 'time' | 'lastTime' | 'count'>, b: typeof a): boolean {
  return (['kind', 'model', 'version', 'signature', 'api', 'code', 'message'] as const).every((field) => a[field] === b[field]);
}

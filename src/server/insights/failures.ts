import type { NearfarErrorCode } from '../../core/index.ts';
import type { RequestObserver, RequestRecord } from '../request-record.ts';
import type { ServingMetrics } from '../servables/index.ts';
import { isServerFault } from './charts.ts';

/**
 * A request that failed by the server's fault, a version that could not be loaded, or a request that was refused for what it asked. Nothing of
 * what was sent is in it.
 */
export interface Failure {
  /** Grows with each failure, also over restarts. */
  readonly id: number;
  /** When it was seen first, and last: ISO 8601, in UTC. */
  readonly time: string;
  readonly lastTime: string;
  /** How often it was seen in between. */
  readonly count: number;
  readonly kind: 'request' | 'load' | 'refused';
  readonly model: string;
  readonly version?: string | undefined;
  readonly signature?: string | undefined;
  readonly api?: string | undefined;
  readonly code: NearfarErrorCode | 'load-failed';
  /** Empty where it may quote what was sent. */
  readonly message: string;
  /** Of the request that was seen last, where its client sent one (W3C Trace Context). */
  readonly traceId?: string | undefined;
}

export interface FailuresQuery {
  /** Of this model alone. */
  readonly model?: string | undefined;
  /** @default those of the server: `request` and `load` */
  readonly kind?: Failure['kind'] | undefined;
  /** Older than the failure with this id. */
  readonly before?: number | undefined;
  /** At most so many. @default 100 */
  readonly limit?: number | undefined;
}

const mostFailures = 1_000;
const mostMessageChars = 1_000;
const mostNameChars = 255;

/** Texts that may name values of a request. */
const quotingCodes: ReadonlySet<NearfarErrorCode> = new Set(['invalid-argument', 'dtype-mismatch']);

/** A failure that repeats itself is one with a count, as long as it is among so many. */
const mostRecent = 50;

/** The latest failures, newest first by when they were seen first. They end with the process. */
export class Failures implements RequestObserver {
  readonly #now: () => number;
  readonly #failures: Failure[] = [];
  /** Apart: what clients do wrong pushes out nothing of the server's. */
  readonly #refused: Failure[] = [];
  readonly #listeners = new Set<(failure: Failure) => void>();
  #lastId: number;

  constructor(now: () => number) {
    this.#now = now;
    this.#lastId = now();
  }

  recordRequest({ model, errorCode, errorMessage = '', api, servable, header }: RequestRecord): void {
    if (errorCode === undefined || errorCode === 'cancelled') return;
    const traceId = /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(header?.('traceparent') ?? '')?.[1];
    const { version, signature } = servable ?? {};
    const seen = { version, signature, api, code: errorCode, traceId };
    if (isServerFault(errorCode)) {
      const failure = this.#add(this.#failures, { kind: 'request', model, message: errorMessage, ...seen });
      for (const listener of this.#listeners) listener(failure);
    } else {
      const message = quotingCodes.has(errorCode) ? '' : errorMessage;
      // A client may ask for any name.
      this.#add(this.#refused, { kind: 'refused', model: model.slice(0, mostNameChars), message, ...seen });
    }
  }

  /** Sees the loads that fail, too. */
  watchingLoads(metrics: ServingMetrics): ServingMetrics {
    return {
      ...metrics,
      recordLoad: (load) => {
        metrics.recordLoad(load);
        const { model, version, outcome, message = '' } = load;
        if (outcome !== 'failed') return;
        const failure = this.#add(this.#failures, { kind: 'load', model, version, code: 'load-failed', message });
        for (const listener of this.#listeners) listener(failure);
      },
    };
  }

  list({ model, kind, before = Number.POSITIVE_INFINITY, limit = 100 }: FailuresQuery = {}): readonly Failure[] {
    const failures = kind === 'refused' ? this.#refused : this.#failures;
    const isMeant = (failure: Failure) => (model === undefined || failure.model === model) && (kind === undefined || failure.kind === kind);
    return failures.filter((failure) => failure.id < before && isMeant(failure)).slice(0, limit);
  }

  /** Calls back with each failure, and again when it repeats itself; disposing what it returns stops that. */
  watch(listener: (failure: Failure) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  #add(failures: Failure[], { message: whole, ...what }: Omit<Failure, 'id' | 'time' | 'lastTime' | 'count'>): Failure {
    const seen = { ...what, message: whole.slice(0, mostMessageChars) };
    const now = new Date(this.#now()).toISOString();
    const at = failures.slice(0, mostRecent).findIndex((failure) => isAlike(failure, seen));
    const known = failures[at];
    const failure: Failure = known
      ? { ...known, ...seen, lastTime: now, count: known.count + 1 }
      : { ...seen, id: ++this.#lastId, time: now, lastTime: now, count: 1 };
    if (known) failures[at] = failure;
    else failures.unshift(failure);
    failures.length = Math.min(failures.length, mostFailures);
    return failure;
  }
}

function isAlike(a: Omit<Failure, 'id' | 'time' | 'lastTime' | 'count'>, b: typeof a): boolean {
  return (['kind', 'model', 'version', 'signature', 'api', 'code', 'message'] as const).every((field) => a[field] === b[field]);
}

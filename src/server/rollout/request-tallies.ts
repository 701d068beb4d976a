import { isServerFault } from '../insights/index.ts';
import type { RequestObserver, RequestRecord } from '../request-record.ts';

/** What became of the requests to one version. */
export interface Tally {
  readonly requests: number;
  /** That failed by the server's fault. */
  readonly errors: number;
  /** Milliseconds, to within a twentieth; undefined before there is one. */
  readonly p99Ms: number | undefined;
}

/** Each bound is a twentieth above the one before, from a thousandth of a millisecond to some 20 minutes. */
const growth = 1.05;
const leastMs = 0.001;
const bounds = 430;

const mostModels = 1_000;
const mostVersions = 64;

class Counts {
  requests = 0;
  errors = 0;
  readonly #durations = new Uint32Array(bounds);

  add(durationMs: number, isError: boolean): void {
    this.requests++;
    if (isError) this.errors++;
    const bound = Math.ceil(Math.log(Math.max(durationMs, leastMs) / leastMs) / Math.log(growth));
    this.#durations[Math.min(bound, bounds - 1)]!++;
  }

  read(): Tally {
    let left = Math.ceil(this.requests * 0.99);
    const bound = this.#durations.findIndex((counted) => {
      left -= counted;
      return left <= 0;
    });
    const p99Ms = this.requests === 0 ? undefined : leastMs * growth ** bound;
    return { requests: this.requests, errors: this.errors, p99Ms };
  }
}

/** Counts the predictions of each version of a model, since it was begun anew. */
export class RequestTallies implements RequestObserver {
  readonly #models = new Map<string, Map<string, Counts>>();

  recordRequest({ kind, model, errorCode, durationMs, servable }: RequestRecord): void {
    if (kind !== 'prediction' || !servable) return;
    const versions = this.#models.get(model) ?? new Map<string, Counts>();
    if (versions.size === 0 && this.#models.size >= mostModels) return;
    this.#models.set(model, versions);
    let counts = versions.get(servable.version);
    if (!counts) {
      const [oldest] = versions.keys();
      if (versions.size >= mostVersions && oldest !== undefined) versions.delete(oldest);
      counts = new Counts();
      versions.set(servable.version, counts);
    }
    counts.add(durationMs, errorCode !== undefined && isServerFault(errorCode));
  }

  of(model: string, version: string): Tally {
    return (this.#models.get(model)?.get(version) ?? new Counts()).read();
  }

  /** From here on it is counted anew. */
  begin(model: string): void {
    this.#models.delete(model);
  }
}

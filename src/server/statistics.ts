import type { RequestObserver, RequestRecord, Timing } from './request-record.ts';

/** How often something happened, and how long that took together. */
export interface DurationStatistic {
  readonly count: number;
  readonly ms: number;
}

/** The counters of Triton's statistics extension, of one version since the server has it. */
export interface VersionStatistics {
  /** Milliseconds since the epoch; 0 for never. */
  readonly lastInferenceAt: number;
  /** Rows that were answered by the engine. */
  readonly inferenceCount: number;
  /** Runs of the engine; a batch of several requests is one. */
  readonly executionCount: number;
  readonly success: DurationStatistic;
  readonly fail: DurationStatistic;
  readonly queue: DurationStatistic;
  readonly computeInput: DurationStatistic;
  readonly computeInfer: DurationStatistic;
  readonly computeOutput: DurationStatistic;
  readonly cacheHit: DurationStatistic;
  readonly cacheMiss: DurationStatistic;
  /** By the rows that ran together, fewest first. */
  readonly batches: readonly BatchStatistics[];
}

export interface BatchStatistics {
  readonly size: number;
  readonly computeInput: DurationStatistic;
  readonly computeInfer: DurationStatistic;
  readonly computeOutput: DurationStatistic;
}

/** Versions of a model that are remembered: each new one would stay for ever. */
const maxVersions = 64;

/** Counts the predictions of each version. */
export class InferenceStatistics implements RequestObserver {
  readonly #models = new Map<string, Map<string, Counters>>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  recordRequest({ kind, model, status, durationMs, servable }: RequestRecord): void {
    // What could not be read was never a request to the version.
    if (kind !== 'prediction' || servable?.signature === undefined) return;
    this.#countersOf(model, servable.version).add({
      isOk: status === 'OK',
      durationMs,
      rows: servable.rows ?? 1,
      timing: servable.timing,
      at: this.#now(),
    });
  }

  of(model: string, version: string): VersionStatistics {
    return (this.#models.get(model)?.get(version) ?? new Counters()).read();
  }

  #countersOf(model: string, version: string): Counters {
    const versions = this.#models.get(model) ?? new Map<string, Counters>();
    this.#models.set(model, versions);
    const known = versions.get(version);
    if (known) return known;
    const [oldest] = versions.keys();
    if (versions.size >= maxVersions && oldest !== undefined) versions.delete(oldest);
    const counters = new Counters();
    versions.set(version, counters);
    return counters;
  }
}

class Duration {
  count = 0;
  ms = 0;

  /** @param share Of one occurrence, where several requests have it in common. */
  add(ms: number, share = 1): void {
    this.count += share;
    this.ms += ms * share;
  }

  read(): DurationStatistic {
    // Shares of one run add up to it but for the last bits.
    return { count: Math.round(this.count), ms: this.ms };
  }
}

class Counters {
  #lastInferenceAt = 0;
  #inferenceCount = 0;
  readonly #runs = new Duration();
  readonly #success = new Duration();
  readonly #fail = new Duration();
  readonly #queue = new Duration();
  readonly #computeInput = new Duration();
  readonly #computeInfer = new Duration();
  readonly #computeOutput = new Duration();
  readonly #cacheHit = new Duration();
  readonly #cacheMiss = new Duration();
  readonly #batches = new Map<
    number,
    { readonly computeInput: Duration; readonly computeInfer: Duration; readonly computeOutput: Duration }
  >();

  add(request: {
    readonly isOk: boolean;
    readonly durationMs: number;
    readonly rows: number;
    readonly timing: Timing | undefined;
    readonly at: number;
  }): void {
    const { isOk, durationMs, rows, timing, at } = request;
    this.#lastInferenceAt = at;
    (isOk ? this.#success : this.#fail).add(durationMs);
    if (!timing) return;
    const { queueMs, preprocessMs, inferMs, postprocessMs, cache, batchSize = rows } = timing;
    this.#queue.add(queueMs);
    const lookupMs = Math.max(0, durationMs - preprocessMs - queueMs - inferMs - postprocessMs);
    if (cache === 'miss') this.#cacheMiss.add(lookupMs);
    if (cache === 'hit' || cache === 'joined') {
      this.#cacheHit.add(lookupMs);
      return;
    }
    this.#inferenceCount += rows;
    this.#computeInput.add(preprocessMs);
    this.#computeInfer.add(inferMs);
    this.#computeOutput.add(postprocessMs);
    const share = batchSize > rows ? rows / batchSize : 1;
    this.#runs.add(0, share);
    const batch = this.#batches.get(batchSize) ?? {
      computeInput: new Duration(),
      computeInfer: new Duration(),
      computeOutput: new Duration(),
    };
    this.#batches.set(batchSize, batch);
    batch.computeInput.add(preprocessMs, share);
    batch.computeInfer.add(inferMs, share);
    batch.computeOutput.add(postprocessMs, share);
  }

  read(): VersionStatistics {
    return {
      lastInferenceAt: this.#lastInferenceAt,
      inferenceCount: this.#inferenceCount,
      executionCount: this.#runs.read().count,
      success: this.#success.read(),
      fail: this.#fail.read(),
      queue: this.#queue.read(),
      computeInput: this.#computeInput.read(),
      computeInfer: this.#computeInfer.read(),
      computeOutput: this.#computeOutput.read(),
      cacheHit: this.#cacheHit.read(),
      cacheMiss: this.#cacheMiss.read(),
      batches: [...this.#batches]
        .sort(([a], [b]) => a - b)
        .map(([size, { computeInput, computeInfer, computeOutput }]) => ({
          size,
          computeInput: computeInput.read(),
          computeInfer: computeInfer.read(),
          computeOutput: computeOutput.read(),
        })),
    };
  }
}

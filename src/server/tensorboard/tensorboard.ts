import { join } from 'node:path';
import { type ChartPoint, Charts } from '../insights/index.ts';
import type { Logger } from '../log.ts';
import type { Quality } from '../quality/index.ts';
import type { RequestObserver, RequestRecord } from '../request-record.ts';
import { EventFile } from './event-file.ts';

export interface TensorBoardOptions {
  readonly directory: string;
  readonly intervalMs: number;
  /** Size of one file, in bytes. @default 16_777_216 (16 MiB) */
  readonly maxFileBytes?: number | undefined;
  /** Called at the end of each interval. */
  readonly sample: () => Pick<ChartPoint, 'inFlight' | 'memoryBytes'>;
  readonly quality: Pick<Quality, 'drift' | 'feedback'>;
  readonly log: Pick<Logger, 'error'>;
  /** Milliseconds since 1970. @default Date.now */
  readonly now?: (() => number) | undefined;
}

/** Writes what the server measures as event files of TensorBoard: a run for the server, and one for each version that is asked. */
export class TensorBoard implements RequestObserver, AsyncDisposable {
  readonly #options: TensorBoardOptions;
  readonly #charts: Charts;
  readonly #files = new Map<string, EventFile>();
  #writing: Promise<void> = Promise.resolve();
  #lastAt: number;
  #hasFailed = false;
  #isClosed = false;

  constructor(options: TensorBoardOptions) {
    const { intervalMs: stepMs, sample, now = Date.now } = options;
    this.#options = options;
    this.#lastAt = now();
    this.#charts = new Charts({ sample, now, stepMs });
    this.#charts.watch(() => this.#write(now()));
    this.#charts.start();
  }

  recordRequest(record: RequestRecord): void {
    this.#charts.recordRequest(record);
  }

  /** Ends an interval now. */
  endInterval(): void {
    this.#charts.endStep();
  }

  /** Writes what was measured since the last interval, too. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isClosed) this.endInterval();
    this.#isClosed = true;
    this.#charts[Symbol.dispose]();
    await this.#writing;
  }

  #write(at: number): void {
    const seconds = Math.max(1, at - this.#lastAt) / 1000;
    this.#lastAt = at;
    // Goes on counting where the server before this one ended.
    const step = Math.floor(at / this.#options.intervalMs);
    const runs = this.#charts.newest().flatMap(({ model, version, point }) => {
      if (model === undefined) return [{ run: 'server', scalars: scalarsOf(point, seconds, true) }];
      if (version === undefined) return [];
      return [{ run: join('models', model, version), scalars: { ...scalarsOf(point, seconds), ...this.#qualityOf(model, version) } }];
    });
    this.#writing = this.#writing.then(() => this.#append(runs, at, step));
  }

  async #append(
    runs: readonly { readonly run: string; readonly scalars: Record<string, number> }[],
    at: number,
    step: number,
  ): Promise<void> {
    const { directory, maxFileBytes, log } = this.#options;
    const known = new Set(runs.map(({ run }) => run));
    // A version that is gone, or is not asked for an hour, begins a new file if it comes again.
    for (const run of this.#files.keys()) if (!known.has(run)) this.#files.delete(run);
    try {
      for (const { run, scalars } of runs) {
        const file = this.#files.get(run) ?? new EventFile(join(directory, run), maxFileBytes);
        this.#files.set(run, file);
        await file.append({ at, step, scalars });
      }
      this.#hasFailed = false;
    } catch (error) {
      // Once for each time that it begins to fail.
      if (!this.#hasFailed) log.error({ err: error, directory }, 'event files of TensorBoard cannot be written');
      this.#hasFailed = true;
    }
  }

  #qualityOf(model: string, version: string): Record<string, number> {
    const { drift, feedback } = this.#options.quality;
    const distances = drift
      .report(model, version)
      .flatMap(({ signature, output, distances: all }) =>
        all.map(({ of, measure, value }) => [`drift/${signature}/${output}/${of}_${measure}`, value] as const),
      );
    const told = feedback
      .report(model)
      .filter((report) => report.version === version)
      .flatMap((report): [string, number][] => {
        const name = (what: string) => `feedback/${report.signature}/${report.output}/${what}`;
        return report.kind === 'classes'
          ? [
              [name('accuracy'), report.accuracy],
              [name('mean_confidence'), report.meanConfidence],
              [name('calibration_error'), report.calibrationError],
            ]
          : [
              [name('mean_absolute_error'), report.meanAbsoluteError],
              [name('root_mean_square_error'), report.rootMeanSquareError],
            ];
      });
    return Object.fromEntries([...distances, ...told]);
  }
}

function scalarsOf(point: ChartPoint, seconds: number, isServer = false): Record<string, number> {
  return known({
    'requests/per_second': point.requests / seconds,
    'requests/errors_per_second': point.errors / seconds,
    'requests/refused_per_second': point.refused / seconds,
    'latency/p50_ms': point.latencyP50Ms,
    'latency/p99_ms': point.latencyP99Ms,
    'latency/queue_ms': point.queueMs,
    'batch/mean_size': point.batchSize,
    'server/in_flight': isServer ? point.inFlight : null,
    'server/memory_bytes': isServer ? point.memoryBytes : null,
  });
}

/** Nothing is drawn where nothing was measured. */
function known(values: Readonly<Record<string, number | null>>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).flatMap(([name, value]) => (value === null ? [] : [[name, value] as const])));
}

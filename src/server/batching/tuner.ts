/** A run of the engine, as the tuner sees it. */
export interface TunedRun {
  readonly rows: number;
  readonly inferMs: number;
}

export interface TuningReport {
  /** Whether it still measures, batches, or found that batching does not pay. */
  readonly state: 'measuring' | 'batching' | 'off';
  readonly p99TargetMs: number;
  readonly maxBatchSize: number;
  readonly batchTimeoutMicros: number;
  /** Median time of the engine for one row, in milliseconds, by rows of the run: 1, then from 2, from 4, from 8 and so on. */
  readonly msPerRow: Readonly<Record<number, number>>;
  /** Why, in words. */
  readonly reason: string;
}

export interface TunerOptions {
  /** 99th percentile of the time in the queue and on the engine that is aimed at, in milliseconds. */
  readonly p99TargetMs: number;
  /** In milliseconds. */
  readonly now: () => number;
  /** Called whenever it chose. */
  readonly onChoice: (report: TuningReport) => void;
}

/** 256 rows: what a larger batch still saves is below what can be measured. */
const maxLevel = 8;

/** Measured before it is given up, whatever smaller batches gave: 8 rows. */
const leastLevel = 3;

/** Runs that are measured of each size; the first one may also compile or allocate. */
const samplesPerLevel = 7;

/** A row must take at most this part of its time alone; else batching is off: what it saves is noise. */
const worthwhile = 0.9;

/** Twice the rows must save this much of a row's time to be tried, or chosen. */
const better = 0.95;

/** The machine may be busy while it is measured: a choice holds for five minutes. */
const choiceMs = 5 * 60_000;

/** A request waits for at most the two runs in flight, then for its own. */
const runsPerRequest = 3;

/**
 * Finds for one signature whether batching pays and how large batches may be, from the runs of real requests: it doubles the limit from
 * one row on, for as long as a row becomes cheaper and the batch fits the target.
 * @remarks Batches never wait: a request that finds the engine idle runs at once, and while the engine is busy the next batch fills by
 * itself. A timeout could make batches larger, but every row would pay for it, while the engine idles.
 */
export class Tuner {
  readonly #options: TunerOptions;
  /** Milliseconds per row by the binary logarithm of the rows. */
  readonly #samples = new Map<number, number[]>();
  /** The limit is two to the power of this. */
  #level = 0;
  #choice: { readonly at: number; readonly isOn: boolean; readonly reason: string } | undefined;

  constructor(options: TunerOptions) {
    this.#options = options;
  }

  /** Most rows of a batch now; 1: requests run alone. */
  get maxBatchSize(): number {
    return 2 ** this.#level;
  }

  record({ rows, inferMs }: TunedRun): void {
    if (rows < 1) return;
    if (this.#choice) {
      if (this.#options.now() - this.#choice.at >= choiceMs) this.#restart();
      return;
    }
    const level = Math.floor(Math.log2(rows));
    const samples = [...(this.#samples.get(level) ?? []), inferMs / rows];
    this.#samples.set(level, samples);
    if (level === this.#level && samples.length >= samplesPerLevel) this.#advance();
  }

  #restart(): void {
    this.#samples.clear();
    this.#level = 0;
    this.#choice = undefined;
  }

  #advance(): void {
    const level = this.#level;
    const isStillGood = level < leastLevel || this.#msPerRow(level) <= better * this.#msPerRow(level - 1);
    if (level < maxLevel && isStillGood && this.#fits(level + 1, this.#msPerRow(level))) {
      this.#level++;
      return;
    }
    this.#choose();
  }

  /** Whether the target holds when requests wait for runs of this size. */
  #fits(level: number, msPerRow: number): boolean {
    return runsPerRequest * msPerRow * 2 ** level <= this.#options.p99TargetMs;
  }

  /** The smallest size that is about as good as the best one. */
  #choose(): void {
    const { now, onChoice } = this.#options;
    const levels = Array.from({ length: this.#level + 1 }, (_, level) => level);
    const fitting = levels.filter((level) => level === 0 || this.#fits(level, this.#msPerRow(level)));
    const least = Math.min(...fitting.map((level) => this.#msPerRow(level)));
    const best = fitting.find((level) => this.#msPerRow(level) * better <= least) ?? 0;
    const saved = this.#msPerRow(best) / this.#msPerRow(0);
    const isOn = best > 0 && saved <= worthwhile;
    this.#level = isOn ? best : 0;
    const reason = isOn
      ? `a row of ${2 ** best} takes ${percent(saved)} of its time alone`
      : fitting.length === 1
        ? `no batch keeps to the target of ${this.#options.p99TargetMs} ms`
        : `a row takes ${percent(least / this.#msPerRow(0))} of its time alone in the best batch`;
    this.#choice = { at: now(), isOn, reason };
    onChoice(this.report());
  }

  #msPerRow(level: number): number {
    const [, ...samples] = this.#samples.get(level) ?? [];
    const sorted = samples.sort((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? Number.POSITIVE_INFINITY;
  }

  report(): TuningReport {
    const measured = [...this.#samples].flatMap(([level, samples]) =>
      samples.length > 1 ? [[2 ** level, this.#msPerRow(level)] as const] : [],
    );
    return {
      state: this.#choice ? (this.#choice.isOn ? 'batching' : 'off') : 'measuring',
      p99TargetMs: this.#options.p99TargetMs,
      maxBatchSize: this.maxBatchSize,
      batchTimeoutMicros: 0,
      msPerRow: Object.fromEntries(measured),
      reason: this.#choice?.reason ?? `batches of up to ${this.maxBatchSize} rows are measured`,
    };
  }
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`;
}

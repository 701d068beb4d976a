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
  /** Least time of the engine for one row, in milliseconds, by rows of the run: 1, then from 2, from 4, from 8 and so on. */
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
const samplesPerLevel = 9;

/** So many runs, none of them large enough to measure a size: there are not as many requests at a time, and what is known must do. */
const runsPerLevel = 30;

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
  /** Since the limit was set. */
  #runs = 0;
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
    this.#runs++;
    if (level === this.#level && samples.length >= samplesPerLevel) this.#advance();
    // A small limit stays until there is load to measure it with.
    else if (this.#level > leastLevel && this.#runs >= runsPerLevel) this.#choose();
  }

  #restart(): void {
    this.#samples.clear();
    this.#level = 0;
    this.#runs = 0;
    this.#choice = undefined;
  }

  #advance(): void {
    const level = this.#level;
    const isStillGood = level < leastLevel || this.#msPerRow(level) <= better * this.#msPerRow(level - 1);
    if (level < maxLevel && isStillGood && this.#fits(level + 1, level)) {
      this.#level++;
      this.#runs = 0;
      return;
    }
    this.#choose();
  }

  /** Whether the target holds when requests wait for runs of this size, whose rows take the usual time of a measured size. */
  #fits(level: number, measured: number): boolean {
    const samples = this.#measured(measured);
    const usual = samples[samples.length >> 1] ?? Number.POSITIVE_INFINITY;
    return runsPerRequest * usual * 2 ** level <= this.#options.p99TargetMs;
  }

  /** The smallest size that is about as good as the best one. */
  #choose(): void {
    const { now, onChoice } = this.#options;
    const levels = Array.from({ length: this.#level + 1 }, (_, level) => level).filter((level) => this.#measured(level).length > 0);
    const fitting = levels.filter((level) => level === 0 || this.#fits(level, level));
    const least = Math.min(...fitting.map((level) => this.#msPerRow(level)));
    const best = fitting.find((level) => this.#msPerRow(level) * better <= least) ?? 0;
    const saved = this.#msPerRow(best) / this.#msPerRow(0);
    const isOn = best > 0 && saved <= worthwhile;
    this.#level = isOn ? best : 0;
    const reason =
      best > 0
        ? `a row of ${2 ** best} takes ${percent(saved)} of its time alone`
        : fitting.length === 1
          ? `no batch keeps to the target of ${this.#options.p99TargetMs} ms`
          : 'no batch makes a row cheaper';
    this.#choice = { at: now(), isOn, reason };
    onChoice(this.report());
  }

  /** The least of the measured times: whatever else the machine does only adds to it. */
  #msPerRow(level: number): number {
    return this.#measured(level)[0] ?? Number.POSITIVE_INFINITY;
  }

  /** Milliseconds per row, sorted, without the first run. */
  #measured(level: number): readonly number[] {
    const [, ...samples] = this.#samples.get(level) ?? [];
    return samples.sort((a, b) => a - b);
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

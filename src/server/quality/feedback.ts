import type { Registry } from 'prom-client';
import * as v from 'valibot';
import { NearfarError } from '../../core/index.ts';
import { SeriesCounter } from '../series.ts';
import type { Answers } from './answers.ts';
import { type Prediction, PredictionIds } from './prediction-id.ts';

export interface FeedbackOptions {
  readonly registry: Registry;
  /** Of the key that ids are signed with; undefined: ids end with the process. */
  readonly keyFile: string | undefined;
  /** How long after its prediction feedback is taken. */
  readonly ttlMs: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(256));

export const feedbackSchema = v.pipe(
  v.strictObject({
    id: v.pipe(v.string(), v.minLength(1)),
    /** Of a prediction of several rows. */
    row: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0)), 0),
    /** The right class, by its name or its number. */
    label: v.optional(v.union([text, v.pipe(v.number(), v.safeInteger(), v.minValue(0))])),
    /** The right number. */
    value: v.optional(v.pipe(v.number(), v.finite())),
  }),
  v.check(({ label, value }) => (label === undefined) !== (value === undefined), 'expected a label or a value'),
);

/** What was right, of one row of one prediction. */
export type FeedbackItem = v.InferOutput<typeof feedbackSchema>;

/** The name of a class, in the form that predictions have it, of what a client sent. */
export type ResolveLabel = (prediction: Prediction, label: string | number) => Promise<string>;

/** How right one output of one version was, as far as it was told. */
export type FeedbackReport = {
  readonly version: string;
  readonly signature: string;
  readonly output: string;
  readonly count: number;
} & (ClassFeedback | NumberFeedback);

export interface ClassFeedback {
  readonly kind: 'classes';
  readonly accuracy: number;
  readonly meanConfidence: number;
  /** Mean distance of confidence and accuracy over the bins (M. Naeini et al., AAAI 2015). */
  readonly calibrationError: number;
  /** By confidence, where there is any. */
  readonly calibration: readonly {
    readonly from: number;
    readonly to: number;
    readonly count: number;
    readonly accuracy: number;
    readonly confidence: number;
  }[];
  /** The most frequent pairs, right ones too. */
  readonly confusion: readonly { readonly predicted: string; readonly label: string; readonly count: number }[];
}

export interface NumberFeedback {
  readonly kind: 'numbers';
  readonly meanError: number;
  readonly meanAbsoluteError: number;
  readonly rootMeanSquareError: number;
}

interface Bin {
  count: number;
  correct: number;
  confidence: number;
}

interface Counts {
  readonly version: string;
  readonly signature: string;
  readonly output: string;
  readonly kind: 'classes' | 'numbers';
  count: number;
  readonly bins: readonly Bin[];
  /** By predicted and right class. */
  readonly pairs: Map<string, { readonly predicted: string; readonly label: string; count: number }>;
  error: number;
  absoluteError: number;
  squaredError: number;
}

const binCount = 10;
/** Pairs of classes that are told apart, and told. */
const mostPairs = 10_000;
const mostToldPairs = 100;
/** Rows that one id speaks of. */
const mostRows = 32;
/** Rows with feedback that are remembered, so that none is counted twice; the first are forgotten first. */
const mostSeen = 100_000;
/** Outputs of versions that are counted. */
const mostCounts = 1_000;

/** Joins what was right with what was predicted. An id carries the prediction: nothing is kept until its feedback comes. */
export class Feedback {
  readonly #options: FeedbackOptions;
  readonly #ids: PredictionIds;
  readonly #counts = new Map<string, Counts>();
  readonly #seen = new Set<string>();
  readonly #taken: SeriesCounter;
  readonly #refused: SeriesCounter;
  readonly #confidence: SeriesCounter;
  readonly #absoluteError: SeriesCounter;

  constructor(options: FeedbackOptions) {
    this.#options = options;
    this.#ids = new PredictionIds(options.keyFile);
    const counter = (name: string, help: string) =>
      new SeriesCounter({ name: `nearfar_feedback_${name}`, help, registry: options.registry });
    this.#taken = counter('total', 'Feedback that was joined with its prediction: correct, wrong, or a value.');
    this.#refused = counter('refused_total', 'Feedback that was not counted, by the code of the reason.');
    this.#confidence = counter(
      'confidence_total',
      'Confidence of the predictions with feedback; of a calibrated model as many are correct.',
    );
    this.#absoluteError = counter('absolute_error_total', 'How far predicted numbers were from the right ones.');
  }

  /** An id of the answers of one run; undefined where they have no class and no number, or there are too many to say so. */
  idOf(
    { name, version }: { readonly name: string; readonly version: string },
    signature: string,
    answers: readonly Answers[],
  ): string | undefined {
    const rated = answers.find(({ kind }) => kind !== 'vectors');
    if (!rated || rated.kind === 'vectors' || rated.rows.length > mostRows) return undefined;
    const rows = rated.kind === 'classes' ? rated.rows.map((row) => [row.name, rounded(row.confidence)] as const) : rated.rows.map(rounded);
    return this.#ids.create(name, { version, signature, output: rated.output, at: Math.floor(this.#options.now() / 1000), rows });
  }

  /**
   * Counts one.
   * @throws {NearfarError} `not-found` for an id that is none; `failed-precondition` for one that is too old; `already-exists` for one that
   * has its feedback; `invalid-argument` for a row that it has not, a class that there is not, or a value where a class is expected.
   */
  async take(model: string, item: FeedbackItem, resolveLabel: ResolveLabel): Promise<void> {
    try {
      await this.#take(model, item, resolveLabel);
    } catch (error) {
      if (error instanceof NearfarError) this.#refused.series({ model, code: error.code }).add();
      throw error;
    }
  }

  async #take(model: string, { id, row, label, value }: FeedbackItem, resolveLabel: ResolveLabel): Promise<void> {
    const prediction = this.#ids.read(model, id);
    const { version, at, rows } = prediction;
    const ageMs = this.#options.now() - at * 1000;
    if (ageMs > this.#options.ttlMs) {
      const hours = (ms: number) => (ms / 3_600_000).toFixed(1);
      const message = `the prediction is ${hours(ageMs)} hours old; feedback is taken for ${hours(this.#options.ttlMs)} hours`;
      throw new NearfarError('failed-precondition', message, { details: { model, version, ageMs, limitMs: this.#options.ttlMs } });
    }
    const predicted = rows[row];
    if (predicted === undefined) {
      throw new NearfarError('invalid-argument', `the prediction has ${rows.length} rows, no row ${row}`, {
        details: { rows: rows.length, row },
      });
    }
    const key = `${id.slice(id.indexOf('.') + 1)}.${row}`;
    if (typeof predicted === 'number') {
      if (value === undefined) throw new NearfarError('invalid-argument', `${model} version ${version} predicts numbers: expected a value`);
      this.#claim(key);
      this.#countNumber(model, prediction, predicted, value);
      return;
    }
    if (label === undefined) throw new NearfarError('invalid-argument', `${model} version ${version} predicts classes: expected a label`);
    const right = await resolveLabel(prediction, label);
    this.#claim(key);
    this.#countClass(model, prediction, predicted, right);
  }

  /** What was told of the versions of a model. */
  report(model: string): readonly FeedbackReport[] {
    return [...this.#counts]
      .filter(([key]) => key.startsWith(`${model}\n`))
      .map(([, counts]) => reportOf(counts))
      .sort((a, b) => Number(BigInt(b.version) - BigInt(a.version)));
  }

  forgetVersion(model: string, version: string): void {
    for (const [key, counts] of this.#counts) if (key.startsWith(`${model}\n`) && counts.version === version) this.#counts.delete(key);
    for (const metric of [this.#taken, this.#confidence, this.#absoluteError]) metric.forget({ model, version });
  }

  forgetModel(model: string): void {
    for (const key of this.#counts.keys()) if (key.startsWith(`${model}\n`)) this.#counts.delete(key);
    for (const metric of [this.#taken, this.#refused, this.#confidence, this.#absoluteError]) metric.forget({ model });
  }

  /** @throws {NearfarError} `already-exists` the second time. */
  #claim(key: string): void {
    if (this.#seen.has(key)) throw new NearfarError('already-exists', 'this prediction has its feedback already');
    const [first] = this.#seen;
    if (this.#seen.size >= mostSeen && first !== undefined) this.#seen.delete(first);
    this.#seen.add(key);
  }

  #countClass(model: string, prediction: Prediction, [predicted, confidence]: readonly [string, number], label: string): void {
    const counts = this.#countsOf(model, prediction, 'classes');
    const isCorrect = predicted === label;
    counts.count++;
    const bin = counts.bins[Math.min(binCount - 1, Math.max(0, Math.floor(confidence * binCount)))]!; // inside: clamped
    bin.count++;
    bin.correct += Number(isCorrect);
    bin.confidence += confidence;
    const pair = JSON.stringify([predicted, label]);
    const known = counts.pairs.get(pair);
    if (known) known.count++;
    else if (counts.pairs.size < mostPairs) counts.pairs.set(pair, { predicted, label, count: 1 });
    const labels = { model, version: prediction.version, signature: prediction.signature };
    this.#taken.series({ ...labels, outcome: isCorrect ? 'correct' : 'wrong' }).add();
    this.#confidence.series(labels).add(confidence);
  }

  #countNumber(model: string, prediction: Prediction, predicted: number, value: number): void {
    const counts = this.#countsOf(model, prediction, 'numbers');
    const error = predicted - value;
    counts.count++;
    counts.error += error;
    counts.absoluteError += Math.abs(error);
    counts.squaredError += error * error;
    const labels = { model, version: prediction.version, signature: prediction.signature };
    this.#taken.series({ ...labels, outcome: 'value' }).add();
    this.#absoluteError.series(labels).add(Math.abs(error));
  }

  #countsOf(model: string, { version, signature, output }: Prediction, kind: Counts['kind']): Counts {
    const key = [model, version, signature, output].join('\n');
    const known = this.#counts.get(key);
    if (known) return known;
    const [oldest] = this.#counts.keys();
    if (this.#counts.size >= mostCounts && oldest !== undefined) this.#counts.delete(oldest);
    const bins = Array.from({ length: binCount }, (): Bin => ({ count: 0, correct: 0, confidence: 0 }));
    const sums = { error: 0, absoluteError: 0, squaredError: 0 };
    const counts: Counts = { version, signature, output, kind, count: 0, bins, pairs: new Map(), ...sums };
    this.#counts.set(key, counts);
    return counts;
  }
}

/** Four significant digits: ids are short. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

function reportOf({ version, signature, output, kind, count, bins, pairs, ...sums }: Counts): FeedbackReport {
  const about = { version, signature, output, count };
  if (kind === 'numbers') {
    const [meanError, meanAbsoluteError] = [sums.error / count, sums.absoluteError / count];
    return { ...about, kind, meanError, meanAbsoluteError, rootMeanSquareError: Math.sqrt(sums.squaredError / count) };
  }
  const calibration = bins.flatMap((bin, index) => {
    const [from, to] = [index / binCount, (index + 1) / binCount];
    return bin.count === 0
      ? []
      : [{ from, to, count: bin.count, accuracy: bin.correct / bin.count, confidence: bin.confidence / bin.count }];
  });
  const mean = (of: (bin: Bin) => number) => bins.reduce((sum, bin) => sum + of(bin), 0) / count;
  return {
    ...about,
    kind,
    accuracy: mean((bin) => bin.correct),
    meanConfidence: mean((bin) => bin.confidence),
    calibrationError: mean((bin) => Math.abs(bin.correct - bin.confidence)),
    calibration,
    confusion: [...pairs.values()].sort((a, b) => b.count - a.count).slice(0, mostToldPairs),
  };
}

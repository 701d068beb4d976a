import * as v from 'valibot';
import type { Answers } from './answers.ts';

/** What is kept of many answers: counts and sums, none of the answers themselves. */
export type Summary =
  | { readonly kind: 'classes'; readonly rows: number; readonly classes: Map<string, number>; readonly confidence: number[] }
  | { readonly kind: 'numbers'; readonly rows: number; readonly bins: Map<number, number>; readonly sum: number; readonly squares: number }
  | { readonly kind: 'vectors'; readonly rows: number; readonly sums: Float64Array; readonly squares: Float64Array };

type Mutable<T> = T extends unknown ? { -readonly [K in keyof T]: T[K] } : never;

/** Classes that are told apart; what comes later is one. */
const mostClasses = 1_000;
const otherClasses = '(others)';
/** Of confidences from 0 to 1. */
const confidenceBins = 10;

/** Bins of numbers, by sign and magnitude: each bound is a sixth above the one before, from 1e-9 to 1e12. */
const leastMagnitude = 1e-9;
const binsPerDecade = 15;
const mostBin = 21 * binsPerDecade;

function emptySummary(answers: Answers): Mutable<Summary> {
  const { kind, rows } = answers;
  switch (kind) {
    case 'classes':
      return { kind, rows: 0, classes: new Map(), confidence: new Array<number>(confidenceBins).fill(0) };
    case 'numbers':
      return { kind, rows: 0, bins: new Map(), sum: 0, squares: 0 };
    case 'vectors': {
      const width = rows[0]?.length ?? 0;
      return { kind, rows: 0, sums: new Float64Array(width), squares: new Float64Array(width) };
    }
  }
}

/**
 * Adds answers to a summary, which it changes; begins one where there is none. Numbers that are none are left out, and so are rows of another
 * length than the first.
 */
export function summarise(before: Summary | undefined, answers: Answers): Summary {
  const summary = before?.kind === answers.kind ? (before as Mutable<Summary>) : emptySummary(answers);
  if (summary.kind === 'classes' && answers.kind === 'classes') {
    for (const { name, confidence } of answers.rows) {
      if (Number.isNaN(confidence)) continue;
      summary.rows++;
      const isKnown = summary.classes.has(name) || summary.classes.size < mostClasses;
      count(summary.classes, isKnown ? name : otherClasses, 1);
      const bin = Math.min(confidenceBins - 1, Math.max(0, Math.floor(confidence * confidenceBins)));
      summary.confidence[bin]! += 1; // inside: clamped
    }
  }
  if (summary.kind === 'numbers' && answers.kind === 'numbers') {
    for (const value of answers.rows) {
      if (!Number.isFinite(value)) continue;
      summary.rows++;
      summary.sum += value;
      summary.squares += value * value;
      count(summary.bins, binOf(value), 1);
    }
  }
  if (summary.kind === 'vectors' && answers.kind === 'vectors') {
    const { sums, squares } = summary;
    for (const row of answers.rows) {
      if (row.length !== sums.length) continue;
      let isWhole = true;
      for (let at = 0; at < row.length && isWhole; at++) isWhole = Number.isFinite(row[at]);
      if (!isWhole) continue;
      summary.rows++;
      for (let at = 0; at < row.length; at++) {
        sums[at]! += row[at]!; // both as long as the row
        squares[at]! += row[at]! * row[at]!;
      }
    }
  }
  return summary;
}

/** Two as one; neither is changed. Of two kinds the second. */
export function joinSummaries(a: Summary | undefined, b: Summary | undefined): Summary | undefined {
  if (!a || !b) return a ?? b;
  const rows = a.rows + b.rows;
  if (a.kind === 'classes' && b.kind === 'classes') {
    const confidence = a.confidence.map((each, bin) => each + (b.confidence[bin] ?? 0));
    return { kind: 'classes', rows, classes: added(a.classes, b.classes), confidence };
  }
  if (a.kind === 'numbers' && b.kind === 'numbers') {
    return { kind: 'numbers', rows, bins: added(a.bins, b.bins), sum: a.sum + b.sum, squares: a.squares + b.squares };
  }
  if (a.kind === 'vectors' && b.kind === 'vectors' && a.sums.length === b.sums.length) {
    const plus = (x: Float64Array, y: Float64Array) => x.map((each, at) => each + y[at]!);
    return { kind: 'vectors', rows, sums: plus(a.sums, b.sums), squares: plus(a.squares, b.squares) };
  }
  return b;
}

function added<K>(a: ReadonlyMap<K, number>, b: ReadonlyMap<K, number>): Map<K, number> {
  const sum = new Map(a);
  for (const [key, each] of b) count(sum, key, each);
  return sum;
}

function count<K>(counts: Map<K, number>, key: K, amount: number): void {
  counts.set(key, (counts.get(key) ?? 0) + amount);
}

/** Bins are in the order of the numbers in them. */
function binOf(value: number): number {
  const magnitude = Math.abs(value);
  if (magnitude < leastMagnitude) return 0;
  const bin = 1 + Math.min(mostBin, Math.floor(Math.log10(magnitude / leastMagnitude) * binsPerDecade));
  return Math.sign(value) * bin;
}

const counts = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const finite = v.pipe(v.number(), v.finite());

const storedSummary = v.variant('kind', [
  v.object({
    kind: v.literal('classes'),
    rows: counts,
    classes: v.array(v.tuple([v.string(), counts])),
    confidence: v.pipe(v.array(counts), v.length(confidenceBins)),
  }),
  v.object({ kind: v.literal('numbers'), rows: counts, bins: v.array(v.tuple([finite, counts])), sum: finite, squares: finite }),
  v.object({ kind: v.literal('vectors'), rows: counts, sums: v.array(finite), squares: v.array(finite) }),
]);

/** A summary as JSON; the schema takes it back. */
export function encodeSummary(summary: Summary): v.InferInput<typeof storedSummary> {
  switch (summary.kind) {
    case 'classes':
      return { ...summary, classes: [...summary.classes] };
    case 'numbers':
      return { ...summary, bins: [...summary.bins] };
    case 'vectors':
      return { ...summary, sums: [...summary.sums], squares: [...summary.squares] };
  }
}

export const summarySchema = v.pipe(
  storedSummary,
  v.transform((stored): Summary => {
    switch (stored.kind) {
      case 'classes':
        return { ...stored, classes: new Map(stored.classes) };
      case 'numbers':
        return { ...stored, bins: new Map(stored.bins) };
      case 'vectors':
        return { ...stored, sums: Float64Array.from(stored.sums), squares: Float64Array.from(stored.squares) };
    }
  }),
);

/** What is told of a summary. */
export type DescribedSummary =
  | { readonly kind: 'classes'; readonly rows: number; readonly classes: readonly ClassShare[]; readonly confidence: readonly number[] }
  | { readonly kind: 'numbers'; readonly rows: number; readonly mean: number; readonly variance: number }
  /** The length of the mean, and the mean of the variances of its components. */
  | { readonly kind: 'vectors'; readonly rows: number; readonly width: number; readonly meanLength: number; readonly meanVariance: number };

export interface ClassShare {
  readonly name: string;
  /** 0 to 1. */
  readonly share: number;
}

/** Classes that are told of, the most frequent ones. */
const mostTold = 20;

export function describeSummary(summary: Summary): DescribedSummary {
  const { kind, rows } = summary;
  switch (kind) {
    case 'classes': {
      const classes = [...summary.classes].sort(([, a], [, b]) => b - a).slice(0, mostTold);
      const share = (of: number) => (rows === 0 ? 0 : of / rows);
      return { kind, rows, classes: classes.map(([name, of]) => ({ name, share: share(of) })), confidence: summary.confidence.map(share) };
    }
    case 'numbers':
      return { kind, rows, ...momentsOf(summary.sum, summary.squares, rows) };
    case 'vectors': {
      const moments = Array.from(summary.sums, (sum, at) => momentsOf(sum, summary.squares[at]!, rows));
      const meanVariance = moments.reduce((sum, { variance }) => sum + variance, 0) / Math.max(1, moments.length);
      return { kind, rows, width: moments.length, meanLength: Math.hypot(...moments.map(({ mean }) => mean)), meanVariance };
    }
  }
}

export function momentsOf(sum: number, squares: number, rows: number): { readonly mean: number; readonly variance: number } {
  if (rows === 0) return { mean: 0, variance: 0 };
  const mean = sum / rows;
  return { mean, variance: Math.max(0, squares / rows - mean * mean) };
}

import { momentsOf, type Summary } from './summary.ts';

/** How far answers are from those of a reference, by one measure. */
export interface Distance {
  /** What was compared. */
  readonly of: 'classes' | 'confidence' | 'values' | 'mean';
  readonly measure: Measure;
  readonly value: number;
  /** Whether it is above what counts as a change of that measure. */
  readonly isLarge: boolean;
}

/**
 * `psi`: population stability index, Σ (q − p) ln(q / p) (N. Siddiqi, Credit Risk Scorecards, 2006, who takes above 0.25 for a shift).
 * `jensen-shannon`: divergence in bits, 0 to 1 (J. Lin, IEEE Trans. Inf. Theory 37, 1991).
 * `ks`: Kolmogorov–Smirnov, the largest distance of the two distribution functions, at the bounds of the histogram; 0 to 1.
 * `cosine`: 1 − cos of the angle between two means.
 * `deviations`: of two means, in standard deviations of the reference.
 */
export const largeDistances = { psi: 0.25, 'jensen-shannon': 0.1, ks: 0.2, cosine: 0.1, deviations: 1 } as const;
export type Measure = keyof typeof largeDistances;

/** Of many classes or bins each has few answers, which would look like a change: the most frequent ones of the reference are compared. */
const mostGroups = 10;

/** The distances of what is answered now from a reference; none where the two cannot be compared. */
export function distancesOf(reference: Summary, now: Summary): readonly Distance[] {
  const distance = (of: Distance['of'], measure: Measure, value: number): Distance => {
    return { of, measure, value, isLarge: value > largeDistances[measure] };
  };
  if (reference.rows === 0 || now.rows === 0) return [];
  if (reference.kind === 'classes' && now.kind === 'classes') {
    const [p, q] = groupClasses(reference.classes, now.classes);
    return [
      distance('classes', 'psi', stabilityIndex(p, q)),
      distance('classes', 'jensen-shannon', jensenShannon(p, q)),
      distance('confidence', 'psi', stabilityIndex(reference.confidence, now.confidence)),
      distance('confidence', 'ks', kolmogorovSmirnov(reference.confidence, now.confidence)),
    ];
  }
  if (reference.kind === 'numbers' && now.kind === 'numbers') {
    const bins = [...new Set([...reference.bins.keys(), ...now.bins.keys()])].sort((a, b) => a - b);
    const [p, q] = [reference, now].map((summary) => bins.map((bin) => summary.bins.get(bin) ?? 0)) as [number[], number[]];
    const { mean, variance } = momentsOf(reference.sum, reference.squares, reference.rows);
    const shift = Math.abs(now.sum / now.rows - mean);
    return [
      distance('values', 'psi', stabilityIndex(...groupBins(p, q))),
      distance('values', 'ks', kolmogorovSmirnov(p, q)),
      // A model that always says the same has no deviations to measure by.
      ...(variance > 0 ? [distance('mean', 'deviations', shift / Math.sqrt(variance))] : []),
    ];
  }
  if (reference.kind === 'vectors' && now.kind === 'vectors' && reference.sums.length === now.sums.length) {
    return [distance('mean', 'cosine', cosineDistance(reference.sums, now.sums))];
  }
  return [];
}

type Counts = readonly number[];

function groupClasses(p: ReadonlyMap<string, number>, q: ReadonlyMap<string, number>): [Counts, Counts] {
  const frequent = [...p]
    .sort(([, a], [, b]) => b - a)
    .slice(0, mostGroups)
    .map(([name]) => name);
  const grouped = (counts: ReadonlyMap<string, number>) => {
    const own = frequent.map((name) => counts.get(name) ?? 0);
    return [...own, total([...counts.values()]) - total(own)];
  };
  const groups: [Counts, Counts] = [grouped(p), grouped(q)];
  // Nothing but the frequent ones: no group for others.
  return groups.every((counts) => counts.at(-1) === 0) ? [groups[0].slice(0, -1), groups[1].slice(0, -1)] : groups;
}

/** Neighbours together, each with a tenth of the reference or more. */
function groupBins(p: Counts, q: Counts): [Counts, Counts] {
  const share = total(p) / mostGroups;
  const groups: [number[], number[]] = [[0], [0]];
  for (const [bin, count] of p.entries()) {
    const last = groups[0].length - 1;
    if (groups[0][last]! >= share) for (const counts of groups) counts.push(0);
    const at = groups[0].length - 1;
    groups[0][at]! += count;
    groups[1][at]! += q[bin]!;
  }
  return groups;
}

/** Half a count more in each group, so that one without any is far away and not infinitely far. */
function stabilityIndex(p: Counts, q: Counts): number {
  const [ofP, ofQ] = [total(p) + p.length / 2, total(q) + q.length / 2];
  return p.reduce((sum, count, at) => {
    const [a, b] = [(count + 0.5) / ofP, (q[at]! + 0.5) / ofQ];
    return sum + (b - a) * Math.log(b / a);
  }, 0);
}

function jensenShannon(p: Counts, q: Counts): number {
  const [ofP, ofQ] = [total(p), total(q)];
  const part = (a: number, middle: number) => (a === 0 ? 0 : a * Math.log2(a / middle));
  const divergence = p.reduce((sum, count, at) => {
    const [a, b] = [count / ofP, q[at]! / ofQ];
    return sum + (part(a, (a + b) / 2) + part(b, (a + b) / 2)) / 2;
  }, 0);
  return Math.max(0, divergence);
}

function kolmogorovSmirnov(p: Counts, q: Counts): number {
  const [ofP, ofQ] = [total(p), total(q)];
  let [a, b, largest] = [0, 0, 0];
  for (const [at, count] of p.entries()) {
    a += count / ofP;
    b += q[at]! / ofQ;
    largest = Math.max(largest, Math.abs(a - b));
  }
  return largest;
}

function cosineDistance(a: Float64Array, b: Float64Array): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let at = 0; at < a.length; at++) {
    dot += a[at]! * b[at]!;
    aa += a[at]! * a[at]!;
    bb += b[at]! * b[at]!;
  }
  // A mean of zero points nowhere.
  return aa === 0 || bb === 0 ? Number(aa !== bb) : Math.max(0, 1 - dot / Math.sqrt(aa * bb));
}

function total(counts: Counts): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

/** What a bench is told, and where it tells what it found. */
export interface BenchContext {
  /** Measurements of each side; undefined for the bench's own number. */
  readonly pairs: number | undefined;
  readonly report: (comparison: Comparison) => void;
  /** Whether a part of the bench was asked for; all are where none is named. */
  readonly wants: (part: string) => boolean;
}

export type Bench = (context: BenchContext) => Promise<void>;

/** Two sides measured in turn in one run. */
export interface Comparison {
  readonly bench: string;
  readonly case: string;
  /** `/s`: more is better; of the others less is. */
  readonly unit: 'ms' | '/s' | 'MB';
  readonly subject: Side;
  readonly reference: Side;
  /** Median over the pairs of subject / reference. */
  readonly ratio: number;
  readonly bar?: Bar | undefined;
  /** What else was seen, such as the times of a call where calls were counted. */
  readonly details?: string | undefined;
}

export interface Side {
  readonly name: string;
  readonly median: number;
  readonly samples: readonly number[];
}

export interface Bar {
  readonly text: string;
  readonly isMet: boolean;
}

export interface Pair {
  readonly subject: number;
  readonly reference: number;
}

/** Measures both sides in turn, A B A B, so that a machine that is busy for a while is so for both. */
export async function measurePairs(count: number, subject: () => Promise<number>, reference: () => Promise<number>): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let pair = 0; pair < count; pair++) pairs.push({ subject: await subject(), reference: await reference() });
  return pairs;
}

/** @param barOf Judges by the pairs, for bars that are no plain ratio. */
export function compare(
  about: Pick<Comparison, 'bench' | 'case' | 'unit' | 'details'> & { readonly subject: string; readonly reference: string },
  pairs: readonly Pair[],
  barOf?: (pairs: readonly Pair[]) => Bar,
): Comparison {
  const side = (name: string, samples: readonly number[]): Side => ({ name, median: median(samples), samples });
  return {
    ...about,
    subject: side(
      about.subject,
      pairs.map(({ subject }) => subject),
    ),
    reference: side(
      about.reference,
      pairs.map(({ reference }) => reference),
    ),
    ratio: median(pairs.map(({ subject, reference }) => subject / reference)),
    bar: barOf?.(pairs),
  };
}

/** A bar on the median of the pairs' ratios. */
export function atMost(times: number): (pairs: readonly Pair[]) => Bar {
  return (pairs) => ({ text: `≤ ${times} ×`, isMet: median(pairs.map(({ subject, reference }) => subject / reference)) <= times });
}

export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

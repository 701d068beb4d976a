import { NearfarError } from '../../errors.ts';
import { fingerprint64 } from './fingerprint64.ts';

/** A cell of a table; null is a missing value. */
export type Cell = string | number | boolean | null;

/** What becomes of a column's values. All in IEEE doubles, rounded once when the tensor is made. */
export type ColumnTransform =
  /** As it is; true and false are 1 and 0. */
  | { readonly kind: 'none' }
  /** `(x − mean) / std` */
  | { readonly kind: 'standard'; readonly mean: number; readonly std: number }
  /** `(x − min) / (max − min)` */
  | { readonly kind: 'min-max'; readonly min: number; readonly max: number }
  /** How many boundaries are at or below x: `numpy.digitize`, and Keras's Discretization. */
  | { readonly kind: 'bucketise'; readonly boundaries: readonly number[] }
  /** FarmHash's Fingerprint64 of the UTF-8 text, modulo `buckets`: `tf.strings.to_hash_bucket_fast`. Whole numbers as decimal text. */
  | { readonly kind: 'hash'; readonly buckets: number }
  /** Place of the text among `terms`, counted from `first` (0) on; `unknown` for any other, an error where there is none. */
  | {
      readonly kind: 'vocabulary';
      readonly terms: readonly string[];
      readonly first?: number | undefined;
      readonly unknown?: number | undefined;
    };

export interface Column {
  readonly name: string;
  readonly transform: ColumnTransform;
  /** The result, a whole number, as a vector of this length, 1 at its place: zeros alone where it has none, as `tf.one_hot`. */
  readonly oneHot?: number | undefined;
  /** Stands in for a missing value; without one a missing value is an error. */
  readonly missing?: string | number | undefined;
}

/** The numbers of one cell, written from `at` on. */
export type EncodeCell = (cell: Cell | undefined, into: Float64Array, at: number) => void;

/** How many numbers a column becomes. */
export function widthOf({ oneHot }: Column): number {
  return oneHot ?? 1;
}

/**
 * Prepares a column.
 * @returns A function that throws {@link NearfarError} `invalid-argument` for cells the column cannot take.
 */
export function createColumn({ name, transform, oneHot, missing }: Column): EncodeCell {
  const transformCell = createTransform(name, transform);
  return (given, into, at) => {
    const cell = given ?? missing;
    if (cell === undefined || cell === null) {
      throw new NearfarError('invalid-argument', `column "${name}" has no value, and none stands in for it`, { details: { column: name } });
    }
    const value = transformCell(cell);
    if (oneHot === undefined) into[at] = value;
    else if (value >= 0 && value < oneHot) into[at + value] = 1;
  };
}

function createTransform(name: string, transform: ColumnTransform): (cell: string | number | boolean) => number {
  switch (transform.kind) {
    case 'none':
      return (cell) => numberOf(name, cell);
    case 'standard':
      return (cell) => (numberOf(name, cell) - transform.mean) / transform.std;
    case 'min-max':
      return (cell) => (numberOf(name, cell) - transform.min) / (transform.max - transform.min);
    case 'bucketise':
      return (cell) => bucketOf(numberOf(name, cell), transform.boundaries);
    case 'hash': {
      const encoder = new TextEncoder();
      const buckets = BigInt(transform.buckets);
      return (cell) => Number(fingerprint64(encoder.encode(textOf(name, cell))) % buckets);
    }
    case 'vocabulary': {
      const { terms, first = 0, unknown } = transform;
      const places = new Map(terms.map((term, index) => [term, first + index]));
      return (cell) => {
        const place = places.get(textOf(name, cell)) ?? unknown;
        if (place !== undefined) return place;
        throw new NearfarError('invalid-argument', `column "${name}" has no term ${JSON.stringify(cell)}`, {
          details: { column: name, got: cell },
        });
      };
    }
  }
}

/** NaN is at or above no boundary and yet lies behind the last, as in NumPy and TensorFlow. */
function bucketOf(value: number, boundaries: readonly number[]): number {
  let low = 0;
  for (let high = boundaries.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (value < boundaries[middle]!) high = middle;
    else low = middle + 1;
  }
  return low;
}

function numberOf(name: string, cell: string | number | boolean): number {
  if (typeof cell === 'number') return cell;
  if (typeof cell === 'boolean') return cell ? 1 : 0;
  throw new NearfarError('invalid-argument', `column "${name}" takes numbers, got ${JSON.stringify(cell)}`, {
    details: { column: name, got: cell },
  });
}

function textOf(name: string, cell: string | number | boolean): string {
  if (typeof cell === 'string' || typeof cell === 'boolean' || Number.isSafeInteger(cell)) return String(cell);
  throw new NearfarError('invalid-argument', `column "${name}" takes texts and whole numbers, got ${cell}`, {
    details: { column: name, got: cell },
  });
}

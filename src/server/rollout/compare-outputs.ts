import { type AnyTensor, compareOutputs, float16ToNumber, type TensorMap, type Variant } from '../../core/index.ts';

/** How far the answer of one version is from that of another. */
export interface Comparison {
  /** Whether every output is within the tolerance; whole numbers, truth values and strings have none. */
  readonly isWithin: boolean;
  readonly maxAbsolute: number;
  readonly maxRelative: number;
  /** Rows of outputs that score classes, and how many of them have the same highest one. */
  readonly rows: number;
  readonly sameTop: number;
  /** The first that is outside. */
  readonly firstDifference: string | undefined;
}

type Tolerance = Variant['tolerance'];

const exact: Tolerance = { absolute: 0, relative: 0 };
/** Steps between neighbours of a float of half the size: no two engines agree on the last of them. */
const steps: Readonly<Record<string, number>> = { float16: 2 ** -10, bfloat16: 2 ** -7 };
const isFloat = (dtype: string) => /float|complex/.test(dtype);

/** @param right Of the version that serves, by whose tolerance they are compared. */
export function compareAnswers(right: TensorMap, other: TensorMap, tolerance: Tolerance): Comparison {
  let comparison: Comparison = { isWithin: true, maxAbsolute: 0, maxRelative: 0, rows: 0, sameTop: 0, firstDifference: undefined };
  for (const [name, tensor] of Object.entries(right)) {
    const compared = other[name];
    const { absolute, relative, isWithin, firstDifference } = compareOutputs(
      { [name]: tensor },
      compared ? { [name]: compared } : {},
      toleranceOf(tensor.dtype, tolerance),
    );
    const { rows, sameTop } = compared ? compareTop(tensor, compared) : { rows: 0, sameTop: 0 };
    comparison = {
      isWithin: comparison.isWithin && isWithin,
      maxAbsolute: Math.max(comparison.maxAbsolute, absolute),
      maxRelative: Math.max(comparison.maxRelative, relative),
      rows: comparison.rows + rows,
      sameTop: comparison.sameTop + sameTop,
      firstDifference: comparison.firstDifference ?? firstDifference,
    };
  }
  return comparison;
}

function toleranceOf(dtype: string, { absolute, relative }: Tolerance): Tolerance {
  if (!isFloat(dtype)) return exact;
  return { absolute, relative: Math.max(relative, steps[dtype] ?? 0) };
}

function compareTop(a: AnyTensor, b: AnyTensor): { rows: number; sameTop: number } {
  const classes = a.shape.at(-1) ?? 1;
  if (!/^b?float/.test(a.dtype) || classes < 2 || a.dtype !== b.dtype || a.data.length !== b.data.length) return { rows: 0, sameTop: 0 };
  const rows = a.data.length / classes;
  let sameTop = 0;
  for (let row = 0; row < rows; row++) if (topOf(a, row * classes, classes) === topOf(b, row * classes, classes)) sameTop++;
  return { rows, sameTop };
}

function topOf({ dtype, data }: AnyTensor, start: number, classes: number): number {
  let top = 0;
  let highest = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < classes; index++) {
    const bits = Number(data[start + index]);
    const value = dtype === 'float16' ? float16ToNumber(bits) : dtype === 'bfloat16' ? ordered(bits) : bits;
    if (value > highest) [top, highest] = [index, value];
  }
  return top;
}

/** Bits of a bfloat16 as numbers that are in the order of its values. */
function ordered(bits: number): number {
  return bits & 0x8000 ? -(bits & 0x7fff) : bits;
}

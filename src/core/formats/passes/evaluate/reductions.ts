import { type AnyTensor, elementCount } from '../../../tensor/index.ts';
import { attribute, type GraphNode } from '../../graph/index.ts';
import { resolveAxis } from '../dimensions/index.ts';
import { listOf } from './arrays.ts';
import {
  fromBigints,
  fromNumbers,
  isBigDType,
  isFloatDType,
  isNumberDType,
  numbersOf,
  scalarOf,
  stridesOf,
  tensorOf,
  walk,
} from './elements.ts';
import type { Kernels } from './kernel.ts';

type Fold = (values: ArrayLike<number>, places: ArrayLike<number>) => number;

const folds: Readonly<Record<string, Fold>> = {
  Sum: (values, places) => fold(values, places, 0, (a, b) => a + b),
  Prod: (values, places) => fold(values, places, 1, (a, b) => a * b),
  Max: (values, places) => fold(values, places, Number.NEGATIVE_INFINITY, Math.max),
  Min: (values, places) => fold(values, places, Number.POSITIVE_INFINITY, Math.min),
  All: (values, places) => fold(values, places, 1, (a, b) => (a && b ? 1 : 0)),
  Any: (values, places) => fold(values, places, 0, (a, b) => (a || b ? 1 : 0)),
  Mean: (values, places) => fold(values, places, 0, (a, b) => a + b) / places.length,
  EuclideanNorm: (values, places) => Math.sqrt(fold(values, places, 0, (sum, x) => sum + x * x)),
};

const argFolds: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  ArgMax: (a, b) => a > b,
  ArgMin: (a, b) => a < b,
};

export const reductionKernels: Kernels = {
  ...Object.fromEntries(
    Object.entries(folds).map(([op, apply]) => [op, (node: GraphNode, inputs: readonly AnyTensor[]) => reduce(node, inputs, apply)]),
  ),
  ...Object.fromEntries(
    Object.entries(argFolds).map(([op, apply]) => [op, (node: GraphNode, inputs: readonly AnyTensor[]) => argReduce(node, inputs, apply)]),
  ),
  Cumsum: (node, [x, axis]) => {
    const values = x && numbersOf(x);
    const at = x && resolveAxis(scalarOf(axis) ?? Number.NaN, x.shape.length);
    if (!x || !values || at === undefined || !isNumberDType(x.dtype)) return undefined;
    const isExclusive = attribute.boolOf(node, 'exclusive', false);
    const isReverse = attribute.boolOf(node, 'reverse', false);
    const out = new Float64Array(values.length);
    for (const places of rowsOf(x.shape, [at])) {
      let sum = 0;
      for (let i = 0; i < places.length; i++) {
        const place = places[isReverse ? places.length - 1 - i : i]!;
        if (isExclusive) out[place] = sum;
        sum += values[place]!;
        if (!isExclusive) out[place] = sum;
      }
    }
    return [fromNumbers(x.dtype, x.shape, out)];
  },
  Softmax: (_, [x]) => softmax(x, (value, sum) => Math.exp(value) / sum),
  LogSoftmax: (_, [x]) => softmax(x, (value, sum) => value - Math.log(sum)),
};

function reduce(node: GraphNode, [x, axes]: readonly AnyTensor[], apply: Fold): AnyTensor[] | undefined {
  if (!x) return undefined;
  const list = listOf(axes)?.map((axis) => resolveAxis(axis, x.shape.length));
  const values = numbersOf(x);
  if (!list || !values || list.some((axis) => axis === undefined)) return undefined;
  const keep = attribute.boolOf(node, 'keep_dims', false);
  const shape = x.shape.flatMap((size, axis) => (list.includes(axis) ? (keep ? [1] : []) : [size]));
  const out = rowsOf(x.shape, list as readonly number[]).map((places) => apply(values, places));
  // Whole numbers that float64 cannot hold would be wrong, and those of no elements have no maximum.
  if (!isFloatDType(x.dtype) && !out.every((value) => Math.abs(value) <= 2 ** 53)) return undefined;
  if (isNumberDType(x.dtype)) return [fromNumbers(x.dtype, shape, isFloatDType(x.dtype) ? out : out.map(Math.trunc))];
  return isBigDType(x.dtype)
    ? [
        fromBigints(
          x.dtype,
          shape,
          out.map((value) => BigInt(Math.trunc(value))),
        ),
      ]
    : undefined;
}

function argReduce(node: GraphNode, [x, axis]: readonly AnyTensor[], isBetter: (a: number, b: number) => boolean): AnyTensor[] | undefined {
  const values = x && numbersOf(x);
  const at = x && resolveAxis(axis ? (scalarOf(axis) ?? Number.NaN) : 0, x.shape.length);
  if (!x || !values || at === undefined) return undefined;
  const out = rowsOf(x.shape, [at]).map((places) => {
    let best = 0;
    for (let i = 1; i < places.length; i++) if (isBetter(values[places[i]!]!, values[places[best]!]!)) best = i;
    return best;
  });
  const shape = x.shape.toSpliced(at, 1);
  const dtype = attribute.dtypeOf(node, 'output_type', 'int64');
  return [isBigDType(dtype) ? fromBigints(dtype, shape, out.map(BigInt)) : tensorOf('int32', shape, Int32Array.from(out))];
}

/** The places of each set of elements that differ in these axes only. */
function rowsOf(shape: readonly number[], axes: readonly number[]): Int32Array[] {
  const strides = stridesOf(shape);
  const kept = shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const gone = [...new Set(axes)].sort((a, b) => a - b);
  const starts = walk(
    kept.map((axis) => shape[axis]!),
    kept.map((axis) => strides[axis]!),
  );
  const sizes = gone.map((axis) => shape[axis]!);
  const steps = gone.map((axis) => strides[axis]!);
  return Array.from(starts, (start) => walk(sizes, steps, start));
}

function fold(values: ArrayLike<number>, places: ArrayLike<number>, start: number, apply: (a: number, b: number) => number): number {
  let result = start;
  for (let i = 0; i < places.length; i++) result = apply(result, values[places[i]!]!);
  return result;
}

function softmax(x: AnyTensor | undefined, apply: (value: number, sum: number) => number): AnyTensor[] | undefined {
  const values = x && numbersOf(x);
  if (!x || !values || !isNumberDType(x.dtype) || x.shape.length === 0) return undefined;
  const size = x.shape.at(-1)!;
  const out = new Float64Array(elementCount(x.shape));
  for (let row = 0; row < out.length; row += size) {
    let max = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < size; i++) max = Math.max(max, values[row + i]!);
    let sum = 0;
    for (let i = 0; i < size; i++) sum += Math.exp(values[row + i]! - max);
    for (let i = 0; i < size; i++) out[row + i] = apply(values[row + i]! - max, sum);
  }
  return [fromNumbers(x.dtype, x.shape, out)];
}

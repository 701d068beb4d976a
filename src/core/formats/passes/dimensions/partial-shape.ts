import type { PartialShape } from '../../graph/index.ts';

/** Whether every size is known. */
export function isStatic(shape: PartialShape): shape is readonly number[] {
  return shape?.every((size) => size >= 0) ?? false;
}

/** As many unknown sizes. */
export function unknownOfRank(rank: number): readonly number[] {
  return new Array<number>(rank).fill(-1);
}

/** An axis counted from the front; undefined when there is no such axis. */
export function resolveAxis(axis: number, rank: number): number | undefined {
  const resolved = axis < 0 ? axis + rank : axis;
  return Number.isInteger(resolved) && resolved >= 0 && resolved < rank ? resolved : undefined;
}

/** The shape of an element-wise operation on both, by NumPy's rule. */
export function broadcastShapes(a: PartialShape, b: PartialShape): PartialShape {
  if (!a || !b) return undefined;
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const sizeA = a[axis - rank + a.length] ?? 1;
    const sizeB = b[axis - rank + b.length] ?? 1;
    if (sizeA === sizeB || sizeB === 1) return sizeA;
    if (sizeA === 1) return sizeB;
    if (sizeA !== -1 && sizeB !== -1) return -1; // no shape is right: what runs the graph will say so
    return Math.max(sizeA, sizeB); // an unknown size is 1 or the other's
  });
}

/** What holds whichever of the two it is. */
export function widenShape(a: PartialShape, b: PartialShape): PartialShape {
  if (a?.length !== b?.length) return undefined;
  return a?.map((size, axis) => (size === b?.[axis] ? size : -1));
}

/** What is known when both hold. */
export function refineShape(a: PartialShape, b: PartialShape): PartialShape {
  if (!a || !b) return a ?? b;
  if (a.length !== b.length) return a;
  return a.map((size, axis) => (size === -1 ? (b[axis] ?? -1) : size));
}

export interface Window {
  readonly size: number;
  readonly stride: number;
  readonly dilation: number;
  /** `EXPLICIT` is given as the numbers before and after. */
  readonly padding: string | readonly [number, number];
}

/** The size of an axis that a window slides along (tensorflow/core/framework/common_shape_fns.cc). */
export function windowOutputSize(input: number, { size, stride, dilation, padding }: Window): number {
  if (padding === 'SAME') return input === -1 ? -1 : Math.ceil(input / stride);
  if (input === -1 || size === -1) return -1;
  const [before, after] = typeof padding === 'string' ? [0, 0] : padding;
  return Math.max(0, Math.floor((input + before + after - (size - 1) * dilation - 1) / stride) + 1);
}

/** The padding before and after that `SAME` means. */
export function samePadding(input: number, { size, stride, dilation }: Window): readonly [number, number] {
  const total = Math.max(0, (Math.ceil(input / stride) - 1) * stride + (size - 1) * dilation + 1 - input);
  const before = Math.floor(total / 2);
  return [before, total - before];
}

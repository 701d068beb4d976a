import { attribute, type GraphNode, type PartialShape } from '../../graph/index.ts';
import { resolveAxis } from './partial-shape.ts';

/** One axis of the input of a `StridedSlice`: where it begins, its step and how many it takes (-1: not known). */
export interface AxisSlice {
  readonly begin: number;
  readonly stride: number;
  readonly size: number;
}

export interface StridedSlicePlan {
  /** One per axis of the input. */
  readonly axes: readonly AxisSlice[];
  readonly shape: readonly number[];
}

/**
 * Reads the masks of a `StridedSlice` (tensorflow/core/util/strided_slice_op.cc).
 * @param begin Undefined elements are not known; so are those of `end`.
 * @returns Undefined when even the rank cannot be told, or the slice is out of range.
 */
export function planStridedSlice(
  node: GraphNode,
  input: PartialShape,
  begin: readonly (number | undefined)[],
  end: readonly (number | undefined)[],
  strides: readonly number[],
): StridedSlicePlan | undefined {
  if (!input) return undefined;
  const mask = (name: string) => attribute.numberOf(node, name, 0);
  const [beginMask, endMask, ellipsisMask] = [mask('begin_mask'), mask('end_mask'), mask('ellipsis_mask')];
  const [newAxisMask, shrinkMask] = [mask('new_axis_mask'), mask('shrink_axis_mask')];
  const isSet = (bits: number, i: number) => (bits & (1 << i)) !== 0;
  const count = strides.length;
  const newAxes = strides.filter((_, i) => isSet(newAxisMask, i) && !isSet(ellipsisMask, i)).length;
  const hasEllipsis = strides.some((_, i) => isSet(ellipsisMask, i));
  const ellipsis = input.length - (count - newAxes - (hasEllipsis ? 1 : 0));
  if (ellipsis < 0) return undefined;
  const axes: AxisSlice[] = [];
  const shape: number[] = [];
  const takeWhole = (times: number) => {
    for (let i = 0; i < times; i++) {
      const size = input[axes.length]!;
      axes.push({ begin: 0, stride: 1, size });
      shape.push(size);
    }
  };
  for (let i = 0; i < count; i++) {
    if (isSet(ellipsisMask, i)) takeWhole(ellipsis);
    else if (isSet(newAxisMask, i)) shape.push(1);
    else {
      const size = input[axes.length]!;
      if (isSet(shrinkMask, i)) {
        const at = begin[i];
        const resolved = at === undefined || size === -1 ? at : resolveAxis(at, size);
        if (at !== undefined && resolved === undefined) return undefined;
        axes.push({ begin: resolved ?? 0, stride: 1, size: 1 });
      } else {
        const axis = sliceAxis(size, isSet(beginMask, i) ? 'all' : begin[i], isSet(endMask, i) ? 'all' : end[i], strides[i]!);
        axes.push(axis);
        shape.push(axis.size);
      }
    }
  }
  if (!hasEllipsis) takeWhole(ellipsis);
  return { axes, shape };
}

function sliceAxis(size: number, begin: number | undefined | 'all', end: number | undefined | 'all', stride: number): AxisSlice {
  const unknown = { begin: 0, stride, size: -1 };
  if (stride === 0 || begin === undefined || end === undefined) return unknown;
  if (size === -1) {
    const isWhole = begin === 'all' && end === 'all' && Math.abs(stride) === 1;
    if (isWhole || typeof begin === 'string' || typeof end === 'string') return unknown;
    // Both count from the same side, but the axis may be shorter than they say.
    return unknown;
  }
  const [low, high] = stride > 0 ? [0, size] : [-1, size - 1];
  const clamp = (at: number) => Math.min(Math.max(at < 0 ? at + size : at, low), high);
  const from = begin === 'all' ? (stride > 0 ? 0 : size - 1) : clamp(begin);
  const to = end === 'all' ? (stride > 0 ? size : -1) : clamp(end);
  return { begin: from, stride, size: Math.max(0, Math.ceil((to - from) / stride)) };
}

import type { DType } from '../../../tensor/index.ts';
import type { Order } from '../graph-builder.ts';
import { type Converter, type Operator, refuse } from '../operator.ts';
import { END, inNchw } from './axes.ts';
import { isChannelsSecond } from './convolutions.ts';

// What takes a part of a tensor, or its elements in another order.

const slice: Converter = (node) => {
  const begin = node.known(1);
  const size = node.known(2);
  const rank = begin?.length ?? size?.length ?? node.rank(0);
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  const isImage = rank === 4 && isChannelsSecond(node, 0);
  if (begin && size) {
    const ends = begin.map((start, axis) => (size[axis] === -1 ? END : start + size[axis]!));
    const at = isImage ? axes.map((axis) => inNchw[axis]!) : axes;
    const order: Order = isImage ? 'nchw' : 'plain';
    return void node.set(0, node.emit('Slice', [node.in(0, order), node.ints(begin), node.ints(ends), node.ints(at)]), { order });
  }
  const starts = node.inInt64(1);
  const sizes = node.inInt64(2);
  const isOpen = node.emit('Equal', [sizes, node.ints([-1])]);
  const ends = node.emit('Where', [isOpen, node.ints([END]), node.emit('Add', [starts, sizes])]);
  node.set(0, node.emit('Slice', [node.in(0), starts, ends, node.ints(axes)]));
};

/** One entry of a strided slice, once the masks are read. */
type Section =
  | { readonly kind: 'all' }
  | { readonly kind: 'new' }
  | { readonly kind: 'one'; readonly at: number }
  | { readonly kind: 'range'; readonly at: number; readonly hasBegin: boolean; readonly hasEnd: boolean };

/** The sections of a strided slice over an input of `rank` axes (tensorflow/core/util/strided_slice_op.cc). */
function sectionsOf(node: Operator, count: number): Section[] {
  const has = (mask: string, bit: number) => ((node.number(mask, 0) >> bit) & 1) === 1;
  const bits = Array.from({ length: count }, (_, bit) => bit);
  const ellipsis = bits.find((bit) => has('ellipsis_mask', bit));
  return bits.flatMap((bit): Section[] => {
    if (bit === ellipsis) {
      const taken = bits.filter((other) => other !== ellipsis && !has('new_axis_mask', other)).length;
      return new Array<Section>(Math.max(0, node.rank(0) - taken)).fill({ kind: 'all' });
    }
    if (has('new_axis_mask', bit)) return [{ kind: 'new' }];
    if (has('shrink_axis_mask', bit)) return [{ kind: 'one', at: bit }];
    return [{ kind: 'range', at: bit, hasBegin: !has('begin_mask', bit), hasEnd: !has('end_mask', bit) }];
  });
}

const stridedSlice: Converter = (node) => {
  const begin = node.known(1);
  const end = node.known(2);
  const strides = node.need(3, 'strides');
  const sections = sectionsOf(node, strides.length);
  const all = sections.filter((section) => section.kind !== 'new');
  const dtype = node.dtype(0);
  const held: DType = dtype === 'int32' && node.value(0).forms.has('plain/int64') ? 'int64' : dtype;
  const forwards = begin && end ? cutForwards(all, { begin, end, strides }) : undefined;
  const cut = forwards ? all.map((section, axis) => (forwards.axes.includes(axis) ? withoutBounds(section) : section)) : all;
  const cuts = cut.flatMap((section, axis) => (isCut(section, strides) ? [{ axis, section }] : []));
  let name = node.in(0, 'plain', held);
  if (forwards) name = node.emit('Slice', [name, node.ints(forwards.starts), node.ints(forwards.ends), node.ints(forwards.axes)]);
  if (cuts.length > 0) {
    const starts = boundary(node, { cuts, index: 1, known: begin, open: (stride) => (stride > 0 ? 0 : END) });
    const ends = boundary(node, { cuts, index: 2, known: end, open: (stride) => (stride > 0 ? END : -END) });
    const steps = cuts.map(({ section }) => (section.kind === 'range' ? strides[section.at]! : 1));
    const axes = node.ints(cuts.map(({ axis }) => axis));
    name = node.emit('Slice', [name, starts, ends, axes, ...(steps.every((step) => step === 1) ? [] : [node.ints(steps)])]);
  }
  const gone = cut.flatMap((section, axis) => (section.kind === 'one' ? [axis] : []));
  if (gone.length > 0) name = node.emit('Squeeze', [name, node.ints(gone)]);
  const added = sections.filter((section) => section.kind !== 'one').flatMap((section, axis) => (section.kind === 'new' ? [axis] : []));
  if (added.length > 0) name = node.emit('Unsqueeze', [name, node.ints(added)]);
  node.set(0, name, { held });
};

interface Bounds {
  readonly begin: readonly number[];
  readonly end: readonly number[];
  readonly strides: readonly number[];
}

/**
 * What is read backwards from one place to another is cut out forwards first, and then reversed whole: a Slice that does both gives wrong
 * elements on ONNX Runtime 1.30's WebGPU.
 */
function cutForwards(
  sections: readonly Section[],
  { begin, end, strides }: Bounds,
): { axes: number[]; starts: number[]; ends: number[] } | undefined {
  const found = sections.flatMap((section, axis) => {
    const isBackwards = section.kind === 'range' && strides[section.at]! < 0 && (section.hasBegin || section.hasEnd);
    return isBackwards
      ? [{ axis, start: section.hasEnd ? after(end[section.at]!) : 0, end: section.hasBegin ? after(begin[section.at]!) : END }]
      : [];
  });
  if (found.length === 0) return undefined;
  return { axes: found.map(({ axis }) => axis), starts: found.map(({ start }) => start), ends: found.map((place) => place.end) };
}

function withoutBounds(section: Section): Section {
  return section.kind === 'range' ? { ...section, hasBegin: false, hasEnd: false } : section;
}

type Cut = Exclude<Section, { kind: 'all' | 'new' }>;

function isCut(section: Section, strides: readonly number[]): section is Cut {
  if (section.kind === 'one') return true;
  return section.kind === 'range' && (section.hasBegin || section.hasEnd || strides[section.at] !== 1);
}

interface Boundary {
  readonly cuts: readonly { readonly section: Section }[];
  /** Of the input. */
  readonly index: 1 | 2;
  readonly known: readonly number[] | undefined;
  /** Where an axis is cut that has no such boundary. */
  readonly open: (stride: number) => number;
}

/** Where the axes are cut, as an input of `Slice`. */
function boundary(node: Operator, { cuts, index, known, open }: Boundary): string {
  const strides = node.need(3, 'strides');
  const fixed = cuts.map(({ section }) => {
    if (section.kind === 'range') {
      const isOpen = index === 1 ? !section.hasBegin : !section.hasEnd;
      if (isOpen) return open(strides[section.at]!);
      return known?.[section.at];
    }
    if (section.kind !== 'one') return 0;
    const at = index === 1 ? known?.[section.at] : node.known(1)?.[section.at];
    return at === undefined || index === 1 ? at : after(at);
  });
  if (fixed.every((place) => place !== undefined)) return node.ints(fixed.map((place) => Math.max(-END, Math.min(END, place))));
  const entries = cuts.map(({ section }, position) => {
    const place = fixed[position];
    if (place !== undefined) return node.ints([place]);
    const at = (section as Cut).at; // an open or left-out section has a fixed place
    const isSingle = section.kind === 'one';
    const entry = node.emit('Slice', [node.inInt64(isSingle ? 1 : index), node.ints([at]), node.ints([at + 1])]);
    if (!isSingle || index === 1) return entry;
    const next = node.emit('Add', [entry, node.ints([1])]);
    return node.emit('Where', [node.emit('Equal', [next, node.ints([0])]), node.ints([END]), next]);
  });
  return entries.length === 1 ? entries[0]! : node.emit('Concat', entries, { axis: 0 });
}

/** The end of a single element; after the last, counted from behind, comes the end. */
const after = (at: number) => (at === -1 ? END : at + 1);

const reverse: Converter = (node) => {
  const rank = node.rank(0);
  const given = node.need(1, 'axes');
  const isV1 = node.node.op === 'Reverse';
  const axes = isV1 ? given.flatMap((isReversed, axis) => (isReversed ? [axis] : [])) : given.map((axis) => node.axis(axis, rank));
  if (axes.length === 0) return node.pass(0, node.value(0));
  const all = (value: number) => node.ints(axes.map(() => value));
  node.set(0, node.emit('Slice', [node.in(0), all(-1), all(-END), node.ints(axes), all(-1)]));
};

const reverseSequence: Converter = (node) => {
  const time = node.number('seq_dim');
  const batch = node.number('batch_dim', 0);
  if (time + batch !== 1 || time < 0 || batch < 0) refuse('reverses sequences along other axes than the first two');
  const attributes = { time_axis: time, batch_axis: batch };
  node.set(0, node.emit('ReverseSequence', [node.in(0), node.inInt64(1)], attributes));
};

export const slicingOperators: Readonly<Record<string, Converter>> = {
  Slice: slice,
  StridedSlice: stridedSlice,
  Reverse: reverse,
  ReverseV2: reverse,
  ReverseSequence: reverseSequence,
};

import type { DType } from '../../../tensor/index.ts';
import type { Order } from '../graph-builder.ts';
import { isHeldBy } from '../kernel-dtypes.ts';
import { type Converter, type Operator, refuse } from '../operator.ts';
import { isChannelsSecond } from './convolutions.ts';

// What moves elements and changes shapes. Shapes are int32 in TensorFlow and int64 in ONNX; a value that came as int64 is used as such.

/** The end of any axis; ONNX cuts it to the size. */
const END = 2 ** 31 - 1;

const inNchw: readonly number[] = [0, 2, 3, 1];

/** A shape as an ONNX input: constant where all sizes, or all but one, are known; else computed by `otherwise`. */
function shapeInput(node: Operator, shape: readonly number[] | undefined, otherwise: () => string): string {
  const isConstant = shape && shape.filter((size) => size < 0).length <= 1 && !shape.includes(0);
  return isConstant ? node.ints(shape) : otherwise();
}

const reshape: Converter = (node) => {
  const known = node.known(1);
  // In TensorFlow a 0 is a size, in ONNX it copies one unless it is told not to.
  const isEmptied = known?.includes(0) ?? false;
  const shape = known ? node.ints(known) : shapeInput(node, node.outputShape(), () => node.inInt64(1));
  const direct = throughImage(node);
  node.set(0, node.emit('Reshape', [direct ?? node.in(0), shape], isEmptied ? { allowzero: 1 } : {}));
};

/** An image of one pixel has its elements in the same order either way. */
function throughImage(node: Operator): string | undefined {
  const shape = node.shape(0);
  const isPixel = shape?.length === 4 && ((shape[1] === 1 && shape[2] === 1) || shape[3] === 1);
  return isPixel && isChannelsSecond(node, 0) ? node.in(0, 'nchw') : undefined;
}

const expandDims: Converter = (node) => {
  const rank = node.rank(0) + 1;
  const axis = node.axis(node.needScalar(1, 'an axis'), rank);
  node.set(0, node.emit('Unsqueeze', [node.in(0), node.ints([axis])]));
};

const squeeze: Converter = (node) => {
  const axes = node.numbers('squeeze_dims', node.numbers('axis', []));
  const shape = node.shape(0);
  if (axes.length === 0) {
    const isStatic = shape?.every((size) => size >= 0);
    const ones = isStatic ? node.ints(shape!.flatMap((size, axis) => (size === 1 ? [axis] : []))) : '';
    return void node.set(0, node.emit('Squeeze', ones ? [node.in(0), ones] : [node.in(0)]));
  }
  const isImage = shape?.length === 4 && isChannelsSecond(node, 0);
  const resolved = shape ? axes.map((axis) => node.axis(axis, shape.length)).sort((a, b) => a - b) : axes;
  // Height and width go: batch and channels are left, in order.
  if (isImage && resolved.join() === '1,2') return void node.set(0, node.emit('Squeeze', [node.in(0, 'nchw'), node.ints([2, 3])]));
  node.set(0, node.emit('Squeeze', [node.in(0), node.ints(resolved)]));
};

const transpose: Converter = (node) => {
  const perm = node.need(1, 'an order of axes');
  const value = node.value(0);
  if (perm.every((axis, index) => axis === index)) return node.pass(0, value);
  if (!value.constant && perm.join() === '0,3,1,2') return void node.set(0, node.in(0, 'nchw'));
  if (!value.constant && perm.join() === '0,2,3,1') return void node.set(0, node.in(0), { order: 'nchw' });
  node.set(0, node.weight(0, { order: perm }));
};

/** Joined in the order that one of them has only, if it is that of an image with its channels second. */
const concat =
  (isAxisLast: boolean): Converter =>
  (node) => {
    const count = node.inputs.length - 1;
    const rank = node.outputShape()?.length ?? node.shape(isAxisLast ? 0 : 1)?.length;
    const given = node.needScalar(isAxisLast ? count : 0, 'an axis');
    const axis = rank === undefined ? given : node.axis(given, rank);
    const indices = Array.from({ length: count }, (_, index) => (isAxisLast ? index : index + 1));
    const order: Order = rank === 4 && indices.some((index) => isChannelsSecond(node, index)) ? 'nchw' : 'plain';
    const names = indices.map((index) => node.in(index, order));
    const name = node.emit('Concat', names, { axis: order === 'nchw' ? inNchw[axis]! : axis });
    node.set(0, name, { order });
  };

const pack: Converter = (node) => {
  const rank = node.rank(0) + 1;
  const axis = node.axis(node.number('axis', 0), rank);
  // A shape made of numbers stays int64 from `Shape` to `Reshape`.
  const dtype = node.dtype(0);
  const held: DType = dtype === 'int32' && node.inputs.some((value) => value.forms.has('plain/int64')) ? 'int64' : dtype;
  const rows = node.inputs.map((_, index) => node.emit('Unsqueeze', [node.in(index, 'plain', held), node.ints([axis])]));
  node.set(0, node.emit('Concat', rows, { axis }), { held });
};

const unpack: Converter = (node) => {
  const axis = node.axis(node.number('axis', 0), node.rank(0));
  const count = node.number('num');
  if (count === 0) return;
  const rows = count === 1 ? [node.in(0)] : node.emitMany('Split', [node.in(0)], { axis, num_outputs: count }, count);
  rows.forEach((row, index) => {
    node.set(index, node.emit('Squeeze', [row, node.ints([axis])]));
  });
};

/** Parts along an axis: `sizes` as ONNX wants them, or equal ones. */
function splitInto(node: Operator, input: number, axis: number, { count, sizes }: { count: number; sizes?: readonly number[] }): void {
  const isImage = node.shape(input)?.length === 4 && isChannelsSecond(node, input);
  const order: Order = isImage ? 'nchw' : 'plain';
  const x = node.in(input, order);
  if (count === 1) return void node.set(0, x, { order });
  const at = isImage ? inNchw[axis]! : axis;
  const parts = sizes
    ? node.emitMany('Split', [x, node.ints(sizes)], { axis: at }, count)
    : node.emitMany('Split', [x], { axis: at, num_outputs: count }, count);
  parts.forEach((part, index) => {
    node.set(index, part, { order });
  });
}

const split: Converter = (node) => {
  const axis = node.axis(node.needScalar(0, 'an axis'), node.rank(1));
  splitInto(node, 1, axis, { count: node.number('num_split') });
};

const splitV: Converter = (node) => {
  const axis = node.axis(node.needScalar(2, 'an axis'), node.rank(0));
  const sizes = node.need(1, 'sizes');
  const known = sizes.filter((size) => size >= 0).reduce((sum, size) => sum + size, 0);
  const whole = node.shape(0)?.[axis] ?? -1;
  if (known < 0 || (sizes.includes(-1) && whole < 0)) refuse('leaves the size of a part open on an axis of unknown size');
  splitInto(node, 0, axis, { count: sizes.length, sizes: sizes.map((size) => (size < 0 ? whole - known : size)) });
};

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

const gather: Converter = (node) => {
  const rank = node.shape(0)?.length;
  const given = node.node.op === 'GatherV2' ? node.needScalar(2, 'an axis') : 0;
  const axis = rank === undefined ? given : node.axis(given, rank);
  const indexRank = node.shape(1)?.length;
  const batch = node.number('batch_dims', 0);
  const batches = batch < 0 ? batch + (indexRank ?? refuse('needs the rank of its indices')) : batch;
  const indexType = node.dtype(1) === 'int64' ? 'int64' : 'int32';
  if (batches === 0) {
    const isTable = node.constant(0) !== undefined && rank === 2 && axis === 0;
    const table = isTable ? node.weight(0, { order: [0, 1], channels: 0 }) : node.in(0, 'plain', heldShape(node));
    return void node.set(0, node.emit('Gather', [table, node.in(1, 'plain', indexType)], { axis }), { held: heldShape(node) });
  }
  if (axis !== batches) refuse(`gathers along axis ${axis} behind ${batches} batch axes`);
  const indices = node.emit('Unsqueeze', [node.inInt64(1), node.ints([indexRank ?? refuse('needs the rank of its indices')])]);
  node.set(0, node.emit('GatherND', [node.in(0), indices], { batch_dims: batches }));
};

/** A shape that is int64 already stays so. */
function heldShape(node: Operator): DType {
  const dtype = node.dtype(0);
  const { forms, constant } = node.value(0);
  return dtype === 'int32' && !constant && forms.has('plain/int64') ? 'int64' : dtype;
}

const gatherNd: Converter = (node) => void node.set(0, node.emit('GatherND', [node.in(0), node.inInt64(1)]));

const scatterNd: Converter = (node) => {
  const dtype = node.dtype(1);
  const zeros = node.emit('Expand', [node.scalar(dtype, 0), shapeInput(node, fullShape(node.known(2)), () => node.inInt64(2))]);
  node.set(0, node.emit('ScatterND', [zeros, node.inInt64(0), node.in(1)], { reduction: 'add' }));
};

function fullShape(shape: readonly number[] | undefined): readonly number[] | undefined {
  return shape?.every((size) => size > 0) ? shape : undefined;
}

const tensorScatter =
  (reduction: 'none' | 'add' | 'max' | 'min'): Converter =>
  (node) =>
    void node.set(0, node.emit('ScatterND', [node.in(0), node.inInt64(1), node.in(2)], { reduction }), {
      dtype: node.value(0).dtype,
      shape: node.shape(0),
    });

const tile: Converter = (node) => {
  const repeats = node.known(1) ? node.ints(node.need(1, 'repeats')) : node.inInt64(1);
  const dtype = node.dtype(0);
  node.set(0, node.emit('Tile', [node.in(0), repeats]), { held: node.held(dtype) });
};

const broadcastTo: Converter = (node) => {
  const known = node.known(1);
  node.set(0, node.emit('Expand', [node.in(0), known ? node.ints(known) : node.inInt64(1)]));
};

const fill: Converter = (node) => {
  const known = node.known(0);
  node.set(0, node.emit('Expand', [node.in(1), known ? node.ints(known) : node.inInt64(0)]));
};

const pad: Converter = (node) => {
  const dtype = node.dtype(0);
  const value = node.inputs.length > 2 ? [node.in(2)] : [];
  const pairs = node.known(1);
  if (!pairs) {
    const turned = node.emit('Transpose', [node.inInt64(1)], { perm: [1, 0] });
    const amounts = node.emit('Reshape', [turned, node.ints([-1])]);
    return void node.set(0, padded(node, dtype, [node.in(0), amounts, ...value]));
  }
  const isImage = pairs.length === 8 && isChannelsSecond(node, 0);
  const order: Order = isImage ? 'nchw' : 'plain';
  const axes = isImage ? [0, 3, 1, 2] : Array.from({ length: pairs.length / 2 }, (_, axis) => axis);
  const amounts = node.ints([...axes.map((axis) => pairs[2 * axis]!), ...axes.map((axis) => pairs[2 * axis + 1]!)]);
  node.set(0, padded(node, dtype, [node.in(0, order), amounts, ...value]), { order });
};

function padded(node: Operator, dtype: DType, [x, amounts, value]: readonly string[], mode = 'constant'): string {
  const narrow: readonly DType[] = ['int16', 'uint16', 'bfloat16'];
  if (!narrow.includes(dtype)) return node.emit('Pad', value ? [x!, amounts!, value] : [x!, amounts!], { mode });
  const carrier = dtype === 'bfloat16' ? 'float32' : 'int32';
  const inputs = [node.cast(x!, carrier), amounts!, ...(value ? [node.cast(value, carrier)] : [])];
  return node.cast(node.emit('Pad', inputs, { mode }), dtype);
}

const mirrorPad: Converter = (node) => {
  const pairs = node.need(1, 'paddings');
  const rank = pairs.length / 2;
  const isImage = rank === 4 && isChannelsSecond(node, 0);
  const order: Order = isImage ? 'nchw' : 'plain';
  const axes = isImage ? [0, 3, 1, 2] : Array.from({ length: rank }, (_, axis) => axis);
  const before = axes.map((axis) => pairs[2 * axis]!);
  const behind = axes.map((axis) => pairs[2 * axis + 1]!);
  const mode = node.string('mode', 'REFLECT') === 'REFLECT' ? 'reflect' : pairs.every((size) => size <= 1) ? 'edge' : undefined;
  if (mode) return void node.set(0, padded(node, node.dtype(0), [node.in(0, order), node.ints([...before, ...behind])], mode), { order });
  // The elements at an edge, and that edge itself, in reverse.
  let name = node.in(0, order);
  axes.forEach((_, axis) => {
    const reversed = (start: number, end: number) => {
      const edge = node.emit('Slice', [name, node.ints([start]), node.ints([end]), node.ints([axis])]);
      return node.emit('Slice', [edge, node.ints([-1]), node.ints([-END]), node.ints([axis]), node.ints([-1])]);
    };
    const parts = [
      ...(before[axis]! > 0 ? [reversed(0, before[axis]!)] : []),
      name,
      ...(behind[axis]! > 0 ? [reversed(-behind[axis]!, END)] : []),
    ];
    if (parts.length > 1) name = node.emit('Concat', parts, { axis });
  });
  node.set(0, name, { order });
};

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

const shapeOf: Converter = (node) => {
  node.inputs.forEach((_, index) => {
    const shape = node.shape(index);
    const isStatic = shape?.every((size) => size >= 0);
    node.set(index, isStatic ? node.ints(shape!) : sizesOf(node, index), { held: 'int64' });
  });
};

/** The shape in TensorFlow's order, of whichever order is at hand. */
function sizesOf(node: Operator, index: number): string {
  if (!isChannelsSecond(node, index)) return node.emit('Shape', [node.in(index)]);
  return node.emit('Gather', [node.emit('Shape', [node.in(index, 'nchw')]), node.ints([0, 2, 3, 1])]);
}

const rankOf: Converter = (node) => {
  const rank = node.shape(0)?.length;
  const name = rank === undefined ? node.emit('Size', [node.emit('Shape', [node.in(0)])]) : node.scalar('int64', rank);
  node.set(0, name, { held: 'int64' });
};

const sizeOf: Converter = (node) => void node.set(0, node.emit('Size', [node.in(0)]), { held: 'int64' });

const whereTrue: Converter = (node) => {
  const found = node.emitTyped('NonZero', [node.in(0)], { dtype: node.dtype(0), isSame: false });
  node.set(0, node.emit('Transpose', [found], { perm: [1, 0] }), { held: 'int64' });
};

const depthToSpace: Converter = (node) => {
  if (node.string('data_format', 'NHWC') !== 'NHWC') refuse('has channels second');
  const attributes = { blocksize: node.number('block_size'), mode: 'DCR' };
  node.set(0, node.emitTyped('DepthToSpace', [node.in(0, 'nchw')], { dtype: node.dtype(0), attributes }), { order: 'nchw' });
};

const spaceToDepth: Converter = (node) => {
  if (node.string('data_format', 'NHWC') !== 'NHWC') refuse('has channels second');
  const attributes = { blocksize: node.number('block_size') };
  node.set(0, node.emitTyped('SpaceToDepth', [node.in(0, 'nchw')], { dtype: node.dtype(0), attributes }), { order: 'nchw' });
};

/** Blocks of the spatial axes become batches (dilated convolutions before TensorFlow had them). */
const spaceToBatch: Converter = (node) => {
  const { blocks, pairs, shape } = blocksOf(node, 'paddings');
  const spatial = blocks.map((_, index) => index + 1);
  const rest = shape.slice(blocks.length + 1);
  const sizes = spatial.map((axis) => shape[axis]! + pairs[2 * axis - 2]! + pairs[2 * axis - 1]!);
  const before = spatial.map((axis) => pairs[2 * axis - 2]!);
  const behind = spatial.map((axis) => pairs[2 * axis - 1]!);
  const none = rest.map(() => 0);
  const full = padded(node, node.dtype(0), [node.in(0), node.ints([0, ...before, ...none, 0, ...behind, ...none])]);
  const parts = sizes.flatMap((size, index) => [size / blocks[index]!, blocks[index]!]);
  const cut = node.emit('Reshape', [full, node.ints([0, ...parts, ...rest])]);
  const perm = [
    ...blocks.map((_, index) => 2 * index + 2),
    0,
    ...blocks.map((_, index) => 2 * index + 1),
    ...rest.map((_, index) => 2 * blocks.length + 1 + index),
  ];
  const turned = node.emit('Transpose', [cut], { perm });
  const out = [-1, ...sizes.map((size, index) => size / blocks[index]!), ...rest];
  node.set(0, node.emit('Reshape', [turned, node.ints(out)]));
};

const batchToSpace: Converter = (node) => {
  const { blocks, pairs, shape } = blocksOf(node, 'crops');
  const rest = shape.slice(blocks.length + 1);
  const spatial = shape.slice(1, blocks.length + 1);
  const count = blocks.length;
  const cut = node.emit('Reshape', [node.in(0), node.ints([...blocks, -1, ...spatial, ...rest])]);
  const perm = [count, ...blocks.flatMap((_, index) => [count + 1 + index, index]), ...rest.map((_, index) => 2 * count + 1 + index)];
  const turned = node.emit('Transpose', [cut], { perm });
  const sizes = spatial.map((size, index) => size * blocks[index]!);
  const whole = node.emit('Reshape', [turned, node.ints([-1, ...sizes, ...rest])]);
  if (pairs.every((size) => size === 0)) return void node.set(0, whole);
  const starts = blocks.map((_, index) => pairs[2 * index]!);
  const ends = sizes.map((size, index) => size - pairs[2 * index + 1]!);
  const axes = blocks.map((_, index) => index + 1);
  node.set(0, node.emit('Slice', [whole, node.ints(starts), node.ints(ends), node.ints(axes)]));
};

function blocksOf(node: Operator, what: string): { blocks: readonly number[]; pairs: readonly number[]; shape: readonly number[] } {
  const blocks = node.need(1, 'block sizes');
  const pairs = node.need(2, what);
  const shape = node.shape(0);
  if (!shape?.slice(1).every((size) => size > 0)) refuse('needs an image of known size');
  return { blocks, pairs, shape: shape as readonly number[] }; // refused otherwise
}

const resize =
  (mode: 'linear' | 'nearest'): Converter =>
  (node) => {
    const isHalf = node.bool('half_pixel_centers');
    const isAligned = node.bool('align_corners');
    const attributes = {
      mode,
      coordinate_transformation_mode: isHalf ? 'half_pixel' : isAligned ? 'align_corners' : 'asymmetric',
      // floor((x + 0.5) * scale) of TensorFlow is ONNX's half-pixel coordinate, half of which is taken off, rounded up.
      ...(mode === 'nearest' && { nearest_mode: isHalf || isAligned ? 'round_prefer_ceil' : 'floor' }),
    };
    const dtype = node.dtype(0);
    // TensorFlow interpolates everything as float32.
    const from = mode === 'nearest' && isHeldBy('Resize', dtype) ? dtype : node.held('float32');
    const image = node.in(0, 'nchw', from);
    const resized = node.emit('Resize', [image, '', ...targetOf(node, image)], attributes);
    const isKept = mode === 'nearest' && dtype !== from;
    node.set(0, isKept ? node.cast(resized, dtype) : resized, { order: 'nchw' });
  };

/**
 * Scales where they are exact, else all four sizes: of the attribute `axes`, which would leave batch and channels out, ONNX Runtime 1.30
 * makes a wrong model when it moves a Transpose over the Resize.
 */
function targetOf(node: Operator, image: string): readonly string[] {
  const size = node.known(1);
  const from = node.shape(0)?.slice(1, 3) ?? [-1, -1];
  const scales = size?.map((to, axis) => to / from[axis]!);
  const isExact = scales?.every((scale, axis) => scale > 0 && Math.fround(scale) === scale && scale * from[axis]! === size![axis]);
  if (isExact) return [node.literal('float32', [1, 1, ...scales!])];
  const kept = node.emit('Shape', [image], { end: 2 });
  return ['', node.emit('Concat', [kept, size ? node.ints(size) : node.inInt64(1)], { axis: 0 })];
}

export const shapingOperators: Readonly<Record<string, Converter>> = {
  Reshape: reshape,
  ExpandDims: expandDims,
  Squeeze: squeeze,
  Transpose: transpose,
  Concat: concat(false),
  ConcatV2: concat(true),
  Pack: pack,
  Unpack: unpack,
  Split: split,
  SplitV: splitV,
  Slice: slice,
  StridedSlice: stridedSlice,
  Gather: gather,
  GatherV2: gather,
  GatherNd: gatherNd,
  ScatterNd: scatterNd,
  TensorScatterUpdate: tensorScatter('none'),
  TensorScatterAdd: tensorScatter('add'),
  TensorScatterMax: tensorScatter('max'),
  TensorScatterMin: tensorScatter('min'),
  Tile: tile,
  BroadcastTo: broadcastTo,
  Fill: fill,
  Pad: pad,
  PadV2: pad,
  MirrorPad: mirrorPad,
  Reverse: reverse,
  ReverseV2: reverse,
  ReverseSequence: reverseSequence,
  Shape: shapeOf,
  ShapeN: shapeOf,
  Rank: rankOf,
  Size: sizeOf,
  Where: whereTrue,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  SpaceToBatchND: spaceToBatch,
  BatchToSpaceND: batchToSpace,
  ResizeBilinear: resize('linear'),
  ResizeNearestNeighbor: resize('nearest'),
};

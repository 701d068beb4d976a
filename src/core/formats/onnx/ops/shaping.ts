import type { DType } from '../../../tensor/index.ts';
import type { Order } from '../graph-builder.ts';
import { type Converter, type Operator, refuse } from '../operator.ts';
import { inNchw } from './axes.ts';
import { isChannelsSecond } from './convolutions.ts';

// What changes shapes. They are int32 in TensorFlow and int64 in ONNX; a value that came as int64 is used as such.

/** A shape as an ONNX input: constant where all sizes, or all but one, are known; else computed by `otherwise`. */
export function shapeInput(node: Operator, shape: readonly number[] | undefined, otherwise: () => string): string {
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
  Tile: tile,
  BroadcastTo: broadcastTo,
  Fill: fill,
  Shape: shapeOf,
  ShapeN: shapeOf,
  Rank: rankOf,
  Size: sizeOf,
};

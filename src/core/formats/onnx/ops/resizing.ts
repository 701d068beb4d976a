import type { DType } from '../../../tensor/index.ts';
import type { Order } from '../graph-builder.ts';
import { isHeldBy } from '../kernel-dtypes.ts';
import { type Converter, type Operator, refuse } from '../operator.ts';
import { END } from './axes.ts';
import { isChannelsSecond } from './convolutions.ts';

// What makes images, and the axes of other tensors, larger and smaller.

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

export const resizingOperators: Readonly<Record<string, Converter>> = {
  Pad: pad,
  PadV2: pad,
  MirrorPad: mirrorPad,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  SpaceToBatchND: spaceToBatch,
  BatchToSpaceND: batchToSpace,
  ResizeBilinear: resize('linear'),
  ResizeNearestNeighbor: resize('nearest'),
};

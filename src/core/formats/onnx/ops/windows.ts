import type { OnnxAttributes } from '../encode.ts';
import { type Operator, refuse } from '../operator.ts';

/** An image input of a window operator: which axes of TensorFlow's order are which. */
export interface ImageLayout {
  /** Whether the channels come second in the TensorFlow graph too. */
  readonly isChannelsFirst: boolean;
  readonly spatial: readonly number[];
  readonly channel: number;
}

export function imageLayout(format: string, rank: number): ImageLayout {
  const isChannelsFirst = format.startsWith('NC');
  const start = isChannelsFirst ? 2 : 1;
  const spatial = Array.from({ length: rank - 2 }, (_, index) => start + index);
  return { isChannelsFirst, spatial, channel: isChannelsFirst ? 1 : rank - 1 };
}

/** The name of an image with its channels second. */
export function imageIn(node: Operator, index: number, { isChannelsFirst, spatial }: ImageLayout): string {
  if (isChannelsFirst) return node.in(index);
  if (spatial.length === 2) return node.in(index, 'nchw');
  return node.emit('Transpose', [node.in(index)], { perm: [0, spatial.length + 1, ...spatial] });
}

/** Names an output image whose channels are second. */
export function setImage(node: Operator, index: number, name: string, { isChannelsFirst, spatial }: ImageLayout): void {
  if (isChannelsFirst) node.set(index, name);
  else if (spatial.length === 2) node.set(index, name, { order: 'nchw' });
  else node.set(index, node.emit('Transpose', [name], { perm: [0, ...spatial.map((axis) => axis + 1), 1] }));
}

export interface Windows {
  /** Sizes, strides and dilations of the spatial axes. */
  readonly sizes: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
}

/** Padding of a convolution or pooling as ONNX attributes; numbers where they are known, else by the rule. */
export function paddingOf(node: Operator, layout: ImageLayout, windows: Windows): OnnxAttributes {
  const padding = node.string('padding');
  if (padding === 'VALID') return {};
  if (padding === 'EXPLICIT') {
    const explicit = node.numbers('explicit_paddings');
    const pairs = layout.spatial.map((axis) => [explicit[2 * axis] ?? 0, explicit[2 * axis + 1] ?? 0] as const);
    return { pads: [...pairs.map(([before]) => before), ...pairs.map(([, after]) => after)] };
  }
  if (padding !== 'SAME') refuse(`has the padding ${padding}`);
  const shape = node.shape(0);
  const totals = layout.spatial.map((axis, index) => sameTotal(shape?.[axis] ?? -1, windows, index));
  if (totals.every((total) => total !== undefined)) {
    const before = totals.map((total) => Math.floor(total / 2));
    return { pads: [...before, ...totals.map((total, index) => total - before[index]!)] };
  }
  if (windows.dilations.some((dilation) => dilation !== 1)) refuse('has SAME padding, strides and dilations on an image of unknown size');
  return { auto_pad: 'SAME_UPPER' };
}

/** Padding of one axis by tensorflow/core/framework/common_shape_fns.cc; with a stride of 1 any size has the same. */
function sameTotal(size: number, { sizes, strides, dilations }: Windows, index: number): number | undefined {
  const window = (sizes[index]! - 1) * dilations[index]! + 1;
  const stride = strides[index]!;
  if (stride === 1) return window - 1;
  if (size < 0) return undefined;
  return Math.max(0, (Math.ceil(size / stride) - 1) * stride + window - size);
}

/** The entries of a list attribute with one per axis, of the spatial axes. */
export function spatialOf(list: readonly number[], { spatial }: ImageLayout): readonly number[] {
  return spatial.map((axis) => list[axis] ?? 1);
}

import { attribute, type Constant } from '../../graph/index.ts';
import type { Dim, GraphBuilder, Value } from '../builder.ts';
import { damaged, unsupported } from '../problems.ts';
import { reshaped, sliced } from '../variables.ts';
import { activated } from './activations.ts';
import { type LayerKind, type Lowering, one, own } from './layer-kind.ts';

// All in channels-last form: channels-first layers transpose before and after, which a pass may cancel between two of them.

type Padding = 'SAME' | 'VALID';

interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly padding: Padding;
}

const withBias = ({ config }: Lowering['layer'], ...names: string[]) => own(...names, config.bool('use_bias', true) && 'bias');

const conv = (rank: number): LayerKind => ({
  slots: (layer) => withBias(layer, 'kernel'),
  lower: (call) => channelsLast(call, (x) => convolve(call, x, rank)),
});

const transposed = (rank: number): LayerKind => ({
  slots: (layer) => withBias(layer, 'kernel'),
  lower: (call) => channelsLast(call, (x) => convolveTransposed(call, x, rank)),
});

const depthwise = (rank: number): LayerKind => ({
  slots: (layer) => withBias(layer, 'depthwise_kernel'),
  lower: (call) => channelsLast(call, (x) => finish(call, depthwiseConvolve(call, x, rank))),
});

const separable = (rank: number): LayerKind => ({
  slots: (layer) => withBias(layer, 'depthwise_kernel', 'pointwise_kernel'),
  lower: (call) =>
    channelsLast(call, (x) => {
      const deep = depthwiseConvolve(call, x, rank);
      const pointwise = call.variables.get('pointwise_kernel', rank + 2);
      const ones = Array.from({ length: rank }, () => 1);
      const window: Window = { kernel: ones, strides: ones, dilations: ones, padding: 'VALID' };
      return finish(call, applyConv(call.builder, deep, pointwise, window, 'pointwise_kernel'));
    }),
});

export const convolutionLayers: Readonly<Record<string, LayerKind>> = {
  Conv1D: conv(1),
  Convolution1D: conv(1),
  Conv2D: conv(2),
  Convolution2D: conv(2),
  Conv3D: conv(3),
  Conv1DTranspose: transposed(1),
  Conv2DTranspose: transposed(2),
  DepthwiseConv1D: depthwise(1),
  DepthwiseConv2D: depthwise(2),
  SeparableConv1D: separable(1),
  SeparableConv2D: separable(2),
  ...Object.fromEntries(
    [1, 2, 3].flatMap((rank): [string, LayerKind][] => [
      [`MaxPooling${rank}D`, { lower: (call) => channelsLast(call, (x) => pool(call, x, rank, 'Max')) }],
      [`AveragePooling${rank}D`, { lower: (call) => channelsLast(call, (x) => pool(call, x, rank, 'Avg')) }],
      [`GlobalMaxPooling${rank}D`, { lower: (call) => globalPool(call, rank, 'Max') }],
      [`GlobalAveragePooling${rank}D`, { lower: (call) => globalPool(call, rank, 'Mean') }],
    ]),
  ),
};

/** Moves channels to the last axis and back where the layer has them first. */
function channelsLast(call: Lowering, lower: (x: Value) => Value): Value {
  const { builder: b, config } = call;
  const x = one(call);
  if (!config.isChannelsFirst()) return lower(x);
  const rank = x.shape.length;
  const y = lower(b.transpose(x, [0, ...[...x.shape.keys()].slice(2), 1]));
  return b.transpose(y, [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, axis) => axis + 1)]);
}

function finish(call: Lowering, x: Value): Value {
  const { builder: b, config, variables } = call;
  const bias = config.bool('use_bias', true) ? b.weight(variables.get('bias', 1), 'bias') : undefined;
  return activated(call, b.bias(x, bias));
}

function convolve(call: Lowering, x: Value, rank: number): Value {
  const { builder: b, config, variables } = call;
  assertRank(call, x, rank);
  const kernel = variables.get('kernel', rank + 2);
  const window = windowOf(call, kernel.shape.slice(0, rank), rank);
  const padded = causal(call, x, window);
  const groups = config.count('groups', 1);
  const channels = x.shape.at(-1)!;
  if (kernel.shape[rank]! * groups !== channels) throw damaged(`${config.where} has a kernel of [${kernel.shape}] for [${x.shape}]`);
  if (groups === 1) return finish(call, applyConv(b, padded, kernel, window, 'kernel'));
  const filters = kernel.shape[rank + 1]! / groups;
  if (!Number.isInteger(filters)) throw damaged(`${config.where} has a kernel of [${kernel.shape}] in ${groups} groups`);
  if (groups === channels && rank < 3) {
    const deep = reshaped(kernel, [...kernel.shape.slice(0, rank), channels, filters]);
    return finish(call, applyDepthwise(b, padded, deep, window, 'kernel'));
  }
  // Backends have no grouped convolution: one for each group.
  const parts = b.split(padded, groups, -1).map((part, index) => {
    const own = sliced(kernel, rank + 1, index * filters, (index + 1) * filters);
    return applyConv(b, part, own, window, `kernel_${index}`);
  });
  return finish(call, b.concat(parts, -1));
}

function applyConv(b: GraphBuilder, x: Value, kernel: Constant, window: Window, name: string): Value {
  const rank = window.kernel.length;
  if (rank === 1) {
    const wide = reshaped(kernel, [1, ...kernel.shape]);
    const lifted: Window = {
      padding: window.padding,
      kernel: [1, ...window.kernel],
      strides: [1, ...window.strides],
      dilations: [1, ...window.dilations],
    };
    return b.squeeze(applyConv(b, b.expandDims(x, 1), wide, lifted, name), 1);
  }
  const shape = [x.shape[0]!, ...slid(x, window), kernel.shape.at(-1)!];
  return b.op(`Conv${rank}D`, [x, b.weight(kernel, name)], windowAttributes(window), 'float32', shape);
}

function depthwiseConvolve(call: Lowering, x: Value, rank: number): Value {
  const { builder: b, config, variables } = call;
  assertRank(call, x, rank);
  const kernel = variables.get('depthwise_kernel', rank + 2);
  const channels = x.shape.at(-1)!;
  if (kernel.shape[rank] !== channels) throw damaged(`${config.where} has a kernel of [${kernel.shape}] for [${x.shape}]`);
  const window = windowOf(call, kernel.shape.slice(0, rank), rank);
  return applyDepthwise(b, causal(call, x, window), kernel, window, 'depthwise_kernel');
}

/** @param kernel [...window, channels, multiplier] */
function applyDepthwise(b: GraphBuilder, x: Value, kernel: Constant, window: Window, name: string): Value {
  const rank = window.kernel.length;
  if (rank === 1) {
    const lifted: Window = {
      padding: window.padding,
      kernel: [1, ...window.kernel],
      // The op wants equal strides; a height of 1 has one place whatever the stride.
      strides: [window.strides[0]!, ...window.strides],
      dilations: [1, ...window.dilations],
    };
    return b.squeeze(applyDepthwise(b, b.expandDims(x, 1), reshaped(kernel, [1, ...kernel.shape]), lifted, name), 1);
  }
  const shape = [x.shape[0]!, ...slid(x, window), kernel.shape[rank]! * kernel.shape[rank + 1]!];
  return b.op('DepthwiseConv2dNative', [x, b.weight(kernel, name)], windowAttributes(window), 'float32', shape);
}

/** `Conv2DBackpropInput` wants the size of its output as a tensor. */
function convolveTransposed(call: Lowering, x: Value, rank: number): Value {
  const { builder: b, config, variables } = call;
  assertRank(call, x, rank);
  const kernel = variables.get('kernel', rank + 2);
  const window = windowOf(call, kernel.shape.slice(0, rank), rank);
  if (window.dilations.some((dilation) => dilation !== 1)) throw unsupported(`${config.where} is dilated`);
  if (kernel.shape[rank + 1] !== x.shape.at(-1)) throw damaged(`${config.where} has a kernel of [${kernel.shape}] for [${x.shape}]`);
  const extra = config.get('output_padding') === undefined ? undefined : config.ints('output_padding', rank);
  const dims = b.dims(x);
  const sizes = window.kernel.map((size, axis): Dim => {
    const stride = window.strides[axis]!;
    // keras/src/backend/common/backend_utils.py, compute_conv_transpose_output_shape: (in - 1) * stride + rest.
    const rest = transposedRest(size, stride, window.padding, extra?.[axis]);
    const dim = dims[axis + 1]!;
    return typeof dim === 'number' ? (dim - 1) * stride + rest : b.add(b.mul(dim, b.int(stride)), b.int(rest - stride));
  });
  const filters = kernel.shape[rank]!;
  const wide = rank === 1;
  const out: Dim[] = [dims[0]!, ...(wide ? [1] : []), ...sizes, filters];
  const shape = out.map((dim) => (typeof dim === 'number' ? dim : -1));
  const lifted: Window = wide
    ? { padding: window.padding, kernel: [1, ...window.kernel], strides: [1, ...window.strides], dilations: [1, 1] }
    : window;
  const weight = b.weight(wide ? reshaped(kernel, [1, ...kernel.shape]) : kernel, 'kernel');
  const inputs = [b.shapeVector(out), weight, wide ? b.expandDims(x, 1) : x];
  const y = b.op('Conv2DBackpropInput', inputs, windowAttributes(lifted), 'float32', shape);
  return finish(call, wide ? b.squeeze(y, 1) : y);
}

function transposedRest(kernel: number, stride: number, padding: Padding, extra: number | undefined): number {
  if (extra === undefined) return padding === 'VALID' ? Math.max(kernel, stride) : stride;
  const inset = padding === 'VALID' ? 0 : Math.floor(kernel / 2);
  return kernel - 2 * inset + extra;
}

function pool(call: Lowering, x: Value, rank: number, kind: 'Max' | 'Avg'): Value {
  const { builder: b } = call;
  assertRank(call, x, rank);
  const window = poolWindow(call, rank);
  const lifted: Window =
    rank === 1 ? { padding: window.padding, kernel: [1, ...window.kernel], strides: [1, ...window.strides], dilations: [1, 1] } : window;
  const image = rank === 1 ? b.expandDims(x, 1) : x;
  const attributes = {
    T: attribute.type('float32'),
    ksize: attribute.ints([1, ...lifted.kernel, 1]),
    strides: attribute.ints([1, ...lifted.strides, 1]),
    padding: attribute.string(lifted.padding),
    data_format: attribute.string(rank === 3 ? 'NDHWC' : 'NHWC'),
  };
  const shape = [x.shape[0]!, ...slid(image, lifted), x.shape.at(-1)!];
  const y = b.op(`${kind}Pool${rank === 3 ? '3D' : ''}`, [image], attributes, 'float32', shape);
  return rank === 1 ? b.squeeze(y, 1) : y;
}

function poolWindow({ config }: Lowering, rank: number): Window {
  // Keras 1 calls a window of one axis `pool_length`.
  const kernel = config.ints('pool_size', rank, config.number('pool_length', 2));
  const strides = config.get('strides') === undefined ? kernel : config.ints('strides', rank);
  return { kernel, strides, dilations: kernel.map(() => 1), padding: paddingOf(config.string('padding', 'valid'), config.where) };
}

function globalPool(call: Lowering, rank: number, op: 'Max' | 'Mean'): Value {
  const { builder: b, config } = call;
  const x = one(call);
  assertRank(call, x, rank);
  const axes = Array.from({ length: rank }, (_, axis) => axis + (config.isChannelsFirst() ? 2 : 1));
  const keep = config.bool('keepdims', false);
  if (!(x.mask && rank === 1 && op === 'Mean')) return b.reduce(op, x, axes, keep);
  // Keras averages over the steps that are not padding.
  const mask = b.expandDims(b.cast(x.mask, 'float32'), config.isChannelsFirst() ? 1 : 2);
  return b.binary('RealDiv', b.reduce('Sum', b.mul(x, mask), axes, keep), b.reduce('Sum', mask, axes, keep));
}

function windowOf({ config }: Lowering, kernel: readonly number[], rank: number): Window {
  const strides = config.ints('strides', rank, 1);
  const dilations = config.ints('dilation_rate', rank, 1);
  return { kernel, strides, dilations, padding: paddingOf(config.string('padding', 'valid'), config.where) };
}

function paddingOf(name: string, where: string): Padding {
  if (name === 'same') return 'SAME';
  if (name === 'valid' || name === 'causal') return 'VALID';
  throw damaged(`padding of ${where} is ${name}`);
}

/** Zeros before the first step, so that no step sees a later one. */
function causal({ builder: b, config }: Lowering, x: Value, { kernel, dilations }: Window): Value {
  if (config.string('padding', 'valid') !== 'causal') return x;
  if (kernel.length !== 1) throw damaged(`padding of ${config.where} is causal`);
  return b.pad(x, [
    [0, 0],
    [(kernel[0]! - 1) * dilations[0]!, 0],
    [0, 0],
  ]);
}

/** Sizes of the spatial axes after a window slid over them. */
function slid(x: Value, { kernel, strides, dilations, padding }: Window): number[] {
  return kernel.map((size, axis) => {
    const from = x.shape[axis + 1]!;
    if (from === -1) return -1;
    const covered = padding === 'SAME' ? from : from - (size - 1) * dilations[axis]!;
    if (covered <= 0) throw damaged(`a window of ${size} on an axis of ${from}`);
    return Math.ceil(covered / strides[axis]!);
  });
}

function windowAttributes({ strides, dilations, padding }: Window) {
  return {
    T: attribute.type('float32'),
    strides: attribute.ints([1, ...strides, 1]),
    dilations: attribute.ints([1, ...dilations, 1]),
    padding: attribute.string(padding),
    data_format: attribute.string(strides.length === 3 ? 'NDHWC' : 'NHWC'),
  };
}

function assertRank({ config }: Lowering, x: Value, rank: number): void {
  if (x.shape.length !== rank + 2) throw damaged(`${config.where} gets a tensor of shape [${x.shape}], expected rank ${rank + 2}`);
}

import type { Converter, Operator } from '../operator.ts';
import { refuse } from '../operator.ts';
import { activate } from './activations.ts';
import { type ImageLayout, imageIn, imageLayout, paddingOf, setImage, spatialOf, type Windows } from './windows.ts';

// Filters are [h, w, in, out] in TensorFlow and [out, in / groups, h, w] in ONNX, which takes images with their channels second.

const convolution: Converter = (node) => {
  const rank = node.node.op === 'Conv3D' ? 5 : 4;
  const layout = imageLayout(node.string('data_format', rank === 5 ? 'NDHWC' : 'NHWC'), rank);
  const filter = staticFilter(node);
  const windows = windowsOf(node, filter.slice(0, rank - 2), layout);
  const [inChannels, outChannels] = filter.slice(-2) as [number, number];
  const channels = node.shape(0)?.[layout.channel] ?? -1;
  const group = channels > 0 ? channels / inChannels : 1;
  if (!Number.isInteger(group) || outChannels % group !== 0) refuse(`has a filter for ${inChannels} channels on an image of ${channels}`);
  const order = [rank - 1, rank - 2, ...Array.from({ length: rank - 2 }, (_, axis) => axis)];
  finish(node, layout, { weight: node.weight(1, { order, channels: 0 }), windows, group });
};

const depthwise: Converter = (node) => {
  const layout = imageLayout(node.string('data_format', 'NHWC'), 4);
  const [height, width, channels, multiplier] = staticFilter(node) as [number, number, number, number];
  const windows = windowsOf(node, [height, width], layout);
  // [h, w, in, multiplier] becomes [in * multiplier, 1, h, w], one group per channel.
  const shape = [channels * multiplier, 1, height, width];
  finish(node, layout, { weight: node.weight(1, { order: [2, 3, 0, 1], shape, channels: 0 }), windows, group: channels });
};

interface Convolution {
  readonly weight: string;
  readonly windows: Windows;
  readonly group: number;
}

function finish(node: Operator, layout: ImageLayout, { weight, windows, group }: Convolution): void {
  const fused = [...node.strings('fused_ops', [])];
  const inputs = [imageIn(node, 0, layout), weight];
  let argument = 2;
  if (fused[0] === 'BiasAdd') {
    inputs.push(node.in(argument++));
    fused.shift();
  }
  const attributes = {
    ...paddingOf(node, layout, windows),
    kernel_shape: windows.sizes,
    strides: windows.strides,
    dilations: windows.dilations,
    group,
  };
  let name = node.emitTyped('Conv', inputs, { dtype: node.dtype(0), attributes });
  for (const kind of fused) {
    if (kind === 'FusedBatchNorm') {
      name = normalize(
        node,
        name,
        [0, 1, 2, 3].map((index) => node.in(argument + index)),
      );
      argument += 4;
    } else if (kind === 'Add') name = node.emit('Add', [name, imageIn(node, argument++, layout)]);
    else if (kind === 'Prelu') name = node.emit('PRelu', [name, perChannel(node, argument++, layout)]);
    else name = activate(node, kind, name, node.dtype(0));
  }
  setImage(node, 0, name, layout);
}

/** A vector along the channels, or a tensor of the image's axes but the batch, so that it meets an image with its channels second. */
export function perChannel(node: Operator, index: number, layout: ImageLayout): string {
  if (!layout.isChannelsFirst && layout.spatial.length === 2) return node.in(index, 'nchw');
  return node.emit('Unsqueeze', [node.in(index), node.ints(layout.spatial.map((axis) => axis - 1))]);
}

/** Convolution run backwards: the image is input 2, its filter [h, w, out, in], the size of the result input 0. */
const transposed: Converter = (node) => {
  const layout = imageLayout(node.string('data_format', 'NHWC'), 4);
  const [height, width] = staticFilter(node) as [number, number];
  const windows = windowsOf(node, [height, width], layout);
  const weight = node.weight(1, { order: [3, 2, 0, 1], channels: 1 });
  const image = imageIn(node, 2, layout);
  const wanted = node.outputShape();
  const from = node.shape(2);
  const padding = node.string('padding');
  const fixed = layout.spatial.map((axis, index) =>
    transposedPadding(from?.[axis] ?? -1, wanted?.[axis] ?? -1, windows, { index, padding }),
  );
  const attributes = { kernel_shape: windows.sizes, strides: windows.strides, dilations: windows.dilations };
  const { dtype } = { dtype: node.dtype(2) };
  if (fixed.every((pad) => pad !== undefined)) {
    const pads = [...fixed.map(({ before }) => before), ...fixed.map(({ after }) => after)];
    const output_padding = fixed.map(({ more }) => more);
    const more = output_padding.some((size) => size > 0) ? { output_padding } : {};
    return setImage(
      node,
      0,
      node.emitTyped('ConvTranspose', [image, weight], { dtype, attributes: { ...attributes, pads, ...more } }),
      layout,
    );
  }
  if (padding === 'EXPLICIT') refuse('has explicit padding and an image of unknown size');
  // All that the filter reaches and what strides leave out behind it, cut to the wanted size when that is known.
  const output_padding = windows.strides.map((stride) => stride - 1);
  const full = node.emitTyped('ConvTranspose', [image, weight], { dtype, attributes: { ...attributes, output_padding } });
  const axes = [2, 3];
  const size = node.emit('Gather', [node.inInt64(0), node.ints(layout.spatial)]);
  let starts = node.ints([0, 0]);
  if (padding === 'SAME') {
    const reach = node.ints(windows.strides.map((stride, index) => (windows.sizes[index]! - 1) * windows.dilations[index]! + 1 - stride));
    const inSize = node.emit('Shape', [image], { start: 2, end: 4 });
    const whole = node.emit('Add', [node.emit('Mul', [inSize, node.ints(windows.strides)]), reach]);
    const over = node.emit('Max', [node.emit('Sub', [whole, size]), node.ints([0, 0])]);
    starts = node.emit('Div', [over, node.ints([2, 2])]);
  }
  const ends = node.emit('Add', [starts, size]);
  setImage(node, 0, node.emit('Slice', [full, starts, ends, node.ints(axes)]), layout);
};

/** What to cut off before and after, and what to add, so that the result has the wanted size; undefined when that is unknown. */
function transposedPadding(
  from: number,
  wanted: number,
  { sizes, strides, dilations }: Windows,
  { index, padding }: { index: number; padding: string },
): { before: number; after: number; more: number } | undefined {
  if (from < 0 || wanted < 0 || padding === 'EXPLICIT') return undefined;
  const reached = (from - 1) * strides[index]! + (sizes[index]! - 1) * dilations[index]! + 1;
  const over = Math.max(0, reached - wanted);
  const before = padding === 'SAME' ? Math.floor(over / 2) : 0;
  return { before, after: over - before, more: Math.max(0, wanted - reached) };
}

const pooling =
  (op: 'MaxPool' | 'AveragePool', rank: 4 | 5): Converter =>
  (node) => {
    const layout = imageLayout(node.string('data_format', rank === 5 ? 'NDHWC' : 'NHWC'), rank);
    const isV2 = node.node.op === 'MaxPoolV2';
    const all = isV2 ? node.need(1, 'window sizes') : node.numbers('ksize');
    const steps = isV2 ? node.need(2, 'strides') : node.numbers('strides');
    if ([0, layout.channel].some((axis) => all[axis] !== 1 || steps[axis] !== 1)) refuse('pools over batch or channels');
    const windows = { sizes: spatialOf(all, layout), strides: spatialOf(steps, layout), dilations: layout.spatial.map(() => 1) };
    const attributes = { ...paddingOf(node, layout, windows), kernel_shape: windows.sizes, strides: windows.strides };
    setImage(node, 0, node.emitTyped(op, [imageIn(node, 0, layout)], { dtype: node.dtype(0), attributes }), layout);
  };

const batchNorm: Converter = (node) => {
  if (node.bool('is_training', true)) refuse('normalises by the batch itself (is_training)');
  const format = node.string('data_format', 'NHWC');
  const layout = imageLayout(format, format.length);
  const parameters = [1, 2, 3, 4].map((index) => node.in(index, 'plain', node.dtype(0)));
  setImage(node, 0, normalize(node, imageIn(node, 0, layout), parameters), layout);
  node.pass(1, node.value(3));
  node.pass(2, node.value(4));
};

function normalize(node: Operator, image: string, parameters: readonly string[]): string {
  return node.emit('BatchNormalization', [image, ...parameters], { epsilon: { float: node.number('epsilon', 1e-4) } });
}

const localResponse: Converter = (node) => {
  const layout = imageLayout('NHWC', 4);
  const size = 2 * node.number('depth_radius', 5) + 1;
  // ONNX divides alpha by the window size.
  const alpha = { float: node.number('alpha', 1) * size };
  const attributes = { size, alpha, beta: { float: node.number('beta', 0.5) }, bias: { float: node.number('bias', 1) } };
  setImage(node, 0, node.emit('LRN', [imageIn(node, 0, layout)], attributes), layout);
};

const biasAdd: Converter = (node) => {
  const rank = node.rank(0);
  if (node.string('data_format', 'NHWC').startsWith('NC') && rank > 2) {
    const axes = node.ints(Array.from({ length: rank - 2 }, (_, index) => index + 1));
    return void node.set(0, node.emit('Add', [node.in(0), node.emit('Unsqueeze', [node.in(1), axes])]));
  }
  const order = rank === 4 && isChannelsSecond(node, 0) ? 'nchw' : 'plain';
  node.set(0, node.emitTyped('Add', [node.in(0, order), node.in(1, order)], { dtype: node.dtype(0) }), { order });
};

/** Whether an input is at hand only with its channels second. */
export function isChannelsSecond(node: Operator, index: number): boolean {
  const { forms, shape, constant } = node.value(index);
  if (constant || shape?.length !== 4) return false;
  const orders = [...forms.keys()].map((key) => key.split('/')[0]);
  return orders.includes('nchw') && !orders.includes('plain');
}

function staticFilter(node: Operator): readonly number[] {
  const shape = node.shape(1);
  if (!shape?.every((size) => size > 0)) refuse('needs a filter of known shape');
  return shape as readonly number[]; // refused otherwise
}

function windowsOf(node: Operator, sizes: readonly number[], layout: ImageLayout): Windows {
  const rank = sizes.length + 2;
  const ones = new Array<number>(rank).fill(1);
  return { sizes, strides: spatialOf(node.numbers('strides'), layout), dilations: spatialOf(node.numbers('dilations', ones), layout) };
}

export const convolutions: Readonly<Record<string, Converter>> = {
  Conv2D: convolution,
  _FusedConv2D: convolution,
  FusedConv2D: convolution,
  Conv3D: convolution,
  DepthwiseConv2dNative: depthwise,
  FusedDepthwiseConv2dNative: depthwise,
  _FusedDepthwiseConv2dNative: depthwise,
  Conv2DBackpropInput: transposed,
  MaxPool: pooling('MaxPool', 4),
  MaxPoolV2: pooling('MaxPool', 4),
  MaxPool3D: pooling('MaxPool', 5),
  AvgPool: pooling('AveragePool', 4),
  AvgPool3D: pooling('AveragePool', 5),
  FusedBatchNorm: batchNorm,
  FusedBatchNormV2: batchNorm,
  FusedBatchNormV3: batchNorm,
  LRN: localResponse,
  BiasAdd: biasAdd,
  BiasAddV1: biasAdd,
};

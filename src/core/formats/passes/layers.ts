import { attribute, type Constant, type GraphNode } from '../graph/index.ts';

/** A layer of products whose weights are input 1, and where its channels are in them. */
export interface LayerKind {
  /** Axes of the weights that, taken together, count the output's channels; they are next to each other. */
  readonly outputAxes: readonly number[];
  /** The axis of the weights that counts the input's channels. */
  readonly inputAxis: number;
  /** Which input holds the data. */
  readonly dataInput: number;
  readonly fused: string | undefined;
}

/** @returns Undefined for other operators, and for layouts whose channels are not last. */
export function layerKindOf(node: GraphNode): LayerKind | undefined {
  const isChannelsLast = (format: string) => attribute.stringOf(node, 'data_format', format) === format;
  switch (node.op) {
    case 'Conv2D':
      return isChannelsLast('NHWC') ? { outputAxes: [3], inputAxis: 2, dataInput: 0, fused: '_FusedConv2D' } : undefined;
    case 'Conv3D':
      return isChannelsLast('NDHWC') ? { outputAxes: [4], inputAxis: 3, dataInput: 0, fused: undefined } : undefined;
    case 'DepthwiseConv2dNative':
      return isChannelsLast('NHWC') ? { outputAxes: [2, 3], inputAxis: 2, dataInput: 0, fused: 'FusedDepthwiseConv2dNative' } : undefined;
    case 'Conv2DBackpropInput':
      return isChannelsLast('NHWC') ? { outputAxes: [2], inputAxis: 3, dataInput: 2, fused: undefined } : undefined;
    case 'MatMul': {
      if (attribute.boolOf(node, 'transpose_a', false)) return undefined;
      const isTransposed = attribute.boolOf(node, 'transpose_b', false);
      return { outputAxes: [isTransposed ? 0 : 1], inputAxis: isTransposed ? 1 : 0, dataInput: 0, fused: '_FusedMatMul' };
    }
    default:
      return undefined;
  }
}

/** The number of channels a layer makes, by its weights. */
export function channelsOf(kind: LayerKind, weights: Constant): number {
  return kind.outputAxes.reduce((product, axis) => product * (weights.shape[axis] ?? Number.NaN), 1);
}

/** Whether a constant has one value for all channels, or one for each: then it broadcasts along a last axis of channels. */
export function isPerChannel(constant: Constant, channels: number, rank: number): boolean {
  if (constant.dtype !== 'float32' || constant.shape.length > rank) return false;
  const last = constant.shape.at(-1) ?? 1;
  return constant.shape.slice(0, -1).every((size) => size === 1) && (last === 1 || last === channels);
}

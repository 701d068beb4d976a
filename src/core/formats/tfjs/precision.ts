import { elementCount } from '../../tensor/index.ts';
import { fitAffine } from '../affine-fit.ts';
import type { Edge, GraphNode, Nodes } from '../graph/index.ts';
import { narrowDType } from './data-types.ts';
import { MAX_IDENTITIES } from './ops.ts';
import type { PlannedConstant } from './plan.ts';
import type { Storage } from './quantization.ts';
import { loadFloats } from './weights.ts';
import type { TfjsWriteOptions } from './write.ts';

/** Smaller ones are biases, scales and limits: nothing to win, and much to lose. */
const SMALLEST = 1024;
/** With fewer values for each channel, its scale and minimum cost more than a byte a value: float16 is then as small and better. */
const SMALLEST_CHANNEL = 32;
const LARGEST_FLOAT16 = 65504;

/** How a constant is stored at this precision. Reads it where its values decide. */
export async function chooseStorage(
  { constant }: PlannedConstant,
  precision: TfjsWriteOptions['precision'],
  axis: number | undefined,
): Promise<Storage> {
  const { shape, dtype } = constant;
  const elements = elementCount(shape);
  if (precision === 'float32' || narrowDType(dtype) !== 'float32' || elements < SMALLEST || shape.length < 2) return { kind: 'plain' };
  const { low, high } = rangeOf(await loadFloats(constant));
  const largest = Math.max(-low, high);
  if (!Number.isFinite(largest)) return { kind: 'plain' };
  const half: Storage = largest <= LARGEST_FLOAT16 ? { kind: 'float16' } : { kind: 'plain' };
  if (precision === 'float16') return half;
  if (precision === 'uint16') return { kind: 'affine', dtype: 'uint16', ...fitAffine(low, high, 65535) };
  const channelAxis = axis ?? shape.length - 1;
  return elements / shape[channelAxis]! >= SMALLEST_CHANNEL ? { kind: 'per-channel', axis: channelAxis } : half;
}

/** NaN makes both infinite. */
function rangeOf(values: Float32Array): { low: number; high: number } {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (Number.isNaN(value)) return { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return { low, high };
}

/** The axis of the outputs among a weight's own: what one channel computes shares one scale. */
const channelAxes: ReadonlyMap<string, (node: GraphNode) => number> = new Map<string, (node: GraphNode) => number>([
  ['Conv1D', () => 2],
  ['Conv2D', () => 3],
  ['_FusedConv2D', () => 3],
  ['Conv3D', () => 4],
  // [height, width, outputs, inputs]
  ['Conv2DBackpropInput', () => 2],
  ['DepthwiseConv2dNative', () => 2],
  ['FusedDepthwiseConv2dNative', () => 2],
  ['MatMul', (node) => (isTransposed(node) ? 0 : 1)],
  ['_FusedMatMul', (node) => (isTransposed(node) ? 0 : 1)],
]);

/** A row of an embedding is read as a whole. */
const rowOps: ReadonlySet<string> = new Set(['Gather', 'GatherV2', 'ResourceGather']);

function isTransposed({ attributes: { transpose_b: transposed } }: GraphNode): boolean {
  return transposed?.kind === 'bool' && transposed.value;
}

/** By name of a constant, the axis of its channels; undefined for those that no operator reads whose channels are known. */
export function channelAxesOf(nodes: Nodes): ReadonlyMap<string, number> {
  const axes = new Map<string, number>();
  const constantOf = (edge: Edge | undefined): string | undefined => {
    let node = edge && nodes.get(edge.node);
    for (let steps = MAX_IDENTITIES; node?.op === 'Identity' && steps > 0; steps--) node = nodes.get(node.inputs[0]!.node);
    return node?.op === 'Const' ? node.name : undefined;
  };
  for (const node of nodes.values()) {
    const isRow = rowOps.has(node.op);
    const axis = isRow ? 0 : channelAxes.get(node.op)?.(node);
    const constant = constantOf(node.inputs[isRow ? 0 : 1]);
    if (axis !== undefined && constant !== undefined && !axes.has(constant)) axes.set(constant, axis);
  }
  return axes;
}

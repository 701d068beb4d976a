import type { DType } from '../../../tensor/index.ts';
import type { Order } from '../graph-builder.ts';
import { type Converter, type Operator, refuse } from '../operator.ts';
import { inNchw } from './axes.ts';
import { isChannelsSecond } from './convolutions.ts';

interface Reduced {
  /** In the order of the input that is read; undefined when they are computed. */
  readonly axes: readonly number[] | undefined;
  readonly input: Order;
  readonly output: Order;
}

/**
 * The order to read an input in. An image with its channels second is reduced as it is when what is left of it is in TensorFlow's order too,
 * or keeps its axes.
 */
function planOf(node: Operator, isKept: boolean): Reduced {
  const axes = node.known(1);
  const rank = node.shape(0)?.length;
  if (!axes || rank === undefined) return { axes, input: 'plain', output: 'plain' };
  const resolved = axes.map((axis) => node.axis(axis, rank)).sort((a, b) => a - b);
  const plain = { axes: resolved, input: 'plain', output: 'plain' } as const;
  if (rank !== 4 || resolved.length === 0 || !isChannelsSecond(node, 0)) return plain;
  const left = [0, 1, 2, 3].filter((axis) => !resolved.includes(axis));
  const isInOrder = !left.includes(3) || !(left.includes(1) || left.includes(2));
  if (!isKept && !isInOrder) return plain;
  return { axes: resolved.map((axis) => inNchw[axis]!).sort((a, b) => a - b), input: 'nchw', output: isKept ? 'nchw' : 'plain' };
}

const reduction =
  (op: string, isLogical = false): Converter =>
  (node) => {
    const isKept = node.bool('keep_dims');
    const { axes, input, output } = planOf(node, isKept);
    const dtype: DType = isLogical ? 'int32' : node.dtype(0);
    const x = isLogical ? node.cast(node.in(0, input), 'int32') : node.in(0, input);
    const alone = () => (op === 'ReduceL2' ? node.emitTyped('Abs', [x], { dtype }) : x);
    const reduced = axes?.length === 0 ? alone() : reduce(node, { op, x, dtype, axes, isKept, isImage: input === 'nchw' });
    node.set(0, isLogical ? node.cast(reduced, 'bool') : reduced, { order: output });
  };

interface Reduction {
  readonly op: string;
  readonly x: string;
  readonly dtype: DType;
  readonly axes: readonly number[] | undefined;
  readonly isKept: boolean;
  readonly isImage: boolean;
}

function reduce(node: Operator, { op, x, dtype, axes, isKept, isImage }: Reduction): string {
  if (op === 'ReduceMean' && isImage && axes?.join() === '2,3') {
    const pooled = node.emitTyped('GlobalAveragePool', [x], { dtype });
    return isKept ? pooled : node.emit('Squeeze', [pooled, node.ints([2, 3])]);
  }
  const attributes = { keepdims: isKept ? 1 : 0, ...(axes ? {} : { noop_with_empty_axes: 1 }) };
  const list = axes ? node.ints(axes) : flat(node, node.inInt64(1));
  if (axes || dtype === 'float32' || dtype === 'float16' || dtype === 'int32' || dtype === 'int64') {
    return reduceTyped(node, op, [x, list], { dtype, attributes });
  }
  return refuse(`reduces ${dtype} along computed axes`);
}

/** As `emitTyped`, but the axes stay int64. */
function reduceTyped(
  node: Operator,
  op: string,
  [x, axes]: readonly [string, string],
  { dtype, attributes }: { dtype: DType; attributes: { readonly [name: string]: number } },
): string {
  const narrow: readonly DType[] = ['int8', 'uint8', 'int16', 'uint16'];
  const isNarrow = narrow.includes(dtype);
  if (!isNarrow && (dtype === 'uint32' || dtype === 'uint64' || dtype === 'bfloat16' || dtype === 'bool')) refuse(`reduces ${dtype}`);
  const wide = isNarrow ? node.cast(x, 'int32') : x;
  const reduced = node.emit(op, [wide, axes], attributes);
  return isNarrow ? node.cast(reduced, dtype) : reduced;
}

function flat(node: Operator, axes: string): string {
  return node.emit('Reshape', [axes, node.ints([-1])]);
}

const argument =
  (op: 'ArgMax' | 'ArgMin'): Converter =>
  (node) => {
    const dtype = node.dtype(0);
    const rank = node.rank(0);
    const axis = node.axis(node.need(1, 'an axis')[0] ?? 0, rank);
    // The channels of an image with its channels second: what is left is in order.
    const isImage = rank === 4 && axis === 3 && isChannelsSecond(node, 0);
    const attributes = { axis: isImage ? 1 : axis, keepdims: 0 };
    const found = node.emitTyped(op, [node.in(0, isImage ? 'nchw' : 'plain')], { dtype, isSame: false, attributes });
    node.set(0, found, { held: 'int64' });
  };

export const reductionOperators: Readonly<Record<string, Converter>> = {
  Sum: reduction('ReduceSum'),
  Mean: reduction('ReduceMean'),
  Max: reduction('ReduceMax'),
  Min: reduction('ReduceMin'),
  Prod: reduction('ReduceProd'),
  EuclideanNorm: reduction('ReduceL2'),
  All: reduction('ReduceMin', true),
  Any: reduction('ReduceMax', true),
  ArgMax: argument('ArgMax'),
  ArgMin: argument('ArgMin'),
};

import { elementCount } from '../../../tensor/index.ts';
import { attribute, type GraphDType, type GraphNode, type PartialShape } from '../../graph/index.ts';
import { broadcastShapes, isStatic, planStridedSlice, refineShape, resolveAxis, unknownOfRank } from '../dimensions/index.ts';
import { squeezeAxes } from '../evaluate/index.ts';
import { type Known, type Rule, type RuleInputs, type Rules, rulesOf } from './known.ts';

/** Operators that move elements, and those that make them of shapes. */
export const arrayRules: Rules = {
  ...rulesOf('Identity StopGradient PreventGradient Snapshot CheckNumerics Print Bitcast CheckNumericsV2', (node, inputs) => [
    { ...inputs.at(0), dtype: node.op === 'Bitcast' ? attribute.typeOf(node, 'type', inputs.at(0).dtype) : inputs.at(0).dtype },
  ]),
  IdentityN: (_, inputs) => inputs.all,
  EnsureShape: (node, inputs) => [{ ...inputs.at(0), shape: refineShape(inputs.shape(0), attribute.shapeOf(node, 'shape')) }],
  Placeholder: (node) => [{ dtype: attribute.typeOf(node, 'dtype', 'variant'), shape: attribute.shapeOf(node, 'shape') }],
  PlaceholderWithDefault: (node, inputs) => [
    { dtype: attribute.typeOf(node, 'dtype', inputs.at(0).dtype), shape: attribute.shapeOf(node, 'shape') },
  ],
  Reshape: like((_, inputs) => reshaped(inputs.shape(0), inputs.sizes(1))),
  ExpandDims: like((_, inputs) => {
    const shape = inputs.shape(0);
    const axis = inputs.scalar(1);
    if (!shape) return undefined;
    const at = axis === undefined ? undefined : resolveAxis(axis, shape.length + 1);
    return at === undefined ? unknownOfRank(shape.length + 1) : shape.toSpliced(at, 0, 1);
  }),
  Squeeze: like((node, inputs) => {
    const shape = inputs.shape(0);
    if (!shape) return undefined;
    const named = squeezeAxes(node).map((axis) => resolveAxis(axis, shape.length));
    if (named.length === 0) return isStatic(shape) ? shape.filter((size) => size !== 1) : undefined;
    return shape.filter((_, axis) => !named.includes(axis));
  }),
  ...rulesOf(
    'Transpose ConjugateTranspose',
    like((_, inputs) => {
      const shape = inputs.shape(0);
      const order = inputs.values(1);
      if (!order) return shape ? unknownOfRank(shape.length) : inputs.sizes(1)?.map(() => -1);
      return order.map((axis) => shape?.[axis] ?? -1);
    }),
  ),
  ConcatV2: (_, inputs) => [concatenated(inputs.all.slice(0, -1), inputs.scalar(-1))],
  Concat: (_, inputs) => [concatenated(inputs.all.slice(1), inputs.scalar(0))],
  Pack: (node, inputs) => {
    const shape = inputs.all.map((input) => input.shape).reduce(refineShape, undefined);
    const axis = shape && resolveAxis(attribute.numberOf(node, 'axis', 0), shape.length + 1);
    return [{ dtype: inputs.at(0).dtype, shape: axis === undefined ? undefined : shape?.toSpliced(axis, 0, inputs.all.length) }];
  },
  Unpack: (node, inputs) => {
    const shape = inputs.shape(0);
    const axis = shape && resolveAxis(attribute.numberOf(node, 'axis', 0), shape.length);
    const count = attribute.numberOf(node, 'num', axis === undefined ? 0 : Math.max(shape?.[axis] ?? 0, 0));
    return repeated(count, { dtype: inputs.at(0).dtype, shape: axis === undefined ? undefined : shape?.toSpliced(axis, 1) });
  },
  Split: (node, inputs) => {
    const count = attribute.numberOf(node, 'num_split', 0);
    const shape = inputs.shape(1);
    const axis = shape && resolveAxis(inputs.scalar(0) ?? Number.NaN, shape.length);
    const part =
      axis === undefined ? shape?.map(() => -1) : shape?.map((size, i) => (i === axis && size >= 0 ? Math.floor(size / count) : size));
    return repeated(count, { dtype: inputs.at(1).dtype, shape: part });
  },
  SplitV: (node, inputs) => {
    const shape = inputs.shape(0);
    const sizes = inputs.sizes(1);
    const axis = shape && resolveAxis(inputs.scalar(2) ?? Number.NaN, shape.length);
    const count = attribute.numberOf(node, 'num_split', sizes?.length ?? 0);
    const whole = axis === undefined ? -1 : (shape?.[axis] ?? -1);
    const known = sizes?.reduce((sum, size) => sum + Math.max(size, 0), 0) ?? 0;
    const rest = whole >= 0 && sizes?.filter((size) => size === -1).length === 1 ? whole - known : -1;
    return Array.from({ length: Math.min(count, 2 ** 16) }, (_, i) => ({
      dtype: inputs.at(0).dtype,
      shape: axis === undefined ? shape?.map(() => -1) : shape?.with(axis, sizes?.[i] === -1 ? rest : (sizes?.[i] ?? -1)),
    }));
  },
  Slice: like((_, inputs) => {
    const shape = inputs.shape(0);
    const sizes = inputs.at(2).values;
    if (!shape) return inputs.sizes(2)?.map((size) => (size >= 0 ? size : -1));
    const begin = inputs.at(1).values;
    return shape.map((size, axis) => {
      const count = sizes?.[axis];
      const from = begin?.[axis];
      if (count === undefined) return -1;
      if (count !== -1) return count;
      return size === -1 || from === undefined ? (from === 0 ? size : -1) : size - from;
    });
  }),
  StridedSlice: like((node, inputs) => {
    const strides = inputs.values(3);
    if (!strides) return undefined;
    const none = strides.map(() => undefined);
    return planStridedSlice(node, inputs.shape(0), inputs.at(1).values ?? none, inputs.at(2).values ?? none, strides)?.shape;
  }),
  ...rulesOf(
    'Gather ResourceGather',
    like((_, inputs) => joined(inputs.shape(1), inputs.shape(0)?.slice(1))),
  ),
  GatherV2: like((node, inputs) => {
    const [shape, indices] = [inputs.shape(0), inputs.shape(1)];
    const axis = shape && resolveAxis(inputs.scalar(2) ?? Number.NaN, shape.length);
    const batch = attribute.numberOf(node, 'batch_dims', 0);
    if (axis === undefined || !shape || !indices)
      return shape && indices && unknownOfRank(shape.length - 1 + indices.length - Math.max(batch, 0));
    const shared = batch < 0 ? batch + indices.length : batch;
    return [...shape.slice(0, axis), ...indices.slice(shared), ...shape.slice(axis + 1)];
  }),
  GatherNd: like((_, inputs) => {
    const [shape, indices] = [inputs.shape(0), inputs.shape(1)];
    const depth = indices?.at(-1);
    return depth === undefined || depth < 0 ? undefined : joined(indices?.slice(0, -1), shape?.slice(depth));
  }),
  ScatterNd: (_, inputs) => [{ dtype: inputs.at(1).dtype, shape: inputs.sizes(2) }],
  TensorScatterUpdate: like((_, inputs) => inputs.shape(0)),
  Tile: like((_, inputs) => {
    const times = inputs.sizes(1);
    return (
      inputs.shape(0)?.map((size, axis) => (size === -1 || (times?.[axis] ?? -1) < 0 ? -1 : size * times![axis]!)) ?? times?.map(() => -1)
    );
  }),
  BroadcastTo: like((_, inputs) => {
    const target = inputs.sizes(1);
    const own = inputs.shape(0);
    // An axis of more than one element keeps its size.
    return target?.map((size, axis) => {
      const from = own?.[axis - target.length + own.length] ?? 1;
      return size === -1 && from > 1 ? from : size;
    });
  }),
  Fill: (_, inputs) => [{ dtype: inputs.at(1).dtype, shape: inputs.sizes(0) }],
  ...rulesOf('Range', (_, inputs) => {
    const [start, limit, delta] = [0, 1, 2].map((i) => inputs.scalar(i));
    const count = start === undefined || limit === undefined || !delta ? -1 : Math.max(0, Math.ceil((limit - start) / delta));
    return [{ dtype: inputs.at(0).dtype, shape: [count] }];
  }),
  LinSpace: (_, inputs) => [{ dtype: inputs.at(0).dtype, shape: [inputs.scalar(2) ?? -1] }],
  Shape: (node, inputs) => [shapeAsTensor(node, inputs.shape(0))],
  ShapeN: (node, inputs) => inputs.all.map(({ shape }) => shapeAsTensor(node, shape)),
  Size: (node, inputs) => {
    const shape = inputs.shape(0);
    return [{ dtype: attribute.typeOf(node, 'out_type', 'int32'), shape: [], values: [isStatic(shape) ? elementCount(shape) : undefined] }];
  },
  Rank: (_, inputs) => [{ dtype: 'int32', shape: [], values: [inputs.shape(0)?.length] }],
  BroadcastArgs: (_, inputs) => {
    const shape = broadcastShapes(inputs.sizes(0), inputs.sizes(1));
    const values = shape?.map((size) => (size === -1 ? undefined : size));
    return [{ dtype: inputs.at(0).dtype, shape: shape ? [shape.length] : [-1], ...(values && { values }) }];
  },
  OneHot: (node, inputs) => {
    const shape = inputs.shape(0);
    const axis = shape && resolveAxis(attribute.numberOf(node, 'axis', -1), shape.length + 1);
    return [{ dtype: inputs.at(2).dtype, shape: axis === undefined ? undefined : shape?.toSpliced(axis, 0, inputs.scalar(1) ?? -1) }];
  },
  ...rulesOf(
    'Pad PadV2 MirrorPad',
    like((_, inputs) => {
      const list = inputs.at(1).values;
      return inputs.shape(0)?.map((size, axis) => {
        const [before, after] = [list?.[2 * axis], list?.[2 * axis + 1]];
        return size === -1 || before === undefined || after === undefined ? -1 : size + before + after;
      });
    }),
  ),
  ...rulesOf(
    'Reverse ReverseV2 ReverseSequence Roll MatrixBandPart Softmax LogSoftmax Cumsum Cumprod MatrixSetDiag MatrixSetDiagV3 InvertPermutation',
    (_, inputs) => [{ dtype: inputs.at(0).dtype, shape: inputs.shape(0) }],
  ),
  MatrixDiag: like((_, inputs) => {
    const shape = inputs.shape(0);
    return shape && [...shape, shape.at(-1)!];
  }),
  Diag: like((_, inputs) => {
    const shape = inputs.shape(0);
    return shape && [...shape, ...shape];
  }),
  Where: (_, inputs) => [{ dtype: 'int64', shape: [-1, inputs.shape(0)?.length ?? -1] }],
  ...rulesOf('TopKV2 TopK', (node, inputs) => {
    const shape = inputs.shape(0);
    const count = node.op === 'TopK' ? attribute.numberOf(node, 'k', -1) : (inputs.scalar(1) ?? -1);
    const best = shape && [...shape.slice(0, -1), count];
    return [
      { dtype: inputs.at(0).dtype, shape: best },
      { dtype: attribute.typeOf(node, 'index_type', 'int32'), shape: best },
    ];
  }),
  ...rulesOf('Unique UniqueV2', (node, inputs) => [
    { dtype: inputs.at(0).dtype, shape: inputs.shape(0)?.length === 1 ? [-1] : inputs.shape(0)?.map(() => -1) },
    { dtype: attribute.typeOf(node, 'out_idx', 'int32'), shape: inputs.shape(0)?.length === 1 ? inputs.shape(0) : [-1] },
  ]),
  ListDiff: (node, inputs) => [
    { dtype: inputs.at(0).dtype, shape: [-1] },
    { dtype: attribute.typeOf(node, 'out_idx', 'int32'), shape: [-1] },
  ],
  ...rulesOf('Bincount DenseBincount', (_, inputs) => {
    const size = inputs.scalar(1) ?? -1;
    const shape = inputs.shape(0);
    return [{ dtype: inputs.at(2).dtype, shape: shape?.length === 2 ? [shape[0]!, size] : shape ? [size] : undefined }];
  }),
  ...rulesOf('NonMaxSuppressionV2 NonMaxSuppressionV3', () => [{ dtype: 'int32', shape: [-1] }]),
  NonMaxSuppressionV4: () => [
    { dtype: 'int32', shape: [-1] },
    { dtype: 'int32', shape: [] },
  ],
  NonMaxSuppressionV5: (_, inputs) => [
    { dtype: 'int32', shape: [-1] },
    { dtype: inputs.at(0).dtype, shape: [-1] },
    { dtype: 'int32', shape: [] },
  ],
  SparseToDense: (_, inputs) => [{ dtype: inputs.at(2).dtype, shape: inputs.sizes(1) }],
  ...rulesOf('ParallelDynamicStitch DynamicStitch', (_, inputs) => {
    const half = inputs.all.length / 2;
    const [indices, data] = [inputs.shape(0), inputs.shape(half)];
    return [{ dtype: inputs.at(half).dtype, shape: indices && data && [-1, ...data.slice(indices.length)] }];
  }),
  DynamicPartition: (node, inputs) => {
    const [data, partitions] = [inputs.shape(0), inputs.shape(1)];
    const count = attribute.numberOf(node, 'num_partitions', 0);
    return repeated(count, { dtype: inputs.at(0).dtype, shape: data && partitions && [-1, ...data.slice(partitions.length)] });
  },
};

/** A rule for operators that keep the dtype of their first input. */
function like(shapeOf: (node: GraphNode, inputs: RuleInputs) => PartialShape): Rule {
  return (node, inputs) => [{ dtype: inputs.at(0).dtype, shape: shapeOf(node, inputs) }];
}

function repeated(count: number, known: Known): readonly Known[] {
  return new Array<Known>(Math.min(Math.max(count, 0), 2 ** 16)).fill(known);
}

function joined(a: PartialShape, b: PartialShape): PartialShape {
  return a && b && [...a, ...b];
}

function shapeAsTensor(node: GraphNode, shape: PartialShape): Known {
  const dtype: GraphDType = attribute.typeOf(node, 'out_type', 'int32');
  if (!shape) return { dtype, shape: [-1] };
  return { dtype, shape: [shape.length], values: shape.map((size) => (size === -1 ? undefined : size)) };
}

/** @param target -1 where a size is not known, and where it is the rest. */
function reshaped(from: PartialShape, target: PartialShape): PartialShape {
  if (!target) return undefined;
  const open = target.flatMap((size, axis) => (size === -1 ? [axis] : []));
  const [axis] = open;
  if (open.length !== 1 || axis === undefined || !from) return target;
  const known = elementCount(target.filter((size) => size !== -1));
  const isWhole = isStatic(from) && known > 0 && elementCount(from) % known === 0;
  return isWhole ? target.with(axis, elementCount(from) / known) : target;
}

function concatenated(inputs: readonly Known[], axis: number | undefined): Known {
  const dtype = inputs[0]?.dtype ?? 'variant';
  const ranked = inputs.find((input) => input.shape)?.shape;
  const at = ranked && axis !== undefined ? resolveAxis(axis, ranked.length) : undefined;
  if (!ranked || at === undefined) return { dtype, shape: ranked && unknownOfRank(ranked.length) };
  const others = inputs.map(({ shape }) => shape?.with(at, -1)).reduce(refineShape, undefined);
  const sizes = inputs.map(({ shape }) => shape?.[at] ?? -1);
  return { dtype, shape: others?.with(at, sizes.includes(-1) ? -1 : sizes.reduce((sum, size) => sum + size, 0)) };
}

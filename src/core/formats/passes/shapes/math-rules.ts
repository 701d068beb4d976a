import { attribute, type GraphNode, type PartialShape } from '../../graph/index.ts';
import { broadcastShapes, parseEquation, refineShape, resolveAxis, unknownOfRank, windowOutputSize } from '../dimensions/index.ts';
import { type Rule, type RuleInputs, type Rules, rulesOf } from './known.ts';

const sameShape: Rule = (_, inputs) => [{ dtype: inputs.at(0).dtype, shape: inputs.shape(0) }];

const predicate: Rule = (_, inputs) => [{ dtype: 'bool', shape: inputs.shape(0) }];

const broadcast: Rule = (_, inputs) => [{ dtype: inputs.at(0).dtype, shape: broadcastShapes(inputs.shape(0), inputs.shape(1)) }];

const comparison: Rule = (_, inputs) => [{ dtype: 'bool', shape: broadcastShapes(inputs.shape(0), inputs.shape(1)) }];

const reduction: Rule = (node, inputs) => [{ dtype: inputs.at(0).dtype, shape: reduced(node, inputs) }];

/** Arithmetic, reductions, products of matrices, convolutions and what goes with them. */
export const mathRules: Rules = {
  ...rulesOf(
    `Neg Abs Sign Sqrt Rsqrt Square Reciprocal Inv Exp Expm1 Log Log1p Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh
     Erf Erfc Floor Ceil Round Rint Relu Relu6 Elu Selu LeakyRelu Sigmoid Softplus Softsign OnesLike ZerosLike Invert ClipByValue
     Lgamma Digamma L2Loss Dropout BiasAdd BiasAddV1 LRN`,
    sameShape,
  ),
  ...rulesOf('Real Imag ComplexAbs', (node, inputs) => [
    { dtype: attribute.typeOf(node, 'Tout', inputs.at(0).dtype === 'complex128' ? 'float64' : 'float32'), shape: inputs.shape(0) },
  ]),
  Complex: (node, inputs) => [
    {
      dtype: attribute.typeOf(node, 'Tout', inputs.at(0).dtype === 'float64' ? 'complex128' : 'complex64'),
      shape: broadcastShapes(inputs.shape(0), inputs.shape(1)),
    },
  ],
  ...rulesOf('LogicalNot IsNan IsInf IsFinite', predicate),
  ...rulesOf(
    `Add AddV2 Sub Mul Div RealDiv DivNoNan MulNoNan FloorDiv FloorMod Mod TruncateDiv TruncateMod Maximum Minimum Pow
     SquaredDifference Atan2 BitwiseAnd BitwiseOr BitwiseXor LeftShift RightShift Xdivy Xlogy Prelu`,
    broadcast,
  ),
  ...rulesOf('Equal NotEqual ApproximateEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr', comparison),
  ...rulesOf('AddN AccumulateNV2', (_, inputs) => [
    { dtype: inputs.at(0).dtype, shape: inputs.all.map(({ shape }) => shape).reduce(refineShape, undefined) },
  ]),
  Cast: (node, inputs) => [{ dtype: attribute.typeOf(node, 'DstT', inputs.at(0).dtype), shape: inputs.shape(0) }],
  Select: (_, inputs) => [{ dtype: inputs.at(1).dtype, shape: refineShape(inputs.shape(1), inputs.shape(2)) }],
  SelectV2: (_, inputs) => [
    { dtype: inputs.at(1).dtype, shape: broadcastShapes(inputs.shape(0), broadcastShapes(inputs.shape(1), inputs.shape(2))) },
  ],
  ...rulesOf('Sum Mean Prod Max Min EuclideanNorm', reduction),
  ...rulesOf('All Any', (node, inputs) => [{ dtype: 'bool', shape: reduced(node, inputs) }]),
  ...rulesOf('ArgMax ArgMin', (node, inputs) => {
    const shape = inputs.shape(0);
    const axis = shape && resolveAxis(inputs.all.length > 1 ? (inputs.scalar(1) ?? Number.NaN) : 0, shape.length);
    const rest = axis === undefined ? shape && unknownOfRank(Math.max(shape.length - 1, 0)) : shape?.toSpliced(axis, 1);
    return [{ dtype: attribute.typeOf(node, 'output_type', 'int64'), shape: rest }];
  }),
  ...rulesOf('MatMul _FusedMatMul', (node, inputs) => [
    product(inputs, attribute.boolOf(node, 'transpose_a', false), attribute.boolOf(node, 'transpose_b', false)),
  ]),
  ...rulesOf('BatchMatMul BatchMatMulV2 BatchMatMulV3', (node, inputs) => [
    product(inputs, attribute.boolOf(node, 'adj_x', false), attribute.boolOf(node, 'adj_y', false)),
  ]),
  Einsum: (node, inputs) => {
    const dtype = inputs.at(0).dtype;
    const shapes = inputs.all.map(({ shape }) => shape);
    if (shapes.some((shape) => !shape)) return [{ dtype, shape: undefined }];
    const equation = parseEquation(
      attribute.stringOf(node, 'equation'),
      shapes.map((shape) => shape!.length),
    );
    if (!equation) return [{ dtype, shape: undefined }];
    const sizes = new Map<string, number>();
    equation.inputs.forEach((labels, i) => {
      for (const [axis, label] of labels.entries()) {
        const sofar = sizes.get(label);
        sizes.set(label, sofar === undefined ? shapes[i]![axis]! : broadcastShapes([sofar], [shapes[i]![axis]!])![0]!);
      }
    });
    return [{ dtype, shape: equation.output.map((label) => sizes.get(label) ?? -1) }];
  },
  ...rulesOf('Conv2D _FusedConv2D', (node, inputs) => convolved(node, inputs, (filter) => filter.at(-1)!)),
  Conv3D: (node, inputs) => convolved(node, inputs, (filter) => filter.at(-1)!),
  ...rulesOf('DepthwiseConv2dNative FusedDepthwiseConv2dNative', (node, inputs) =>
    convolved(node, inputs, ([, , inside, multiplier]) => (inside === -1 || multiplier === -1 ? -1 : inside! * multiplier!)),
  ),
  Dilation2D: (node, inputs) => {
    const filter = inputs.shape(1);
    const rates = attribute.numbersOf(node, 'rates', [1, 1, 1, 1]);
    return [{ dtype: inputs.at(0).dtype, shape: filter && slid(node, inputs.shape(0), filter.slice(0, 2), undefined, rates) }];
  },
  ...rulesOf('Conv2DBackpropInput Conv3DBackpropInputV2', (_, inputs) => {
    const filter = inputs.shape(1);
    const sizes = inputs.sizes(0) ?? (inputs.shape(2) && unknownOfRank(inputs.shape(2)!.length));
    const batch = inputs.shape(2)?.[0] ?? -1;
    // The batch is that of the gradient even where the sizes are computed; the channels are those of the filter (NHWC).
    const shape = sizes?.map((size, axis) => {
      if (size !== -1) return size;
      return axis === 0 ? batch : axis === sizes.length - 1 ? (filter?.at(-2) ?? -1) : -1;
    });
    return [{ dtype: inputs.at(2).dtype, shape }];
  }),
  ...rulesOf('MaxPool AvgPool MaxPool3D AvgPool3D', (node, inputs) => [
    { dtype: inputs.at(0).dtype, shape: pooled(node, inputs.shape(0)) },
  ]),
  MaxPoolWithArgmax: (node, inputs) => {
    const shape = pooled(node, inputs.shape(0));
    return [
      { dtype: inputs.at(0).dtype, shape },
      { dtype: attribute.typeOf(node, 'Targmax', 'int64'), shape },
    ];
  },
  ...rulesOf('FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3', (node, inputs) => {
    const shape = inputs.shape(0);
    const channels = shape?.[channelAxis(node, shape.length)];
    const own = inputs.shape(1) ?? [channels ?? -1];
    const statistic = { dtype: inputs.at(1).dtype, shape: own } as const;
    return [{ dtype: inputs.at(0).dtype, shape }, statistic, statistic, statistic, statistic, { dtype: statistic.dtype, shape: undefined }];
  }),
  ...rulesOf('ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea', (node, inputs) => {
    const shape = inputs.shape(0);
    const size = inputs.sizes(1);
    const dtype = node.op === 'ResizeNearestNeighbor' ? inputs.at(0).dtype : 'float32';
    return [{ dtype, shape: [shape?.[0] ?? -1, size?.[0] ?? -1, size?.[1] ?? -1, shape?.[3] ?? -1] }];
  }),
  CropAndResize: (_, inputs) => {
    const size = inputs.sizes(3);
    return [{ dtype: 'float32', shape: [inputs.shape(1)?.[0] ?? -1, size?.[0] ?? -1, size?.[1] ?? -1, inputs.shape(0)?.[3] ?? -1] }];
  },
  SpaceToDepth: (node, inputs) => {
    const block = attribute.numberOf(node, 'block_size');
    return [
      {
        dtype: inputs.at(0).dtype,
        shape: scaled(
          node,
          inputs.shape(0),
          (size) => size / block,
          (depth) => depth * block ** 2,
        ),
      },
    ];
  },
  DepthToSpace: (node, inputs) => {
    const block = attribute.numberOf(node, 'block_size');
    return [
      {
        dtype: inputs.at(0).dtype,
        shape: scaled(
          node,
          inputs.shape(0),
          (size) => size * block,
          (depth) => depth / block ** 2,
        ),
      },
    ];
  },
  SpaceToBatchND: (_, inputs) => {
    const [shape, block, paddings] = [inputs.shape(0), inputs.values(1), inputs.values(2)];
    if (!shape || !block || !paddings) return [{ dtype: inputs.at(0).dtype, shape: shape && unknownOfRank(shape.length) }];
    const count = block.reduce((a, b) => a * b, 1);
    const sizes = block.map((by, i) => {
      const size = shape[i + 1]!;
      return size === -1 ? -1 : Math.floor((size + paddings[2 * i]! + paddings[2 * i + 1]!) / by);
    });
    return [{ dtype: inputs.at(0).dtype, shape: [shape[0] === -1 ? -1 : shape[0]! * count, ...sizes, ...shape.slice(block.length + 1)] }];
  },
  BatchToSpaceND: (_, inputs) => {
    const [shape, block, crops] = [inputs.shape(0), inputs.values(1), inputs.values(2)];
    if (!shape || !block || !crops) return [{ dtype: inputs.at(0).dtype, shape: shape && unknownOfRank(shape.length) }];
    const count = block.reduce((a, b) => a * b, 1);
    const sizes = block.map((by, i) => {
      const size = shape[i + 1]!;
      return size === -1 ? -1 : size * by - crops[2 * i]! - crops[2 * i + 1]!;
    });
    return [{ dtype: inputs.at(0).dtype, shape: [shape[0] === -1 ? -1 : shape[0]! / count, ...sizes, ...shape.slice(block.length + 1)] }];
  },
  ...rulesOf('SegmentSum SparseSegmentSum SparseSegmentMean', (_, inputs) => [
    { dtype: inputs.at(0).dtype, shape: inputs.shape(0) && [-1, ...inputs.shape(0)!.slice(1)] },
  ]),
  UnsortedSegmentSum: (_, inputs) => {
    const [data, segments] = [inputs.shape(0), inputs.shape(1)];
    return [{ dtype: inputs.at(0).dtype, shape: data && segments && [inputs.scalar(2) ?? -1, ...data.slice(segments.length)] }];
  },
};

function reduced(node: GraphNode, inputs: RuleInputs): PartialShape {
  const shape = inputs.shape(0);
  if (!shape) return undefined;
  const keep = attribute.boolOf(node, 'keep_dims', false);
  const axes = inputs.values(1)?.map((axis) => resolveAxis(axis, shape.length));
  if (axes) return shape.flatMap((size, axis) => (axes.includes(axis) ? (keep ? [1] : []) : [size]));
  if (keep) return unknownOfRank(shape.length);
  const count = inputs.shape(1)?.length === 0 ? 1 : inputs.shape(1)?.[0];
  return count === undefined || count < 0 || count > shape.length ? undefined : unknownOfRank(shape.length - count);
}

function product(
  inputs: RuleInputs,
  transposeA: boolean,
  transposeB: boolean,
): { dtype: ReturnType<RuleInputs['at']>['dtype']; shape: PartialShape } {
  const [a, b] = [inputs.shape(0), inputs.shape(1)];
  const { dtype } = inputs.at(0);
  if (!a || !b || a.length < 2 || b.length < 2) return { dtype, shape: undefined };
  const batch = broadcastShapes(a.slice(0, -2), b.slice(0, -2));
  return { dtype, shape: batch && [...batch, a.at(transposeA ? -1 : -2)!, b.at(transposeB ? -2 : -1)!] };
}

function isChannelsFirst(node: GraphNode): boolean {
  return attribute.stringOf(node, 'data_format', 'NHWC').startsWith('NC');
}

function channelAxis(node: GraphNode, rank: number): number {
  return isChannelsFirst(node) ? 1 : rank - 1;
}

function convolved(node: GraphNode, inputs: RuleInputs, channelsOf: (filter: readonly number[]) => number): ReturnType<Rule> {
  const { dtype } = inputs.at(0);
  const filter = inputs.shape(1);
  const input = inputs.shape(0) ?? (filter && unknownOfRank(filter.length));
  if (!filter || !input || filter.length !== input.length) return [{ dtype, shape: input && unknownOfRank(input.length) }];
  const dilations = attribute.numbersOf(node, 'dilations', new Array<number>(input.length).fill(1));
  return [{ dtype, shape: slid(node, input, filter.slice(0, -2), channelsOf(filter), dilations) }];
}

/** The shape after a window of this size went along the axes between batch and channels. */
function slid(
  node: GraphNode,
  input: PartialShape,
  window: readonly number[],
  channels: number | undefined,
  dilations: readonly number[],
): PartialShape {
  if (!input) return undefined;
  const strides = attribute.numbersOf(node, 'strides', new Array<number>(input.length).fill(1));
  const padding = attribute.stringOf(node, 'padding', 'VALID');
  const explicit = attribute.numbersOf(node, 'explicit_paddings', []);
  const channel = channelAxis(node, input.length);
  const first = isChannelsFirst(node) ? 2 : 1;
  return input.map((size, axis) => {
    if (axis === 0) return size;
    if (axis === channel) return channels ?? size;
    return windowOutputSize(size, {
      size: window[axis - first] ?? -1,
      stride: strides[axis] ?? 1,
      dilation: dilations[axis] ?? 1,
      padding: padding === 'EXPLICIT' ? [explicit[2 * axis] ?? 0, explicit[2 * axis + 1] ?? 0] : padding,
    });
  });
}

function pooled(node: GraphNode, input: PartialShape): PartialShape {
  const size = attribute.numbersOf(node, 'ksize', []);
  const shape = input ?? (size.length > 0 ? unknownOfRank(size.length) : undefined);
  const first = isChannelsFirst(node) ? 2 : 1;
  const window = shape && size.slice(first, first + shape.length - 2);
  return shape && window && slid(node, shape, window, undefined, new Array<number>(shape.length).fill(1));
}

function scaled(node: GraphNode, shape: PartialShape, space: (size: number) => number, channels: (size: number) => number): PartialShape {
  if (shape?.length !== 4) return unknownOfRank(4);
  const channel = channelAxis(node, 4);
  return shape.map((size, axis) => (size === -1 || axis === 0 ? size : Math.floor(axis === channel ? channels(size) : space(size))));
}

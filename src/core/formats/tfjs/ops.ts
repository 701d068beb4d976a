import type { GraphNode } from '../graph/index.ts';
import { customTfjsOps } from './custom-ops.ts';

// What the operation mapper of @tensorflow/tfjs-converter 4.22.0 knows; the test of this file compares it with the installed package.
const known = `
  Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul BatchMatMulV2
  BatchToSpaceND BiasAdd Bincount BitwiseAnd BroadcastArgs BroadcastTo Cast Ceil ClipByValue Complex ComplexAbs Concat ConcatV2 Const
  Conv1D Conv2D Conv2DBackpropInput Conv3D Cos Cosh CropAndResize Cumprod Cumsum DenseBincount DepthToSpace DepthwiseConv2d
  DepthwiseConv2dNative Dilation2D Div DivNoNan Einsum Elu EmptyTensorList EnsureShape Enter Equal Erf EuclideanNorm Exit Exp
  ExpandDims Expm1 FFT FakeQuantWithMinMaxVars Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
  FusedDepthwiseConv2dNative Gather GatherNd GatherV2 Greater GreaterEqual HashTable HashTableV2 IFFT IRFFT Identity IdentityN If
  Imag ImageProjectiveTransformV3 InitializeTable InitializeTableV2 IsFinite IsInf IsNan LRN LeakyRelu Less LessEqual LinSpace
  ListDiff Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr LookupTableFind LookupTableFindV2 LookupTableImport
  LookupTableImportV2 LookupTableSize LookupTableSizeV2 LoopCond LowerBound MatMul MatrixBandPart Max MaxPool MaxPool3D
  MaxPoolWithArgmax Maximum Mean Merge Min Minimum MirrorPad Mod Mul Multinomial Neg NextIteration NoOp NonMaxSuppressionV2
  NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NotEqual OneHot Ones OnesLike Pack Pad PadV2 Placeholder
  PlaceholderWithDefault Pow Prelu Print Prod RFFT RandomStandardNormal RandomUniform RandomUniformInt Range Rank Real RealDiv
  Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor Reverse ReverseV2 Round Rsqrt ScatterNd Select SelectV2 Selu
  Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Snapshot Softmax Softplus SpaceToBatchND SparseFillEmptyRows SparseReshape
  SparseSegmentMean SparseSegmentSum SparseToDense Split SplitV Sqrt Square SquaredDifference Squeeze StatelessIf StatelessWhile
  StaticRegexReplace StopGradient StridedSlice StringNGrams StringSplit StringToHashBucketFast Sub Sum Switch Tan Tanh
  TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3
  TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 TensorListConcat TensorListConcatV2 TensorListFromTensor TensorListGather
  TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatter
  TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack TensorScatterUpdate Tile TopKV2 Transpose TruncatedNormal
  Unique UniqueV2 Unpack UpperBound Where While Zeros ZerosLike _FusedConv2D _FusedMatMul
`;

/** Identities in a row that are looked through: more of them are no work of an exporter. */
export const MAX_IDENTITIES = 100;

/** Operators of the converter's published build. */
export const tfjsOps: ReadonlySet<string> = new Set(known.trim().split(/\s+/));

/** Outputs that its executors give, where they are more than one. */
const outputsOfOp: ReadonlyMap<string, number> = new Map([
  ['IdentityN', Number.POSITIVE_INFINITY],
  ['MaxPoolWithArgmax', 2],
  ['NonMaxSuppressionV4', 2],
  ['NonMaxSuppressionV5', 2],
  ['ShapeN', Number.POSITIVE_INFINITY],
  ['SparseFillEmptyRows', 4],
  ['SparseReshape', 2],
  ['Split', Number.POSITIVE_INFINITY],
  ['SplitV', Number.POSITIVE_INFINITY],
  ['StringNGrams', 2],
  ['StringSplit', 3],
  ['Switch', 2],
  ['TensorArrayV3', 2],
  ['TopKV2', 2],
  ['Unique', 2],
  ['UniqueV2', 2],
  ['Unpack', Number.POSITIVE_INFINITY],
]);

export function isKnownOp(op: string): boolean {
  return tfjsOps.has(op) || customTfjsOps.has(op);
}

export function outputCountOf(op: string): number {
  return outputsOfOp.get(op) ?? customTfjsOps.get(op) ?? 1;
}

const isChannelsFirst = ({ attributes: { data_format: format } }: GraphNode) => format?.kind === 'string' && format.value.startsWith('NC');
const channelsFirst = (node: GraphNode) => (isChannelsFirst(node) ? 'with channels first (NCHW) is not computed' : undefined);
const trains = ({ attributes: { is_training: training } }: GraphNode) =>
  // TensorFlow's default of an attribute that is left out is true.
  training?.kind === 'bool' && !training.value ? undefined : 'normalises by the batch (is_training), only stored statistics are used';

const ofStrings = ({ attributes: { Tparams: type } }: GraphNode) =>
  type?.kind === 'type' && type.value === 'string' ? 'gathers strings along another axis than the first' : undefined;

type Restriction = (node: GraphNode) => string | undefined;

const isRandom: Restriction = () => 'draws random numbers: no two answers would be the same';

/** Whether whole numbers come out as float32, or beyond the range of a type that TensorFlow.js has not. */
const ofSmallNumbers: Restriction = ({ attributes: { T: type } }) =>
  type?.kind === 'type' && /^u?int(8|16)$/.test(type.value) ? `of ${type.value} is not computed as TensorFlow does` : undefined;

/** What an executor would silently compute otherwise than TensorFlow. */
const restrictions: ReadonlyMap<string, Restriction> = new Map<string, Restriction>([
  ...['Multinomial', 'RandomStandardNormal', 'RandomUniform', 'RandomUniformInt', 'TruncatedNormal'].map((op): [string, Restriction] => [
    op,
    isRandom,
  ]),
  ...['Mean', 'Pow'].map((op): [string, Restriction] => [op, ofSmallNumbers]),
  ['Gather', ofStrings],
  ['GatherV2', ofStrings],
  ...[
    'AvgPool',
    'AvgPool3D',
    'BiasAdd',
    'Conv2D',
    'Conv2DBackpropInput',
    'Conv3D',
    'DepthwiseConv2dNative',
    'FusedDepthwiseConv2dNative',
  ].map((op): [string, Restriction] => [op, channelsFirst]),
  ...['MaxPool', 'MaxPool3D', '_FusedConv2D'].map((op): [string, Restriction] => [op, channelsFirst]),
  ...['FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3'].map((op): [string, Restriction] => [
    op,
    (node) => channelsFirst(node) ?? trains(node),
  ]),
]);

/** Why TensorFlow.js would compute this node wrongly; undefined when it does not. */
export function restrictionOf(node: GraphNode): string | undefined {
  return restrictions.get(node.op)?.(node);
}

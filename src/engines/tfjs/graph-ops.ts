// Which kernels the graph converter's operators need on a backend (@tensorflow/tfjs-converter 4.22.0). The test of this
// file derives the same lists from the installed packages. Kept as words: this reaches every page that loads tfjs.

const sameName = `
  Abs Acos Acosh Add AddN All Any ArgMax ArgMin Asin Asinh Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul BatchToSpaceND Bincount
  BitwiseAnd BroadcastArgs Cast Ceil ClipByValue Complex ComplexAbs Concat Conv2D Conv2DBackpropInput Conv3D Cos Cosh CropAndResize
  Cumprod Cumsum DenseBincount DepthToSpace DepthwiseConv2dNative Dilation2D Einsum Elu Equal Erf Exp ExpandDims Expm1 FFT Fill Floor
  FloorDiv FusedBatchNorm GatherNd GatherV2 Greater GreaterEqual IFFT Imag IsFinite IsInf IsNan LRN LeakyRelu Less LessEqual LinSpace Log
  Log1p LogicalAnd LogicalNot LogicalOr Max MaxPool MaxPool3D MaxPoolWithArgmax Maximum Mean Min Minimum MirrorPad Mod Multinomial Neg
  NotEqual OneHot OnesLike Pack PadV2 Pow Prelu Prod RaggedGather RaggedRange RaggedTensorToTensor Range Real RealDiv Reciprocal Relu
  Relu6 Reshape ResizeBilinear ResizeNearestNeighbor Reverse Round Rsqrt ScatterNd Select Selu Sigmoid Sign Sin Sinh Slice Softmax
  Softplus SpaceToBatchND SparseFillEmptyRows SparseReshape SparseSegmentMean SparseSegmentSum SparseToDense SplitV Sqrt Square
  SquaredDifference StaticRegexReplace StridedSlice StringNGrams StringSplit StringToHashBucketFast Sub Sum Tan Tanh TensorScatterUpdate
  Tile Transpose Unique Unpack ZerosLike _FusedMatMul
`;

const renamed = `
  AddV2:Add BatchMatMulV2:BatchMatMul BiasAdd:Add BroadcastTo:Tile ConcatV2:Concat Conv2dTranspose:Conv2DBackpropInput
  DepthwiseConv2d:DepthwiseConv2dNative Div:RealDiv FloorMod:Mod FusedBatchNormV2:FusedBatchNorm FusedBatchNormV3:FusedBatchNorm
  FusedDepthwiseConv2dNative:FusedDepthwiseConv2D Gather:GatherV2 ImageProjectiveTransformV3:Transform MatMul:BatchMatMul Mul:Multiply
  Pad:PadV2 ReverseV2:Reverse SelectV2:Select Split:SplitV TopKV2:TopK UniqueV2:Unique _FusedConv2D:FusedConv2D
`;

// Made of several kernels, or of none; which ones depends on shapes and attributes.
const composite = `
  Const Conv1D DivNoNan EmptyTensorList EnsureShape Enter EuclideanNorm Exit FakeQuantWithMinMaxVars HashTable HashTableV2 IRFFT Identity
  IdentityN If InitializeTable InitializeTableV2 ListDiff LogSoftmax LookupTableFind LookupTableFindV2 LookupTableImport
  LookupTableImportV2 LookupTableSize LookupTableSizeV2 LoopCond LowerBound MatrixBandPart Merge NextIteration NoOp NonMaxSuppressionV2
  NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 Ones Placeholder PlaceholderWithDefault Print RFFT RandomStandardNormal
  RandomUniform RandomUniformInt Rank Shape ShapeN Size Snapshot Squeeze StatelessIf StatelessWhile StopGradient Switch
  TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3
  TensorArrayV3 TensorArrayWriteV3 TensorListConcat TensorListConcatV2 TensorListFromTensor TensorListGather TensorListGetItem
  TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatter TensorListScatterV2
  TensorListSetItem TensorListSplit TensorListStack TruncatedNormal UpperBound Where While Zeros
`;

/** Kernels that each operator of a TensorFlow graph needs for certain. */
export const kernelsOfOp: ReadonlyMap<string, readonly string[]> = new Map([
  ...words(sameName).map((op): [string, readonly string[]] => [op, [op]]),
  ...words(renamed).map((pair): [string, readonly string[]] => {
    const [op = '', kernel = ''] = pair.split(':');
    return [op, [kernel]];
  }),
  ...words(composite).map((op): [string, readonly string[]] => [op, []]),
]);

/** Operators that only the asynchronous executor can run: control flow, and outputs whose size depends on values. */
const asyncOps = new Set(
  words(`
  Switch Merge Enter Exit NextIteration StatelessIf StatelessWhile If While LoopCond
  NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 Where ListDiff
  HashTable HashTableV2 InitializeTable InitializeTableV2 LookupTableImport LookupTableImportV2
  LookupTableFind LookupTableFindV2 LookupTableSize LookupTableSizeV2
`),
);

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** A node of a graph, as far as it matters here. */
export interface GraphNode {
  readonly name: string;
  readonly op: string;
}

export function needsAsyncExecutor(nodes: readonly GraphNode[]): boolean {
  return nodes.some(({ op }) => asyncOps.has(op));
}

/**
 * All that keeps a graph from running on a backend, one line per operator with the nodes that use it.
 * @param hasKernel Whether the backend has a kernel of this name.
 */
export function unsupportedOps(nodes: readonly GraphNode[], hasKernel: (kernel: string) => boolean): readonly string[] {
  const nodesOfOp = new Map<string, string[]>();
  for (const { name, op } of nodes) nodesOfOp.set(op, [...(nodesOfOp.get(op) ?? []), name]);
  return [...nodesOfOp].flatMap(([op, names]) => {
    const kernels = kernelsOfOp.get(op);
    if (kernels === undefined) return [`operator ${op} is unknown to TensorFlow.js (nodes ${names.join(', ')})`];
    const missing = kernels.filter((kernel) => !hasKernel(kernel));
    return missing.map((kernel) => `operator ${op} has no kernel ${kernel} on this backend (nodes ${names.join(', ')})`);
  });
}

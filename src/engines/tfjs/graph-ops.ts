// Which kernels the graph converter's operators need on a backend (@tensorflow/tfjs-converter 4.22.0). The test of this
// file derives the same lists from the installed packages. Kept as words: this reaches every page that loads tfjs.
import { type Graph, type GraphNode, readAttributes, typesOf, withFunctionNodes } from './graph.ts';

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
  FusedDepthwiseConv2dNative:FusedDepthwiseConv2D Gather:GatherV2 IRFFT:IFFT RFFT:FFT ImageProjectiveTransformV3:Transform MatMul:BatchMatMul Mul:Multiply
  Pad:PadV2 ReverseV2:Reverse SelectV2:Select Split:SplitV TopKV2:TopK UniqueV2:Unique _FusedConv2D:FusedConv2D
`;

// Made of several kernels, or of none; which ones depends on shapes and attributes.
const composite = `
  Const Conv1D DivNoNan EmptyTensorList EnsureShape Enter EuclideanNorm Exit FakeQuantWithMinMaxVars HashTable HashTableV2 Identity
  IdentityN If InitializeTable InitializeTableV2 ListDiff LogSoftmax LookupTableFind LookupTableFindV2 LookupTableImport
  LookupTableImportV2 LookupTableSize LookupTableSizeV2 LoopCond LowerBound MatrixBandPart Merge NextIteration NoOp NonMaxSuppressionV2
  NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 Ones Placeholder PlaceholderWithDefault Print RandomStandardNormal
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
`),
);

/** Operators of numbers that the converter gets wrong, computed on the engine's own backend by functions of ours. */
const correctedOps = words('Div MatrixBandPart Mod NonMaxSuppressionV5 Select');

/** Operators over strings, tables and ragged tensors that the converter lacks or gets wrong. */
const addedOps = words(`
  AsString DecodeRaw LookupTableFind LookupTableFindV2 LookupTableSize LookupTableSizeV2 ParseExample ParseExampleV2 ParseSingleExample
  RaggedGather RaggedRange RaggedTensorToTensor RegexReplace StaticRegexReplace StringJoin StringLength StringLower StringSplitV2
  StringStrip StringToNumber StringUpper Substr
`);

const addedOpNames = new Set(addedOps);

/** Operators that TensorFlow.js has for numbers only, or that take a string as text. */
const numericOps = new Set(words('Fill Gather GatherV2 Pad PadV2 ReverseV2 SelectV2 Split SplitV Transpose'));

/** Operators with implementations of ours, in `custom-ops.ts`, some of them for strings only. */
export const customOps: ReadonlySet<string> = new Set([...correctedOps, ...addedOps, ...numericOps]);

/** Whether a node is computed by an implementation of ours. */
export function isCustomNode(node: GraphNode): boolean {
  return customOps.has(node.op) && (!numericOps.has(node.op) || typesOf(node).includes('DT_STRING'));
}

/** Operators over strings, tables and ragged tensors, which only the CPU backend has or has right. */
const hostOps = new Set([
  ...addedOps,
  ...words('HashTable HashTableV2 SparseFillEmptyRows SparseReshape StringNGrams StringSplit StringToHashBucketFast'),
]);

/** Operators that the CPU backend computes right on strings; for the others strings are no type they have. */
const stringOps = new Set([
  ...hostOps,
  ...words('Enter Exit If Merge NextIteration StatelessIf StatelessWhile Switch While'),
  ...words(`
  BroadcastTo ConcatV2 Const Equal ExpandDims Fill Gather GatherNd GatherV2 Identity IdentityN NotEqual Pack Pad PadV2 Placeholder
  PlaceholderWithDefault Print Rank Reshape ReverseV2 SelectV2 Shape ShapeN Size Slice Snapshot Split SplitV Squeeze StopGradient StridedSlice Tile
  Transpose Unpack
`),
]);

const randomOps = new Set(words('Multinomial RandomStandardNormal RandomUniform RandomUniformInt TruncatedNormal'));

/** Operators that only move values and their consumers take from where they are. */
const placelessOps = new Set(['Const', 'Placeholder']);

/** One name may stand for many tensors: what goes through a handle stays in one execution. */
const handleOps = /^(TensorArray|TensorList|EmptyTensorList)/;

/** Operators that hand on what they are given, handles too. */
const passingOps = new Set(words('Identity IdentityN Enter Exit Switch Merge NextIteration While StatelessWhile If StatelessIf'));

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

export function needsAsyncExecutor(nodes: Iterable<GraphNode>): boolean {
  return [...nodes].some(({ op }) => asyncOps.has(op));
}

/** Whether a node must run on the CPU backend; those of its functions decide for a control-flow node. */
export function isHostNode(node: GraphNode, functions: Graph['functions']): boolean {
  return withFunctionNodes([node], functions).some((part) => {
    return hostOps.has(part.op) || (!placelessOps.has(part.op) && typesOf(part).includes('DT_STRING'));
  });
}

export function isPlaceless({ op }: GraphNode): boolean {
  return placelessOps.has(op);
}

export function makesHandle({ op }: GraphNode): boolean {
  return handleOps.test(op);
}

export function passesHandle({ op }: GraphNode): boolean {
  return passingOps.has(op);
}

/** What the CPU computes between two kernels of WebGPU: what has no kernel there, and whole numbers that float32 cannot hold. */
const detours: Readonly<Record<string, { readonly outputs: number; readonly type?: string }>> = {
  ArgMax: { outputs: 1, type: 'DT_INT32' },
  ArgMin: { outputs: 1, type: 'DT_INT32' },
  Cumprod: { outputs: 1, type: 'DT_INT32' },
  Cumsum: { outputs: 1, type: 'DT_INT32' },
  Pow: { outputs: 1, type: 'DT_INT32' },
  Prod: { outputs: 1, type: 'DT_INT32' },
  Sum: { outputs: 1, type: 'DT_INT32' },
  Unique: { outputs: 2 },
  UniqueV2: { outputs: 2 },
};

export function isDetour(node: GraphNode, backend: 'cpu' | 'wasm' | 'webgpu'): boolean {
  const detour = backend === 'webgpu' && Object.hasOwn(detours, node.op) ? detours[node.op] : undefined;
  return (
    detour !== undefined && (detour.type === undefined || typesOf({ ...node, attr: { T: node.attr?.['T'] ?? {} } }).includes(detour.type))
  );
}

/** Whether the asynchronous executor does not know that a node needs it. */
export function isUnknownToWait(node: GraphNode, backend: 'cpu' | 'wasm' | 'webgpu'): boolean {
  return ['ListDiff', 'NonMaxSuppressionV4', 'NonMaxSuppressionV5'].includes(node.op) || isDetour(node, backend);
}

const withSeveralOutputs = new Set(
  words(`
  NonMaxSuppressionV5 ParseExample ParseExampleV2 ParseSingleExample RaggedGather RaggedRange Split SplitV StringSplitV2 Unique UniqueV2
`),
);

export function hasSeveralOutputs({ op }: GraphNode): boolean {
  return withSeveralOutputs.has(op);
}

export function outputCount({ op }: GraphNode): number {
  return detours[op]?.outputs ?? 1;
}

/** What can run nodes. */
export interface KernelSource {
  /** As messages name it: cpu, wasm, webgpu. */
  readonly name: string;
  readonly hasKernel: (kernel: string) => boolean;
}

/**
 * All that keeps nodes from running on a backend, one line per operator with the nodes that use it.
 */
export function unsupportedOps(nodes: readonly GraphNode[], { name: backend, hasKernel }: KernelSource): readonly string[] {
  const nodesOfProblem = new Map<string, { op: string; why: string; nodes: string[] }>();
  for (const node of nodes) {
    for (const why of problemsOf(node, backend, hasKernel)) {
      const key = `${node.op} ${why}`;
      const entry = nodesOfProblem.get(key) ?? { op: node.op, why, nodes: [] };
      entry.nodes.push(node.name);
      nodesOfProblem.set(key, entry);
    }
  }
  return [...nodesOfProblem.values()].map(({ op, why, nodes: [first, ...others] }) => {
    const count = others.length === 0 ? 'node' : `${others.length + 1} nodes, first`;
    return `operator ${op} (${count} "${first}") ${why}`;
  });
}

function problemsOf(node: GraphNode, backend: string, hasKernel: KernelSource['hasKernel']): readonly string[] {
  if (addedOpNames.has(node.op)) return [];
  const kernels = kernelsOfOp.get(node.op);
  // The converter asks for inputs of BitwiseAnd by names that it does not give them.
  if (kernels === undefined || node.op === 'BitwiseAnd') return ['is unknown to TensorFlow.js'];
  if (randomOps.has(node.op)) return ['draws random numbers: no two answers would be the same'];
  const types = typesOf(node);
  if (types.includes('DT_STRING') && !stringOps.has(node.op)) return ['does not take strings in TensorFlow.js'];
  const missing = kernels.filter((kernel) => !hasKernel(kernel));
  if (missing.length > 0)
    return missing.map((kernel) => (kernel === node.op ? `has no kernel on ${backend}` : `has no kernel ${kernel} on ${backend}`));
  const wrong = (wrongTypes[backend]?.[node.op] ?? []).filter((type) => types.includes(type));
  return [...wrong.map((type) => `does not compute ${type} right on ${backend}`), ...wrongAttributes(node, backend)];
}

/** Kernels that give wrong numbers, or none, for a type, and have no way round; the conformance suite shows each. */
const wrongTypes: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  cpu: { DepthToSpace: ['DT_INT32', 'DT_BOOL'] },
  wasm: {
    BatchMatMul: ['DT_INT32'],
    BatchMatMulV2: ['DT_INT32'],
    DepthToSpace: ['DT_INT32', 'DT_BOOL'],
    // Takes the smallest positive number for the smallest.
    Dilation2D: ['DT_FLOAT'],
    MatMul: ['DT_INT32'],
    _FusedMatMul: ['DT_INT32'],
  },
  webgpu: {
    BatchMatMul: ['DT_INT32'],
    BatchMatMulV2: ['DT_INT32'],
    DepthToSpace: ['DT_INT32', 'DT_BOOL'],
    MatMul: ['DT_INT32'],
    _FusedMatMul: ['DT_INT32'],
  },
};

/** The same for attributes. */
function wrongAttributes(node: GraphNode, backend: string): string[] {
  const { text, texts } = readAttributes(node);
  switch (node.op) {
    case 'FusedDepthwiseConv2dNative':
      // The converter does not hand its alpha on.
      return texts('fused_ops').includes('LeakyRelu') ? ['does not compute a fused LeakyRelu right in TensorFlow.js'] : [];
    case 'ImageProjectiveTransformV3': {
      const [fill, interpolation] = [text('fill_mode', 'CONSTANT'), text('interpolation')];
      const isWrong = backend === 'wasm' ? fill === 'REFLECT' : backend === 'webgpu' && fill !== 'CONSTANT' && interpolation === 'NEAREST';
      return isWrong ? [`does not compute ${interpolation} with ${fill} right on ${backend}`] : [];
    }
    default:
      return [];
  }
}

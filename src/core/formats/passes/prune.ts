import { type AnyTensor, elementCount } from '../../tensor/index.ts';
import { attribute, type Constant, edgeKey, type GraphNode, type ModelGraph, type Nodes } from '../graph/index.ts';

/** Smaller weights stay whole: they cost nothing to transfer, and what is lost in them is lost everywhere. */
const MIN_ELEMENTS = 1024;

/** Which input of a layer is its kernel, or the table it looks rows up in. */
const kernelInputs: Readonly<Record<string, number>> = {
  Conv1D: 1,
  Conv2D: 1,
  Conv3D: 1,
  DepthwiseConv2dNative: 1,
  Conv2DBackpropInput: 1,
  Conv3DBackpropInputV2: 1,
  MatMul: 1,
  BatchMatMul: 1,
  BatchMatMulV2: 1,
  BatchMatMulV3: 1,
  _FusedConv2D: 1,
  FusedDepthwiseConv2dNative: 1,
  _FusedMatMul: 1,
  Gather: 0,
  GatherV2: 0,
  ResourceGather: 0,
};

/** Operators that hand a kernel on. */
const passThrough: ReadonlySet<string> = new Set(['Identity', 'Reshape', 'Transpose', 'ExpandDims', 'Squeeze', 'StopGradient']);

export interface PrunedGraph {
  readonly model: ModelGraph;
  /** Weights that are pruned, each once. */
  readonly weights: number;
  /** Their elements, and how many of those pruning turns into zeros. */
  readonly elements: number;
  readonly zeros: number;
}

/**
 * Sets the smallest weights to zero, by magnitude and tensor by tensor (Han et al., "Learning both Weights and Connections for Efficient
 * Neural Networks", NIPS 2015), in the kernels of convolutions and matrix products and in embedding tables of float32. Nothing becomes
 * faster here, but what is transferred compresses better.
 * @param share Of each tensor's elements, at least 0 and below 1. Of equal magnitudes the first ones go, so that every machine makes the
 * same bytes.
 * @returns A graph of the same nodes; a pruned weight is computed when it is read.
 */
export function pruneWeights(model: ModelGraph, share: number): PrunedGraph {
  const pruned = new Map<Constant, Constant>();
  const pruneIn = (nodes: Nodes): Nodes => {
    const kernels = findKernels(nodes);
    if (kernels.size === 0) return nodes;
    return new Map([...nodes].map(([name, node]) => [name, kernels.has(name) ? withPruned(node, share, pruned) : node]));
  };
  const nodes = pruneIn(model.nodes);
  const functions = new Map([...model.functions].map(([name, body]) => [name, { ...body, nodes: pruneIn(body.nodes) }]));
  const sizes = [...pruned.keys()].map(({ shape }) => elementCount(shape));
  return {
    model: { ...model, nodes, functions },
    weights: pruned.size,
    elements: sizes.reduce((sum, size) => sum + size, 0),
    zeros: sizes.reduce((sum, size) => sum + Math.floor(size * share), 0),
  };
}

/** Names of the constants that layers take as their kernels. */
function findKernels(nodes: Nodes): ReadonlySet<string> {
  const found = new Set<string>();
  for (const node of nodes.values()) {
    const index = Object.hasOwn(kernelInputs, node.op) ? kernelInputs[node.op] : undefined;
    let edge = index === undefined ? undefined : node.inputs[index];
    const seen = new Set<string>();
    while (edge && !seen.has(edgeKey(edge))) {
      seen.add(edgeKey(edge));
      const source = nodes.get(edge.node);
      if (source?.op === 'Const') found.add(source.name);
      edge = source && passThrough.has(source.op) ? source.inputs[0] : undefined;
    }
  }
  return found;
}

function withPruned(node: GraphNode, share: number, pruned: Map<Constant, Constant>): GraphNode {
  const constant = attribute.constantOf(node);
  const size = elementCount(constant.shape);
  if (constant.dtype !== 'float32' || size < MIN_ELEMENTS || Math.floor(size * share) === 0) return node;
  const made = pruned.get(constant) ?? { ...constant, load: async () => prune(await constant.load(), share) };
  pruned.set(constant, made);
  return { ...node, attributes: { ...node.attributes, value: attribute.tensor(made) } };
}

function prune(tensor: AnyTensor, share: number): AnyTensor {
  if (tensor.dtype !== 'float32') return tensor;
  const count = Math.floor(tensor.data.length * share);
  if (count === 0) return tensor;
  const magnitudes = tensor.data.map(Math.abs).sort();
  // Not a number sorts last, and is not below any threshold.
  const threshold = magnitudes[count - 1]!;
  let below = 0;
  for (const value of magnitudes) {
    if (!(value < threshold)) break;
    below += 1;
  }
  let equal = count - below;
  const data = tensor.data.map((value) => {
    const magnitude = Math.abs(value);
    if (magnitude < threshold) return 0;
    return magnitude === threshold && equal-- > 0 ? 0 : value;
  });
  return { dtype: 'float32', shape: tensor.shape, data };
}

import { type AnyTensor, createTensor } from '../../tensor/index.ts';
import { attribute, type Constant, constNode, type Edge, edgeKey, type GraphNode, sortNodes, toConstant } from '../graph/index.ts';
import { channelsOf, isPerChannel, type LayerKind, layerKindOf } from './layers.ts';
import { Readers, type Scope, ScopeEdit } from './scope.ts';

const activations: ReadonlySet<string> = new Set(['Relu', 'Relu6', 'Elu', 'Sigmoid', 'LeakyRelu']);

/**
 * Joins a convolution or a product of matrices with its bias and its activation: `_FusedConv2D`, `FusedDepthwiseConv2dNative`,
 * `_FusedMatMul`. Only what all backends of TensorFlow.js compute: NHWC, a bias of one value per channel.
 * @remarks TensorFlow.js takes an activation only after a bias, so a layer without one gets a bias of zeros. A fused depthwise
 * convolution never gets `LeakyRelu`: its operator list has no slope, which would silently be lost.
 */
export function fuseLayers(scope: Scope): Scope {
  const edit = new ScopeEdit(scope);
  const readers = new Readers(scope);
  for (const layer of sortNodes(scope.nodes)) {
    const kind = layerKindOf(layer);
    const weights = layer.inputs[1] && scope.nodes.get(layer.inputs[1].node);
    if (!kind?.fused || layer.controls.length > 0 || weights?.op !== 'Const' || !hasEvenStrides(layer)) continue;
    const constant = attribute.constantOf(weights);
    if (constant.dtype !== 'float32') continue;
    fuse(layer, kind, constant, scope, readers, edit);
  }
  return edit.finish();
}

function fuse(layer: GraphNode, kind: LayerKind, weights: Constant, scope: Scope, readers: Readers, edit: ScopeEdit): void {
  const channels = channelsOf(kind, weights);
  const rank = layer.op === 'MatMul' ? 2 : weights.shape.length;
  const nextOf = (node: GraphNode) => {
    const reader = readers.only({ node: node.name, index: 0 });
    return reader?.controls.length === 0 ? reader : undefined;
  };
  const next = nextOf(layer);
  const bias = next && biasOf(next, layer, channels, rank, scope);
  const beforeActivation = bias ? next : layer;
  const candidate = nextOf(beforeActivation);
  const isLossy = candidate?.op === 'LeakyRelu' && kind.fused === 'FusedDepthwiseConv2dNative';
  const activation = candidate && activations.has(candidate.op) && !isLossy ? candidate : undefined;
  if (!bias && !activation) return;
  const value = bias ?? toConstant(createTensor('float32', [channels], new Float32Array(channels)) as AnyTensor);
  const biasEdge = edit.set(constNode(edit.nameFor(`${layer.name}/bias`), value));
  const [data, filter] = layer.inputs as readonly [Edge, Edge];
  // It takes the name of the last node it joins, so that readers and outputs need no change.
  edit.set({
    name: (activation ?? beforeActivation).name,
    op: kind.fused!,
    inputs: [data, filter, biasEdge],
    controls: [],
    attributes: {
      ...layer.attributes,
      fused_ops: attribute.strings(['BiasAdd', ...(activation ? [activation.op] : [])]),
      num_args: attribute.int(1),
      epsilon: attribute.float(0),
      ...(activation?.op === 'LeakyRelu' && { leakyrelu_alpha: attribute.float(attribute.numberOf(activation, 'alpha', 0.2)) }),
    },
  });
}

/** The constant that a node adds to each channel, as a vector. */
function biasOf(node: GraphNode, layer: GraphNode, channels: number, rank: number, scope: Scope): Constant | undefined {
  if (node.op !== 'BiasAdd' && node.op !== 'Add' && node.op !== 'AddV2') return undefined;
  if (node.op === 'BiasAdd' && attribute.stringOf(node, 'data_format', 'NHWC') !== 'NHWC') return undefined;
  const isLayer = (edge: Edge) => edgeKey(edge) === edgeKey({ node: layer.name, index: 0 });
  const other = node.inputs.find((input) => !isLayer(input));
  const source = other && scope.nodes.get(other.node);
  if (source?.op !== 'Const' || source.controls.length > 0) return undefined;
  const constant = attribute.constantOf(source);
  if (!isPerChannel(constant, channels, rank) || (constant.shape.at(-1) ?? 1) !== channels) return undefined;
  if (constant.shape.length === 1) return constant;
  return { ...constant, shape: [channels], load: async () => ({ ...(await constant.load()), shape: [channels] }) };
}

/** Strides of the batch or the channels exist in no kernel. */
function hasEvenStrides(layer: GraphNode): boolean {
  if (layer.op === 'MatMul') return true;
  const strides = attribute.numbersOf(layer, 'strides');
  return strides[0] === 1 && strides[3] === 1;
}

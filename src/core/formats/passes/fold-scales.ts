import { type AnyTensor, createTensor, elementCount } from '../../tensor/index.ts';
import {
  attribute,
  type Constant,
  constNode,
  type Edge,
  edgeKey,
  type GraphNode,
  SMALL_CONSTANT_BYTES,
  sortNodes,
} from '../graph/index.ts';
import type { DerivedConstants } from './derived-constants.ts';
import { numbersOf, stridesOf } from './evaluate/index.ts';
import { channelsOf, isPerChannel, type LayerKind, layerKindOf } from './layers.ts';
import { Readers, type Scope, ScopeEdit } from './scope.ts';
import type { Known } from './shapes/index.ts';

/**
 * What a node does to each channel of a layer's output: multiplies it by `scale`, then adds `offset`. Each gets float64 values of one
 * element, or of one per channel.
 */
interface Step {
  readonly node: GraphNode;
  readonly constants: readonly Constant[];
  /** Tells steps with the same constants apart. */
  readonly kind: string;
  readonly apply: (scale: Float64Array, offset: Float64Array, values: readonly ArrayLike<number>[]) => void;
  readonly hasScale: boolean;
  readonly hasOffset: boolean;
}

interface Plan {
  readonly layer: GraphNode;
  readonly kind: LayerKind;
  readonly weights: Constant;
  /** A scale of the layer's input, before it. */
  readonly before: { readonly node: GraphNode; readonly data: Edge; readonly scale: Constant } | undefined;
  readonly steps: readonly Step[];
  /** The same for layers that get the same weights. */
  readonly key: string;
}

/**
 * Folds multiplications and additions by channel, batch normalisation included, into the weights of the convolution or the product of
 * matrices before them, and multiplications of its input into those after; what is added becomes one `BiasAdd`.
 * @remarks The new weights are computed in float64 when they are read, and rounded once. Only layers whose result nothing else reads; a
 * large weight that serves several layers is not copied.
 */
export function foldScales(derived: DerivedConstants): (scope: Scope, known: (edge: Edge) => Known) => Scope {
  return (scope, known) => {
    const readers = new Readers(scope);
    const constantOf = constantsOf(scope);
    const taken = new Set<string>();
    const plans: Plan[] = [];
    for (const node of sortNodes(scope.nodes)) {
      const plan = planOf(node, scope, readers, constantOf, known, derived, taken);
      if (plan) plans.push(plan);
    }
    const edit = new ScopeEdit(scope);
    for (const plan of plans.filter(({ before, steps }) => before || steps.length > 0)) {
      if (plan.weights.byteLength <= SMALL_CONSTANT_BYTES || hasOneForm(plan, plans, scope)) applyPlan(plan, edit, derived);
    }
    return edit.finish();
  };
}

function constantsOf(scope: Scope): (edge: Edge) => Constant | undefined {
  return (edge) => {
    const node = scope.nodes.get(edge.node);
    return node?.op === 'Const' && node.controls.length === 0 ? attribute.constantOf(node) : undefined;
  };
}

function planOf(
  layer: GraphNode,
  scope: Scope,
  readers: Readers,
  constantOf: (edge: Edge) => Constant | undefined,
  known: (edge: Edge) => Known,
  derived: DerivedConstants,
  taken: Set<string>,
): Plan | undefined {
  const kind = layerKindOf(layer);
  const weights = layer.inputs[1] && constantOf(layer.inputs[1]);
  if (!kind || weights?.dtype !== 'float32' || layer.controls.length > 0) return undefined;
  const channels = channelsOf(kind, weights);
  const rank = layer.op === 'MatMul' ? 2 : weights.shape.length;
  const steps: Step[] = [];
  let edge: Edge = { node: layer.name, index: 0 };
  for (let next = readers.only(edge); next && next.controls.length === 0; next = readers.only(edge)) {
    const step = stepOf(next, edge, channels, rank, constantOf, readers);
    if (!step) break;
    steps.push(step);
    edge = { node: next.name, index: 0 };
  }
  // A lone addition is a bias already.
  const isWorth = steps.some((step) => step.hasScale) || steps.filter((step) => step.hasOffset).length > 1;
  const scaled = inputScaleOf(layer, kind, weights, scope, readers, constantOf, known);
  // A product between two layers goes into the first.
  const before = scaled && !taken.has(scaled.node.name) ? scaled : undefined;
  const used = isWorth ? steps : [];
  for (const { node } of used) taken.add(node.name);
  const parts = [
    ...(before ? [`in:${derived.identify(before.scale)}`] : []),
    ...used.map((step) => `${step.kind}:${step.constants.map((constant) => derived.identify(constant))}`),
  ];
  return { layer, kind, weights, before, steps: used, key: [JSON.stringify(kind), derived.identify(weights), ...parts].join(' ') };
}

function stepOf(
  node: GraphNode,
  from: Edge,
  channels: number,
  rank: number,
  constantOf: (edge: Edge) => Constant | undefined,
  readers: Readers,
): Step | undefined {
  if (node.op.startsWith('FusedBatchNorm')) return batchNormStep(node, from, channels, constantOf, readers);
  if (node.op === 'BiasAdd' && attribute.stringOf(node, 'data_format', 'NHWC') !== 'NHWC') return undefined;
  const [a, b] = node.inputs;
  if (!a || !b || node.inputs.length !== 2) return undefined;
  const isFirst = edgeKey(a) === edgeKey(from);
  const constant = constantOf(isFirst ? b : a);
  if (!constant || !isPerChannel(constant, channels, rank)) return undefined;
  const step = (
    kind: string,
    hasScale: boolean,
    apply: (scale: number, offset: number, value: number) => readonly [number, number],
  ): Step => ({
    node,
    constants: [constant],
    kind,
    hasScale,
    hasOffset: kind !== 'mul' && kind !== 'div',
    apply: (scale, offset, [values]) => {
      for (let c = 0; c < channels; c++) {
        const value = values![values!.length === 1 ? 0 : c]!;
        const [nextScale, nextOffset] = apply(scale[c]!, offset[c]!, value);
        scale[c] = nextScale;
        offset[c] = nextOffset;
      }
    },
  });
  switch (node.op) {
    case 'Mul':
      return step('mul', true, (scale, offset, value) => [scale * value, offset * value]);
    case 'RealDiv':
    case 'Div':
      return isFirst ? step('div', true, (scale, offset, value) => [scale / value, offset / value]) : undefined;
    case 'Add':
    case 'AddV2':
    case 'BiasAdd':
      return step('add', false, (scale, offset, value) => [scale, offset + value]);
    case 'Sub':
      if (isFirst) return step('sub', false, (scale, offset, value) => [scale, offset - value]);
      return step('from', true, (scale, offset, value) => [-scale, value - offset]);
    default:
      return undefined;
  }
}

function batchNormStep(
  node: GraphNode,
  from: Edge,
  channels: number,
  constantOf: (edge: Edge) => Constant | undefined,
  readers: Readers,
): Step | undefined {
  const [x, ...rest] = node.inputs;
  if (!x || edgeKey(x) !== edgeKey(from) || rest.length !== 4 || readers.outputCount(node.name) > 1) return undefined;
  if (attribute.boolOf(node, 'is_training', true) || attribute.stringOf(node, 'data_format', 'NHWC') !== 'NHWC') return undefined;
  const constants = rest.map(constantOf);
  if (!constants.every((constant) => constant?.dtype === 'float32' && constant.shape.length === 1 && constant.shape[0] === channels))
    return undefined;
  const epsilon = attribute.numberOf(node, 'epsilon', 1e-4);
  return {
    node,
    constants: constants as readonly Constant[],
    kind: `norm${epsilon}`,
    hasScale: true,
    hasOffset: true,
    apply: (scale, offset, [gamma, beta, mean, variance]) => {
      for (let c = 0; c < channels; c++) {
        const factor = gamma![c]! / Math.sqrt(variance![c]! + epsilon);
        scale[c]! *= factor;
        offset[c] = (offset[c]! - mean![c]!) * factor + beta![c]!;
      }
    },
  };
}

/** A `Mul` by channel of what only this layer reads. Zero padding stays zero, so any padding will do. */
function inputScaleOf(
  layer: GraphNode,
  kind: LayerKind,
  weights: Constant,
  scope: Scope,
  readers: Readers,
  constantOf: (edge: Edge) => Constant | undefined,
  known: (edge: Edge) => Known,
): Plan['before'] {
  const edge = layer.inputs[kind.dataInput];
  const node = edge && scope.nodes.get(edge.node);
  const [a, b] = node?.inputs ?? [];
  if (!edge || node?.op !== 'Mul' || node.controls.length > 0 || !readers.only(edge) || !a || !b) return undefined;
  const scaleOfB = constantOf(b);
  const scale = scaleOfB ?? constantOf(a);
  const data = scaleOfB ? a : b;
  const channels = weights.shape[kind.inputAxis]!;
  const shape = known(data).shape;
  // The product must have the shape of the data: the constant must not be what brings the channels.
  if (!scale || !shape || shape.at(-1) !== channels || !isPerChannel(scale, channels, shape.length)) return undefined;
  return { node, data, scale };
}

/** Whether all that reads these weights wants them changed in the same way. */
function hasOneForm(plan: Plan, plans: readonly Plan[], scope: Scope): boolean {
  const isSame = ({ weights }: Plan) => weights === plan.weights;
  const names = new Set(
    [...scope.nodes.values()].filter((node) => node.op === 'Const' && attribute.constantOf(node) === plan.weights).map(({ name }) => name),
  );
  const uses = [...scope.nodes.values()].flatMap((node) => node.inputs.filter((input) => names.has(input.node)).map(() => node.name));
  const planned = plans.filter(isSame);
  return (
    planned.every(({ key }) => key === plan.key) && uses.length === planned.length && !scope.outputs.some(({ node }) => names.has(node))
  );
}

function applyPlan(plan: Plan, edit: ScopeEdit, derived: DerivedConstants): void {
  const { layer, kind, before, steps } = plan;
  const derive = (what: string, make: () => Constant) => derived.derive(`${plan.key} ${what}`, make);
  const needsWeights = before || steps.some((step) => step.hasScale);
  const inputs = [...layer.inputs];
  if (before) inputs[kind.dataInput] = before.data;
  if (needsWeights)
    inputs[1] = edit.set(
      constNode(
        edit.nameFor(`${layer.name}/weights`),
        derive('weights', () => scaledWeights(plan)),
      ),
    );
  edit.set({ ...layer, inputs });
  const last = steps.at(-1);
  if (!last) return;
  if (steps.some((step) => step.hasOffset)) {
    const bias = edit.set(
      constNode(
        edit.nameFor(`${layer.name}/bias`),
        derive('bias', () => foldedBias(plan)),
      ),
    );
    const attributes = { T: attribute.type('float32'), data_format: attribute.string('NHWC') };
    // It takes the name of the last node of the chain, so that readers and outputs need no change.
    edit.set({ name: last.node.name, op: 'BiasAdd', inputs: [{ node: layer.name, index: 0 }, bias], controls: [], attributes });
  } else edit.replace({ node: last.node.name, index: 0 }, { node: layer.name, index: 0 });
}

async function affineOf({ kind, weights, steps }: Plan): Promise<{ scale: Float64Array; offset: Float64Array }> {
  const channels = channelsOf(kind, weights);
  const scale = new Float64Array(channels).fill(1);
  const offset = new Float64Array(channels);
  for (const step of steps) {
    const values: ArrayLike<number>[] = [];
    for (const constant of step.constants) values.push(numbersOf(await constant.load())!);
    step.apply(scale, offset, values);
  }
  return { scale, offset };
}

function scaledWeights(plan: Plan): Constant {
  const { kind, weights, before } = plan;
  const load = async (): Promise<AnyTensor> => {
    await undefined; // weights scaled again and again must not deepen the stack
    const { scale } = await affineOf(plan);
    const inputScale = before && numbersOf(await before.scale.load());
    const values = numbersOf(await weights.load())!;
    const data = new Float32Array(values.length);
    const strides = stridesOf(weights.shape);
    const channels = channelsOf(kind, weights);
    const outputStride = strides[kind.outputAxes.at(-1)!]!;
    const inputStride = strides[kind.inputAxis]!;
    const inputSize = weights.shape[kind.inputAxis]!;
    for (let i = 0; i < data.length; i++) {
      const input = inputScale ? inputScale[inputScale.length === 1 ? 0 : Math.floor(i / inputStride) % inputSize]! : 1;
      data[i] = values[i]! * input * scale[Math.floor(i / outputStride) % channels]!;
    }
    return createTensor('float32', weights.shape, data) as AnyTensor;
  };
  return { dtype: 'float32', shape: weights.shape, byteLength: 4 * elementCount(weights.shape), load };
}

function foldedBias(plan: Plan): Constant {
  const channels = channelsOf(plan.kind, plan.weights);
  const load = async (): Promise<AnyTensor> =>
    createTensor('float32', [channels], Float32Array.from((await affineOf(plan)).offset)) as AnyTensor;
  return { dtype: 'float32', shape: [channels], byteLength: 4 * channels, load };
}

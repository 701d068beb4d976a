import { createTensor } from '../../../tensor/index.ts';
import { attribute, type Constant, toConstant } from '../../graph/index.ts';
import { axisOf, type GraphBuilder, type Value } from '../builder.ts';
import { damaged, unsupported } from '../problems.ts';
import { reshaped } from '../variables.ts';
import { normalized } from './core.ts';
import { type LayerKind, type Lowering, one, own } from './layer-kind.ts';

export const normalizationLayers: Readonly<Record<string, LayerKind>> = {
  BatchNormalization: {
    keepsMask: true,
    slots: ({ config }) =>
      own(config.bool('scale', true) && 'gamma', config.bool('center', true) && 'beta', '-moving_mean', '-moving_variance'),
    lower: (call) => {
      const { builder: b, config, variables } = call;
      config.refuse('renorm', [false]);
      const x = one(call);
      const axes = Array.isArray(config.get('axis')) ? config.ints('axis') : [config.number('axis', -1)];
      const [axis = -1, ...more] = axes;
      if (more.length > 0) throw unsupported(`${config.where} over several axes`);
      const at = axisOf(x, axis);
      const mean = variables.get('moving_mean', 1);
      const filled = (name: 'gamma' | 'beta', value: number) => variables.optional(name) ?? constantOf(value, mean.shape);
      const weights = [filled('gamma', 1), filled('beta', 0), mean, variables.get('moving_variance', 1)];
      if (weights.some(({ shape }) => shape[0] !== x.shape[at]))
        throw damaged(`${config.where} has weights of [${mean.shape}] for [${x.shape}]`);
      const epsilon = config.number('epsilon', 1e-3);
      if (x.shape.length === 4 && at === 3) return fusedBatchNorm(b, x, weights, epsilon);
      const shape = x.shape.map((_, index) => (index === at ? x.shape[at]! : 1));
      const isLast = at === x.shape.length - 1;
      const [gamma, beta, average, variance] = weights.map((weight, index) =>
        b.weight(isLast ? weight : reshaped(weight, shape), ['gamma', 'beta', 'moving_mean', 'moving_variance'][index]!),
      ) as [Value, Value, Value, Value]; // four in, four out
      const scale = b.mul(b.unary('Rsqrt', b.add(variance, b.float(epsilon))), gamma);
      return b.add(b.mul(x, scale), b.sub(beta, b.mul(average, scale)));
    },
  },
  LayerNormalization: {
    keepsMask: true,
    slots: ({ config }) =>
      own(config.bool('scale', true) && 'gamma', !config.bool('rms_scaling', false) && config.bool('center', true) && 'beta'),
    lower: (call) => {
      const { builder: b, config, variables } = call;
      const x = one(call);
      const axes = (Array.isArray(config.get('axis')) ? config.ints('axis') : [config.number('axis', -1)]).map((axis) => axisOf(x, axis));
      const isRms = config.bool('rms_scaling', false);
      const epsilon = config.number('epsilon', 1e-3);
      const y = isRms ? rmsNormalized(b, x, axes, epsilon) : standardized(b, x, axes, epsilon);
      return scaledAndShifted(b, y, variables.optional('gamma'), variables.optional('beta'), axes);
    },
  },
  RMSNormalization: {
    keepsMask: true,
    slots: () => own('scale'),
    lower: (call) => {
      const { builder: b, config, variables } = call;
      const x = one(call);
      const axes = (Array.isArray(config.get('axis')) ? config.ints('axis') : [config.number('axis', -1)]).map((axis) => axisOf(x, axis));
      return scaledAndShifted(b, rmsNormalized(b, x, axes, config.number('epsilon', 1e-6)), variables.optional('scale'), undefined, axes);
    },
  },
  GroupNormalization: {
    keepsMask: true,
    slots: ({ config }) => own(config.bool('scale', true) && 'gamma', config.bool('center', true) && 'beta'),
    lower: (call) => {
      const { builder: b, config, variables } = call;
      const x = one(call);
      const last = x.shape.length - 1;
      if (axisOf(x, config.number('axis', -1)) !== last) throw unsupported(`${config.where} over an axis that is not the last`);
      const channels = x.shape[last]!;
      const asked = config.number('groups', 32);
      const groups = asked === -1 ? channels : asked;
      if (channels === -1 || channels % groups !== 0) throw damaged(`${config.where} has ${groups} groups of ${channels} channels`);
      const dims = b.dims(x);
      const grouped = b.reshape(x, [...dims.slice(0, -1), groups, channels / groups]);
      const axes = [...x.shape.keys()].filter((axis) => axis > 0 && axis < last);
      const y = b.reshape(standardized(b, grouped, [...axes, last + 1], config.number('epsilon', 1e-3)), dims);
      return scaledAndShifted(b, y, variables.optional('gamma'), variables.optional('beta'), [last]);
    },
  },
  /** Of keras.applications' ConvNeXt. */
  LayerScale: {
    slots: () => own('gamma'),
    lower: (call) => call.builder.mul(one(call), call.builder.weight(call.variables.get('gamma', 1), 'gamma')),
  },
  UnitNormalization: {
    keepsMask: true,
    lower: (call) => {
      const { builder: b, config } = call;
      const axes = Array.isArray(config.get('axis')) ? config.ints('axis') : [config.number('axis', -1)];
      return normalized(b, one(call), ...axes);
    },
  },
  Rescaling: {
    keepsMask: true,
    lower: (call) => {
      const { builder: b, config } = call;
      const [scale, offset] = [config.array('scale') ?? [1], config.array('offset') ?? [0]];
      const value = (list: readonly number[]) => (list.length === 1 ? b.float(list[0]!) : b.floats(list));
      const y = b.mul(one(call), value(scale));
      return offset.every((item) => item === 0) ? y : b.add(y, value(offset));
    },
  },
  Normalization: {
    keepsMask: true,
    slots: ({ config }) => (config.get('mean') === undefined ? own('-mean', '-variance', '-count') : []),
    lower: (call) => {
      const { builder: b, config } = call;
      const x = one(call);
      const [mean, variance] = ['mean', 'variance'].map((name) => normalizationWeight(call, name, x)) as [Value, Value]; // two in, two out
      // Keras: (x - mean) / max(sqrt(variance), epsilon), epsilon that of the backend.
      const deviation = b.binary('Maximum', b.unary('Sqrt', variance), b.float(1e-7));
      if (config.bool('invert', false)) return b.add(b.mul(x, deviation), mean);
      return b.binary('RealDiv', b.sub(x, mean), deviation);
    },
  },
};

function normalizationWeight({ builder: b, config, variables }: Lowering, name: string, x: Value): Value {
  const given = config.array(name);
  const kept = (
    config.get('axis') === undefined ? [] : Array.isArray(config.get('axis')) ? config.ints('axis') : [config.number('axis')]
  ).map((axis) => axisOf(x, axis));
  const shape = x.shape.map((size, axis) => (kept.includes(axis) ? size : 1));
  if (given) return given.length === 1 ? b.float(given[0]!) : b.floats(given, shape);
  const weight = variables.optional(name);
  if (!weight) throw damaged(`${config.where} has no ${name}; adapt it before saving`);
  return b.weight(reshaped(weight, shape), name);
}

function fusedBatchNorm(b: GraphBuilder, x: Value, weights: readonly Constant[], epsilon: number): Value {
  const inputs = weights.map((weight, index) => b.weight(weight, ['gamma', 'beta', 'moving_mean', 'moving_variance'][index]!));
  const attributes = {
    T: attribute.type('float32'),
    U: attribute.type('float32'),
    epsilon: attribute.float(epsilon),
    is_training: attribute.bool(false),
    data_format: attribute.string('NHWC'),
  };
  return b.op('FusedBatchNormV3', [x, ...inputs], attributes, 'float32', x.shape);
}

function standardized(b: GraphBuilder, x: Value, axes: readonly number[], epsilon: number): Value {
  const centred = b.sub(x, b.reduce('Mean', x, axes, true));
  const variance = b.reduce('Mean', b.mul(centred, centred), axes, true);
  return b.mul(centred, b.unary('Rsqrt', b.add(variance, b.float(epsilon))));
}

function rmsNormalized(b: GraphBuilder, x: Value, axes: readonly number[], epsilon: number): Value {
  const squares = b.reduce('Mean', b.mul(x, x), axes, true);
  return b.mul(x, b.unary('Rsqrt', b.add(squares, b.float(epsilon))));
}

function scaledAndShifted(
  b: GraphBuilder,
  x: Value,
  gamma: Constant | undefined,
  beta: Constant | undefined,
  axes: readonly number[],
): Value {
  const shape = x.shape.map((size, axis) => (axes.includes(axis) ? size : 1));
  const isTrailing = axes.every((axis, index) => axis === x.shape.length - axes.length + index);
  const place = (weight: Constant, name: string) => b.weight(isTrailing ? weight : reshaped(weight, shape), name);
  const y = gamma ? b.mul(x, place(gamma, 'gamma')) : x;
  return beta ? b.add(y, place(beta, 'beta')) : y;
}

function constantOf(value: number, shape: readonly number[]): Constant {
  const [size = 1] = shape;
  return toConstant(createTensor('float32', [size], new Float32Array(size).fill(value)));
}

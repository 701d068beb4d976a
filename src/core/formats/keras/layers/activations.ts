import { attribute } from '../../graph/index.ts';
import type { GraphBuilder, Value } from '../builder.ts';
import { Config, isRecord } from '../config.ts';
import type { KerasVersion } from '../model-config.ts';
import { damaged, unsupported } from '../problems.ts';
import { type LayerKind, type Lowering, one, own } from './layer-kind.ts';

type Activation = (b: GraphBuilder, x: Value, version: KerasVersion) => Value;

/**
 * Applies an activation function by its name, or as Keras 3 writes it: a function or a layer as an object.
 * @throws {NearfarError} `unsupported` for a function that is not Keras' own.
 */
export function activate(b: GraphBuilder, x: Value, activation: unknown, version: KerasVersion, where: string): Value {
  const name = activationName(activation);
  if (name === undefined) return x;
  const apply = Object.hasOwn(activations, name) ? activations[name] : undefined;
  if (apply) return apply(b, x, version);
  throw unsupported(`${where} has the activation ${name}, which is not one of Keras' own that are supported`);
}

/** The activation of a layer's config. */
export function activated({ builder, config, version }: Lowering, x: Value, name = 'activation'): Value {
  return activate(builder, x, config.get(name), version, config.where);
}

function activationName(activation: unknown): string | undefined {
  if (activation === undefined || activation === null) return undefined;
  if (typeof activation === 'string') return activation;
  if (isRecord(activation)) {
    const { class_name: className, config } = activation;
    if (className === 'function' && typeof config === 'string') return config;
    if (typeof className === 'string') return layerNames[className] ?? className;
  }
  throw damaged(`an activation ${JSON.stringify(activation)?.slice(0, 80)}`);
}

/** Layers that stand for functions when they are given as an activation without settings. */
const layerNames: Readonly<Record<string, string>> = { ELU: 'elu', Softmax: 'softmax' };

const clip = (b: GraphBuilder, x: Value, low: number, high: number) =>
  b.binary('Minimum', b.binary('Maximum', x, b.float(low)), b.float(high));

const scaled = (b: GraphBuilder, x: Value, scale: number, offset: number) => b.add(b.mul(x, b.float(scale)), b.float(offset));

/** x times relu6(x + 3) / 6 has its factor as hard_sigmoid of Keras 3; Keras 2 has 0.2 x + 0.5 between 0 and 1. */
const hardSigmoid: Activation = (b, x, version) =>
  version === 3 ? b.mul(b.unary('Relu6', b.add(x, b.float(3))), b.float(1 / 6)) : clip(b, scaled(b, x, 0.2, 0.5), 0, 1);

const silu: Activation = (b, x) => b.mul(x, b.unary('Sigmoid', x));
const hardSilu: Activation = (b, x) => b.mul(x, hardSigmoid(b, x, 3));

const gelu: Activation = (b, x) => {
  const erf = b.unary('Erf', b.mul(x, b.float(Math.SQRT1_2)));
  return b.mul(b.mul(x, b.float(0.5)), b.add(erf, b.float(1)));
};

const leakyRelu =
  (slope: number): Activation =>
  (b, x) =>
    b.unary('LeakyRelu', x, { alpha: attribute.float(slope) });

const unary =
  (op: string): Activation =>
  (b, x) =>
    b.unary(op, x);

/** keras/src/activations/activations.py; of Keras 2, tf_keras/activations.py. */
const activations: Readonly<Record<string, Activation>> = {
  linear: (_, x) => x,
  relu: unary('Relu'),
  relu6: unary('Relu6'),
  elu: unary('Elu'),
  selu: unary('Selu'),
  softplus: unary('Softplus'),
  softsign: (b, x) => b.binary('RealDiv', x, b.add(b.unary('Abs', x), b.float(1))),
  tanh: unary('Tanh'),
  sigmoid: unary('Sigmoid'),
  hard_sigmoid: hardSigmoid,
  hardSigmoid,
  exponential: unary('Exp'),
  exp: unary('Exp'),
  softmax: (b, x) => b.softmax(x),
  log_softmax: (b, x) => b.unary('LogSoftmax', x),
  logSoftmax: (b, x) => b.unary('LogSoftmax', x),
  silu,
  swish: silu,
  hard_silu: hardSilu,
  hard_swish: hardSilu,
  mish: (b, x) => b.mul(x, b.unary('Tanh', b.unary('Softplus', x))),
  gelu,
  gelu_new: (b, x) => geluTanh(b, x),
  leaky_relu: leakyRelu(0.2),
  log_sigmoid: (b, x) => b.unary('Neg', b.unary('Softplus', b.unary('Neg', x))),
  tanh_shrink: (b, x) => b.sub(x, b.unary('Tanh', x)),
  hard_tanh: (b, x) => clip(b, x, -1, 1),
  celu: unary('Elu'),
  squareplus: (b, x) => b.mul(b.add(x, b.unary('Sqrt', b.add(b.mul(x, x), b.float(4)))), b.float(0.5)),
};

const geluTanh = (b: GraphBuilder, x: Value): Value => {
  const cube = b.mul(b.mul(x, x), x);
  const inner = b.mul(b.add(x, b.mul(cube, b.float(0.044715))), b.float(Math.sqrt(2 / Math.PI)));
  return b.mul(b.mul(x, b.float(0.5)), b.add(b.unary('Tanh', inner), b.float(1)));
};

export const activationLayers: Readonly<Record<string, LayerKind>> = {
  Activation: {
    keepsMask: true,
    lower: (call) => {
      const activation = call.config.get('activation');
      // A layer given as an activation keeps its settings.
      if (isRecord(activation) && isRecord(activation['config'])) {
        const className = String(activation['class_name']);
        const kind = Object.hasOwn(activationLayers, className) ? activationLayers[className] : undefined;
        if (kind && !kind.slots) return kind.lower({ ...call, config: new Config(activation['config'], call.config.where) });
      }
      return activated(call, one(call));
    },
  },
  ReLU: {
    keepsMask: true,
    lower: (call) => {
      const { builder: b, config } = call;
      const x = one(call);
      const slope = config.number('negative_slope', 0);
      const threshold = config.number('threshold', 0);
      const max = config.optionalNumber('max_value') ?? config.optionalNumber('maxValue');
      if (threshold === 0 && slope === 0) {
        if (max === undefined) return b.unary('Relu', x);
        return max === 6 ? b.unary('Relu6', x) : b.binary('Minimum', b.unary('Relu', x), b.float(max));
      }
      const above = b.op('GreaterEqual', [x, b.float(threshold)], { T: attribute.type('float32') }, 'bool', x.shape);
      const below = b.mul(b.sub(x, b.float(threshold)), b.float(slope));
      const open = b.select(above, x, below);
      return max === undefined ? open : b.binary('Minimum', open, b.float(max));
    },
  },
  LeakyReLU: {
    keepsMask: true,
    lower: (call) =>
      leakyRelu(call.config.number('negative_slope', call.config.number('alpha', 0.3)))(call.builder, one(call), call.version),
  },
  PReLU: {
    keepsMask: true,
    slots: () => own('alpha'),
    lower: (call) => {
      const { builder: b, variables } = call;
      const x = one(call);
      const alpha = b.weight(variables.get('alpha', x.shape.length - 1), 'alpha');
      // relu(x) - alpha relu(-x), as Keras writes it.
      return b.sub(b.unary('Relu', x), b.mul(alpha, b.unary('Relu', b.unary('Neg', x))));
    },
  },
  ELU: {
    keepsMask: true,
    lower: (call) => {
      const { builder: b, config } = call;
      const x = one(call);
      const alpha = config.number('alpha', 1);
      if (alpha === 1) return b.unary('Elu', x);
      const positive = b.op('Greater', [x, b.float(0)], { T: attribute.type('float32') }, 'bool', x.shape);
      return b.select(positive, x, b.mul(b.unary('Elu', x), b.float(alpha)));
    },
  },
  ThresholdedReLU: {
    keepsMask: true,
    lower: (call) => {
      const { builder: b, config } = call;
      const x = one(call);
      const above = b.op('Greater', [x, b.float(config.number('theta', 1))], { T: attribute.type('float32') }, 'bool', x.shape);
      return b.mul(x, b.cast(above, 'float32'));
    },
  },
  Softmax: {
    keepsMask: true,
    lower: (call) => {
      const { config } = call;
      const x = one(call);
      if (x.mask || call.inputs.length > 1) throw unsupported(`${config.where} is given a mask`);
      const axis = config.get('axis');
      const [at = -1, ...more] = Array.isArray(axis) ? config.ints('axis') : [config.number('axis', -1)];
      if (more.length > 0) throw unsupported(`${config.where} over several axes`);
      return call.builder.softmax(x, at);
    },
  },
};

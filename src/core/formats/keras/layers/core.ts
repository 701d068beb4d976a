import { attribute } from '../../graph/index.ts';
import { axisOf, type Value } from '../builder.ts';
import { damaged, unsupported } from '../problems.ts';
import { reshaped } from '../variables.ts';
import { activated } from './activations.ts';
import { any, type LayerKind, type Lowering, one, own } from './layer-kind.ts';

const identity: LayerKind = { keepsMask: true, lower: (call) => any(call) };

/** Random layers, and those that only add to a loss, let their input through when a model predicts. */
const throughLayers = [
  'Dropout',
  'SpatialDropout1D',
  'SpatialDropout2D',
  'SpatialDropout3D',
  'AlphaDropout',
  'GaussianDropout',
  'GaussianNoise',
  'ActivityRegularization',
  'Identity',
  'RandomFlip',
  'RandomRotation',
  'RandomTranslation',
  'RandomZoom',
  'RandomContrast',
  'RandomBrightness',
  'RandomShear',
  'RandomGrayscale',
  'RandomHue',
  'RandomSaturation',
  'RandomErasing',
  'StochasticDepth',
];

export const coreLayers: Readonly<Record<string, LayerKind>> = {
  ...Object.fromEntries(throughLayers.map((name) => [name, identity])),
  Dense: {
    keepsMask: true,
    slots: ({ config }) => own('kernel', config.bool('use_bias', true) && 'bias'),
    lower: (call) => {
      const { builder: b, config, variables } = call;
      const x = one(call);
      const y = b.project(x, b.weight(variables.get('kernel', 2), 'kernel'));
      const bias = config.bool('use_bias', true) ? b.weight(variables.get('bias', 1), 'bias') : undefined;
      return activated(call, b.bias(y, bias));
    },
  },
  EinsumDense: {
    slots: ({ config }) => own('kernel', typeof config.get('bias_axes') === 'string' && 'bias'),
    lower: (call) => {
      const { builder: b, config, variables } = call;
      const x = one(call);
      const kernel = variables.optional('kernel');
      if (!kernel) throw damaged(`${config.where} has no kernel`);
      const y = einsumDense(call, x, config.string('equation'));
      const axes = config.optionalString('bias_axes');
      const bias = variables.optional('bias');
      return activated(call, axes && bias ? b.add(y, b.weight(bias, 'bias')) : y);
    },
  },
  Embedding: {
    slots: () => own('embeddings'),
    lower: (call) => {
      const { builder: b, config, variables } = call;
      const x = any(call);
      const indices = b.cast(x, 'int32');
      const y = b.gather(b.weight(variables.get('embeddings', 2), 'embeddings'), indices);
      if (!config.bool('mask_zero', false)) return y;
      return { ...y, mask: b.op('NotEqual', [indices, b.int(0)], { T: attribute.type('int32') }, 'bool', indices.shape) };
    },
  },
  Masking: {
    lower: (call) => {
      const { builder: b, config } = call;
      const x = one(call);
      const differs = b.op('NotEqual', [x, b.float(config.number('mask_value', 0))], { T: attribute.type('float32') }, 'bool', x.shape);
      const kept = b.reduce('Any', differs, [-1], true);
      return { ...b.mul(x, b.cast(kept, 'float32')), mask: b.squeeze(kept, -1) };
    },
  },
};

/** `abc,cd->abd` and the like contract the last axes with the kernel's first: one matrix product. */
function einsumDense({ builder: b, variables, config }: Lowering, x: Value, equation: string): Value {
  const kernel = variables.optional('kernel');
  const [, left = '', right = '', result = ''] = /^([^,]+),([^-]+)->(.+)$/.exec(equation.replaceAll(' ', '')) ?? [];
  if (!kernel || result === '') throw damaged(`${config.where} has the equation ${equation}`);
  const names = (text: string, rank: number) => {
    const missing = rank - text.replace('...', '').length;
    // Letters no equation of Keras uses.
    return text.replace('...', '₀₁₂₃₄₅₆₇'.slice(0, Math.max(0, missing)));
  };
  const ellipsis = left.includes('...') ? x.shape.length - left.length + 3 : 0;
  const a = names(left, x.shape.length);
  const c = names(result, result.replace('...', '').length + ellipsis);
  const contracted = [...a].filter((letter) => right.includes(letter));
  const count = contracted.length;
  const outer = [...a].slice(0, a.length - count);
  const isPlain =
    count > 0 &&
    a.length === x.shape.length &&
    right.length === kernel.shape.length &&
    a.endsWith(right.slice(0, count)) &&
    c === outer.join('') + right.slice(count);
  if (!isPlain) {
    if (equation.includes('...')) throw unsupported(`${config.where} has the equation ${equation}`);
    return einsum(b, equation, x, b.weight(kernel, 'kernel'));
  }
  const inner = kernel.shape.slice(0, count).reduce((product, size) => product * size, 1);
  const columns = kernel.shape.slice(count).reduce((product, size) => product * size, 1);
  const dims = b.dims(x).slice(0, outer.length);
  const flat = b.reshape(x, [-1, inner]);
  const y = b.matmul(flat, b.weight(reshaped(kernel, [inner, columns]), 'kernel'));
  return b.reshape(y, [...dims, ...kernel.shape.slice(count)]);
}

export function einsum(b: Lowering['builder'], equation: string, x: Value, y: Value): Value {
  const [, left = '', right = '', result = ''] = /^([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)$/.exec(equation.replaceAll(' ', '')) ?? [];
  if (left.length !== x.shape.length || right.length !== y.shape.length)
    throw damaged(`an Einsum of [${x.shape}] and [${y.shape}] by ${equation}`);
  const sizes = new Map<string, number>();
  for (const [index, letter] of [...left].entries()) sizes.set(letter, x.shape[index]!);
  for (const [index, letter] of [...right].entries()) if ((sizes.get(letter) ?? -1) === -1) sizes.set(letter, y.shape[index]!);
  const shape = [...result].map((letter) => sizes.get(letter) ?? -1);
  const attributes = { equation: attribute.string(`${left},${right}->${result}`), N: attribute.int(2), T: attribute.type('float32') };
  return b.op('Einsum', [x, y], attributes, 'float32', shape);
}

export const shapeLayers: Readonly<Record<string, LayerKind>> = {
  Flatten: {
    lower: ({ builder: b, config, ...call }) => {
      const x = any({ config, inputs: call.inputs });
      if (x.shape.length === 1) return b.expandDims(x, 1);
      const last = config.isChannelsFirst() ? b.transpose(x, [0, ...[...x.shape.keys()].slice(2), 1]) : x;
      const rest = last.shape.slice(1);
      // The batch is the unknown size, unless another one is.
      if (!rest.includes(-1)) return b.reshape(last, [-1, rest.reduce((product, size) => product * size, 1)]);
      return b.reshape(last, [b.dims(last)[0]!, -1]);
    },
  },
  Reshape: {
    lower: ({ builder: b, config, ...call }) => {
      const x = any({ config, inputs: call.inputs });
      const target = config.ints('target_shape');
      const size = x.shape.slice(1).reduce((product, dim) => (dim === -1 ? Number.NaN : product * dim), 1);
      const known = target.filter((dim) => dim !== -1).reduce((product, dim) => product * dim, 1);
      const full = Number.isNaN(size) ? target : target.map((dim) => (dim === -1 ? size / known : dim));
      if (!full.every((dim) => Number.isInteger(dim))) throw damaged(`${config.where} reshapes [${x.shape}] to [${target}]`);
      return b.reshape(x, [full.includes(-1) ? b.dims(x)[0]! : -1, ...full]);
    },
  },
  Permute: {
    lower: ({ builder: b, config, ...call }) => b.transpose(any({ config, inputs: call.inputs }), [0, ...config.ints('dims')]),
  },
  RepeatVector: {
    lower: ({ builder: b, config, ...call }) => b.tile(b.expandDims(any({ config, inputs: call.inputs }), 1), [1, config.count('n'), 1]),
  },
  ZeroPadding1D: { lower: (call) => zeroPad(call, 1) },
  ZeroPadding2D: { lower: (call) => zeroPad(call, 2) },
  ZeroPadding3D: { lower: (call) => zeroPad(call, 3) },
  Cropping1D: { lower: (call) => crop(call, 1) },
  Cropping2D: { lower: (call) => crop(call, 2) },
  Cropping3D: { lower: (call) => crop(call, 3) },
  UpSampling1D: {
    lower: ({ builder: b, config, ...call }) => {
      const x = any({ config, inputs: call.inputs });
      const wide = resize(b, b.expandDims(x, 2), [config.count('size', 2), 1], 'ResizeNearestNeighbor');
      return b.squeeze(wide, 2);
    },
  },
  UpSampling2D: {
    lower: ({ builder: b, config, ...call }) => {
      const x = any({ config, inputs: call.inputs });
      const method = config.string('interpolation', 'nearest');
      const op = resizeOps[method];
      if (!op) throw unsupported(`${config.where} interpolates by ${method}; nearest and bilinear are supported`);
      const [height = 1, width = 1] = config.ints('size', 2, 2);
      const last = config.isChannelsFirst() ? b.transpose(x, [0, 2, 3, 1]) : x;
      const y = resize(b, last, [height, width], op);
      return config.isChannelsFirst() ? b.transpose(y, [0, 3, 1, 2]) : y;
    },
  },
  Resizing: {
    lower: (call) => {
      const { builder: b, config } = call;
      const x = one(call);
      const method = config.string('interpolation', 'bilinear');
      const op = resizeOps[method];
      if (!op) throw unsupported(`${config.where} interpolates by ${method}; nearest and bilinear are supported`);
      for (const name of ['crop_to_aspect_ratio', 'pad_to_aspect_ratio', 'antialias']) config.refuse(name, [false]);
      config.refuse('data_format', ['channels_last']);
      if (x.shape.length !== 4) throw unsupported(`${config.where} resizes a tensor of rank ${x.shape.length}, expected a batch of images`);
      return resizeTo(
        b,
        x,
        b.ints([config.count('height'), config.count('width')]),
        [config.count('height'), config.count('width')],
        op,
        true,
      );
    },
  },
};

const resizeOps: Readonly<Record<string, 'ResizeNearestNeighbor' | 'ResizeBilinear'>> = {
  nearest: 'ResizeNearestNeighbor',
  bilinear: 'ResizeBilinear',
};

/** Whole multiples of the height and the width. */
function resize(
  b: Lowering['builder'],
  x: Value,
  factors: readonly [number, number],
  op: 'ResizeNearestNeighbor' | 'ResizeBilinear',
): Value {
  const dims = b.dims(x).slice(1, 3);
  const sizes = dims.map((dim, index) => (typeof dim === 'number' ? dim * factors[index]! : b.mul(dim, b.int(factors[index]!))));
  const shape = sizes.map((size) => (typeof size === 'number' ? size : -1));
  // For whole factors the nearest pixel by corners is the repeated one; by half-pixel centres it is too, but fewer backends agree.
  return resizeTo(b, x, b.shapeVector(sizes), shape, op, op === 'ResizeBilinear');
}

function resizeTo(b: Lowering['builder'], x: Value, size: Value, shape: readonly number[], op: string, isHalfPixel: boolean): Value {
  const attributes = { T: attribute.type(x.dtype), align_corners: attribute.bool(false), half_pixel_centers: attribute.bool(isHalfPixel) };
  return b.op(op, [x, size], attributes, x.dtype, [x.shape[0] ?? -1, ...shape, x.shape[3] ?? -1]);
}

/** Pairs of before and after for each spatial axis, from an int, a list of ints or of pairs. */
function sides({ config }: Lowering, name: string, rank: number): [number, number][] {
  const value = config.get(name) ?? 1;
  const list =
    Array.isArray(value) && (rank > 1 || Array.isArray(value[0]))
      ? value
      : rank === 1
        ? [value]
        : Array.from({ length: rank }, () => value);
  const pairs = list.map((item): [number, number] => {
    const [before, after] = Array.isArray(item) ? item : [item, item];
    if (!Number.isSafeInteger(before) || !Number.isSafeInteger(after) || before < 0 || after < 0)
      throw damaged(`${name} of ${config.where}`);
    return [before, after];
  });
  if (pairs.length !== rank) throw damaged(`${name} of ${config.where} should name ${rank} axes`);
  return pairs;
}

function spatial<T>(call: Lowering, pairs: readonly T[], none: T): T[] {
  return call.config.isChannelsFirst() ? [none, none, ...pairs] : [none, ...pairs, none];
}

function zeroPad(call: Lowering, rank: number): Value {
  const x = any(call);
  if (x.shape.length !== rank + 2) throw damaged(`${call.config.where} gets a tensor of shape [${x.shape}]`);
  return call.builder.pad(x, spatial<[number, number]>(call, sides(call, 'padding', rank), [0, 0]));
}

function crop(call: Lowering, rank: number): Value {
  const x = any(call);
  if (x.shape.length !== rank + 2) throw damaged(`${call.config.where} gets a tensor of shape [${x.shape}]`);
  const pairs = spatial<[number, number]>(call, sides(call, 'cropping', rank), [0, 0]);
  let endMask = 0;
  for (const [axis, [, after]] of pairs.entries()) if (after === 0) endMask |= 1 << axis;
  const begin = pairs.map(([before]) => before);
  const end = pairs.map(([, after]) => -after);
  for (const [axis, size] of x.shape.entries()) {
    if (size !== -1 && pairs[axis]![0] + pairs[axis]![1] > size) throw damaged(`${call.config.where} crops all of [${x.shape}]`);
  }
  return call.builder.stridedSlice(x, begin, end, { endMask });
}

export const mergeLayers: Readonly<Record<string, LayerKind>> = {
  Add: { lower: (call) => merge(call, 'AddV2') },
  Multiply: { lower: (call) => merge(call, 'Mul') },
  Maximum: { lower: (call) => merge(call, 'Maximum') },
  Minimum: { lower: (call) => merge(call, 'Minimum') },
  Average: {
    lower: (call) => {
      const sum = merge(call, 'AddV2');
      return { ...call.builder.mul(sum, call.builder.scalarLike(1 / call.inputs.length, sum)), mask: sum.mask };
    },
  },
  Subtract: {
    lower: (call) => {
      if (call.inputs.length !== 2) throw damaged(`${call.config.where} has ${call.inputs.length} inputs, expected 2`);
      return merge(call, 'Sub');
    },
  },
  Concatenate: {
    lower: (call) => {
      const { builder: b, config, inputs } = call;
      const y = b.concat(inputs, config.number('axis', -1));
      const masks = inputs.flatMap(({ mask }) => (mask ? [mask] : []));
      if (masks.length === 0) return y;
      const axis = axisOf(y, config.number('axis', -1));
      if (masks.length < inputs.length && axis !== 1) return y; // an input without a mask lets every step through
      if (masks.length === inputs.length && axis === 1) return { ...y, mask: b.concat(masks, 1) };
      if (masks.length === inputs.length) return { ...y, mask: masks.reduce((a, c) => b.binary('LogicalOr', a, c)) };
      throw unsupported(`${config.where} joins steps with and without a mask`);
    },
  },
  Dot: {
    lower: (call) => {
      const { builder: b, config } = call;
      const [x, y] = call.inputs;
      if (!x || !y) throw damaged(`${config.where} needs two inputs`);
      const axes = config.ints('axes', 2);
      const [left, right] = config.bool('normalize', false) ? [normalized(b, x, axes[0]!), normalized(b, y, axes[1]!)] : [x, y];
      const at = [axisOf(x, axes[0]!), axisOf(y, axes[1]!)];
      if (x.shape.length === 2 && y.shape.length === 2) return b.reduce('Sum', b.mul(left, right), [1], true);
      if (x.shape.length === 3 && y.shape.length === 3 && at.every((axis) => axis > 0)) {
        return b.batchMatmul(left, right, { transposeA: at[0] === 1, transposeB: at[1] === 2 });
      }
      throw unsupported(`${config.where} of tensors of rank ${x.shape.length} and ${y.shape.length}`);
    },
  },
};

/** x / max(norm, 1e-6), as `l2_normalize` with epsilon 1e-12. */
export function normalized(b: Lowering['builder'], x: Value, ...axes: readonly number[]): Value {
  const squares = b.reduce('Sum', b.mul(x, x), axes, true);
  return b.mul(x, b.unary('Rsqrt', b.binary('Maximum', squares, b.float(1e-12))));
}

/** Sums and the like; Keras gives shapes of lower rank new axes after the batch. */
function merge({ builder: b, inputs, config }: Lowering, op: string): Value {
  const [first, ...others] = inputs;
  if (!first) throw damaged(`${config.where} has no inputs`);
  if (inputs.some(({ shape }) => shape.length !== first.shape.length))
    throw unsupported(`${config.where} joins tensors of different ranks`);
  const y = others.reduce((sum, next) => b.binary(op, sum, next), first);
  const masks = inputs.flatMap(({ mask }) => (mask ? [mask] : []));
  return masks.length === inputs.length ? { ...y, mask: masks.reduce((a, c) => b.binary('LogicalOr', a, c)) } : { ...y, mask: undefined };
}

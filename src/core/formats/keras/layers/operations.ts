import type { DType } from '../../../tensor/index.ts';
import { isDType } from '../../../tensor/index.ts';
import { type Attributes, attribute } from '../../graph/index.ts';
import { axisOf, broadcast, type Dim, type GraphBuilder, type Value } from '../builder.ts';
import { isRecord } from '../config.ts';
import { damaged, unsupported } from '../problems.ts';
import { activate } from './activations.ts';
import { any, type LayerKind, type Lowering, type Operand } from './layer-kind.ts';

// Operations of keras.ops between layers: `x * 2 + y` makes layers of the classes Multiply and Add of keras.src.ops. Masks do too.

const arithmetic: Readonly<Record<string, string>> = {
  Add: 'AddV2',
  Subtract: 'Sub',
  Multiply: 'Mul',
  Divide: 'RealDiv',
  TrueDivide: 'RealDiv',
  Maximum: 'Maximum',
  Minimum: 'Minimum',
  Power: 'Pow',
  SquaredDifference: 'SquaredDifference',
};

const comparisons: Readonly<Record<string, string>> = {
  Equal: 'Equal',
  NotEqual: 'NotEqual',
  Greater: 'Greater',
  GreaterEqual: 'GreaterEqual',
  Less: 'Less',
  LessEqual: 'LessEqual',
};

const logical: Readonly<Record<string, string>> = { LogicalAnd: 'LogicalAnd', LogicalOr: 'LogicalOr' };

const elementwise: Readonly<Record<string, string>> = {
  Negative: 'Neg',
  Absolute: 'Abs',
  Abs: 'Abs',
  Sqrt: 'Sqrt',
  Rsqrt: 'Rsqrt',
  Square: 'Square',
  Exp: 'Exp',
  Log: 'Log',
  Sin: 'Sin',
  Cos: 'Cos',
  Sign: 'Sign',
  Floor: 'Floor',
  Ceil: 'Ceil',
  Erf: 'Erf',
};

/** Operations of keras.ops.nn that are activation functions too. */
const functions: Readonly<Record<string, string>> = {
  Relu: 'relu',
  Relu6: 'relu6',
  Sigmoid: 'sigmoid',
  Tanh: 'tanh',
  Softplus: 'softplus',
  Softsign: 'softsign',
  Silu: 'silu',
  Selu: 'selu',
  HardSigmoid: 'hard_sigmoid',
  HardSilu: 'hard_silu',
  LogSoftmax: 'log_softmax',
};

const reductions = ['Mean', 'Sum', 'Max', 'Min', 'Any', 'All'] as const;

export const operations: Readonly<Record<string, LayerKind>> = Object.fromEntries(
  Object.entries<LayerKind>({
    ...each(arithmetic, (op) => ({ lower: (call) => binary(call, op) })),
    ...each(comparisons, (op) => ({ lower: (call) => binary(call, op, 'bool') })),
    ...each(logical, (op) => ({ lower: (call) => binary(call, op, 'bool') })),
    ...each(elementwise, (op) => ({ lower: (call) => call.builder.unary(op, first(call)) })),
    ...each(functions, (name) => ({ lower: (call) => activate(call.builder, first(call), name, 3, call.config.where) })),
    ...Object.fromEntries(reductions.map((op): [string, LayerKind] => [op, { lower: (call) => reduce(call, op) }])),
    LogicalNot: { lower: (call) => call.builder.op('LogicalNot', [any(call)], {}, 'bool', any(call).shape) },
    Gelu: {
      lower: (call) => {
        const name = call.config.bool('approximate', true) ? 'gelu_new' : 'gelu';
        return activate(call.builder, first(call), name, 3, call.config.where);
      },
    },
    LeakyRelu: {
      lower: (call) => call.builder.unary('LeakyRelu', first(call), { alpha: attribute.float(call.config.number('negative_slope', 0.2)) }),
    },
    Softmax: { lower: (call) => call.builder.softmax(first(call), call.config.number('axis', -1)) },
    Cast: {
      lower: (call) => {
        const dtype = call.config.string('dtype');
        if (!isDType(dtype)) throw damaged(`${call.config.where} casts to ${dtype}`);
        return call.builder.cast(any(call), dtype);
      },
    },
    Clip: {
      lower: (call) => {
        const { builder: b, config } = call;
        const x = first(call);
        const low = b.scalarLike(config.number('x_min'), x);
        return b.binary('Minimum', b.binary('Maximum', x, low), b.scalarLike(config.number('x_max'), x));
      },
    },
    Reshape: { lower: (call) => reshape(call, call.config.get('newshape') ?? setting(call, 1)) },
    ExpandDims: { lower: (call) => axesOf(call, any(call)).reduce((x, axis) => call.builder.expandDims(x, axis), any(call)) },
    Squeeze: {
      lower: (call) => {
        const x = any(call);
        const value = call.config.get('axis');
        const axes =
          value === undefined ? [...x.shape.keys()].filter((axis) => x.shape[axis] === 1) : axesOf(call, x).map((axis) => axisOf(x, axis));
        return axes.sort((a, c) => c - a).reduce((squeezed, axis) => call.builder.squeeze(squeezed, axis), x);
      },
    },
    Transpose: {
      lower: (call) => {
        const x = any(call);
        const order = call.config.get('axes') === undefined ? [...x.shape.keys()].reverse() : call.config.ints('axes', x.shape.length);
        return call.builder.transpose(
          x,
          order.map((axis) => axisOf(x, axis)),
        );
      },
    },
    Concatenate: { lower: (call) => call.builder.concat(call.inputs, call.config.number('axis', -1)) },
    Stack: {
      lower: (call) => {
        const axis = call.config.number('axis', 0);
        return call.builder.pack(call.inputs, axis < 0 ? axis + any(call).shape.length + 1 : axis);
      },
    },
    Matmul: {
      lower: (call) => {
        const { builder: b, config, inputs } = call;
        const [x, y] = inputs;
        if (!x || !y || x.shape.length < 2 || y.shape.length < 2) throw unsupported(`${config.where} of what are no matrices`);
        if (x.shape.length === 2 && y.shape.length === 2) return b.matmul(x, y);
        return b.batchMatmul(x, y);
      },
    },
    Where: {
      lower: (call) => {
        const { builder: b, config, operands } = call;
        const [condition] = call.inputs;
        const [yes, no] = [operands[1], operands[2]];
        if (!condition || !yes || !no) throw unsupported(`${config.where} without two branches`);
        const [x, y] = pair(call, yes, no);
        return b.select(b.cast(condition, 'bool'), x, y);
      },
    },
    GetItem: { lower: (call) => getItem(call) },
  }).map(([name, kind]) => [`ops.${name}`, kind]),
);

function each(names: Readonly<Record<string, string>>, make: (op: string) => LayerKind): Record<string, LayerKind> {
  return Object.fromEntries(Object.entries(names).map(([name, op]) => [name, make(op)]));
}

function first(call: Lowering): Value {
  const x = any(call);
  return { ...x, mask: undefined };
}

/** A plain argument by its place. */
function setting({ operands }: Lowering, index: number): unknown {
  const operand = operands[index];
  if (operand?.kind === 'value') return operand.value;
  return operand?.kind === 'list' ? operand.items.map((item) => (item.kind === 'value' ? item.value : undefined)) : undefined;
}

function binary(call: Lowering, op: string, dtype?: DType): Value {
  const { builder: b, operands, config } = call;
  const [left, right] = operands;
  if (!left || !right) throw damaged(`${config.where} needs two operands`);
  const [x, y] = pair(call, left, right);
  const isLogical = op.startsWith('Logical');
  const [a, c] = isLogical
    ? [b.cast(x, 'bool'), b.cast(y, 'bool')]
    : op === 'RealDiv'
      ? [b.cast(x, 'float32'), b.cast(y, 'float32')]
      : [x, y];
  const types: Attributes = isLogical ? {} : { T: attribute.type(a.dtype) };
  return b.op(op, [a, c], types, dtype ?? a.dtype, broadcast(a.shape, c.shape, op));
}

/** Two operands of one dtype: numbers take that of the tensor, whole ones become floats beside floats. */
function pair({ builder: b, config }: Lowering, left: Operand, right: Operand): [Value, Value] {
  const isFloat = [left, right].some((operand) =>
    operand.kind === 'tensor'
      ? operand.value.dtype === 'float32'
      : typeof numberOf(operand, config.where) === 'number' && !Number.isInteger(numberOf(operand, config.where)),
  );
  const tensors = [left, right].flatMap((operand) => (operand.kind === 'tensor' ? [operand.value] : []));
  const dtype: DType = isFloat ? 'float32' : (tensors[0]?.dtype ?? 'float32');
  const toValue = (operand: Operand): Value => {
    if (operand.kind === 'tensor') return b.cast({ ...operand.value, mask: undefined }, dtype);
    return literal(b, numberOf(operand, config.where), dtype);
  };
  return [toValue(left), toValue(right)];
}

function literal(b: GraphBuilder, value: number, dtype: DType): Value {
  return dtype === 'int32' ? b.int(value) : b.cast(b.float(value), dtype);
}

function numberOf(operand: Operand, where: string): number {
  const value = operand.kind === 'value' ? operand.value : undefined;
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  throw unsupported(`${where} has an operand that is neither a tensor nor a number`);
}

function axesOf({ config }: Lowering, x: Value): number[] {
  const value = config.get('axis');
  if (value === undefined) return [...x.shape.keys()];
  return Array.isArray(value) ? config.ints('axis') : [config.number('axis')];
}

function reduce(call: Lowering, op: (typeof reductions)[number]): Value {
  const { builder: b, config } = call;
  const x = first(call);
  const operand = op === 'Any' || op === 'All' ? b.cast(x, 'bool') : x;
  return b.reduce(op, operand, axesOf(call, x), config.bool('keepdims', false));
}

function reshape(call: Lowering, target: unknown): Value {
  const { builder: b, config } = call;
  const x = first(call);
  if (!Array.isArray(target)) throw damaged(`${config.where} has no shape`);
  const dims = b.dims(x);
  const sizes = target.map((size, axis): Dim => {
    if (size === null) return dims[axis] ?? -1;
    if (typeof size === 'number' && Number.isInteger(size)) return size;
    throw unsupported(`${config.where} has a shape that is computed`);
  });
  return b.reshape(x, sizes);
}

/** Python's indexing by numbers, slices of step 1, None and the ellipsis. */
function getItem(call: Lowering): Value {
  const { builder: b, config, operands } = call;
  let x = first(call);
  const key = operands[1] ?? damagedKey(config.where);
  const items = key.kind === 'list' ? key.items : [key];
  const plain = items.map((item) => {
    if (item.kind !== 'value') throw unsupported(`${config.where} indexes by a tensor`);
    return item.value;
  });
  const at = plain.findIndex(isEllipsis);
  const used = plain.filter((item) => item !== null && !isEllipsis(item)).length;
  const fill = Array.from({ length: x.shape.length - used }, () => wholeAxis);
  const full: unknown[] = at === -1 ? plain : plain.toSpliced(at, 1, ...fill);
  const slices = full.filter((item) => item !== null);
  const begin: number[] = [];
  const end: number[] = [];
  const masks = { beginMask: 0, endMask: 0, shrink: 0 };
  for (const [axis, item] of slices.entries()) {
    const bit = 1 << axis;
    if (typeof item === 'number') {
      begin.push(item);
      end.push(item + 1);
      masks.shrink |= bit;
      if (item === -1) masks.endMask |= bit;
      continue;
    }
    const { start, stop, step } = sliceOf(item, config.where);
    if (step !== undefined && step !== 1) throw unsupported(`${config.where} takes every ${step}th`);
    begin.push(start ?? 0);
    end.push(stop ?? 0);
    if (start === undefined) masks.beginMask |= bit;
    if (stop === undefined) masks.endMask |= bit;
  }
  if (begin.length > x.shape.length) throw damaged(`${config.where} indexes more axes than there are`);
  if (begin.length > 0) x = b.stridedSlice(x, begin, end, masks);
  let axis = 0;
  for (const item of full) {
    if (item === null) x = b.expandDims(x, axis++);
    else if (typeof item !== 'number') axis++;
  }
  return x;
}

const wholeAxis = { class_name: '__slice__', config: { start: null, stop: null, step: null } };

function damagedKey(where: string): never {
  throw damaged(`${where} has no index`);
}

function isEllipsis(item: unknown): boolean {
  return isRecord(item) && item['class_name'] === '__ellipsis__';
}

function sliceOf(item: unknown, where: string): { start: number | undefined; stop: number | undefined; step: number | undefined } {
  const config = isRecord(item) && item['class_name'] === '__slice__' ? item['config'] : undefined;
  if (!isRecord(config)) throw unsupported(`${where} has an index that is neither a number nor a slice`);
  const field = (name: string): number | undefined => {
    const value = config[name] ?? undefined;
    if (value === undefined || (typeof value === 'number' && Number.isSafeInteger(value))) return value;
    throw unsupported(`${where} has a slice that is computed`);
  };
  return { start: field('start'), stop: field('stop'), step: field('step') };
}

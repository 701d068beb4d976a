import type { DType } from '../../../tensor/index.ts';
import type { Order } from '../graph-builder.ts';
import { carrierOf, isHeldBy } from '../kernel-dtypes.ts';
import { type Converter, type Operator, refuse } from '../operator.ts';
import { activate } from './activations.ts';
import { isChannelsSecond } from './convolutions.ts';

interface Aligned {
  readonly names: readonly string[];
  readonly order: Order;
}

/** The inputs in one order of axes: that of an image with its channels second when one has no other, so that no Transpose is needed. */
export function align(node: Operator, indices: readonly number[] = node.inputs.map((_, index) => index)): Aligned {
  const canTurn = indices.every((index) => (node.shape(index)?.length ?? 5) <= 4);
  const order: Order = canTurn && indices.some((index) => isChannelsSecond(node, index)) ? 'nchw' : 'plain';
  return { names: indices.map((index) => node.in(index, order)), order };
}

type Formula = (node: Operator, dtype: DType, names: readonly string[]) => string;

/** An operator on the elements of its inputs, whose output has their dtype. */
const elementwise =
  (formula: Formula): Converter =>
  (node) => {
    const { names, order } = align(node);
    node.set(0, formula(node, node.dtype(0), names), { order });
  };

/** One ONNX operator does it. */
const direct = (op: string): Converter => elementwise((node, dtype, names) => node.emitTyped(op, names, { dtype }));

/** A comparison: the output is bool. */
const predicate =
  (formula: Formula): Converter =>
  (node) => {
    const { names, order } = align(node);
    node.set(0, formula(node, node.dtype(0), names), { order, held: 'bool' });
  };

const comparison = (op: string): Converter => predicate((node, dtype, names) => node.emitTyped(op, names, { dtype, isSame: false }));

const activation = (kind: string): Converter => elementwise((node, dtype, [x]) => activate(node, kind, x!, dtype));

const binary = (formula: (node: Operator, dtype: DType, x: string, y: string) => string): Converter =>
  elementwise((node, dtype, [x, y]) => formula(node, dtype, x!, y!));

const typed = (node: Operator, op: string, dtype: DType, ...inputs: string[]) => node.emitTyped(op, inputs, { dtype });
const test = (node: Operator, op: string, dtype: DType, ...inputs: string[]) => node.emitTyped(op, inputs, { dtype, isSame: false });

const isFloating = (dtype: DType) => dtype.includes('float');
const isUnsigned = (dtype: DType) => dtype.startsWith('uint');

/** Whether a remainder is not 0 and has another sign than the divisor: there floored and truncated division differ. */
function isOff(node: Operator, dtype: DType, rest: string, divisor: string): string {
  const zero = node.scalar(dtype, 0);
  const differs = node.emit('Xor', [test(node, 'Less', dtype, rest, zero), test(node, 'Less', dtype, divisor, zero)]);
  return node.emit('And', [node.emit('Not', [test(node, 'Equal', dtype, rest, zero)]), differs]);
}

function floorDiv(node: Operator, dtype: DType, x: string, y: string): string {
  const quotient = typed(node, 'Div', dtype, x, y);
  if (isFloating(dtype)) return typed(node, 'Floor', dtype, quotient);
  if (isUnsigned(dtype)) return quotient;
  const rest = typed(node, 'Sub', dtype, x, typed(node, 'Mul', dtype, quotient, y));
  return typed(node, 'Sub', dtype, quotient, node.cast(isOff(node, dtype, rest, y), dtype));
}

function floorMod(node: Operator, dtype: DType, x: string, y: string): string {
  if (!isFloating(dtype)) return typed(node, 'Mod', dtype, x, y);
  const rest = truncatedMod(node, dtype, x, y);
  return where(node, dtype, isOff(node, dtype, rest, y), typed(node, 'Add', dtype, rest, y), rest);
}

function truncatedMod(node: Operator, dtype: DType, x: string, y: string): string {
  return node.emitTyped('Mod', [x, y], { dtype, attributes: { fmod: 1 } });
}

function whereZero(node: Operator, dtype: DType, of: string, otherwise: string): string {
  const isZero = test(node, 'Equal', dtype, of, node.scalar(dtype, 0));
  return where(node, dtype, isZero, node.scalar(dtype, 0), otherwise);
}

function atan2(node: Operator, dtype: DType, y: string, x: string): string {
  const scalar = (value: number) => node.scalar(dtype, value);
  const zero = scalar(0);
  const angle = typed(node, 'Atan', dtype, typed(node, 'Div', dtype, y, x));
  const half = where(node, dtype, test(node, 'Less', dtype, y, zero), scalar(-Math.PI), scalar(Math.PI));
  const turned = where(node, dtype, test(node, 'Less', dtype, x, zero), typed(node, 'Add', dtype, angle, half), angle);
  const isOrigin = node.emit('And', [test(node, 'Equal', dtype, x, zero), test(node, 'Equal', dtype, y, zero)]);
  return where(node, dtype, isOrigin, zero, turned);
}

/** `Where`, of any dtype. */
export function where(node: Operator, dtype: DType, condition: string, yes: string, no: string): string {
  if (dtype === 'bool') {
    // Where has no bool.
    const onTrue = node.emit('And', [condition, yes]);
    return node.emit('Or', [onTrue, node.emit('And', [node.emit('Not', [condition]), no])]);
  }
  if (isHeldBy('Where', dtype)) return node.emit('Where', [condition, yes, no]);
  const carrier = carrierOf('Where', dtype) ?? refuse(`ONNX Runtime has no Where of ${dtype}`);
  return node.cast(node.emit('Where', [condition, node.cast(yes, carrier), node.cast(no, carrier)]), dtype);
}

const select: Converter = (node) => {
  const rank = node.shape(0)?.length;
  const valueRank = node.shape(1)?.length;
  if (node.node.op === 'Select' && rank === 1 && valueRank !== 1) {
    // A vector chooses among rows.
    const axes = node.ints(Array.from({ length: node.rank(1) - 1 }, (_, index) => index + 1));
    const rows = node.emit('Unsqueeze', [node.in(0), axes]);
    return void node.set(0, where(node, node.dtype(1), rows, node.in(1), node.in(2)));
  }
  const { names, order } = align(node);
  node.set(0, where(node, node.dtype(1), names[0]!, names[1]!, names[2]!), { order });
};

const clip: Converter = elementwise((node, dtype, [x, low, high]) => {
  const isScalar = node.shape(1)?.length === 0 && node.shape(2)?.length === 0;
  if (isScalar) return node.emitTyped('Clip', [x!, low!, high!], { dtype });
  return typed(node, 'Min', dtype, typed(node, 'Max', dtype, x!, low!), high!);
});

const addN: Converter = elementwise((node, dtype, names) => names.reduce((sum, name) => typed(node, 'Add', dtype, sum, name)));

const prelu: Converter = elementwise((node, dtype, names) => node.emitTyped('PRelu', names, { dtype }));

/** Outputs that are inputs: what only matters in training, checks, names. */
const identity: Converter = (node) => {
  for (const [index, value] of node.inputs.entries()) node.pass(index, value);
};

const firstInput: Converter = (node) => node.pass(0, node.value(0));

const cast: Converter = (node) => {
  const { names, order } = align(node, [0]);
  const to = node.held(targetOf(node));
  if (node.dtype(0) === to) return node.pass(0, node.value(0));
  node.set(0, node.cast(names[0]!, to), { order });
};

function targetOf(node: Operator): DType {
  const type = node.node.attributes['DstT'];
  if (type?.kind === 'type' && type.value !== 'resource' && type.value !== 'variant') return type.value;
  return refuse('has no target dtype');
}

const filled =
  (value: number): Converter =>
  (node) => {
    const shape = node.shape(0);
    const dtype = node.dtype(0);
    const sizes = shape?.every((size) => size >= 0) ? node.ints(shape) : node.emit('Shape', [node.in(0)]);
    node.set(0, node.emit('Expand', [node.scalar(dtype, value), sizes]));
  };

function reciprocal(node: Operator, dtype: DType, x: string): string {
  return isFloating(dtype) ? typed(node, 'Reciprocal', dtype, x) : typed(node, 'Div', dtype, node.scalar(dtype, 1), x);
}

const unary = (formula: (node: Operator, dtype: DType, x: string) => string): Converter =>
  elementwise((node, dtype, [x]) => formula(node, dtype, x!));

export const elementwiseOperators: Readonly<Record<string, Converter>> = {
  ...Object.fromEntries(
    ['Abs', 'Neg', 'Exp', 'Log', 'Sqrt', 'Sin', 'Cos', 'Tan', 'Asin', 'Acos', 'Atan', 'Sinh', 'Cosh', 'Asinh', 'Acosh', 'Atanh'].map(
      (op) => [op, direct(op)],
    ),
  ),
  ...Object.fromEntries(['Erf', 'Floor', 'Ceil', 'Round', 'Sign'].map((op) => [op, direct(op)])),
  ...Object.fromEntries(
    ['Relu', 'Relu6', 'Elu', 'Selu', 'Tanh', 'Sigmoid', 'Softplus', 'Softsign', 'LeakyRelu'].map((op) => [op, activation(op)]),
  ),
  Rint: direct('Round'),
  Add: direct('Add'),
  AddV2: direct('Add'),
  Sub: direct('Sub'),
  Mul: direct('Mul'),
  RealDiv: direct('Div'),
  Div: direct('Div'),
  TruncateDiv: direct('Div'),
  Pow: direct('Pow'),
  Maximum: direct('Max'),
  Minimum: direct('Min'),
  BitwiseAnd: direct('BitwiseAnd'),
  BitwiseOr: direct('BitwiseOr'),
  BitwiseXor: direct('BitwiseXor'),
  Invert: direct('BitwiseNot'),
  LogicalAnd: direct('And'),
  LogicalOr: direct('Or'),
  LogicalXor: direct('Xor'),
  LogicalNot: direct('Not'),
  Equal: comparison('Equal'),
  Less: comparison('Less'),
  LessEqual: comparison('LessOrEqual'),
  Greater: comparison('Greater'),
  GreaterEqual: comparison('GreaterOrEqual'),
  NotEqual: predicate((node, dtype, [x, y]) => node.emit('Not', [test(node, 'Equal', dtype, x!, y!)])),
  IsNan: comparison('IsNaN'),
  IsInf: comparison('IsInf'),
  IsFinite: predicate((node, dtype, [x]) =>
    node.emit('Not', [node.emit('Or', [test(node, 'IsNaN', dtype, x!), test(node, 'IsInf', dtype, x!)])]),
  ),
  Reciprocal: unary(reciprocal),
  Inv: unary(reciprocal),
  Rsqrt: unary((node, dtype, x) => typed(node, 'Reciprocal', dtype, typed(node, 'Sqrt', dtype, x))),
  Square: unary((node, dtype, x) => typed(node, 'Mul', dtype, x, x)),
  Expm1: unary((node, dtype, x) => typed(node, 'Sub', dtype, typed(node, 'Exp', dtype, x), node.scalar(dtype, 1))),
  Log1p: unary((node, dtype, x) => typed(node, 'Log', dtype, typed(node, 'Add', dtype, x, node.scalar(dtype, 1)))),
  Erfc: unary((node, dtype, x) => typed(node, 'Sub', dtype, node.scalar(dtype, 1), typed(node, 'Erf', dtype, x))),
  SquaredDifference: binary((node, dtype, x, y) => {
    const difference = typed(node, 'Sub', dtype, x, y);
    return typed(node, 'Mul', dtype, difference, difference);
  }),
  FloorDiv: binary(floorDiv),
  FloorMod: binary(floorMod),
  Mod: binary(truncatedMod),
  TruncateMod: binary(truncatedMod),
  DivNoNan: binary((node, dtype, x, y) => whereZero(node, dtype, y, typed(node, 'Div', dtype, x, y))),
  MulNoNan: binary((node, dtype, x, y) => whereZero(node, dtype, y, typed(node, 'Mul', dtype, x, y))),
  Xdivy: binary((node, dtype, x, y) => whereZero(node, dtype, x, typed(node, 'Div', dtype, x, y))),
  Xlogy: binary((node, dtype, x, y) => whereZero(node, dtype, x, typed(node, 'Mul', dtype, x, typed(node, 'Log', dtype, y)))),
  Xlog1py: binary((node, dtype, x, y) =>
    whereZero(node, dtype, x, typed(node, 'Mul', dtype, x, typed(node, 'Log', dtype, typed(node, 'Add', dtype, y, node.scalar(dtype, 1))))),
  ),
  Atan2: binary(atan2),
  Select: select,
  SelectV2: select,
  ClipByValue: clip,
  AddN: addN,
  Prelu: prelu,
  Cast: cast,
  ZerosLike: filled(0),
  OnesLike: filled(1),
  Identity: identity,
  IdentityN: identity,
  StopGradient: firstInput,
  PreventGradient: firstInput,
  Snapshot: firstInput,
  CheckNumerics: firstInput,
  EnsureShape: firstInput,
  PlaceholderWithDefault: firstInput,
};

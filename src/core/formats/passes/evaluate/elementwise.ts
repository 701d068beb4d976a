import { type AnyTensor, dataFromBytes, elementCount } from '../../../tensor/index.ts';
import { attribute, type GraphNode } from '../../graph/index.ts';
import { broadcastShapes, isStatic } from '../dimensions/index.ts';
import {
  broadcastStrides,
  fromBigints,
  fromNumbers,
  isBigDType,
  isFloatDType,
  isNumberDType,
  numbersOf,
  pick,
  tensorOf,
  walk,
} from './elements.ts';
import type { Kernel, Kernels } from './kernel.ts';

type Unary = (x: number, node: GraphNode) => number;
type Binary = (a: number, b: number) => number;
type BigBinary = (a: bigint, b: bigint) => bigint;

/** What activations do to one number; fused operators share them. */
export const activations = {
  Relu: (x) => (x < 0 ? 0 : x),
  Relu6: (x) => (x < 0 ? 0 : x > 6 ? 6 : x),
  Elu: (x) => (x < 0 ? Math.expm1(x) : x),
  Sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  LeakyRelu: (x, node) => {
    const alpha = attribute.numberOf(node, node.attributes['leakyrelu_alpha'] ? 'leakyrelu_alpha' : 'alpha', 0.2);
    return x < 0 ? Math.fround(alpha) * x : x;
  },
} satisfies Record<string, Unary>;

const unaries: Readonly<Record<string, Unary>> = {
  ...activations,
  Neg: (x) => -x,
  Abs: Math.abs,
  Sign: Math.sign,
  Square: (x) => x * x,
  Floor: Math.floor,
  Ceil: Math.ceil,
  Round: roundToEven,
  Rint: roundToEven,
  ZerosLike: () => 0,
  OnesLike: () => 1,
};

const bigUnaries: Readonly<Record<string, (value: bigint) => bigint>> = {
  Neg: (value) => -value,
  Abs: (value) => (value < 0n ? -value : value),
  Sign: (value) => (value < 0n ? -1n : value > 0n ? 1n : 0n),
  Square: (value) => value * value,
  ZerosLike: () => 0n,
  OnesLike: () => 1n,
};

/** Of floating-point numbers only. */
const floatUnaries: Readonly<Record<string, Unary>> = {
  Sqrt: Math.sqrt,
  Rsqrt: (x) => 1 / Math.sqrt(x),
  Reciprocal: (x) => 1 / x,
  Inv: (x) => 1 / x,
  Exp: Math.exp,
  Expm1: Math.expm1,
  Log: Math.log,
  Log1p: Math.log1p,
  Sin: Math.sin,
  Cos: Math.cos,
  Tan: Math.tan,
  Asin: Math.asin,
  Acos: Math.acos,
  Atan: Math.atan,
  Sinh: Math.sinh,
  Cosh: Math.cosh,
  Tanh: Math.tanh,
  Asinh: Math.asinh,
  Acosh: Math.acosh,
  Atanh: Math.atanh,
  Softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  Softsign: (x) => x / (1 + Math.abs(x)),
  Selu: (x) => 1.0507009873554805 * (x < 0 ? 1.6732632423543772 * Math.expm1(x) : x),
  Erf: erf,
  Erfc: (x) => 1 - erf(x),
};

/**
 * Operators that use functions of `Math` whose last bit ECMAScript leaves to the engine (all others here are exact or correctly rounded).
 * What is computed with them can differ between machines, so they are never folded.
 */
export const engineDependentOps: ReadonlySet<string> = new Set(
  (
    'Exp Expm1 Log Log1p Sin Cos Tan Asin Acos Atan Atan2 Sinh Cosh Tanh Asinh Acosh Atanh Softplus Selu Erf Erfc Elu Sigmoid Pow ' +
    'Softmax LogSoftmax'
  ).split(' '),
);

const tests: Readonly<Record<string, (x: number) => boolean>> = {
  LogicalNot: (x) => x === 0,
  IsNan: Number.isNaN,
  IsFinite: Number.isFinite,
  IsInf: (x) => Math.abs(x) === Number.POSITIVE_INFINITY,
};

const floatBinaries: Readonly<Record<string, Binary>> = {
  Div: (a, b) => a / b,
  RealDiv: (a, b) => a / b,
  DivNoNan: (a, b) => (b === 0 ? 0 : a / b),
  MulNoNan: (a, b) => (b === 0 ? 0 : a * b),
  FloorDiv: (a, b) => Math.floor(a / b),
  FloorMod: floorModNumber,
  Mod: (a, b) => a % b,
  TruncateMod: (a, b) => a % b,
  Pow: (a, b) => a ** b,
  Atan2: Math.atan2,
};

const binaries: Readonly<Record<string, Binary>> = {
  Add: (a, b) => a + b,
  AddV2: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Maximum: Math.max,
  Minimum: Math.min,
  Prelu: (x, alpha) => (x < 0 ? alpha * x : x),
};

const integerBinaries: Readonly<Record<string, Binary>> = {
  Mul: Math.imul,
  SquaredDifference: (a, b) => Math.imul(a - b, a - b),
  Div: (a, b) => Math.trunc(a / b),
  TruncateDiv: (a, b) => Math.trunc(a / b),
  FloorDiv: (a, b) => Math.floor(a / b),
  FloorMod: floorModNumber,
  Mod: (a, b) => a % b,
  TruncateMod: (a, b) => a % b,
  BitwiseAnd: (a, b) => a & b,
  BitwiseOr: (a, b) => a | b,
  BitwiseXor: (a, b) => a ^ b,
};

const productBinaries: Readonly<Record<string, Binary>> = {
  Mul: (a, b) => a * b,
  SquaredDifference: (a, b) => (a - b) * (a - b),
};

const bigBinaries: Readonly<Record<string, BigBinary>> = {
  Add: (a, b) => a + b,
  AddV2: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  SquaredDifference: (a, b) => (a - b) * (a - b),
  Maximum: (a, b) => (a > b ? a : b),
  Minimum: (a, b) => (a < b ? a : b),
  Div: (a, b) => a / b,
  TruncateDiv: (a, b) => a / b,
  FloorDiv: (a, b) => (a - floorMod(a, b)) / b,
  FloorMod: floorMod,
  Mod: (a, b) => a % b,
  TruncateMod: (a, b) => a % b,
  BitwiseAnd: (a, b) => a & b,
  BitwiseOr: (a, b) => a | b,
  BitwiseXor: (a, b) => a ^ b,
};

const divisions: ReadonlySet<string> = new Set(['Div', 'TruncateDiv', 'FloorDiv', 'FloorMod', 'Mod', 'TruncateMod']);

type Comparison = <T extends number | bigint>(a: T, b: T) => boolean;

const comparisons: Readonly<Record<string, Comparison>> = {
  Equal: (a, b) => a === b,
  NotEqual: (a, b) => a !== b,
  Less: (a, b) => a < b,
  LessEqual: (a, b) => a <= b,
  Greater: (a, b) => a > b,
  GreaterEqual: (a, b) => a >= b,
  LogicalAnd: (a, b) => Boolean(a) && Boolean(b),
  LogicalOr: (a, b) => Boolean(a) || Boolean(b),
};

export const elementwiseKernels: Kernels = {
  ...kernelsOf([...Object.keys(unaries), ...Object.keys(floatUnaries)], unary),
  ...kernelsOf(Object.keys(tests), test),
  ...kernelsOf(
    [binaries, floatBinaries, integerBinaries, productBinaries, bigBinaries].flatMap((table) => Object.keys(table)),
    binary,
  ),
  ...kernelsOf(Object.keys(comparisons), compare),
  AddN: (node, [first, ...others]) => {
    let sum = first && [first];
    for (const other of others) sum = sum?.[0] && binary({ ...node, op: 'AddV2' }, [sum[0], other]);
    return sum;
  },
  BiasAdd: (node, [x, bias]) => {
    if (!x || !bias) return undefined;
    const rank = x.shape.length;
    const isLast = attribute.stringOf(node, 'data_format', 'NHWC') === 'NHWC' || rank < 3;
    const shape = isLast ? bias.shape : [...bias.shape, ...new Array<number>(rank - 2).fill(1)];
    return binary({ ...node, op: 'AddV2' }, [x, { ...bias, shape }]);
  },
  ClipByValue: (node, [x, low, high]) => {
    const raised = x && low && binary({ ...node, op: 'Maximum' }, [x, low])?.[0];
    return raised && high && binary({ ...node, op: 'Minimum' }, [raised, high]);
  },
  Cast: (node, [x]) => {
    const target = attribute.typeOf(node, 'DstT');
    if (!x || target === 'resource' || target === 'variant') return undefined;
    if (x.dtype === target) return [x];
    const values = numbersOf(x);
    if (!values) return undefined;
    if (isNumberDType(target))
      return [fromNumbers(target, x.shape, isFloatDType(target) || target === 'bool' ? values : truncated(values))];
    if (!isBigDType(target) || !Array.prototype.every.call(values, Number.isFinite)) return undefined;
    if (isBigDType(x.dtype)) return [fromBigints(target, x.shape, x.data as BigInt64Array | BigUint64Array)];
    return [
      fromBigints(
        target,
        x.shape,
        Array.from(values, (value) => BigInt(Math.trunc(value))),
      ),
    ];
  },
  Select: (_, [condition, a, b]) => {
    if (!condition || !a || !b) return undefined;
    // The first Select takes a vector that chooses rows.
    const isRows = condition.shape.length === 1 && a.shape.length > 1;
    return select(isRows ? { ...condition, shape: [...condition.shape, ...a.shape.slice(1).map(() => 1)] } : condition, a, b);
  },
  SelectV2: (_, [condition, a, b]) => condition && a && b && select(condition, a, b),
};

function kernelsOf(ops: readonly string[], kernel: Kernel): Kernels {
  return Object.fromEntries(ops.map((op) => [op, kernel]));
}

function lookUp<T>(table: Readonly<Record<string, T>>, op: string): T | undefined {
  return Object.hasOwn(table, op) ? table[op] : undefined;
}

function unary(node: GraphNode, [x]: readonly AnyTensor[]): AnyTensor[] | undefined {
  if (!x) return undefined;
  if (isBigDType(x.dtype)) return bigUnary(node, x);
  const apply = lookUp(unaries, node.op) ?? (isFloatDType(x.dtype) ? lookUp(floatUnaries, node.op) : undefined);
  const values = numbersOf(x);
  if (!apply || !values || !isNumberDType(x.dtype)) return undefined;
  const out = new Float64Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = apply(values[i]!, node);
  return [fromNumbers(x.dtype, x.shape, out)];
}

function bigUnary({ op }: GraphNode, x: AnyTensor): AnyTensor[] | undefined {
  const apply = lookUp(bigUnaries, op);
  if (!apply || !isBigDType(x.dtype)) return undefined;
  return [fromBigints(x.dtype, x.shape, Array.from(x.data as BigInt64Array | BigUint64Array, apply))];
}

function test(node: GraphNode, [x]: readonly AnyTensor[]): AnyTensor[] | undefined {
  const apply = lookUp(tests, node.op);
  const values = x && numbersOf(x);
  return (
    apply &&
    values && [
      tensorOf(
        'bool',
        x.shape,
        Uint8Array.from(values, (value) => Number(apply(value))),
      ),
    ]
  );
}

function binary(node: GraphNode, [a, b]: readonly (AnyTensor | undefined)[]): AnyTensor[] | undefined {
  if (!a || !b || a.dtype !== b.dtype) return undefined;
  const shape = broadcastShapes(a.shape, b.shape);
  if (!isStatic(shape)) return undefined;
  const placesA = walk(shape, broadcastStrides(a.shape, shape));
  const placesB = walk(shape, broadcastStrides(b.shape, shape));
  if (isBigDType(a.dtype)) {
    const apply = lookUp(bigBinaries, node.op);
    const x = a.data as BigInt64Array | BigUint64Array;
    const y = b.data as BigInt64Array | BigUint64Array;
    if (!apply || (divisions.has(node.op) && y.some((value) => value === 0n))) return undefined;
    return [
      fromBigints(
        a.dtype,
        shape,
        Array.from(placesA, (place, i) => apply(x[place]!, y[placesB[i]!]!)),
      ),
    ];
  }
  const x = numbersOf(a);
  const y = numbersOf(b);
  const apply = numberBinary(node.op, a.dtype);
  if (!x || !y || !apply || !isNumberDType(a.dtype)) return undefined;
  if (!isFloatDType(a.dtype) && divisions.has(node.op) && Array.prototype.includes.call(y, 0)) return undefined;
  const out = new Float64Array(elementCount(shape));
  for (let i = 0; i < out.length; i++) out[i] = apply(x[placesA[i]!]!, y[placesB[i]!]!);
  return [fromNumbers(a.dtype, shape, out)];
}

function numberBinary(op: string, dtype: AnyTensor['dtype']): Binary | undefined {
  const own = isFloatDType(dtype) ? { ...floatBinaries, ...productBinaries } : integerBinaries;
  return lookUp(binaries, op) ?? lookUp(own, op);
}

function compare(node: GraphNode, [a, b]: readonly AnyTensor[]): AnyTensor[] | undefined {
  const apply = lookUp(comparisons, node.op);
  if (!apply || !a || !b || a.dtype !== b.dtype || a.dtype === 'string') return undefined;
  const shape = broadcastShapes(a.shape, b.shape);
  if (!isStatic(shape)) return undefined;
  const placesA = walk(shape, broadcastStrides(a.shape, shape));
  const placesB = walk(shape, broadcastStrides(b.shape, shape));
  if (isBigDType(a.dtype)) {
    const x = a.data as BigInt64Array | BigUint64Array;
    const y = b.data as BigInt64Array | BigUint64Array;
    return [
      tensorOf(
        'bool',
        shape,
        Uint8Array.from(placesA, (place, i) => Number(apply(x[place]!, y[placesB[i]!]!))),
      ),
    ];
  }
  const x = numbersOf(a);
  const y = numbersOf(b);
  return (
    x &&
    y && [
      tensorOf(
        'bool',
        shape,
        Uint8Array.from(placesA, (place, i) => Number(apply(x[place]!, y[placesB[i]!]!))),
      ),
    ]
  );
}

function select(condition: AnyTensor, a: AnyTensor, b: AnyTensor): AnyTensor[] | undefined {
  const shape = broadcastShapes(condition.shape, broadcastShapes(a.shape, b.shape));
  if (condition.dtype !== 'bool' || a.dtype !== b.dtype || !isStatic(shape)) return undefined;
  const chosen = walk(shape, broadcastStrides(condition.shape, shape));
  const fromA = pick(a, shape, walk(shape, broadcastStrides(a.shape, shape)));
  const fromB = pick(b, shape, walk(shape, broadcastStrides(b.shape, shape)));
  const both = joinFlat([fromA, fromB]);
  const count = chosen.length;
  return [
    pick(
      both,
      shape,
      Int32Array.from(chosen, (place, i) => (condition.data[place] ? i : count + i)),
    ),
  ];
}

/** Tensors of one dtype after each other, as a vector. */
export function joinFlat(tensors: readonly AnyTensor[]): AnyTensor {
  const [first] = tensors as readonly [AnyTensor, ...AnyTensor[]];
  const shape = [tensors.reduce((sum, tensor) => sum + elementCount(tensor.shape), 0)];
  if (first.dtype === 'string')
    return tensorOf(
      'string',
      shape,
      tensors.flatMap((tensor) => [...(tensor.data as readonly Uint8Array[])]),
    );
  const bytes = new Uint8Array(tensors.reduce((sum, tensor) => sum + (tensor.data as Uint8Array).byteLength, 0));
  let offset = 0;
  for (const tensor of tensors) {
    const data = tensor.data as Uint8Array; // or another typed array: only its bytes are read
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
    offset += data.byteLength;
  }
  return tensorOf(first.dtype, shape, dataFromBytes(first.dtype, bytes));
}

function truncated(values: ArrayLike<number>): Float64Array {
  return Float64Array.from(values, Math.trunc);
}

function floorModNumber(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

function floorMod(a: bigint, b: bigint): bigint {
  const rest = a % b;
  return rest !== 0n && rest < 0n !== b < 0n ? rest + b : rest;
}

function roundToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** By its series near zero and the continued fraction of its complement elsewhere: about 1e-15 (Abramowitz and Stegun 7.1.5, 7.1.14). */
function erf(x: number): number {
  const size = Math.abs(x);
  if (Number.isNaN(x) || x === 0) return x;
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum) && n < 200; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = size;
  for (let n = 60; n > 0; n--) fraction = size + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-size * size) / (Math.sqrt(Math.PI) * fraction));
}

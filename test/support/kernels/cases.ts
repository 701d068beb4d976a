import type { AnyTensor, DType } from '../../../src/core/index.ts';
import { bool, float, int, ints, text, texts, type } from '../graph-models.ts';

// Every operator that the converter maps to a kernel, over the dtypes and ranks that its kernel takes, with edges: nothing,
// one, odd sizes, broadcasting, infinities and NaN, the ends of int32.

export type CaseDType = 'float32' | 'int32' | 'bool' | 'complex64';

/** A tensor of a case. Parameters are constants of the graph, as models have them; the converter reads their values. */
export interface CaseTensor {
  readonly dtype: CaseDType;
  readonly shape: readonly number[];
  readonly values: readonly number[];
  readonly isParameter?: boolean;
}

export interface KernelCase {
  /** Says operator, dtype and what is special; unique. */
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly CaseTensor[];
  readonly attr: Readonly<Record<string, unknown>>;
  /** Dtypes of the outputs to compare. */
  readonly outputs: readonly DType[];
  /** Largest difference, absolute or relative to the reference. */
  readonly tolerance: number;
}

const cases: KernelCase[] = [];
const taken = new Map<string, number>();

interface Extra {
  readonly attr?: Readonly<Record<string, unknown>>;
  readonly outputs?: readonly DType[];
  readonly tolerance?: number;
  readonly note?: string;
}

function add(op: string, inputs: readonly CaseTensor[], { attr = {}, outputs, tolerance = 1e-5, note }: Extra = {}): void {
  const data = inputs.filter(({ isParameter }) => !isParameter);
  const dtype = data[0]?.dtype ?? inputs[0]?.dtype ?? 'float32';
  const plain = [op, dtype, ...data.map(({ shape }) => `[${shape}]`), ...(note ? [note] : [])].join(' ');
  const count = taken.get(plain) ?? 0;
  taken.set(plain, count + 1);
  const name = count === 0 ? plain : `${plain} #${count + 1}`;
  cases.push({ name, op, inputs, attr: { T: type(dtype), ...attr }, outputs: outputs ?? [dtype], tolerance });
}

const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** Numbers without a pattern that an index error would keep, between -2 and 2. */
function spread(count: number, seed = 1): number[] {
  return Array.from({ length: count }, (_, index) => Math.fround((((index + seed) * 7919) % 401) / 100 - 2));
}

function tensor(dtype: CaseDType, shape: readonly number[], values?: readonly number[], seed = 1): CaseTensor {
  const size = sizeOf(shape) * (dtype === 'complex64' ? 2 : 1);
  const given = values ? Array.from({ length: size }, (_, index) => values[index % values.length]!) : spread(size, seed);
  if (values || dtype === 'float32' || dtype === 'complex64') return { dtype, shape, values: given };
  return {
    dtype,
    shape,
    values: dtype === 'int32' ? given.map((value) => Math.round(value * 10)) : given.map((value) => Number(value > 0)),
  };
}

const param = (values: readonly number[], shape: readonly number[] = [values.length], dtype: CaseDType = 'int32'): CaseTensor => {
  return { dtype, shape, values, isParameter: true };
};
const scalar = (value: number, dtype: CaseDType = 'int32') => param([value], [], dtype);

const shapes: readonly (readonly number[])[] = [[], [0], [1], [7], [2, 3], [1, 5, 1], [2, 1, 3, 2], [2, 1, 2, 1, 3], [1, 2, 1, 2, 1, 2]];
const someShapes: readonly (readonly number[])[] = [[], [0, 3], [7], [2, 1, 3, 2]];
const all: readonly CaseDType[] = ['float32', 'int32', 'bool'];
const numbers: readonly CaseDType[] = ['float32', 'int32'];
const edges = [
  0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  -2.5,
  88,
  -88,
  1e10,
  -1e10,
  1e-10,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
];
const intEdges = [0, 1, -1, 7, -7, 2 ** 31 - 1, -(2 ** 31), 2 ** 24 + 1, -(2 ** 24) - 1, 46341];

// Elementwise, one input.
const unit = [0, 0.25, -0.25, 0.5, -0.75, 0.99, -0.99];
const positive = [0.01, 0.5, 1, 2, 10, 1000];
const unary: Readonly<
  Record<string, { readonly values?: readonly number[]; readonly edges?: readonly number[]; readonly tolerance?: number }>
> = {
  Abs: { edges },
  Acos: { values: unit, tolerance: 1e-3 },
  Acosh: { values: [1, 1.5, 2, 10, 100], tolerance: 1e-4 },
  Asin: { values: unit, tolerance: 1e-3 },
  Asinh: { tolerance: 1e-4 },
  Atan: { edges: edges.filter((value) => !Number.isNaN(value)), tolerance: 1e-3 },
  Atanh: { values: unit, tolerance: 1e-4 },
  Ceil: { edges: edges.filter((value) => Number.isFinite(value)) },
  Cos: { tolerance: 5e-4 },
  Cosh: { tolerance: 1e-4 },
  Elu: { edges: edges.filter((value) => Number.isFinite(value)) },
  Erf: { tolerance: 1e-4 },
  Exp: { edges: edges.filter((value) => value <= 10), tolerance: 1e-4 },
  Expm1: { tolerance: 1e-4 },
  Floor: { edges: edges.filter((value) => Number.isFinite(value)) },
  Log: { values: positive, edges: [0, 1, Number.POSITIVE_INFINITY], tolerance: 1e-4 },
  Log1p: { values: positive, tolerance: 1e-4 },
  Neg: { edges: edges.filter((value) => value !== 0) },
  Reciprocal: { edges: edges.filter((value) => !Number.isNaN(value)) },
  Relu: { edges },
  Relu6: { edges: edges.filter((value) => !Number.isNaN(value)) },
  Round: { edges: edges.filter((value) => Number.isFinite(value)) },
  Rsqrt: { values: positive },
  Selu: { edges: edges.filter((value) => Number.isFinite(value)) },
  Sigmoid: { edges: edges.filter((value) => Number.isFinite(value)) },
  Sign: { edges },
  Sin: { tolerance: 5e-4 },
  Sinh: { tolerance: 1e-4 },
  Softplus: { edges: edges.filter((value) => Number.isFinite(value)), tolerance: 1e-4 },
  Sqrt: { values: positive, edges: [0, 4, Number.POSITIVE_INFINITY] },
  Square: { edges },
  Tan: { values: unit, tolerance: 1e-3 },
  Tanh: { edges, tolerance: 1e-4 },
};
for (const [op, { values, edges: special, tolerance }] of Object.entries(unary)) {
  const extra = tolerance === undefined ? {} : { tolerance };
  for (const shape of shapes) add(op, [tensor('float32', shape, values)], extra);
  if (special) add(op, [tensor('float32', [special.length], special)], { ...extra, note: 'edges' });
}
for (const op of ['Abs', 'Neg', 'Relu', 'Relu6', 'Sign', 'Square']) {
  for (const shape of someShapes) add(op, [tensor('int32', shape)]);
  const inRange = op === 'Square' ? [0, 1, -1, 7, 46340, -46340] : intEdges.filter((value) => value !== -(2 ** 31));
  add(op, [tensor('int32', [inRange.length], inRange)], { note: 'edges' });
}
for (const op of ['Identity', 'StopGradient', 'ZerosLike', 'OnesLike']) {
  for (const dtype of all) for (const shape of someShapes) add(op, [tensor(dtype, shape)]);
}
for (const op of ['IsFinite', 'IsInf', 'IsNan']) {
  add(op, [tensor('float32', [edges.length], edges)], { outputs: ['bool'], note: 'edges' });
  for (const shape of someShapes) add(op, [tensor('float32', shape)], { outputs: ['bool'] });
}
for (const shape of shapes) add('LogicalNot', [tensor('bool', shape)]);
for (const shape of someShapes) {
  add('LeakyRelu', [tensor('float32', shape)], { attr: { alpha: float(0.3) } });
  for (const dtype of numbers) add('ClipByValue', [tensor(dtype, shape), scalar(-1, dtype), scalar(1, dtype)]);
}
add('Prelu', [tensor('float32', [2, 3, 4]), tensor('float32', [4], [0.1, 0.2, 0.3, -1])]);
for (const from of all) {
  for (const to of all) {
    for (const shape of someShapes)
      add('Cast', [tensor(from, shape)], { attr: { SrcT: type(from), DstT: type(to) }, outputs: [to], note: `to ${to}` });
  }
}
const truncated = [1.5, -1.5, 0.999, -0.999, 2 ** 31 - 128, -(2 ** 31), 0.25];
add('Cast', [tensor('float32', [truncated.length], truncated)], {
  attr: { SrcT: type('float32'), DstT: type('int32') },
  outputs: ['int32'],
  note: 'to int32 edges',
});
const truths = [0, 0.25, -0.5, 1, 2, 256, Number.NaN];
add('Cast', [tensor('float32', [truths.length], truths)], {
  attr: { SrcT: type('float32'), DstT: type('bool') },
  outputs: ['bool'],
  note: 'to bool edges',
});
add('Cast', [tensor('int32', [5], [0, 1, 2, 256, -1])], {
  attr: { SrcT: type('int32'), DstT: type('bool') },
  outputs: ['bool'],
  note: 'to bool edges',
});

// Elementwise, two inputs.
const pairs: readonly (readonly [readonly number[], readonly number[]])[] = [
  [[], []],
  [[], [3]],
  [[5], [5]],
  [[0], [1]],
  [[2, 3], [3]],
  [
    [2, 1, 3],
    [1, 4, 1],
  ],
  [
    [2, 3, 1, 2],
    [1, 3, 2, 1],
  ],
  [
    [2, 1, 2, 1, 3],
    [1, 2, 1, 2, 1],
  ],
  [
    [1, 2, 1, 2, 1, 2],
    [2, 1, 2, 1, 2, 1],
  ],
];
const somePairs = pairs.filter((_, index) => [1, 2, 3, 6].includes(index));
const nonZero = [1, -2, 3, -0.5, 2.5, -1.5, 7];
const nonZeroInts = [1, -2, 3, -5, 7, 2, -1];
for (const op of ['Add', 'AddV2', 'Sub', 'Mul', 'Maximum', 'Minimum', 'SquaredDifference']) {
  for (const [a, b] of pairs) add(op, [tensor('float32', a), tensor('float32', b, undefined, 5)]);
  for (const [a, b] of somePairs) add(op, [tensor('int32', a), tensor('int32', b, undefined, 5)]);
  add(op, [tensor('float32', [edges.length], edges), tensor('float32', [], [2])], { note: 'edges' });
}
for (const op of ['Div', 'RealDiv', 'FloorDiv', 'FloorMod', 'Mod', 'DivNoNan', 'Atan2']) {
  for (const [a, b] of pairs) add(op, [tensor('float32', a), tensor('float32', b, nonZero)], op === 'Atan2' ? { tolerance: 1e-3 } : {});
}
for (const op of ['FloorDiv', 'FloorMod', 'Mod', 'Div']) {
  for (const [a, b] of somePairs) add(op, [tensor('int32', a), tensor('int32', b, nonZeroInts)]);
}
add('DivNoNan', [tensor('float32', [4], [1, 0, -1, 5]), tensor('float32', [4], [0, 0, 0, 2])], { note: 'zeros' });
add('RealDiv', [tensor('float32', [3], [1, 0, -1]), tensor('float32', [], [0])], { note: 'zeros' });
for (const [a, b] of pairs) add('Pow', [tensor('float32', a, positive), tensor('float32', b)], { tolerance: 1e-4 });
add('Pow', [tensor('float32', [6], [-2, -1, 0, 2, -3, 0]), tensor('float32', [6], [2, 3, 0, -1, 0, 2])], {
  note: 'negative bases',
  tolerance: 1e-4,
});
for (const [a, b] of somePairs) add('Pow', [tensor('int32', a), tensor('int32', b, [0, 1, 2, 3])]);
for (const op of ['Equal', 'NotEqual', 'Greater', 'GreaterEqual', 'Less', 'LessEqual']) {
  for (const dtype of numbers) {
    for (const [a, b] of pairs) add(op, [tensor(dtype, a), tensor(dtype, b, undefined, 2)], { outputs: ['bool'] });
  }
  add(op, [tensor('float32', [edges.length], edges), tensor('float32', [edges.length], edges)], { outputs: ['bool'], note: 'edges' });
  add(op, [tensor('int32', [2], [2 ** 24 + 1, 2 ** 31 - 1]), tensor('int32', [2], [2 ** 24, 2 ** 31 - 2])], {
    outputs: ['bool'],
    note: 'large',
  });
}
for (const op of ['Equal', 'NotEqual']) {
  for (const [a, b] of somePairs) add(op, [tensor('bool', a), tensor('bool', b, [1, 0, 0])], { outputs: ['bool'] });
}
for (const op of ['LogicalAnd', 'LogicalOr']) for (const [a, b] of pairs) add(op, [tensor('bool', a), tensor('bool', b, [1, 0, 0])]);
for (const op of ['Add', 'Sub', 'Mul']) {
  add(op, [tensor('int32', [3], [2 ** 24 + 1, -(2 ** 24) - 1, 46341]), tensor('int32', [3], [2, 2, 3])], { note: 'beyond float32' });
}
for (const dtype of all) {
  for (const shape of [[5], [2, 3], [2, 1, 3, 2], [0]]) {
    add('Select', [tensor('bool', shape, [1, 0, 0]), tensor(dtype, shape), tensor(dtype, shape, undefined, 9)], {
      outputs: [dtype],
      note: dtype,
    });
    add('SelectV2', [tensor('bool', [1]), tensor(dtype, shape), tensor(dtype, [], undefined, 9)], { outputs: [dtype], note: dtype });
  }
  add('SelectV2', [tensor('bool', [3, 1], [1, 0]), tensor(dtype, [2, 1, 4]), tensor(dtype, [3, 4], undefined, 9)], {
    outputs: [dtype],
    note: dtype,
  });
}
add('Select', [tensor('bool', [2], [1, 0]), tensor('float32', [2, 3]), tensor('float32', [2, 3], undefined, 9)], {
  outputs: ['float32'],
  note: 'of rows',
});
for (const dtype of numbers)
  add('AddN', [tensor(dtype, [2, 3]), tensor(dtype, [2, 3], undefined, 3), tensor(dtype, [2, 3], undefined, 4)], { attr: { N: int(3) } });
add('BiasAdd', [tensor('float32', [2, 3, 3, 4]), tensor('float32', [4])], { attr: { data_format: text('NHWC') } });

// Reductions.
const reduced: readonly (readonly [readonly number[], readonly number[]])[] = [
  [[7], [0]],
  [[2, 3], [1]],
  [
    [2, 3],
    [0, 1],
  ],
  [
    [2, 3, 4],
    [0, 2],
  ],
  [[2, 3, 4], [-2]],
  [
    [2, 1, 3, 2],
    [1, 2],
  ],
  [
    [2, 1, 2, 1, 3],
    [0, 4],
  ],
  [
    [1, 2, 1, 2, 1, 2],
    [1, 3],
  ],
  [[2, 3], []],
  [[], []],
  [[3, 1100], [1]],
];
for (const [shape, axes] of reduced) {
  for (const keep of [false, true]) {
    const attr = { keep_dims: bool(keep), Tidx: type('int32') };
    const note = `over ${axes}${keep ? ' kept' : ''}`;
    for (const op of ['Sum', 'Mean', 'Max', 'Min', 'Prod', 'EuclideanNorm']) {
      if (op === 'EuclideanNorm' && axes.length === 0) continue; // the converter refuses it
      const values = op === 'Prod' ? [1, -1, 0.5, 2, 1, 1, -1] : undefined;
      add(op, [tensor('float32', shape, values), param(axes)], { attr, note, tolerance: 1e-4 });
      if (op !== 'EuclideanNorm' && op !== 'Mean' && !keep) {
        add(op, [tensor('int32', shape, op === 'Prod' ? [1, -1, 2, 1, 1] : undefined), param(axes)], { attr, note });
      }
    }
    if (!keep) for (const op of ['All', 'Any']) add(op, [tensor('bool', shape, [1, 1, 0, 1, 1]), param(axes)], { attr, note });
  }
}
add('MatMul', [tensor('int32', [1, 2], [4097, 1]), tensor('int32', [2, 1], [4097, 1])], {
  attr: { transpose_a: bool(false), transpose_b: bool(false) },
  note: 'beyond float32',
});
for (const op of ['Cumsum', 'Cumprod']) {
  add(op, [tensor('int32', [2], op === 'Cumsum' ? [2 ** 24, 1] : [4097, 4097]), scalar(0)], {
    attr: { exclusive: bool(false), reverse: bool(false) },
    note: 'beyond float32',
  });
}
add('Tile', [tensor('int32', [1], [2 ** 31 - 1]), param([2])], { note: 'edges' });
add('Maximum', [tensor('int32', [2], [2 ** 31 - 1, 2 ** 24 + 1]), tensor('int32', [2], [2 ** 31 - 2, 2 ** 24])], { note: 'edges' });
add('FloorDiv', [tensor('int32', [2], [2 ** 31 - 1, 2 ** 24 + 1]), tensor('int32', [2], [1, 1])], { note: 'edges' });
add('FloorMod', [tensor('int32', [2], [2 ** 31 - 1, 2 ** 24 + 1]), tensor('int32', [2], [10, 10])], { note: 'edges' });
add('SquaredDifference', [tensor('int32', [1], [4098]), tensor('int32', [1], [1])], { note: 'beyond float32' });
add('AddN', [tensor('int32', [1], [2 ** 24]), tensor('int32', [1], [1])], { attr: { N: int(2) }, note: 'beyond float32' });
add('GatherV2', [tensor('int32', [2], [2 ** 31 - 1, 2 ** 24 + 1]), tensor('int32', [2], [1, 0]), scalar(0)], {
  attr: { batch_dims: int(0) },
  note: 'edges',
});
add('Sum', [tensor('int32', [3], [2 ** 24, 1, 2 ** 24]), param([0])], { attr: { keep_dims: bool(false) }, note: 'beyond float32' });
add('Max', [tensor('int32', [3], [2 ** 24, 2 ** 24 + 1, -5]), param([0])], { attr: { keep_dims: bool(false) }, note: 'beyond float32' });
add('Min', [tensor('int32', [3], [-(2 ** 31), 0, 5]), param([0])], { attr: { keep_dims: bool(false) }, note: 'edges' });
add('Max', [tensor('float32', [2, 3], [-1, -2, -3]), param([1])], { attr: { keep_dims: bool(false) }, note: 'negative' });
add('Sum', [tensor('float32', [0, 3]), param([0])], { attr: { keep_dims: bool(false) }, note: 'nothing' });
add('Max', [tensor('float32', [3], [1, Number.NEGATIVE_INFINITY, 0]), param([0])], { attr: { keep_dims: bool(false) }, note: 'infinite' });
for (const op of ['ArgMax', 'ArgMin']) {
  for (const dtype of numbers) {
    for (const [shape, axis] of [
      [[7], 0],
      [[2, 3], 1],
      [[2, 3], 0],
      [[2, 3, 4], 1],
      [[2, 1, 3, 2], -1],
    ] as const) {
      add(op, [tensor(dtype, shape), scalar(axis)], { outputs: ['int32'], attr: { output_type: type('int32') }, note: `over ${axis}` });
    }
  }
  add(op, [tensor('float32', [4], [2, 2, 1, 1]), scalar(0)], { outputs: ['int32'], note: 'ties' });
  add(op, [tensor('int32', [3], [2 ** 24, 2 ** 24 + 1, 2 ** 24 - 1]), scalar(0)], { outputs: ['int32'], note: 'beyond float32' });
}
for (const op of ['Cumsum', 'Cumprod']) {
  for (const dtype of numbers) {
    for (const exclusive of [false, true]) {
      for (const reverse of [false, true]) {
        add(op, [tensor(dtype, [2, 5], dtype === 'int32' ? [1, 2, -1, 3] : [1, 0.5, -2]), scalar(1)], {
          attr: { exclusive: bool(exclusive), reverse: bool(reverse) },
          note: `${exclusive ? 'exclusive ' : ''}${reverse ? 'reverse' : ''}`,
        });
      }
    }
  }
  add(op, [tensor('float32', [3, 2, 2], [1, 0.5, -2]), scalar(0)], {
    attr: { exclusive: bool(false), reverse: bool(false) },
    note: 'first axis',
  });
}

// Moving values.
for (const dtype of all) {
  add('Reshape', [tensor(dtype, [2, 3, 2]), param([3, -1])], { note: 'to 3,-1' });
  add('Reshape', [tensor(dtype, [0, 3]), param([3, 0])], { note: 'to 3,0' });
  add('ExpandDims', [tensor(dtype, [2, 3]), scalar(1)]);
  add('Squeeze', [tensor(dtype, [1, 3, 1])], { attr: { squeeze_dims: ints([0]) } });
  for (const [shape, perm] of [
    [[7], [0]],
    [
      [2, 3],
      [1, 0],
    ],
    [
      [2, 3, 4],
      [2, 0, 1],
    ],
    [
      [2, 3, 4, 5],
      [0, 3, 1, 2],
    ],
    [
      [2, 3, 1, 2, 2],
      [4, 2, 0, 1, 3],
    ],
    [
      [1, 2, 3, 2, 1, 2],
      [5, 1, 3, 0, 2, 4],
    ],
    [
      [0, 3],
      [1, 0],
    ],
  ] as const) {
    add('Transpose', [tensor(dtype, shape), param(perm)], { note: `by ${perm}` });
  }
  for (const [shape, axes] of [
    [[7], [0]],
    [[2, 3], [1]],
    [
      [2, 3, 4],
      [0, 2],
    ],
    [[2, 1, 3, 2], [-1]],
    [[0], [0]],
  ] as const) {
    add('ReverseV2', [tensor(dtype, shape), param(axes)], { note: `over ${axes}` });
  }
  for (const [shape, reps] of [
    [[3], [2]],
    [
      [2, 3],
      [1, 2],
    ],
    [
      [1, 2, 1],
      [2, 1, 3],
    ],
    [
      [2, 1, 1, 2],
      [1, 2, 2, 1],
    ],
    [
      [2, 0],
      [2, 2],
    ],
  ] as const) {
    add('Tile', [tensor(dtype, shape), param(reps)], { note: `by ${reps}` });
  }
  for (const [shape, to] of [
    [[], [2, 2]],
    [
      [3, 1],
      [2, 3, 4],
    ],
    [[1], [5]],
  ] as const)
    add('BroadcastTo', [tensor(dtype, shape), param(to)], { note: `to ${to}` });
  for (const [shape, pads] of [
    [[3], [1, 2]],
    [
      [2, 3],
      [0, 1, 2, 0],
    ],
    [
      [2, 1, 3, 2],
      [0, 0, 1, 1, 0, 2, 0, 0],
    ],
    [[0], [1, 1]],
  ] as const) {
    add('Pad', [tensor(dtype, shape), param(pads, [shape.length, 2])], { note: `by ${pads}` });
    add('PadV2', [tensor(dtype, shape), param(pads, [shape.length, 2]), scalar(1, dtype)], { note: `by ${pads}` });
  }
  for (const [shape, begin, size] of [
    [[7], [2], [3]],
    [
      [2, 3],
      [0, 1],
      [-1, 2],
    ],
    [
      [2, 3, 4],
      [1, 0, 2],
      [1, 3, 2],
    ],
    [
      [2, 3, 2, 3],
      [0, 1, 0, 1],
      [2, 1, 2, 2],
    ],
    [
      [2, 1, 2, 1, 3],
      [1, 0, 0, 0, 1],
      [1, 1, 2, 1, 2],
    ],
    [[3], [1], [0]],
  ] as const) {
    add('Slice', [tensor(dtype, shape), param(begin), param(size)], { note: `from ${begin}` });
  }
  const masks = { begin_mask: int(0), end_mask: int(0), ellipsis_mask: int(0), new_axis_mask: int(0), shrink_axis_mask: int(0) };
  add('StridedSlice', [tensor(dtype, [7]), param([1]), param([6]), param([2])], { attr: masks, note: 'by 2' });
  add('StridedSlice', [tensor(dtype, [7]), param([5]), param([1]), param([-2])], { attr: masks, note: 'backwards' });
  add('StridedSlice', [tensor(dtype, [3, 4]), param([0, -1]), param([3, 4]), param([1, 1])], {
    attr: { ...masks, shrink_axis_mask: int(2) },
    note: 'shrunk',
  });
  add('StridedSlice', [tensor(dtype, [2, 3, 4]), param([0, 1]), param([0, 3]), param([1, 1])], {
    attr: { ...masks, ellipsis_mask: int(1) },
    note: 'ellipsis',
  });
  add('StridedSlice', [tensor(dtype, [3]), param([0, 0]), param([0, 3]), param([1, 1])], {
    attr: { ...masks, new_axis_mask: int(1) },
    note: 'new axis',
  });
  add('StridedSlice', [tensor(dtype, [3]), param([2]), param([2]), param([1])], { attr: masks, note: 'nothing' });
  for (const [shape, other, axis] of [
    [[3], [2], 0],
    [[2, 3], [2, 1], 1],
    [[2, 3, 4], [1, 3, 4], 0],
    [[2, 1, 2, 3], [2, 1, 2, 1], -1],
    [[0, 2], [3, 2], 0],
  ] as const) {
    add('ConcatV2', [tensor(dtype, shape), tensor(dtype, other, undefined, 8), scalar(axis)], { attr: { N: int(2) }, note: `on ${axis}` });
  }
  for (const axis of [0, 1])
    add('Pack', [tensor(dtype, [3]), tensor(dtype, [3], undefined, 8)], { attr: { N: int(2), axis: int(axis) }, note: `on ${axis}` });
  for (const axis of [0, 1])
    add('Unpack', [tensor(dtype, [2, 2, 3])], { attr: { num: int(2), axis: int(axis) }, outputs: [dtype, dtype], note: `on ${axis}` });
  add('Split', [scalar(1), tensor(dtype, [2, 4])], { attr: { num_split: int(2) }, outputs: [dtype, dtype] });
  add('SplitV', [tensor(dtype, [5, 2]), param([2, 3]), scalar(0)], { attr: { num_split: int(2) }, outputs: [dtype, dtype] });
  for (const [shape, indices, of, axis, batch] of [
    [[7], [0, 6, 3], [3], 0, 0],
    [[4, 3], [3, 0], [2], 0, 0],
    [[2, 4], [1, 1, 3], [3], 1, 0],
    [[3, 2, 2], [2, 0, 1, 1], [2, 2], 0, 0],
    [[2, 3, 2], [0, 2, 1, 1], [2, 2], 1, 1],
    [[5], [2], [], 0, 0],
    [[3, 2], [], [0], 0, 0],
  ] as const) {
    add('GatherV2', [tensor(dtype, shape), { dtype: 'int32', shape: of, values: indices }, scalar(axis)], {
      attr: { batch_dims: int(batch) },
      note: `axis ${axis} batch ${batch}`,
    });
  }
  add('GatherNd', [tensor(dtype, [2, 3]), tensor('int32', [2, 2], [0, 2, 1, 1])]);
  add('GatherNd', [tensor(dtype, [3, 2]), tensor('int32', [2, 1], [2, 0])], { note: 'rows' });
  add('SpaceToBatchND', [tensor(dtype, [1, 4, 4, 1]), param([2, 2]), param([0, 0, 0, 0], [2, 2])]);
  add('BatchToSpaceND', [tensor(dtype, [4, 2, 2, 1]), param([2, 2]), param([0, 0, 0, 0], [2, 2])]);
  add('DepthToSpace', [tensor(dtype, [1, 2, 3, 8])], { attr: { block_size: int(2), data_format: text('NHWC') } });
  add('Fill', [param([2, 3]), scalar(1, dtype)], { outputs: [dtype], note: dtype });
  add('MirrorPad', [tensor(dtype, [2, 3]), param([1, 1, 0, 2], [2, 2])], { attr: { mode: text('REFLECT') }, note: 'reflect' });
  add('MirrorPad', [tensor(dtype, [2, 3]), param([1, 1, 0, 2], [2, 2])], { attr: { mode: text('SYMMETRIC') }, note: 'symmetric' });
  add('Where', [tensor(dtype, [2, 3], [0, 1, 1, 0])], { outputs: ['int32'] });
  add('Where', [tensor(dtype, [4], [0])], { outputs: ['int32'], note: 'nothing' });
}
for (const dtype of numbers) {
  for (const [of, depth] of [
    [[4], 3],
    [[2, 2], 5],
    [[], 3],
  ] as const) {
    add('OneHot', [tensor('int32', of, [0, 2, 1, -1]), scalar(depth), scalar(1, dtype), scalar(0, dtype)], {
      attr: { T: type(dtype), axis: int(-1) },
      outputs: [dtype],
      note: `${dtype} depth ${depth}`,
    });
  }
  add('OneHot', [tensor('int32', [3], [0, 2, 7]), scalar(3), scalar(5, dtype), scalar(-3, dtype)], {
    attr: { T: type(dtype), axis: int(-1) },
    outputs: [dtype],
    note: `${dtype} values`,
  });
  add('ScatterNd', [tensor('int32', [3, 1], [4, 1, 4]), tensor(dtype, [3], [1, 2, 3]), param([6])], { outputs: [dtype], note: dtype });
  add('ScatterNd', [tensor('int32', [2, 1], [2, 0]), tensor(dtype, [2, 3]), param([4, 3])], { outputs: [dtype], note: `${dtype} rows` });
  add('TensorScatterUpdate', [tensor(dtype, [5]), tensor('int32', [2, 1], [3, 0]), tensor(dtype, [2], [9, 8])]);
  add('SparseToDense', [tensor('int32', [2, 2], [0, 1, 1, 2]), param([2, 3]), tensor(dtype, [2], [5, 6]), scalar(-1, dtype)], {
    outputs: [dtype],
    note: dtype,
  });
  for (const k of [1, 2, 5])
    add('TopKV2', [tensor(dtype, [2, 5]), scalar(k)], { attr: { sorted: bool(true) }, outputs: [dtype, 'int32'], note: `k ${k}` });
  add('TopKV2', [tensor(dtype, [70]), scalar(4)], { attr: { sorted: bool(true) }, outputs: [dtype, 'int32'], note: 'k 4' });
  add('Range', [scalar(1, dtype), scalar(8, dtype), scalar(3, dtype)], { attr: { Tidx: type(dtype) }, outputs: [dtype], note: dtype });
  add('Unique', [tensor(dtype, [6], [3, 1, 3, 2, 1, 1])], { attr: { out_idx: type('int32') }, outputs: [dtype, 'int32'] });
  add('ListDiff', [tensor(dtype, [5], [1, 2, 3, 4, 5]), tensor(dtype, [2], [2, 5])], { outputs: [dtype, 'int32'] });
}
add('LinSpace', [scalar(-1, 'float32'), scalar(2, 'float32'), scalar(7)]);
add('Bincount', [tensor('int32', [5], [0, 2, 2, 4, 9]), scalar(6), tensor('float32', [5], [1, 0.5, 2, 1, 3])], { outputs: ['float32'] });
add('DenseBincount', [tensor('int32', [2, 3], [0, 2, 2, 4, 9, 0]), scalar(5), tensor('float32', [2, 3], [1, 2, 3, 4, 5, 6])], {
  attr: { binary_output: bool(false) },
  outputs: ['float32'],
});
add('DenseBincount', [tensor('int32', [4], [0, 2, 2, 4]), scalar(5), tensor('float32', [0])], {
  attr: { binary_output: bool(true) },
  outputs: ['float32'],
  note: 'binary',
});
add('LowerBound', [tensor('float32', [1, 5], [1, 2, 2, 5, 9]), tensor('float32', [1, 4], [2, 0, 10, 5])], { outputs: ['int32'] });
add('UpperBound', [tensor('float32', [1, 5], [1, 2, 2, 5, 9]), tensor('float32', [1, 4], [2, 0, 10, 5])], { outputs: ['int32'] });
add('MatrixBandPart', [tensor('float32', [2, 3, 4]), scalar(1), scalar(0)]);
for (const op of ['SparseSegmentMean', 'SparseSegmentSum']) {
  add(op, [tensor('float32', [4, 3]), tensor('int32', [4], [0, 2, 3, 1]), tensor('int32', [4], [0, 0, 1, 2])]);
}
add('BroadcastArgs', [tensor('int32', [3], [1, 3, 1]), tensor('int32', [3], [2, 1, 1])]);

// Matrices.
const matrix = { transpose_a: bool(false), transpose_b: bool(false) };
for (const [m, k, n] of [
  [1, 1, 1],
  [2, 3, 4],
  [5, 7, 3],
  [33, 17, 9],
  [1, 130, 5],
  [0, 3, 2],
] as const) {
  add('MatMul', [tensor('float32', [m, k]), tensor('float32', [k, n], undefined, 11)], { attr: matrix, tolerance: 1e-4 });
}
add('MatMul', [tensor('int32', [2, 3]), tensor('int32', [3, 2], undefined, 11)], { attr: matrix });
for (const [a, b] of [
  [true, false],
  [false, true],
  [true, true],
] as const) {
  add('MatMul', [tensor('float32', a ? [3, 2] : [2, 3]), tensor('float32', b ? [4, 3] : [3, 4])], {
    attr: { transpose_a: bool(a), transpose_b: bool(b) },
    note: `transposed ${a} ${b}`,
    tolerance: 1e-4,
  });
}
for (const [a, b] of [
  [
    [2, 2, 3],
    [2, 3, 4],
  ],
  [
    [2, 2, 3],
    [3, 4],
  ],
  [
    [2, 1, 2, 3],
    [1, 3, 3, 2],
  ],
  [
    [2, 3, 2, 3],
    [2, 1, 3, 2],
  ],
  [
    [2, 3, 2, 3],
    [3, 3, 2],
  ],
  [
    [4, 1, 5],
    [4, 5, 1],
  ],
] as const) {
  add('BatchMatMulV2', [tensor('float32', a), tensor('float32', b, undefined, 11)], {
    attr: { adj_x: bool(false), adj_y: bool(false) },
    tolerance: 1e-4,
  });
}
for (const activation of ['', 'Relu', 'Relu6', 'Elu', 'Sigmoid', 'LeakyRelu']) {
  const fused = texts(activation ? ['BiasAdd', activation] : ['BiasAdd']);
  const attr = { fused_ops: fused, num_args: int(1), epsilon: float(0), leakyrelu_alpha: float(0.2) };
  add('_FusedMatMul', [tensor('float32', [3, 5]), tensor('float32', [5, 4]), tensor('float32', [4])], {
    attr: { ...attr, ...matrix },
    note: activation,
    tolerance: 1e-4,
  });
  const conv = {
    ...attr,
    strides: ints([1, 1, 1, 1]),
    padding: text('SAME'),
    data_format: text('NHWC'),
    dilations: ints([1, 1, 1, 1]),
    explicit_paddings: ints([]),
  };
  add('_FusedConv2D', [tensor('float32', [1, 5, 5, 3]), tensor('float32', [3, 3, 3, 4]), tensor('float32', [4])], {
    attr: conv,
    note: activation,
    tolerance: 1e-4,
  });
  add('FusedDepthwiseConv2dNative', [tensor('float32', [1, 5, 5, 3]), tensor('float32', [3, 3, 3, 1]), tensor('float32', [3])], {
    attr: conv,
    note: activation,
    tolerance: 1e-4,
  });
}
for (const [equation, a, b] of [
  ['ij,jk->ik', [2, 3], [3, 4]],
  ['bij,bjk->bik', [2, 2, 3], [2, 3, 2]],
  ['abc,cde->abde', [2, 3, 4], [4, 2, 3]],
  ['aecd,abcd->acbe', [2, 3, 2, 4], [2, 3, 2, 4]],
  ['acbe,aecd->abcd', [2, 2, 3, 3], [2, 3, 2, 4]],
  ['i,j->ij', [3], [2]],
  ['ij,ij->i', [2, 3], [2, 3]],
  ['...ij,jk->...ik', [2, 2, 3], [3, 2]],
] as const) {
  add('Einsum', [tensor('float32', a), tensor('float32', b, undefined, 11)], {
    attr: { N: int(2), equation: text(equation) },
    note: equation,
    tolerance: 1e-4,
  });
}
add('Einsum', [tensor('float32', [2, 3])], { attr: { N: int(1), equation: text('ij->ji') }, note: 'ij->ji' });

// Images and convolutions.
const nhwc = { data_format: text('NHWC'), explicit_paddings: ints([]) };
for (const [shape, filter, stride, padding, dilation] of [
  [[1, 5, 5, 1], [3, 3, 1, 1], 1, 'SAME', 1],
  [[2, 6, 5, 3], [3, 3, 3, 4], 2, 'SAME', 1],
  [[1, 7, 7, 2], [3, 3, 2, 5], 2, 'VALID', 1],
  [[1, 6, 6, 4], [1, 1, 4, 8], 1, 'VALID', 1],
  [[1, 8, 8, 2], [3, 3, 2, 3], 1, 'SAME', 2],
  [[1, 9, 9, 3], [5, 2, 3, 2], 1, 'VALID', 1],
] as const) {
  const attr = { ...nhwc, strides: ints([1, stride, stride, 1]), padding: text(padding), dilations: ints([1, dilation, dilation, 1]) };
  const note = `${filter} stride ${stride} ${padding} dilation ${dilation}`;
  add('Conv2D', [tensor('float32', shape), tensor('float32', filter, undefined, 13)], { attr, note, tolerance: 1e-4 });
  add('DepthwiseConv2dNative', [tensor('float32', shape), tensor('float32', [filter[0], filter[1], shape[3], 2], undefined, 13)], {
    attr,
    note,
    tolerance: 1e-4,
  });
}
add('Conv2D', [tensor('float32', [1, 5, 5, 2]), tensor('float32', [3, 3, 2, 2])], {
  attr: {
    ...nhwc,
    strides: ints([1, 1, 1, 1]),
    dilations: ints([1, 1, 1, 1]),
    padding: text('EXPLICIT'),
    explicit_paddings: ints([0, 0, 2, 1, 0, 1, 0, 0]),
  },
  note: 'explicit',
  tolerance: 1e-4,
});
add('Conv2DBackpropInput', [param([1, 6, 6, 2]), tensor('float32', [3, 3, 2, 3]), tensor('float32', [1, 3, 3, 3])], {
  attr: { ...nhwc, strides: ints([1, 2, 2, 1]), padding: text('SAME'), dilations: ints([1, 1, 1, 1]) },
  outputs: ['float32'],
  tolerance: 1e-4,
});
add('Conv3D', [tensor('float32', [1, 4, 4, 4, 2]), tensor('float32', [2, 2, 2, 2, 3])], {
  attr: { strides: ints([1, 1, 1, 1, 1]), padding: text('SAME'), data_format: text('NDHWC'), dilations: ints([1, 1, 1, 1, 1]) },
  tolerance: 1e-4,
});
for (const op of ['MaxPool', 'AvgPool']) {
  for (const [shape, size, stride, padding] of [
    [[1, 5, 5, 2], 2, 2, 'VALID'],
    [[2, 5, 6, 3], 3, 2, 'SAME'],
    [[1, 4, 4, 1], 1, 1, 'VALID'],
    [[1, 7, 7, 4], 7, 1, 'VALID'],
    [[1, 3, 3, 1], 3, 1, 'SAME'],
  ] as const) {
    add(op, [tensor('float32', shape)], {
      attr: { ...nhwc, ksize: ints([1, size, size, 1]), strides: ints([1, stride, stride, 1]), padding: text(padding) },
      note: `${size} stride ${stride} ${padding}`,
    });
  }
}
for (const op of ['MaxPool3D', 'AvgPool3D']) {
  add(op, [tensor('float32', [1, 4, 4, 4, 2])], {
    attr: { ksize: ints([1, 2, 2, 2, 1]), strides: ints([1, 2, 2, 2, 1]), padding: text('VALID'), data_format: text('NDHWC') },
  });
}
for (const padding of ['VALID', 'SAME']) {
  add('MaxPool3D', [tensor('float32', [2, 5, 4, 3, 2], [-5, -4, -3, -9, 0.5])], {
    attr: { ksize: ints([1, 2, 3, 2, 1]), strides: ints([1, 2, 1, 2, 1]), padding: text(padding), data_format: text('NDHWC') },
    note: `negative ${padding}`,
  });
}
add('MaxPool', [tensor('float32', [1, 4, 4, 1], [-5, -4, -3, -9])], {
  attr: { ...nhwc, ksize: ints([1, 3, 3, 1]), strides: ints([1, 1, 1, 1]), padding: text('SAME') },
  note: 'negative',
});
add('MaxPoolWithArgmax', [tensor('float32', [1, 4, 4, 2])], {
  attr: { ksize: ints([1, 2, 2, 1]), strides: ints([1, 2, 2, 1]), padding: text('VALID'), include_batch_in_index: bool(false) },
  outputs: ['float32', 'int32'],
});
for (const shape of [
  [2, 3, 3, 4],
  [3, 2, 1, 5],
]) {
  const channels = shape[3]!;
  add(
    'FusedBatchNormV3',
    [
      tensor('float32', shape),
      tensor('float32', [channels], [1, 0.5, 2]),
      tensor('float32', [channels]),
      tensor('float32', [channels], undefined, 3),
      tensor('float32', [channels], [1, 2, 0.5]),
    ],
    { attr: { epsilon: float(0.001), data_format: text('NHWC'), is_training: bool(false) }, tolerance: 1e-4 },
  );
}
add('LRN', [tensor('float32', [1, 2, 3, 8])], {
  attr: { depth_radius: int(2), bias: float(1), alpha: float(0.5), beta: float(0.75) },
  tolerance: 1e-4,
});
for (const op of ['Softmax', 'LogSoftmax']) {
  for (const shape of [[7], [2, 3], [2, 1, 5], [1, 2, 2, 3], [3, 1]]) add(op, [tensor('float32', shape)], { tolerance: 1e-4 });
  add(op, [tensor('float32', [2, 3], [1000, 999, -1000])], { note: 'large', tolerance: 1e-4 });
}
for (const op of ['ResizeBilinear', 'ResizeNearestNeighbor']) {
  for (const dtype of numbers) {
    for (const [align, half] of [
      [false, false],
      [true, false],
      [false, true],
    ] as const) {
      for (const [shape, to] of [
        [
          [1, 3, 4, 2],
          [5, 7],
        ],
        [
          [2, 5, 5, 1],
          [2, 3],
        ],
      ] as const) {
        add(op, [tensor(dtype, shape), param(to)], {
          attr: { align_corners: bool(align), half_pixel_centers: bool(half) },
          outputs: [op === 'ResizeBilinear' ? 'float32' : dtype],
          note: `to ${to} ${align ? 'aligned' : half ? 'half' : ''}`,
          tolerance: 1e-4,
        });
      }
    }
  }
}
for (const method of ['bilinear', 'nearest']) {
  add(
    'CropAndResize',
    [
      tensor('float32', [2, 4, 5, 2]),
      tensor('float32', [2, 4], [0, 0, 1, 1, 0.2, 0.6, 0.9, 1.3]),
      tensor('int32', [2], [1, 0]),
      param([3, 3]),
    ],
    { attr: { method: text(method), extrapolation_value: float(-1) }, note: method, tolerance: 1e-4 },
  );
}
for (const interpolation of ['NEAREST', 'BILINEAR']) {
  for (const fill of ['CONSTANT', 'REFLECT', 'WRAP', 'NEAREST']) {
    add(
      'ImageProjectiveTransformV3',
      [
        tensor('float32', [1, 4, 5, 2]),
        tensor('float32', [1, 8], [1, 0.13, -1.07, 0.21, 0.93, 0.54, 0, 0]),
        param([4, 5]),
        scalar(0, 'float32'),
      ],
      {
        attr: { dtype: type('float32'), interpolation: text(interpolation), fill_mode: text(fill) },
        note: `${interpolation} ${fill}`,
        tolerance: 1e-4,
      },
    );
  }
}
add('Dilation2D', [tensor('float32', [1, 4, 4, 2]), tensor('float32', [2, 2, 2])], {
  attr: { strides: ints([1, 1, 1, 1]), rates: ints([1, 1, 1, 1]), padding: text('SAME') },
});
const boxes = tensor('float32', [4, 4], [0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, 2, 1, 3, 0, 0, 0.9, 1]);
const scores = tensor('float32', [4], [0.9, 0.75, 0.6, 0.95]);
add('NonMaxSuppressionV3', [boxes, scores, scalar(3), scalar(0.5, 'float32'), scalar(0, 'float32')], { outputs: ['int32'] });
add('NonMaxSuppressionV5', [boxes, scores, scalar(3), scalar(0.5, 'float32'), scalar(0, 'float32'), scalar(0, 'float32')], {
  attr: { pad_to_max_output_size: bool(false) },
  outputs: ['int32', 'float32', 'int32'],
});
add('NonMaxSuppressionV4', [boxes, scores, scalar(3), scalar(0.5, 'float32'), scalar(0, 'float32')], {
  attr: { pad_to_max_output_size: bool(true) },
  outputs: ['int32', 'int32'],
});
add('Conv1D', [tensor('float32', [1, 6, 2]), tensor('float32', [3, 2, 3])], {
  attr: { stride: int(1), padding: text('SAME'), data_format: text('NWC'), dilation: int(1) },
  tolerance: 1e-4,
});

// Shapes, and complex numbers.
add('Shape', [tensor('float32', [2, 0, 3])], { outputs: ['int32'], attr: { out_type: type('int32') } });
add('Size', [tensor('float32', [2, 3])], { outputs: ['int32'], attr: { out_type: type('int32') } });
add('Rank', [tensor('float32', [2, 3])], { outputs: ['int32'] });
add('Complex', [tensor('float32', [2, 3]), tensor('float32', [2, 3], undefined, 6)], {
  attr: { Tout: type('complex64') },
  outputs: ['complex64'],
});
for (const op of ['Real', 'Imag', 'ComplexAbs']) add(op, [tensor('complex64', [2, 4])], { outputs: ['float32'] });
for (const op of ['FFT', 'IFFT'])
  for (const shape of [[8], [2, 6]]) add(op, [tensor('complex64', shape)], { outputs: ['complex64'], tolerance: 1e-4 });
add('RFFT', [tensor('float32', [2, 8]), param([8])], { outputs: ['complex64'], tolerance: 1e-4 });

/** All cases, in the order of their operators' families. */
export const kernelCases: readonly KernelCase[] = cases;

export function tensorOfCase({ dtype, shape, values }: CaseTensor): AnyTensor {
  switch (dtype) {
    case 'float32':
      return { dtype, shape, data: Float32Array.from(values) };
    case 'complex64':
      return { dtype, shape, data: Float32Array.from(values) };
    case 'int32':
      return { dtype, shape, data: Int32Array.from(values) };
    case 'bool':
      return { dtype, shape, data: Uint8Array.from(values) };
  }
}

import { type AnyTensor, createTensor, type DType, elementCount } from '../../tensor/index.ts';
import {
  type Attribute,
  type Attributes,
  attribute,
  type Constant,
  constNode,
  type Edge,
  type GraphDType,
  type GraphFunction,
  type GraphNode,
  toConstant,
} from '../graph/index.ts';
import { damaged, unsupported } from './problems.ts';

/** A tensor of the graph that is being built, with what is known of it; -1 is a size known only at run time. */
export interface Value {
  readonly edge: Edge;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Keras' mask: bool, shape [batch, time]; false where a step is padding. */
  readonly mask?: Value | undefined;
}

/** One size of a shape: a number, or a scalar int32 tensor where it is known only at run time. */
export type Dim = number | Value;

/** Models used many times inside each other grow without bound; real ones stay far below. */
const MAX_NODES = 1_000_000;
/** More zeros than these are made when the model runs. */
const MAX_WRITTEN_ZEROS = 4096;

/** Builds nodes with TensorFlow's operators and keeps track of shapes. Binary operators broadcast. */
export class GraphBuilder {
  readonly nodes = new Map<string, GraphNode>();
  readonly functions: Map<string, GraphFunction>;
  readonly #constants = new Map<Constant | string, Value>();
  /** How often a name was wanted again: an unrolled loop wants the same ones many times. */
  readonly #repeats = new Map<string, number>();
  #scope = '';

  constructor(functions = new Map<string, GraphFunction>()) {
    this.functions = functions;
  }

  /** Names of nodes made meanwhile begin with the scope's. */
  scoped<T>(scope: string, build: () => T): T {
    const before = this.#scope;
    this.#scope = `${before}${nodeName(scope)}/`;
    try {
      return build();
    } finally {
      this.#scope = before;
    }
  }

  get scope(): string {
    return this.#scope;
  }

  node(op: string, inputs: readonly Value[], attributes: Attributes, name = op): string {
    return this.#insert(`${this.#scope}${name}`, (unique) => ({
      name: unique,
      op,
      inputs: inputs.map((value: Value | undefined) => {
        // A damaged config calls a layer with fewer tensors than it takes.
        if (!value) throw damaged(`${name} in ${this.#scope || 'the model'} lacks an input`);
        return value.edge;
      }),
      controls: [],
      attributes,
    }));
  }

  op(op: string, inputs: readonly Value[], attributes: Attributes, dtype: DType, shape: readonly number[]): Value {
    return { edge: { node: this.node(op, inputs, attributes), index: 0 }, dtype, shape };
  }

  /** Outputs of handles have no dtype of a tensor; they are told apart by their edge alone. */
  handle(op: string, inputs: readonly Value[], attributes: Attributes): Value {
    return this.op(op, inputs, attributes, 'float32', []);
  }

  placeholder(name: string, dtype: DType, shape: readonly number[]): Value {
    const attributes = { dtype: attribute.type(dtype), shape: attribute.shape(shape) };
    const unique = this.#insert(nodeName(name), (free) => ({ name: free, op: 'Placeholder', inputs: [], controls: [], attributes }));
    return { edge: { node: unique, index: 0 }, dtype, shape };
  }

  argument(name: string, index: number, dtype: GraphDType, shape: readonly number[]): Value {
    const node = this.node('_Arg', [], { T: attribute.type(dtype), index: attribute.int(index) }, name);
    return { edge: { node, index: 0 }, dtype: dtype === 'variant' || dtype === 'resource' ? 'float32' : dtype, shape };
  }

  /** A weight, one node however often it is asked for. */
  weight(constant: Constant, name: string): Value {
    const known = this.#constants.get(constant);
    if (known) return known;
    const node = this.#insert(`${this.#scope}${nodeName(name)}`, (unique) => constNode(unique, constant));
    const value: Value = { edge: { node, index: 0 }, dtype: constant.dtype, shape: constant.shape };
    this.#constants.set(constant, value);
    return value;
  }

  tensor(tensor: AnyTensor, name = 'const'): Value {
    const key = tensor.dtype === 'string' ? undefined : `${tensor.dtype}[${tensor.shape}]${tensor.data.join()}`;
    const known = key === undefined ? undefined : this.#constants.get(key);
    if (known) return known;
    const value = this.weight(toConstant(tensor), name);
    if (key !== undefined) this.#constants.set(key, value);
    return value;
  }

  float(value: number): Value {
    return this.tensor(createTensor('float32', [], Float32Array.of(value)));
  }

  floats(values: readonly number[], shape: readonly number[] = [values.length]): Value {
    return this.tensor(createTensor('float32', shape, Float32Array.from(values)));
  }

  int(value: number): Value {
    return this.tensor(createTensor('int32', [], Int32Array.of(value)));
  }

  ints(values: readonly number[], shape: readonly number[] = [values.length]): Value {
    return this.tensor(createTensor('int32', shape, Int32Array.from(values)));
  }

  /** A scalar of another tensor's dtype. */
  scalarLike(value: number, like: Value): Value {
    if (like.dtype === 'float32') return this.float(value);
    return this.cast(this.float(value), like.dtype);
  }

  // Elementwise.

  unary(op: string, x: Value, attributes: Attributes = {}): Value {
    return this.op(op, [x], { T: attribute.type(x.dtype), ...attributes }, x.dtype, x.shape);
  }

  binary(op: string, a: Value, b: Value, dtype: DType = a.dtype): Value {
    if (a.dtype !== b.dtype) throw unsupported(`${op} of ${a.dtype} and ${b.dtype}`);
    const types: Attributes = logical.has(op) ? {} : { T: attribute.type(a.dtype) };
    return this.op(op, [a, b], types, dtype, broadcast(a.shape, b.shape, op));
  }

  add(a: Value, b: Value): Value {
    return this.binary('AddV2', a, b);
  }

  sub(a: Value, b: Value): Value {
    return this.binary('Sub', a, b);
  }

  mul(a: Value, b: Value): Value {
    return this.binary('Mul', a, b);
  }

  cast(x: Value, dtype: DType): Value {
    if (x.dtype === dtype) return x;
    return this.op('Cast', [x], { SrcT: attribute.type(x.dtype), DstT: attribute.type(dtype) }, dtype, x.shape);
  }

  select(condition: Value, yes: Value, no: Value): Value {
    const shape = broadcast(condition.shape, broadcast(yes.shape, no.shape, 'SelectV2'), 'SelectV2');
    return this.op('SelectV2', [condition, yes, no], { T: attribute.type(yes.dtype) }, yes.dtype, shape);
  }

  // Contractions.

  /** Two matrices. */
  matmul(a: Value, b: Value): Value {
    assertSame(a.shape[1], b.shape[0], `MatMul of [${a.shape}] and [${b.shape}]`);
    const attributes = { transpose_a: attribute.bool(false), transpose_b: attribute.bool(false), T: attribute.type(a.dtype) };
    return this.op('MatMul', [a, b], attributes, a.dtype, [a.shape[0] ?? -1, b.shape[1] ?? -1]);
  }

  /** Matrices in the last two axes, all before them broadcast. */
  batchMatmul(a: Value, b: Value, { transposeA = false, transposeB = false } = {}): Value {
    const [rows, innerA] = lastTwo(a.shape, transposeA);
    const [innerB, columns] = lastTwo(b.shape, transposeB);
    assertSame(innerA, innerB, `BatchMatMulV2 of [${a.shape}] and [${b.shape}]`);
    const attributes = { adj_x: attribute.bool(transposeA), adj_y: attribute.bool(transposeB), T: attribute.type(a.dtype) };
    const batch = broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2), 'BatchMatMulV2');
    return this.op('BatchMatMulV2', [a, b], attributes, a.dtype, [...batch, rows, columns]);
  }

  /** Over the last axis of `x`: [..., n] times [n, m]. */
  project(x: Value, kernel: Value): Value {
    if (x.shape.length === 2) return this.matmul(x, kernel);
    const dims = this.dims(x);
    const flat = this.reshape(x, [-1, kernel.shape[0]!]);
    return this.reshape(this.matmul(flat, kernel), [...dims.slice(0, -1), kernel.shape[1]!]);
  }

  bias(x: Value, bias: Value | undefined): Value {
    if (!bias) return x;
    assertSame(x.shape.at(-1), bias.shape[0], `BiasAdd of [${x.shape}] and [${bias.shape}]`);
    if (x.shape.length !== 2 && x.shape.length !== 4) return this.add(x, bias);
    return this.op('BiasAdd', [x, bias], { T: attribute.type(x.dtype), data_format: attribute.string('NHWC') }, x.dtype, x.shape);
  }

  // Reductions.

  reduce(op: 'Sum' | 'Mean' | 'Max' | 'Min' | 'Any' | 'All', x: Value, axes: readonly number[], keepDims = false): Value {
    const positive = axes.map((axis) => axisOf(x, axis));
    const shape = keepDims
      ? x.shape.map((size, axis) => (positive.includes(axis) ? 1 : size))
      : x.shape.filter((_, axis) => !positive.includes(axis));
    const types: Attributes = op === 'Any' || op === 'All' ? {} : { T: attribute.type(x.dtype) };
    const attributes = { keep_dims: attribute.bool(keepDims), Tidx: attribute.type('int32'), ...types };
    return this.op(op, [x, this.ints(positive)], attributes, x.dtype, shape);
  }

  softmax(x: Value, axis = -1): Value {
    const last = x.shape.length - 1;
    const at = axisOf(x, axis);
    if (at === last) return this.unary('Softmax', x);
    const order = [...x.shape.keys()].map((index) => (index === at ? last : index === last ? at : index));
    return this.transpose(this.unary('Softmax', this.transpose(x, order)), order);
  }

  // Shapes.

  /** The sizes of a tensor, those known as numbers. */
  dims(x: Value): Dim[] {
    let shape: Value | undefined;
    return x.shape.map((size, axis) => {
      if (size !== -1) return size;
      shape ??= this.op('Shape', [x], { T: attribute.type(x.dtype), out_type: attribute.type('int32') }, 'int32', [x.shape.length]);
      return this.stridedSlice(shape, [axis], [axis + 1], { shrink: 1 });
    });
  }

  /** A vector of sizes. */
  shapeVector(dims: readonly Dim[]): Value {
    if (dims.every((dim) => typeof dim === 'number')) return this.ints(dims);
    const scalars = dims.map((dim) => (typeof dim === 'number' ? this.int(dim) : dim));
    return this.pack(scalars, 0);
  }

  reshape(x: Value, dims: readonly Dim[]): Value {
    const shape = dims.map((dim) => (typeof dim === 'number' ? dim : -1));
    const unknown = shape.filter((size) => size === -1).length;
    const vector = unknown <= 1 ? this.ints(shape) : this.shapeVector(dims);
    const attributes = { T: attribute.type(x.dtype), Tshape: attribute.type('int32') };
    const result = resolveShape(x.shape, shape);
    if (result.length === x.shape.length && unknown <= 1 && result.every((size, axis) => size === x.shape[axis])) return unmasked(x);
    return this.op('Reshape', [x, vector], attributes, x.dtype, result);
  }

  expandDims(x: Value, axis: number): Value {
    const at = axis < 0 ? axis + x.shape.length + 1 : axis;
    const attributes = { T: attribute.type(x.dtype), Tdim: attribute.type('int32') };
    return this.op('ExpandDims', [x, this.int(at)], attributes, x.dtype, x.shape.toSpliced(at, 0, 1));
  }

  squeeze(x: Value, axis: number): Value {
    const at = axisOf(x, axis);
    return this.op('Squeeze', [x], { T: attribute.type(x.dtype), squeeze_dims: attribute.ints([at]) }, x.dtype, x.shape.toSpliced(at, 1));
  }

  transpose(x: Value, order: readonly number[]): Value {
    if (order.every((from, to) => from === to)) return unmasked(x);
    const attributes = { T: attribute.type(x.dtype), Tperm: attribute.type('int32') };
    const shape = order.map((axis) => x.shape[axis] ?? -1);
    return this.op('Transpose', [x, this.ints(order)], attributes, x.dtype, shape);
  }

  concat(values: readonly Value[], axis: number): Value {
    const [first] = values;
    if (!first) throw damaged('nothing to concatenate');
    if (values.length === 1) return first;
    const at = axisOf(first, axis);
    const sizes = values.map(({ shape }) => shape[at] ?? -1);
    const total = sizes.includes(-1) ? -1 : sizes.reduce((sum, size) => sum + size, 0);
    const shape = first.shape.map((size, index) => {
      if (index === at) return total;
      return values.map((value) => value.shape[index] ?? -1).find((known) => known !== -1) ?? size;
    });
    const attributes = { N: attribute.int(values.length), T: attribute.type(first.dtype), Tidx: attribute.type('int32') };
    return this.op('ConcatV2', [...values, this.int(at)], attributes, first.dtype, shape);
  }

  split(x: Value, count: number, axis: number): Value[] {
    const at = axisOf(x, axis);
    const size = x.shape[at] ?? -1;
    if (size === -1 || size % count !== 0) throw damaged(`an axis of ${size} does not split into ${count}`);
    if (count === 1) return [x];
    const node = this.node('Split', [this.int(at), x], { num_split: attribute.int(count), T: attribute.type(x.dtype) });
    const shape = x.shape.with(at, size / count);
    return Array.from({ length: count }, (_, index) => ({ edge: { node, index }, dtype: x.dtype, shape }));
  }

  /** Along an axis of known size. */
  unpack(x: Value, axis: number): Value[] {
    const size = x.shape[axis] ?? -1;
    const attributes = { num: attribute.int(size), T: attribute.type(x.dtype), axis: attribute.int(axis) };
    const node = this.node('Unpack', [x], attributes);
    return Array.from({ length: size }, (_, index) => ({ edge: { node, index }, dtype: x.dtype, shape: x.shape.toSpliced(axis, 1) }));
  }

  pack(values: readonly Value[], axis: number): Value {
    const [first] = values;
    if (!first) throw damaged('nothing to stack');
    const attributes = { N: attribute.int(values.length), T: attribute.type(first.dtype), axis: attribute.int(axis) };
    return this.op('Pack', values, attributes, first.dtype, first.shape.toSpliced(axis, 0, values.length));
  }

  /**
   * Begins and ends of the first axes; bits of the masks say which begins and ends do not count, and which axes vanish.
   * @param x Its sizes along sliced axes may be unknown when the result's are given by `sizes`.
   */
  stridedSlice(
    x: Value,
    begin: readonly number[],
    end: readonly number[],
    { beginMask = 0, endMask = 0, shrink = 0 }: { beginMask?: number; endMask?: number; shrink?: number } = {},
  ): Value {
    const shape = x.shape.flatMap((size, axis) => {
      if (axis >= begin.length) return [size];
      if (shrink & (1 << axis)) return [];
      const absolute = (at: number) => (at < 0 ? at + size : Math.min(at, size));
      const from = beginMask & (1 << axis) ? 0 : begin[axis]!;
      if (endMask & (1 << axis)) return [size === -1 ? (from === 0 ? -1 : -1) : size - absolute(from)];
      if (size === -1) return [from >= 0 && end[axis]! >= 0 ? end[axis]! - from : -1];
      return [Math.max(0, absolute(end[axis]!) - absolute(from))];
    });
    const attributes: Record<string, Attribute> = { T: attribute.type(x.dtype), Index: attribute.type('int32') };
    const masks = { begin_mask: beginMask, end_mask: endMask, ellipsis_mask: 0, new_axis_mask: 0, shrink_axis_mask: shrink };
    for (const [name, mask] of Object.entries(masks)) attributes[name] = attribute.int(mask);
    return this.op('StridedSlice', [x, this.ints(begin), this.ints(end), this.ints(begin.map(() => 1))], attributes, x.dtype, shape);
  }

  pad(x: Value, paddings: readonly (readonly [number, number])[]): Value {
    if (paddings.every(([before, after]) => before === 0 && after === 0)) return unmasked(x);
    const shape = x.shape.map((size, axis) => (size === -1 ? -1 : size + paddings[axis]![0] + paddings[axis]![1]));
    const attributes = { T: attribute.type(x.dtype), Tpaddings: attribute.type('int32') };
    return this.op('Pad', [x, this.ints(paddings.flat(), [paddings.length, 2])], attributes, x.dtype, shape);
  }

  tile(x: Value, multiples: readonly number[]): Value {
    const shape = x.shape.map((size, axis) => (size === -1 ? -1 : size * multiples[axis]!));
    const attributes = { T: attribute.type(x.dtype), Tmultiples: attribute.type('int32') };
    return this.op('Tile', [x, this.ints(multiples)], attributes, x.dtype, shape);
  }

  reverse(x: Value, axis: number): Value {
    return this.op('ReverseV2', [x, this.ints([axis])], { T: attribute.type(x.dtype), Tidx: attribute.type('int32') }, x.dtype, x.shape);
  }

  /** Rows of the first axis. */
  gather(params: Value, indices: Value): Value {
    const attributes = {
      Tparams: attribute.type(params.dtype),
      Tindices: attribute.type(indices.dtype),
      Taxis: attribute.type('int32'),
      batch_dims: attribute.int(0),
    };
    return this.op('GatherV2', [params, indices, this.int(0)], attributes, params.dtype, [...indices.shape, ...params.shape.slice(1)]);
  }

  zeros(dims: readonly Dim[]): Value {
    const shape = dims.map((dim) => (typeof dim === 'number' ? dim : -1));
    if (!shape.includes(-1) && elementCount(shape) <= MAX_WRITTEN_ZEROS)
      return this.floats(
        Array.from({ length: elementCount(shape) }, () => 0),
        shape,
      );
    const attributes = { T: attribute.type('float32'), index_type: attribute.type('int32') };
    return this.op('Fill', [this.shapeVector(dims), this.float(0)], attributes, 'float32', shape);
  }

  #insert(wanted: string, make: (name: string) => GraphNode): string {
    if (this.nodes.size >= MAX_NODES) throw unsupported(`the model becomes more than ${MAX_NODES} nodes`);
    let name = wanted;
    let count = this.#repeats.get(wanted) ?? 0;
    while (this.nodes.has(name)) name = `${wanted}_${++count}`;
    this.#repeats.set(wanted, count);
    this.nodes.set(name, make(name));
    return name;
  }
}

/** A result that happens to be its operand has no mask of its own. */
function unmasked(x: Value): Value {
  return x.mask ? { ...x, mask: undefined } : x;
}

const logical: ReadonlySet<string> = new Set(['LogicalAnd', 'LogicalOr']);

/** What TensorFlow lets a node be called. */
export function nodeName(name: string): string {
  const allowed = name.replace(/[^A-Za-z0-9_.\\/>-]/g, '_');
  return /^[A-Za-z0-9.]/.test(allowed) ? allowed : `.${allowed}`;
}

export function axisOf(x: Value, axis: number): number {
  const at = axis < 0 ? axis + x.shape.length : axis;
  if (Number.isInteger(at) && at >= 0 && at < x.shape.length) return at;
  throw damaged(`a tensor of shape [${x.shape}] has no axis ${axis}`);
}

export function broadcast(a: readonly number[], b: readonly number[], what: string): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, index) => {
    const left = a[index - rank + a.length] ?? 1;
    const right = b[index - rank + b.length] ?? 1;
    if (left === right || right === 1) return left;
    if (left === 1 || left === -1) return right;
    if (right === -1) return left;
    throw damaged(`${what} of [${a}] and [${b}]`);
  });
}

/** Fills the one unknown size where the count of elements is known. */
function resolveShape(from: readonly number[], to: readonly number[]): number[] {
  if (from.includes(-1)) {
    // The batch stays unknown; when everything else agrees, so does the shape.
    return [...to];
  }
  const count = elementCount(from);
  const rest = to.filter((size) => size !== -1).reduce((product, size) => product * size, 1);
  const unknown = to.filter((size) => size === -1).length;
  if (unknown === 0 && rest !== count) throw damaged(`a reshape of [${from}] to [${to}]`);
  if (unknown !== 1) return [...to];
  if (rest === 0 || count % rest !== 0) throw damaged(`a reshape of [${from}] to [${to}]`);
  return to.map((size) => (size === -1 ? count / rest : size));
}

function lastTwo(shape: readonly number[], transposed: boolean): [number, number] {
  const [rows = -1, columns = -1] = shape.slice(-2);
  return transposed ? [columns, rows] : [rows, columns];
}

function assertSame(a: number | undefined, b: number | undefined, what: string): void {
  if (a !== b && a !== -1 && b !== -1) throw damaged(what);
}

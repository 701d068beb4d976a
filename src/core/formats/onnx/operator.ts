import type { DType, NumericDType } from '../../tensor/index.ts';
import { attribute, type Constant, type GraphFunction, type GraphNode, type PartialShape } from '../graph/index.ts';
import type { OnnxAttributes, OnnxGraph } from './encode.ts';
import type { GraphBuilder, Order, Scope, Value, WeightForm } from './graph-builder.ts';
import { carrierOf, isHeldBy } from './kernel-dtypes.ts';

/** Writes one TensorFlow node as ONNX nodes. */
export type Converter = (node: Operator) => void | Promise<void>;

/** Why a node has no ONNX form; becomes one line of the error that lists them all. */
export class Inexpressible extends Error {}

export function refuse(reason: string): never {
  throw new Inexpressible(reason);
}

/** A function of the graph, converted in place. */
export type Inliner = (scope: Scope, name: string, inputs: readonly Value[]) => Promise<readonly Value[]>;

const MAX_OUTPUTS = 65536;

export interface OperatorParts {
  readonly node: GraphNode;
  readonly scope: Scope;
  readonly builder: GraphBuilder;
  readonly inputs: readonly Value[];
  /** Float dtype that stands for float32 in this node: float16 only where the model and the operator bear it. */
  readonly float: DType;
  readonly inferred: (index: number) => { readonly dtype: DType | 'resource' | 'variant'; readonly shape: PartialShape };
  /** Elements of small constants, and what shape inference knows. */
  readonly known: (index: number) => readonly number[] | undefined;
  /** Whether an input is a list. */
  readonly isHandle: (index: number) => boolean;
  /** The shape of the elements of the list that this node makes, as far as what sets them tells. */
  readonly listHint: () => PartialShape;
  readonly inline: Inliner;
  readonly functions: ReadonlyMap<string, GraphFunction>;
}

/** A TensorFlow node with what its converter needs: inputs by their names in ONNX, attributes, and a place for its outputs. */
export class Operator {
  readonly node: GraphNode;
  readonly scope: Scope;
  readonly builder: GraphBuilder;
  readonly inputs: readonly Value[];
  readonly inline: Inliner;
  readonly functions: ReadonlyMap<string, GraphFunction>;
  readonly outputs = new Map<number, Value>();
  readonly #parts: OperatorParts;

  constructor(parts: OperatorParts) {
    this.#parts = parts;
    this.node = parts.node;
    this.scope = parts.scope;
    this.builder = parts.builder;
    this.inputs = parts.inputs;
    this.inline = parts.inline;
    this.functions = parts.functions;
  }

  value(index: number): Value {
    return this.inputs[index] ?? refuse(`has no input ${index}`);
  }

  /** The dtype in which an input is read: its own, or the model's smaller float. */
  dtype(index: number): DType {
    return this.held(this.value(index).dtype);
  }

  held(dtype: DType): DType {
    return dtype === 'float32' ? this.#parts.float : dtype;
  }

  shape(index: number): PartialShape {
    return this.value(index).shape;
  }

  rank(index: number): number {
    return this.shape(index)?.length ?? refuse(`needs the rank of its input ${index}, which is not known`);
  }

  /** The elements of a small constant input. */
  known(index: number): readonly number[] | undefined {
    return this.#parts.known(index);
  }

  need(index: number, what: string): readonly number[] {
    return this.known(index) ?? refuse(`needs constant ${what}`);
  }

  needScalar(index: number, what: string): number {
    return this.need(index, what)[0] ?? refuse(`needs one number as ${what}`);
  }

  /** An axis, counted from the front. */
  axis(axis: number, rank: number): number {
    const resolved = axis < 0 ? axis + rank : axis;
    return Number.isInteger(resolved) && resolved >= 0 && resolved < rank ? resolved : refuse(`has the axis ${axis} of ${rank}`);
  }

  /** The name of an input, in plain order unless said otherwise. */
  in(index: number, order: Order = 'plain', dtype: DType = this.dtype(index)): string {
    return this.builder.form(this.value(index), order, dtype);
  }

  /** An input as int64, which ONNX wants for shapes, axes and counts. */
  inInt64(index: number): string {
    return this.in(index, 'plain', 'int64');
  }

  /** A weight in another order of axes; a computed one is permuted when the model runs. */
  weight(index: number, { order, shape, channels }: Omit<WeightForm, 'dtype'>): string {
    const value = this.value(index);
    const dtype = this.dtype(index);
    const isOrder = order.toSorted((a, b) => a - b).every((axis, position) => axis === position);
    const rank = value.shape?.length ?? order.length;
    if (!isOrder || rank !== order.length) refuse(`has the axes ${order.join()} of an input of rank ${rank}`);
    if (value.constant) return this.builder.weight({ ...value, constant: value.constant }, { order, shape, channels, dtype });
    const isSorted = order.every((axis, position) => axis === position);
    const permuted = isSorted ? this.in(index) : this.emit('Transpose', [this.in(index)], { perm: order });
    return shape ? this.emit('Reshape', [permuted, this.ints(shape)]) : permuted;
  }

  /** One ONNX node of one output. */
  emit(op: string, inputs: readonly string[], attributes: OnnxAttributes = {}): string {
    return this.emitMany(op, inputs, attributes, 1)[0]!;
  }

  emitMany(op: string, inputs: readonly string[], attributes: OnnxAttributes, outputs: number): readonly string[] {
    if (!(outputs > 0 && outputs <= MAX_OUTPUTS)) refuse(`has ${outputs} outputs`);
    for (const value of Object.values(attributes)) if (typeof value === 'number' || Array.isArray(value)) assertWhole([value].flat());
    return this.builder.emit(this.scope, { op, name: `${this.node.name}/${op}`, inputs, attributes, outputs });
  }

  emitWithGraphs(op: string, inputs: readonly string[], graphs: Readonly<Record<string, OnnxGraph>>, outputs: number): readonly string[] {
    const attributes = Object.fromEntries(Object.entries(graphs).map(([name, graph]) => [name, { graph }]));
    return this.emitMany(op, inputs, attributes, outputs);
  }

  /**
   * One ONNX node on operands of one dtype: where ONNX Runtime has no kernel for it, through a dtype that holds all its values.
   * @param isSame Whether the output has the dtype of the operands and is cast back.
   */
  emitTyped(op: string, inputs: readonly string[], { dtype, isSame = true, attributes = {} }: TypedNode): string {
    if (isHeldBy(op, dtype)) return this.emit(op, inputs, attributes);
    const carrier = carrierOf(op, dtype) ?? refuse(`ONNX Runtime has no ${op} of ${dtype}`);
    const carried = this.emit(
      op,
      inputs.map((input) => this.cast(input, carrier)),
      attributes,
    );
    return isSame ? this.cast(carried, dtype) : carried;
  }

  cast(name: string, dtype: DType): string {
    return this.builder.cast(this.scope, name, dtype);
  }

  ints(values: readonly number[]): string {
    assertWhole(values);
    return this.builder.ints(values);
  }

  literal(dtype: DType, values: readonly number[], shape?: readonly number[]): string {
    return this.builder.literal(numeric(dtype), values, shape);
  }

  scalar(dtype: DType, value: number): string {
    return this.builder.literal(numeric(dtype), [value], []);
  }

  /** Names an output of the TensorFlow node. */
  set(index: number, name: string, { order = 'plain', held, dtype, shape }: OutputForm = {}): Value {
    const inferred = this.#parts.inferred(index);
    const type = dtype ?? inferred.dtype;
    if (type === 'resource' || type === 'variant') refuse(`has an output that is a ${type}`);
    const info = { dtype: type, held: held ?? this.held(type), shape: shape ?? inferred.shape, order };
    const value = this.builder.value(this.scope, name, info);
    this.outputs.set(index, value);
    return value;
  }

  /** An output that is an input. */
  pass(index: number, value: Value): void {
    const { shape } = this.#parts.inferred(index);
    const isBetter =
      value.shape === undefined ||
      (shape?.length === value.shape.length && shape.some((size, axis) => size >= 0 && value.shape?.[axis] === -1));
    this.outputs.set(index, isBetter && !value.constant ? { ...value, shape: shape ?? value.shape } : value);
  }

  isHandle(index: number): boolean {
    return this.#parts.isHandle(index);
  }

  listHint(): PartialShape {
    return this.#parts.listHint();
  }

  outputShape(index = 0): PartialShape {
    return this.#parts.inferred(index).shape;
  }

  constant(index: number): Constant | undefined {
    return this.value(index).constant;
  }

  number(name: string, fallback?: number): number {
    return attribute.numberOf(this.node, name, fallback);
  }

  bool(name: string, fallback = false): boolean {
    return attribute.boolOf(this.node, name, fallback);
  }

  string(name: string, fallback?: string): string {
    return attribute.stringOf(this.node, name, fallback);
  }

  numbers(name: string, fallback?: readonly number[]): readonly number[] {
    return attribute.numbersOf(this.node, name, fallback);
  }

  strings(name: string, fallback?: readonly string[]): readonly string[] {
    return attribute.stringsOf(this.node, name, fallback);
  }
}

export interface TypedNode {
  readonly dtype: DType;
  readonly isSame?: boolean;
  readonly attributes?: OnnxAttributes;
}

export interface OutputForm {
  readonly order?: Order;
  /** The dtype in the ONNX graph, where it is another than the node's. */
  readonly held?: DType;
  readonly dtype?: DType;
  readonly shape?: PartialShape;
}

function assertWhole(values: readonly number[]): void {
  if (!values.every(Number.isSafeInteger)) refuse(`makes the numbers ${values.join()}, expected whole ones`);
}

function numeric(dtype: DType): NumericDType {
  return dtype === 'string' ? refuse('works on strings') : dtype;
}

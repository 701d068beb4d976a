import { type AnyTensor, createTensor, type DType, elementCount, type NumericDType } from '../../tensor/index.ts';
import { type Constant, type PartialShape, toConstant } from '../graph/index.ts';
import { dataTypeOf } from './data-types.ts';
import type { OnnxAttributes, OnnxNode } from './encode.ts';
import { castConstant, isNumeric, permuteConstant, quantizeConstant, reshapeConstant } from './weights.ts';

/** Order of the axes of a tensor in memory: as TensorFlow has it, or with the channels of an image second. */
export type Order = 'plain' | 'nchw';

/**
 * A tensor of the TensorFlow graph and the tensors of the ONNX graph that hold it. Another order or dtype is made where it is asked for
 * first, and once: what needs no other gets no Transpose and no Cast.
 */
export interface Value {
  readonly dtype: DType;
  /** In TensorFlow's order. */
  readonly shape: PartialShape;
  readonly constant?: Constant | undefined;
  /** The graph its nodes belong to; that of a constant is the main graph. */
  readonly scope: Scope;
  /** Names by `order/dtype`. */
  readonly forms: Map<string, string>;
}

/** The main graph, or the graph in an attribute. */
export interface Scope {
  readonly nodes: OnnxNode[];
  /** Outputs by what makes them. */
  readonly made: Map<string, readonly string[]>;
}

export function createScope(): Scope {
  return { nodes: [], made: new Map() };
}

export interface Initializer {
  readonly name: string;
  readonly constant: Constant;
}

const TO_NCHW: readonly number[] = [0, 3, 1, 2];
const TO_PLAIN: readonly number[] = [0, 2, 3, 1];

/** Weights of fewer elements stay float32 where the others become 8 bits: nothing is won by them. */
const MIN_QUANTIZED = 1024;

/** Makes the names, nodes and initializers of an ONNX model. */
export class GraphBuilder {
  readonly root: Scope = createScope();
  readonly initializers = new Map<string, Initializer>();
  readonly #precision: 'float32' | 'float16' | 'uint8';
  readonly #names = new Set<string>();
  readonly #literals = new Map<string, string>();
  /** Forms of a constant, which several nodes may share. */
  readonly #constants = new Map<Constant, Map<string, string>>();

  /** @param reserved Names that the inputs and outputs of the model have. */
  constructor(precision: 'float32' | 'float16' | 'uint8', reserved: Iterable<string>) {
    this.#precision = precision;
    for (const name of reserved) this.#names.add(name);
  }

  /** The dtype that operators compute in. */
  computed(dtype: DType): DType {
    return dtype === 'float32' && this.#precision === 'float16' ? 'float16' : dtype;
  }

  unique(name: string): string {
    let free = name;
    for (let count = 1; this.#names.has(free); count++) free = `${name}_${count}`;
    this.#names.add(free);
    return free;
  }

  emit(
    scope: Scope,
    node: { op: string; name: string; inputs: readonly string[]; attributes?: OnnxAttributes; outputs?: number },
  ): readonly string[] {
    const { op, name, inputs, attributes = {}, outputs: count = 1 } = node;
    // All operators are functions of their inputs: the same once more is the one there is. Graphs are not compared.
    const hasGraph = Object.values(attributes).some((value) => typeof value === 'object' && 'graph' in value);
    const key = hasGraph ? undefined : JSON.stringify([op, inputs, attributes, count]);
    const same = key === undefined ? undefined : scope.made.get(key);
    if (same) return same;
    const outputs = Array.from({ length: count }, (_, index) => this.unique(index === 0 ? name : `${name}:${index}`));
    scope.nodes.push({ op, name: outputs[0]!, inputs, outputs, attributes });
    if (key !== undefined) scope.made.set(key, outputs);
    return outputs;
  }

  /** A tensor known under one name. */
  value(scope: Scope, name: string, info: { dtype: DType; held: DType; shape: PartialShape; order?: Order }): Value {
    const { dtype, held, shape, order = 'plain' } = info;
    return { dtype, shape, scope, forms: new Map([[`${order}/${held}`, name]]) };
  }

  constantValue(constant: Constant): Value {
    const forms = this.#constants.get(constant) ?? new Map<string, string>();
    this.#constants.set(constant, forms);
    return { dtype: constant.dtype, shape: constant.shape, constant, scope: this.root, forms };
  }

  /** The name of a value in an order and a dtype. */
  form(value: Value, order: Order, dtype: DType): string {
    const key = `${order}/${dtype}`;
    const known = value.forms.get(key);
    if (known !== undefined) return known;
    const made = value.constant ? this.#constantForm(value.constant, order, dtype) : this.#convert(value, order, dtype);
    value.forms.set(key, made);
    return made;
  }

  #constantForm(constant: Constant, order: Order, dtype: DType): string {
    const typed = isNumeric(dtype) ? castConstant(constant, dtype) : constant;
    return this.addInitializer(order === 'nchw' ? toNchw(typed) : typed);
  }

  #convert(value: Value, order: Order, dtype: DType): string {
    const { scope, forms } = value;
    const ofOrder = [...forms].find(([key]) => key.startsWith(`${order}/`) && !key.includes(':'));
    if (ofOrder) return this.cast(scope, ofOrder[1], dtype);
    const ofDType = [...forms].find(([key]) => key.endsWith(`/${dtype}`) && !key.includes(':'));
    const [key, name] = ofDType ?? [...forms][0]!;
    const typed = ofDType ? name : this.cast(scope, name, dtype);
    if (!ofDType) forms.set(`${key.split('/')[0]}/${dtype}`, typed);
    return this.#reorder(value, typed, order);
  }

  #reorder({ scope, shape }: Value, name: string, order: Order): string {
    const rank = shape?.length ?? 4;
    if (rank === 0) return name;
    const axes = Array.from({ length: 4 - rank }, (_, index) => index);
    const full = rank < 4 ? this.emit(scope, { op: 'Unsqueeze', name: `${name}/4d`, inputs: [name, this.ints(axes)] })[0]! : name;
    const perm = order === 'nchw' ? TO_NCHW : TO_PLAIN;
    return this.emit(scope, { op: 'Transpose', name: `${name}/${order}`, inputs: [full], attributes: { perm } })[0]!;
  }

  cast(scope: Scope, name: string, dtype: DType): string {
    return this.emit(scope, { op: 'Cast', name: `${name}/${dtype}`, inputs: [name], attributes: { to: dataTypeOf(dtype) } })[0]!;
  }

  /** A constant, permuted and reshaped, that is a weight and may be stored in fewer bits. */
  weight(value: Value & { readonly constant: Constant }, form: WeightForm): string {
    const { order, shape, dtype, channels } = form;
    const key = `weight:${order}:${shape}/${dtype}`;
    const known = value.forms.get(key);
    if (known !== undefined) return known;
    const permuted = permuteConstant(value.constant, order);
    const shaped = shape ? reshapeConstant(permuted, shape) : permuted;
    const isQuantized = this.#precision === 'uint8' && dtype === 'float32' && shaped.dtype === 'float32' && channels !== undefined;
    const made =
      isQuantized && elementCount(shaped.shape) >= MIN_QUANTIZED
        ? this.#quantized(shaped, channels)
        : this.addInitializer(isNumeric(dtype) ? castConstant(shaped, dtype) : shaped);
    value.forms.set(key, made);
    return made;
  }

  /**
   * Cast, Mul and Add of constants, not DequantizeLinear: ONNX Runtime computes these once when it loads the model, and then runs at the
   * speed of float32; DequantizeLinear it keeps and computes in each run, unless a session says otherwise.
   */
  #quantized(constant: Constant, axis: number): string {
    const { bytes, scale, offset } = quantizeConstant(constant, axis);
    const stored = this.addInitializer(bytes);
    const wide = this.cast(this.root, stored, 'float32');
    const scaled = this.emit(this.root, { op: 'Mul', name: `${stored}/scaled`, inputs: [wide, this.addInitializer(scale)] })[0]!;
    return this.emit(this.root, { op: 'Add', name: `${stored}/weight`, inputs: [scaled, this.addInitializer(offset)] })[0]!;
  }

  addInitializer(constant: Constant, name = 'w'): string {
    const free = this.unique(name);
    this.initializers.set(free, { name: free, constant });
    return free;
  }

  /** A constant of this program, once per content. */
  literal<D extends NumericDType>(dtype: D, values: readonly number[], shape: readonly number[] = [values.length]): string {
    const key = `${dtype} ${shape} ${values.map((value) => (Object.is(value, -0) ? '-0' : value))}`;
    const known = this.#literals.get(key);
    if (known !== undefined) return known;
    const wide = toConstant(createTensor('float64', shape, Float64Array.from(values)) as AnyTensor);
    const made = this.addInitializer(castConstant(wide, dtype), 'c');
    this.#literals.set(key, made);
    return made;
  }

  ints(values: readonly number[]): string {
    return this.literal('int64', values);
  }
}

export interface WeightForm {
  readonly order: readonly number[];
  readonly shape?: readonly number[] | undefined;
  readonly dtype: DType;
  /** Axis, after all, along which the weights have scales of their own. */
  readonly channels?: number | undefined;
}

function toNchw(constant: Constant): Constant {
  const { shape } = constant;
  if (shape.length === 0) return constant;
  return permuteConstant(reshapeConstant(constant, [...new Array<number>(4 - shape.length).fill(1), ...shape]), TO_NCHW);
}

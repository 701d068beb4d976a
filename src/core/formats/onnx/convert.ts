import { NearfarError } from '../../errors.ts';
import type { AnyTensor, DType } from '../../tensor/index.ts';
import {
  attribute,
  type Constant,
  type Edge,
  edgeKey,
  type GraphNode,
  type GraphSignature,
  type ModelGraph,
  type Nodes,
  type PartialShape,
  reachable,
  type SignatureOutput,
  sortNodes,
} from '../graph/index.ts';
import type { EmittedBindings } from '../model-folder.ts';
import { inferShapes, type ShapeTable } from '../passes/index.ts';
import type { OnnxGraph, OnnxNode, OnnxTensorInfo } from './encode.ts';
import { withoutDead } from './encode-scope.ts';
import { GraphBuilder, type Initializer, type Scope, type Value } from './graph-builder.ts';
import { Inexpressible, Operator } from './operator.ts';
import { converters, wideOperators } from './ops/index.ts';
import { isNumeric, toNumbers } from './weights.ts';

export type OnnxPrecision = 'float32' | 'float16' | 'uint8';

/** Why a model has no ONNX form. */
export interface OnnxProblem {
  readonly op: string;
  readonly node: string;
  readonly reason: string;
}

export interface ConvertedModel {
  readonly graph: OnnxGraph;
  readonly initializers: readonly Initializer[];
  readonly bindings: Readonly<Record<string, EmittedBindings>>;
  readonly problems: readonly OnnxProblem[];
}

/** Functions call each other at most this deep. */
const MAX_DEPTH = 32;
/** Nodes in all, those of functions at each of their calls: what calls itself twice over grows without end. */
const MAX_NODES = 1_000_000;

/** Writes all nodes of a model as ONNX nodes; what cannot be is among the problems. */
export async function convertModel(model: ModelGraph, precision: OnnxPrecision): Promise<ConvertedModel> {
  const signatures = sorted(model.signatures);
  const inputs = nameInputs(signatures);
  const builder = new GraphBuilder(precision, [...inputs.infos.keys(), ...signatures.flatMap(outputNames)]);
  const conversion = new Conversion(model, { builder, precision, table: await shapesOf(model), inputs: inputs.names });
  // What only other signatures need may be what has no ONNX form.
  const outputNodes = signatures.flatMap(([, signature]) => Object.values(signature.outputs).map(({ edge }) => edge.node));
  await conversion.convertNodes(builder.root, reachable(model.nodes, outputNodes), { functionName: '', inputs: [], depth: 0 });
  const { outputs, bindings } = bind(signatures, inputs, (output) => conversion.output(output));
  const graph = finishGraph(builder, [...inputs.infos.values()], [...outputs.values()]);
  const read = new Set(namesRead(graph));
  const initializers = [...builder.initializers.values()].filter(({ name }) => read.has(name));
  return { graph, initializers, bindings, problems: conversion.problems };
}

async function shapesOf(model: ModelGraph): Promise<ShapeTable> {
  try {
    return await inferShapes(model);
  } catch (error) {
    if (error instanceof NearfarError || !(error instanceof Error)) throw error;
    throw new NearfarError('invalid-argument', `the graph is broken: ${error.message}`, { cause: error });
  }
}

type Signatures = readonly (readonly [name: string, signature: GraphSignature])[];

interface Inputs {
  /** By placeholder. */
  readonly names: ReadonlyMap<string, string>;
  /** By name. */
  readonly infos: ReadonlyMap<string, OnnxTensorInfo>;
}

/**
 * Names of the inputs, those of the signatures; placeholders of several signatures that have the same key, dtype and shape are one input.
 * ONNX Runtime wants every input of a graph in every run, so that signatures with different inputs need a file each.
 */
function nameInputs(signatures: Signatures): Inputs {
  const [first] = signatures;
  if (!first) throw new NearfarError('unsupported', 'the model has no signature that can be run', { details: { format: 'onnx' } });
  const names = new Map<string, string>();
  const infos = new Map<string, OnnxTensorInfo>();
  for (const [, { inputs }] of signatures) {
    for (const [key, { node, dtype, shape }] of sorted(inputs)) {
      if (names.has(node)) continue;
      const known = infos.get(key);
      const isOther = known && (known.dtype !== dtype || known.shape?.join() !== shape?.join());
      const name = isOther ? `${key}/${infos.size}` : key;
      names.set(node, name);
      infos.set(name, { name, dtype, shape });
    }
  }
  const namesOf = ([, { inputs }]: Signatures[number]) => new Set(Object.values(inputs).map(({ node }) => names.get(node)));
  const others = signatures.filter((signature) => namesOf(signature).size !== infos.size).map(([name]) => name);
  if (others.length === 0) return { names, infos };
  throw new NearfarError(
    'unsupported',
    `an ONNX model has one set of inputs, its signatures ${signatures.map(([name]) => name).join(', ')} have several: convert them one by one`,
    { details: { format: 'onnx', signatures: signatures.map(([name]) => name) } },
  );
}

function outputNames([name, { outputs }]: Signatures[number]): string[] {
  return Object.keys(outputs).flatMap((key) => [key, `${name}/${key}`]);
}

type Made = OnnxTensorInfo & { readonly made: string };

/** Names of the outputs, those of the signatures; of two that differ, the second is named for its signature too. */
function bind(
  signatures: Signatures,
  inputs: Inputs,
  find: (output: SignatureOutput) => { readonly made: string; readonly shape: PartialShape },
): { outputs: ReadonlyMap<string, Made>; bindings: Readonly<Record<string, EmittedBindings>> } {
  const outputs = new Map<string, Made>();
  const bindings: Record<string, EmittedBindings> = {};
  for (const [name, signature] of signatures) {
    const bound = sorted(signature.outputs).map(([key, output]) => {
      const { made, shape } = find(output);
      const isFree = (candidate: string) => (outputs.get(candidate)?.made ?? made) === made && !inputs.infos.has(candidate);
      const tensor = [key, `${name}/${key}`].find(isFree) ?? `${name}/${key}/output`;
      outputs.set(tensor, { name: tensor, dtype: output.dtype, shape, made });
      return [key, { tensor }] as const;
    });
    bindings[name] = {
      inputs: Object.fromEntries(sorted(signature.inputs).map(([key, { node }]) => [key, { tensor: inputs.names.get(node) ?? key }])),
      outputs: Object.fromEntries(bound),
    };
  }
  return { outputs, bindings };
}

function sorted<T>(record: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Gives the outputs their names and leaves out what no output needs. */
function finishGraph(builder: GraphBuilder, inputs: readonly OnnxTensorInfo[], outputs: readonly Made[]): OnnxGraph {
  const renamed = new Map<string, string>();
  const isMade = new Set(builder.root.nodes.flatMap((node) => node.outputs));
  for (const { name, made } of outputs) {
    if (isMade.has(made) && !renamed.has(made)) renamed.set(made, name);
    else builder.root.nodes.push({ op: 'Identity', name, inputs: [made], outputs: [name], attributes: {} });
  }
  const live = new Set(outputs.map(({ name, made }) => (renamed.get(made) === name ? made : name)));
  const nodes = withoutDead(builder.root.nodes, live).map((node) => renameNode(node, renamed));
  return { nodes, inputs, outputs: outputs.map(({ name, dtype, shape }) => ({ name, dtype, shape })) };
}

function renameNode(node: OnnxNode, renamed: ReadonlyMap<string, string>): OnnxNode {
  const to = (name: string) => renamed.get(name) ?? name;
  const attributes = Object.entries(node.attributes).map(([key, value]) => {
    if (typeof value !== 'object' || !('graph' in value)) return [key, value] as const;
    const { nodes, inputs, outputs } = value.graph;
    return [key, { graph: { nodes: nodes.map((inner) => renameNode(inner, renamed)), inputs, outputs } }] as const;
  });
  return { ...node, inputs: node.inputs.map(to), outputs: node.outputs.map(to), attributes: Object.fromEntries(attributes) };
}

function namesRead({ nodes, outputs }: OnnxGraph): string[] {
  const inner = nodes.flatMap((node) =>
    Object.values(node.attributes).flatMap((value) => (typeof value === 'object' && 'graph' in value ? namesRead(value.graph) : [])),
  );
  return [...nodes.flatMap((node) => node.inputs), ...inner, ...outputs.map(({ name }) => name)];
}

interface ConversionParts {
  readonly builder: GraphBuilder;
  readonly precision: OnnxPrecision;
  readonly table: ShapeTable;
  /** Names of the model's inputs by placeholder. */
  readonly inputs: ReadonlyMap<string, string>;
}

/** Nodes of the graph, or those of a function at one of its calls. */
interface Call {
  readonly functionName: string;
  readonly inputs: readonly Value[];
  readonly depth: number;
}

class Conversion {
  readonly problems: OnnxProblem[] = [];
  readonly #model: ModelGraph;
  readonly #parts: ConversionParts;
  readonly #numbers = new Map<Constant, readonly number[] | undefined>();
  readonly #contents = new Map<string, Constant>();
  #values: ReadonlyMap<string, Value> = new Map();
  #count = 0;

  constructor(model: ModelGraph, parts: ConversionParts) {
    this.#model = model;
    this.#parts = parts;
  }

  /** @returns The values of all edges. */
  async convertNodes(scope: Scope, nodes: Nodes, call: Call): Promise<ReadonlyMap<string, Value>> {
    const values = new Map<string, Value>();
    for (const node of sortNodes(nodes)) {
      this.#count += 1;
      if (this.#count > MAX_NODES) {
        throw new NearfarError('unsupported', `the model has more than ${MAX_NODES} nodes, those of its functions included`, {
          details: { format: 'onnx' },
        });
      }
      const outputs = await this.#convert(scope, node, values, call);
      for (const [index, value] of outputs) values.set(edgeKey({ node: node.name, index }), value);
    }
    if (call.depth === 0) this.#values = values;
    return values;
  }

  /** The name that an output has inside of the graph, and its shape as far as known. */
  output({ edge, dtype, shape }: SignatureOutput): { made: string; shape: PartialShape } {
    const value = this.#values.get(edgeKey(edge));
    const node = this.#model.nodes.get(edge.node);
    if (node && value && beyondRuntime(dtype)) this.#report(node, `is an output of ${dtype}`);
    // A node that is a problem has no outputs.
    return { made: value ? this.#parts.builder.form(value, 'plain', dtype) : edgeKey(edge), shape: shape ?? value?.shape };
  }

  async #convert(scope: Scope, node: GraphNode, values: ReadonlyMap<string, Value>, call: Call): Promise<ReadonlyMap<number, Value>> {
    const { builder } = this.#parts;
    switch (node.op) {
      case 'Const': {
        const constant = await this.#look(attribute.constantOf(node));
        return new Map([[0, builder.constantValue(constant)]]);
      }
      case 'Placeholder':
        return this.#placeholder(scope, node);
      case '_Arg': {
        const argument = call.inputs[attribute.numberOf(node, 'index')];
        if (argument) return new Map([[0, argument]]);
        throw new NearfarError('invalid-argument', `function ${call.functionName} has no argument for ${node.name}`);
      }
      case 'NoOp':
        return new Map();
      default:
        return this.#operator(scope, node, values, call);
    }
  }

  #placeholder(scope: Scope, node: GraphNode): ReadonlyMap<number, Value> {
    const name = this.#parts.inputs.get(node.name);
    const { dtype, shape } = this.#parts.table.of({ node: node.name, index: 0 });
    if (name === undefined || dtype === 'resource' || dtype === 'variant') return new Map();
    if (beyondRuntime(dtype)) this.#report(node, `is an input of ${dtype}`);
    return new Map([[0, this.#parts.builder.value(scope, name, { dtype, held: dtype, shape })]]);
  }

  async #operator(scope: Scope, node: GraphNode, values: ReadonlyMap<string, Value>, call: Call): Promise<ReadonlyMap<number, Value>> {
    const converter = converters.get(node.op);
    if (!converter) {
      this.#report(node, 'has no counterpart in ONNX');
      return new Map();
    }
    const inputs = node.inputs.map((edge) => values.get(edgeKey(edge)));
    // A node that reads one that is refused is no problem of its own.
    if (!inputs.every((value) => value !== undefined)) return new Map();
    const operator = this.#operatorOf(scope, node, inputs, call);
    try {
      if (inputs.some(({ dtype }) => dtype === 'string' || dtype.startsWith('complex')))
        throw new Inexpressible('works on strings or complex numbers');
      await converter(operator);
      return operator.outputs;
    } catch (error) {
      if (error instanceof NearfarError || !(error instanceof Error)) throw error;
      // A converter takes what TensorFlow's operators allow for granted; what else a broken graph holds shows here.
      this.#report(node, error instanceof Inexpressible ? error.message : `is malformed (${error.message})`);
      return new Map();
    }
  }

  #operatorOf(scope: Scope, node: GraphNode, inputs: readonly Value[], call: Call): Operator {
    const { builder, table, precision } = this.#parts;
    const { functionName, depth } = call;
    const of = (edge: Edge) => table.of(edge, functionName);
    return new Operator({
      node,
      scope,
      builder,
      inputs,
      float: precision === 'float16' && !wideOperators.has(node.op) ? 'float16' : 'float32',
      inferred: (index) => of({ node: node.name, index }),
      known: (index) => {
        const constant = inputs[index]?.constant;
        const numbers = constant && this.#numbers.get(constant);
        if (numbers) return numbers;
        const edge = node.inputs[index];
        const elements = edge && of(edge).values;
        return elements?.every((element) => element !== undefined) ? elements : undefined;
      },
      isHandle: (index) => {
        const edge = node.inputs[index];
        return edge !== undefined && of(edge).dtype === 'variant';
      },
      listHint: () => listHint(this.#model, node, functionName, table),
      functions: this.#model.functions,
      inline: async (into, name, args) => {
        const called = this.#model.functions.get(name);
        if (!called) throw new NearfarError('invalid-argument', `${node.op} ${node.name} calls ${name}, which the model does not have`);
        if (depth >= MAX_DEPTH) throw new Inexpressible(`calls functions deeper than ${MAX_DEPTH}`);
        const before = this.problems.length;
        const made = await this.convertNodes(into, called.nodes, { functionName: name, inputs: args, depth: depth + 1 });
        const results = called.outputs.map((edge) => made.get(edgeKey(edge)));
        if (this.problems.length > before || !results.every((value) => value !== undefined)) throw new Inexpressible(`needs ${name}`);
        return results;
      },
    });
  }

  /**
   * Keeps the elements of constants that converters may ask for: axes, sizes, bounds.
   * @returns The first constant of the same content, so that nodes that do the same are found to.
   */
  async #look(constant: Constant): Promise<Constant> {
    const isSmall = constant.byteLength <= MAX_LOOKED_BYTES && isNumeric(constant.dtype) && !constant.dtype.startsWith('complex');
    if (!isSmall || this.#numbers.has(constant)) return constant;
    const tensor = await constant.load();
    const same = this.#same(constant, tensor);
    this.#numbers.set(same, toNumbers(tensor));
    return same;
  }

  #same(constant: Constant, tensor: AnyTensor): Constant {
    const { dtype, shape } = constant;
    const key = `${dtype} ${shape} ${tensor.dtype === 'string' ? '' : Array.from<number | bigint>(tensor.data).join()}`;
    // -0 and 0 print alike, and are not.
    const isSigned = key.includes('0') && dtype.includes('float') && toNumbers(tensor).some((value) => Object.is(value, -0));
    const same = isSigned ? constant : (this.#contents.get(key) ?? constant);
    if (!isSigned) this.#contents.set(key, same);
    return same;
  }

  #report(node: GraphNode, reason: string): void {
    const isNew = !this.problems.some((problem) => problem.node === node.name && problem.reason === reason);
    if (isNew) this.problems.push({ op: node.op, node: node.name, reason });
  }
}

/** What ONNX Runtime for JavaScript takes from no caller and gives to none; its strings are text, not bytes. */
function beyondRuntime(dtype: DType): boolean {
  return dtype === 'string' || dtype === 'bfloat16' || dtype.startsWith('complex');
}

const MAX_LOOKED_BYTES = 4096;

/** Sizes of the elements of a list that is reserved without them, from what is set in it. */
function listHint(model: ModelGraph, node: GraphNode, functionName: string, table: ShapeTable): readonly number[] | undefined {
  const nodes = functionName === '' ? model.nodes : model.functions.get(functionName)?.nodes;
  for (const reader of nodes?.values() ?? []) {
    const index = reader.inputs.findIndex((edge) => edge.node === node.name && edge.index === 0);
    if (index < 0) continue;
    if (reader.op === 'TensorListSetItem') return table.of(reader.inputs[2]!, functionName).shape;
    const body = reader.op.endsWith('While') ? attribute.functionOf(reader, 'body') : undefined;
    const inner = body !== undefined ? model.functions.get(body) : undefined;
    for (const setter of inner?.nodes.values() ?? []) {
      const list = setter.op === 'TensorListSetItem' ? inner?.nodes.get(setter.inputs[0]!.node) : undefined;
      if (list?.op === '_Arg' && attribute.numberOf(list, 'index') === index) return table.of(setter.inputs[2]!, body).shape;
    }
  }
  return undefined;
}

import { NearfarError } from '../../errors.ts';
import type { DType } from '../../tensor/index.ts';
import {
  type Attribute,
  attribute,
  type Edge,
  type GraphFunction,
  type GraphNode,
  type GraphSignature,
  type ModelGraph,
  type PartialShape,
  type SignatureInput,
  type SignatureOutput,
  sortNodes,
} from '../graph/index.ts';
import { dtypeOfNumber } from './data-types.ts';
import { type FlatNode, parseEdge, type Scope } from './flatten.ts';
import { type FreezeContext, Freezer, writesOf } from './freeze.ts';
import { Overlays } from './overlays.ts';
import type { SignatureDef, TensorInfo } from './schema.ts';
import { partialShape } from './tensor.ts';

/** Shapes of placeholders without axes meant any shape in graphs older than this. */
const FIRST_PRODUCER_OF_SCALARS = 24;

const methods: Readonly<Record<string, GraphSignature['method']>> = {
  'tensorflow/serving/classify': 'classify',
  'tensorflow/serving/regress': 'regress',
};

/**
 * The graph of the signatures that can be run, and why the others cannot.
 * @throws {NearfarError} `unsupported`, with every reason, when none can.
 */
export function buildModel(
  scope: Scope,
  context: FreezeContext,
  definitions: ReadonlyMap<string, SignatureDef>,
  producer: number,
): ModelGraph {
  const builder = new Builder(scope, context, producer);
  const signatures: [string, GraphSignature][] = [];
  const unusable: [string, readonly string[]][] = [];
  const nodes = new Map<string, GraphNode>();
  for (const name of [...definitions.keys()].sort()) {
    const made = builder.build(name, definitions.get(name)!); // a key of the map
    if (made.reasons.length > 0) {
      unusable.push([name, made.reasons]);
      continue;
    }
    signatures.push([name, made.signature]);
    for (const [key, node] of made.nodes) if (!nodes.has(key)) nodes.set(key, node);
  }
  if (signatures.length === 0) {
    const texts = unusable.map(([name, reasons]) => `signature "${name}" cannot run: ${reasons.join('; ')}`);
    throw new NearfarError('unsupported', texts.length > 0 ? texts.join('. ') : 'the model has no signature', {
      details: { unusable: Object.fromEntries(unusable) },
    });
  }
  const functions = usedFunctions(nodes, context.functions);
  // Cycles are damage, and all who come after count on there being none.
  for (const some of [nodes, ...[...functions.values()].map((body) => body.nodes)]) sortNodes(some);
  const model = { nodes, functions, signatures: Object.fromEntries(signatures), unusable: Object.fromEntries(unusable) };
  return rename(model, builder.overlays.plainNames(nodes));
}

interface Built {
  readonly signature: GraphSignature;
  readonly nodes: ReadonlyMap<string, GraphNode>;
  readonly reasons: readonly string[];
}

class Builder {
  readonly overlays: Overlays;
  readonly #scope: Scope;
  readonly #context: FreezeContext;
  readonly #freezer: Freezer;
  readonly #producer: number;

  constructor(scope: Scope, context: FreezeContext, producer: number) {
    this.#scope = scope;
    this.#context = context;
    this.#producer = producer;
    this.#freezer = new Freezer(context, scope);
    this.overlays = new Overlays(scope);
  }

  build(name: string, definition: SignatureDef): Built {
    const reasons: string[] = [];
    const fed = this.#edges('input', definition.inputs, reasons);
    const read = this.#edges('output', definition.outputs, reasons);
    const calls = [...definition.outputs.values()].flatMap((info) => this.#scope.callsOf(parseEdge(info.name)));
    const overlay = this.overlays.feed(name, [...fed.values()], [...read.values()]);

    const inputs: [string, SignatureInput][] = [];
    const placeholders = new Map<string, GraphNode>();
    for (const [key, edge] of fed) {
      const input = this.#input(key, edge, overlay.input(edge), definition.inputs.get(key)!, reasons); // fed has its keys
      if (!input) continue;
      inputs.push([key, input]);
      placeholders.set(input.node, {
        name: input.node,
        op: 'Placeholder',
        inputs: [],
        controls: [],
        // A tensor that is fed inside the graph has only a shape that the signature says, which TensorFlow does not hold callers to.
        attributes: { dtype: attribute.type(input.dtype), shape: attribute.shape(input.node === edge.node ? input.shape : undefined) },
      });
    }
    const outputs: [string, SignatureOutput][] = [];
    for (const [key, edge] of read) {
      const info = definition.outputs.get(key)!; // read has its keys
      const dtype = this.#dataType(`output "${key}"`, info.dtype, reasons);
      if (dtype) outputs.push([key, { edge: overlay.output(edge), dtype, shape: partialShape(info.tensor_shape) }]);
    }

    reasons.push(
      ...writesOf(
        this.#scope,
        outputs.map(([, { edge }]) => edge),
        calls,
      ),
    );
    const collected = this.#freezer.collect(outputs.map(([, { edge }]) => edge));
    reasons.push(...collected.reasons);
    const nodes = collected.nodes;
    for (const { name: node, op } of nodes.values()) {
      const isUnfed = (op === 'Placeholder' || op === 'PlaceholderV2') && !placeholders.has(node);
      if (isUnfed) reasons.push(`op ${op} ("${node}") needs a value, and is no input of the signature`);
    }
    for (const [node, placeholder] of placeholders) nodes.set(node, placeholder);
    const signature: GraphSignature = {
      method: methods[definition.method_name] ?? 'predict',
      inputs: Object.fromEntries(inputs),
      outputs: Object.fromEntries(outputs.map(([key, output]) => [key, { ...output, edge: this.#freezer.edge(output.edge) }])),
    };
    if (outputs.length === 0 && reasons.length === 0) reasons.push('it has no output');
    return { signature, nodes, reasons: [...new Set(reasons)] };
  }

  /** The tensors of a signature, in order of their names. */
  #edges(kind: string, infos: ReadonlyMap<string, TensorInfo>, reasons: string[]): Map<string, Edge> {
    const edges = new Map<string, Edge>();
    for (const key of [...infos.keys()].sort()) {
      const info = infos.get(key)!; // a key of the map
      if (info.coo_sparse !== undefined || info.composite_tensor !== undefined) {
        reasons.push(`${kind} "${key}" is ${info.coo_sparse === undefined ? 'a composite' : 'a sparse'} tensor, which is not supported`);
        continue;
      }
      const edge = this.#scope.resolve(parseEdge(info.name));
      if (this.#scope.nodes.has(edge.node)) edges.set(key, edge);
      else reasons.push(`${kind} "${key}" is the tensor ${info.name}, which the graph does not have`);
    }
    return edges;
  }

  #input(key: string, edge: Edge, node: string, info: TensorInfo, reasons: string[]): SignatureInput | undefined {
    const source = this.#scope.nodes.get(edge.node)!; // #edges has looked
    const own = source.attrs.get('dtype')?.type ?? this.#context.ops.outputTypes(source.op, source.attrs)[edge.index];
    // Signatures exist that say another type than their placeholder has, and the graph is right.
    const dtype = this.#dataType(`input "${key}"`, own === undefined || own === 0 ? info.dtype : own, reasons);
    return dtype && { node, dtype, shape: mergeShapes(partialShape(info.tensor_shape), this.#placeholderShape(source)) };
  }

  #dataType(what: string, number: number, reasons: string[]): DType | undefined {
    const dtype = dtypeOfNumber(number);
    if (dtype !== undefined && dtype !== 'resource' && dtype !== 'variant') return dtype;
    reasons.push(`${what} has the type ${dtype ?? number}, which is not supported`);
    return undefined;
  }

  #placeholderShape({ op, attrs }: FlatNode): PartialShape {
    const shape = op.startsWith('Placeholder') ? partialShape(attrs.get('shape')?.shape) : undefined;
    return shape?.length === 0 && this.#producer < FIRST_PRODUCER_OF_SCALARS ? undefined : shape;
  }
}

/** What either knows. */
function mergeShapes(a: PartialShape, b: PartialShape): PartialShape {
  if (!a || !b || a.length !== b.length) return a ?? b;
  return a.map((size, axis) => (size === -1 ? b[axis]! : size));
}

function usedFunctions(nodes: ReadonlyMap<string, GraphNode>, all: ReadonlyMap<string, GraphFunction>): Map<string, GraphFunction> {
  const used = new Map<string, GraphFunction>();
  const visit = (attribute: Attribute): void => {
    if (attribute.kind === 'list') attribute.value.forEach(visit);
    if (attribute.kind !== 'function') return;
    const called = all.get(attribute.value);
    if (!called || used.has(attribute.value)) return;
    used.set(attribute.value, called);
    visitAll(called.nodes);
  };
  // Control flow nests to a bound (MAX_BODY_DEPTH), so this does too.
  const visitAll = (some: ReadonlyMap<string, GraphNode>): void => {
    for (const { attributes } of some.values()) Object.values(attributes).forEach(visit);
  };
  visitAll(nodes);
  return new Map([...used].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function rename(model: ModelGraph, names: ReadonlyMap<string, string>): ModelGraph {
  if (names.size === 0) return model;
  const nameOf = (name: string) => names.get(name) ?? name;
  const edgeOf = ({ node, index }: Edge): Edge => ({ node: nameOf(node), index });
  const nodes = new Map<string, GraphNode>();
  for (const node of model.nodes.values()) {
    const renamed = { ...node, name: nameOf(node.name), inputs: node.inputs.map(edgeOf), controls: node.controls.map(nameOf) };
    nodes.set(renamed.name, renamed);
  }
  const signatures = Object.entries(model.signatures).map(([key, { method, inputs, outputs }]): [string, GraphSignature] => {
    const newInputs = Object.entries(inputs).map(([name, input]) => [name, { ...input, node: nameOf(input.node) }]);
    const newOutputs = Object.entries(outputs).map(([name, output]) => [name, { ...output, edge: edgeOf(output.edge) }]);
    return [key, { method, inputs: Object.fromEntries(newInputs), outputs: Object.fromEntries(newOutputs) }];
  });
  return { ...model, nodes, signatures: Object.fromEntries(signatures) };
}

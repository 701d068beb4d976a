import { NearfarError } from '../../errors.ts';
import { elementCount } from '../../tensor/index.ts';
import {
  attribute,
  type Constant,
  type Edge,
  edgeKey,
  type GraphDType,
  type GraphFunction,
  type GraphNode,
  type GraphSignature,
  type ModelGraph,
  type Nodes,
  reachable,
} from '../graph/index.ts';
import type { EmittedBindings } from '../model-folder.ts';
import { isChanged, narrowType } from './data-types.ts';
import { lowerControlFlow } from './lower.ts';
import { createNodeNames } from './names.ts';
import { isKnownOp, MAX_IDENTITIES, outputCountOf, restrictionOf } from './ops.ts';
import { rewriteNodes } from './rewrite.ts';
import { settleLoops } from './settle-loops.ts';

/** A model in the form in which TensorFlow.js runs it: one flat graph with a node of its own for each input and output. */
export interface TfjsPlan {
  readonly nodes: Nodes;
  readonly bindings: Readonly<Record<string, EmittedBindings>>;
}

export async function planTfjsGraph(model: ModelGraph): Promise<TfjsPlan> {
  const nodes = await rewriteNodes(model.nodes);
  const functions = new Map<string, GraphFunction>();
  for (const [name, definition] of model.functions) functions.set(name, { ...definition, nodes: await rewriteNodes(definition.nodes) });
  const signatures = Object.entries(model.signatures);
  const names = createNodeNames();

  const inputNames = new Map<string, string>();
  const outputNames = new Map<string, string>();
  for (const [signature, { inputs, outputs }] of signatures) {
    const prefix = signatures.length > 1 ? `${signature}/` : '';
    for (const [key, { node }] of Object.entries(inputs)) if (!inputNames.has(node)) inputNames.set(node, names.take(`${prefix}in/${key}`));
    for (const key of Object.keys(outputs)) outputNames.set(`${signature}\n${key}`, names.take(`${prefix}out/${key}`));
  }

  const used = settleLoops(neededNodes(nodes, model.signatures));
  const lowered = lowerControlFlow({ nodes: used, functions }, names, inputNames);
  const written = new Map(lowered.nodes);
  const bindings: Record<string, EmittedBindings> = {};
  for (const [signature, { inputs, outputs }] of signatures) {
    const bound = (name: string) => ({ tensor: `${name}:0` });
    for (const [key, { edge, dtype }] of Object.entries(outputs)) {
      const name = outputNames.get(`${signature}\n${key}`)!;
      written.set(name, { name, op: 'Identity', inputs: [lowered.edgeOf(edge)], controls: [], attributes: { T: attribute.type(dtype) } });
    }
    bindings[signature] = {
      inputs: mapValues(inputs, ({ node }) => bound(inputNames.get(node)!)),
      outputs: mapValues(outputs, (_, key) => bound(outputNames.get(`${signature}\n${key}`)!)),
    };
  }
  for (const { inputs } of Object.values(model.signatures)) {
    for (const { node, shape, dtype } of Object.values(inputs)) {
      const name = inputNames.get(node)!;
      const given = written.get(name)!;
      const { shape: own, dtype: type = attribute.type(dtype) } = given.attributes;
      // A placeholder that takes any shape says so: the signature's is a hint, which TensorFlow does not hold callers to.
      written.set(name, { ...given, attributes: { ...given.attributes, dtype: type, shape: own ?? attribute.shape(shape) } });
    }
  }
  return { nodes: reachable(written, [...outputNames.values(), ...inputNames.values()]), bindings };
}

/** What the signatures read, their inputs included where nothing reads them. */
function neededNodes(nodes: Nodes, signatures: ModelGraph['signatures']): Map<string, GraphNode> {
  const roots = Object.values(signatures).flatMap(({ inputs, outputs }: GraphSignature) => [
    ...Object.values(outputs).map(({ edge }) => edge.node),
    ...Object.values(inputs).map(({ node }) => node),
  ]);
  return reachable(nodes, roots);
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, change: (value: T, key: string) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value, key)]));
}

/** All that keeps a plan from giving TensorFlow's answers, one line each. */
export async function problemsOf({ nodes }: TfjsPlan): Promise<string[]> {
  const unknown = new Map<string, string[]>();
  const problems: string[] = [];
  for (const node of [...nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const { name, op, inputs } = node;
    if (!isKnownOp(op)) {
      const list = unknown.get(op);
      if (list) list.push(name);
      else unknown.set(op, [name]);
    }
    const restriction = restrictionOf(node);
    if (restriction !== undefined) problems.push(`operator ${op} (node ${name}) ${restriction}`);
    for (const input of inputs) {
      const source = nodes.get(input.node)!; // reachable() found it
      if (isKnownOp(source.op) && input.index >= outputCountOf(source.op)) {
        problems.push(
          `operator ${source.op} (node ${source.name}) gives no output ${input.index} in TensorFlow.js, ${op} ${name} reads it`,
        );
      }
    }
  }
  const limits = sliceLimits(nodes);
  for (const { name, constant } of constantsOf(nodes)) {
    const outside = isWide.has(constant.dtype) && !limits.has(name) ? await valueOutsideInt32(constant) : undefined;
    if (outside !== undefined) problems.push(`constant ${name} holds ${outside}, TensorFlow.js has whole numbers of int32 only`);
  }
  const lines = [...unknown].sort().map(([op, [first, ...rest]]) => {
    return `operator ${op} (${rest.length + 1} ${rest.length === 0 ? 'node' : 'nodes'}, first ${first}) has no implementation in TensorFlow.js`;
  });
  return [...lines, ...problems];
}

/** A constant among the weights. */
export interface PlannedConstant {
  /** Name of its node; of a table's keys and values, one of their own. */
  readonly name: string;
  readonly constant: Constant;
}

/** Every constant of the plan, in order of their nodes. */
export function constantsOf(nodes: Nodes): PlannedConstant[] {
  return [...nodes.values()].flatMap((node): PlannedConstant[] => {
    if (node.op === 'Const') return [{ name: node.name, constant: attribute.constantOf(node) }];
    return node.op === 'HashTableV2' ? tableConstants(node) : [];
  });
}

/** The content of a table as weights: its keys, its values. */
export function tableConstants(node: GraphNode): [PlannedConstant, PlannedConstant] {
  const part = (name: string) => ({ name: `${node.name}/${name}`, constant: attribute.constantOf(node, name) });
  return [part('keys'), part('values')];
}

const isWide: ReadonlySet<GraphDType> = new Set<GraphDType>(['int64', 'uint32', 'uint64']);

async function valueOutsideInt32(constant: Constant): Promise<string | undefined> {
  const tensor = await constant.load();
  if (tensor.dtype !== 'int64' && tensor.dtype !== 'uint64' && tensor.dtype !== 'uint32') return undefined;
  for (const value of tensor.data) if (value < -(2 ** 31) || value >= 2 ** 31) return String(value);
  return undefined;
}

/** Constants that only begin or end slices, where a number beyond all sizes stands for the end. */
function sliceLimits(nodes: Nodes): Set<string> {
  const readers = new Map<string, { node: GraphNode; position: number }[]>();
  for (const node of nodes.values()) {
    for (const [position, input] of node.inputs.entries()) {
      const list = readers.get(edgeKey(input));
      if (list) list.push({ node, position });
      else readers.set(edgeKey(input), [{ node, position }]);
    }
  }
  const isLimit = (edge: Edge, steps = MAX_IDENTITIES): boolean => {
    const list = readers.get(edgeKey(edge)) ?? []; // none of an output
    const isOneOf = ({ node, position }: { readonly node: GraphNode; readonly position: number }) =>
      node.op === 'Identity'
        ? isLimit({ node: node.name, index: 0 }, steps - 1)
        : node.op === 'StridedSlice' && (position === 1 || position === 2);
    return steps > 0 && list.length > 0 && list.every(isOneOf);
  };
  const constants = [...nodes.values()].filter(({ op, attributes: { dtype } }) => {
    return op === 'Const' && dtype?.kind === 'type' && isWide.has(dtype.value);
  });
  return new Set(constants.filter(({ name }) => isLimit({ node: name, index: 0 })).map(({ name }) => name));
}

/** What TensorFlow.js computes in other types than the model says, where that may be seen in the answers. */
export function narrowingNotes(nodes: Nodes): string[] {
  const used = new Map<GraphDType, string[]>();
  for (const { name, attributes } of nodes.values()) {
    const types = Object.values(attributes).flatMap((item) => (item.kind === 'list' ? item.value : [item]));
    for (const type of new Set(types.flatMap((item) => (item.kind === 'type' && isChanged.has(item.value) ? [item.value] : [])))) {
      const list = used.get(type);
      if (list) list.push(name);
      else used.set(type, [name]);
    }
  }
  return [...used].sort().map(([type, names]) => {
    const [first] = names.sort();
    return `${type} becomes ${narrowType(type)} (${names.length} ${names.length === 1 ? 'node' : 'nodes'}, first ${first})`;
  });
}

/** A damaged constant could say anything. */
export function assertShape({ name, constant: { shape } }: PlannedConstant): void {
  if (Number.isSafeInteger(elementCount(shape))) return;
  throw new NearfarError('invalid-argument', `constant ${name} has the shape [${shape}]`, { details: { name } });
}

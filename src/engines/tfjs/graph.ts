import { NearfarError, tensorflowTypes } from '../../core/index.ts';

// The graph of a model.json as TensorFlow.js reads it: a GraphDef in JSON form. What a signature needs of it is found here.

/** An attribute as JSON writes it; bytes are base64 (or, in old files, a list of numbers). */
export interface RawAttribute {
  readonly s?: string | readonly number[];
  readonly i?: string | number;
  readonly f?: number | string;
  readonly b?: boolean;
  readonly type?: string | number;
  readonly func?: { readonly name?: string };
  readonly shape?: RawShape;
  readonly list?: {
    readonly s?: readonly (string | readonly number[])[];
    readonly i?: readonly (string | number)[];
    readonly type?: readonly (string | number)[];
    readonly shape?: readonly RawShape[];
  };
}

export interface RawShape {
  readonly unknownRank?: boolean;
  readonly dim?: readonly { readonly size?: string | number }[];
}

/** A node of a graph, as far as it matters here. */
export interface GraphNode {
  readonly name: string;
  readonly op: string;
  /** `node`, `node:index`, inside functions `node:output:index`; `^node` runs before without giving a value. */
  readonly input?: readonly string[] | undefined;
  readonly attr?: Readonly<Record<string, RawAttribute>> | undefined;
}

/** A function of the library: the body or condition of a control-flow node. */
export interface GraphFunction {
  readonly signature?: { readonly name?: string | undefined } | undefined;
  readonly nodeDef?: readonly GraphNode[] | undefined;
}

export interface Topology {
  readonly node: readonly GraphNode[];
  readonly library?: { readonly function?: readonly GraphFunction[] | undefined } | undefined;
}

/** A graph and its functions, by name. */
export interface Graph {
  readonly nodes: ReadonlyMap<string, GraphNode>;
  readonly functions: ReadonlyMap<string, GraphFunction>;
}

/** @throws {NearfarError} `invalid-argument` when a node reads one that is not there. */
export function createGraph(topology: Topology): Graph {
  const nodes = new Map(topology.node.map((node) => [node.name, node]));
  for (const node of topology.node) {
    const missing = inputsOf(node).find((input) => !nodes.has(input.node));
    if (missing) throw new NearfarError('invalid-argument', `node ${node.name} reads ${missing.node}, which is not in the graph`);
  }
  const functions = new Map((topology.library?.function ?? []).map((body) => [body.signature?.name ?? '', body]));
  return { nodes, functions };
}

/** What a node reads. */
export interface GraphInput {
  /** As the node writes it. */
  readonly text: string;
  readonly node: string;
  readonly index: number;
  /** Whether it only says what runs before. */
  readonly isControl: boolean;
}

export function inputsOf({ input = [] }: GraphNode): readonly GraphInput[] {
  return input.map((text) => {
    const parts = text.replace(/^\^/, '').split(':');
    return { text, node: parts[0]!, index: parts.length > 1 ? Number(parts.at(-1)) : 0, isControl: text.startsWith('^') };
  });
}

/** Name of the node of `node:index`. */
export function nodeName(tensor: string): string {
  return tensor.split(':')[0]!;
}

/** The nodes that the outputs need, down to those that are fed. */
export function reachableNodes({ nodes }: Graph, outputs: Iterable<string>, fed: ReadonlySet<string> = new Set()): Set<string> {
  const seen = new Set<string>();
  const waiting = [...outputs];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const node = nodes.get(name);
    if (node === undefined || seen.has(name)) continue;
    seen.add(name);
    if (!fed.has(name)) waiting.push(...inputsOf(node).map((input) => input.node));
  }
  return seen;
}

/** The nodes with all nodes of the functions they call, and of those these call. */
export function withFunctionNodes(nodes: Iterable<GraphNode>, functions: Graph['functions']): GraphNode[] {
  const all: GraphNode[] = [];
  const seen = new Set<string>();
  const waiting = [...nodes].reverse();
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    all.push(node);
    for (const name of calledFunctions(node)) {
      if (seen.has(name)) continue;
      seen.add(name);
      waiting.push(...(functions.get(name)?.nodeDef ?? []));
    }
  }
  return all;
}

export function calledFunctions({ attr = {} }: GraphNode): string[] {
  return Object.values(attr).flatMap((value) => (value?.func?.name === undefined ? [] : [value.func.name]));
}

/** The shape a placeholder declares, -1 for any size; undefined where it takes any rank. */
export function shapeOf(node: GraphNode | undefined): number[] | undefined {
  const shape = node?.attr?.['shape']?.shape;
  return shape === undefined || shape.unknownRank ? undefined : (shape.dim ?? []).map(({ size }) => Number(size ?? 0));
}

/** Old files write numbers. */
const typeNames = new Map(tensorflowTypes.map(([number, name]) => [number, name]));

function typeName(type: string | number): string {
  return typeof type === 'number' ? (typeNames.get(type) ?? `type ${type}`) : type;
}

/** Types that a node's attributes name, `T` and such. */
export function typesOf({ attr = {} }: GraphNode): string[] {
  return Object.values(attr).flatMap((value) => {
    if (value?.type !== undefined) return [typeName(value.type)];
    return (value?.list?.type ?? []).map(typeName);
  });
}

/** A node's attributes as values. */
export interface AttributeReader {
  /** Text in Latin-1, one character a byte, as it is in the file. */
  text(name: string, otherwise?: string): string;
  texts(name: string): readonly string[];
  number(name: string, otherwise?: number): number;
  flag(name: string, otherwise?: boolean): boolean;
  type(name: string, otherwise?: string): string;
  types(name: string): readonly string[];
  /** Sizes, -1 for any; undefined for any rank. */
  shapes(name: string): readonly (readonly number[] | undefined)[];
}

export function readAttributes({ attr = {} }: GraphNode): AttributeReader {
  return {
    text: (name, otherwise = '') => (attr[name]?.s === undefined ? otherwise : decodeText(attr[name].s)),
    texts: (name) => (attr[name]?.list?.s ?? []).map(decodeText),
    // Defaults may be left out: an attribute without a value is zero.
    number: (name, otherwise = 0) => (attr[name] === undefined ? otherwise : Number(attr[name].i ?? attr[name].f ?? 0)),
    flag: (name, otherwise = false) => (attr[name] === undefined ? otherwise : attr[name].b === true),
    type: (name, otherwise = 'DT_FLOAT') => (attr[name]?.type === undefined ? otherwise : typeName(attr[name].type)),
    types: (name) => (attr[name]?.list?.type ?? []).map(typeName),
    shapes: (name) =>
      (attr[name]?.list?.shape ?? []).map(({ unknownRank, dim = [] }) =>
        unknownRank ? undefined : dim.map(({ size }) => Number(size ?? 0)),
      ),
  };
}

function decodeText(text: string | readonly number[]): string {
  return typeof text === 'string' ? atob(text) : String.fromCharCode(...text);
}

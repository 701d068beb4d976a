import type { Edge } from '../graph/index.ts';
import { damaged } from './damaged.ts';
import { countOf, type OpDefs } from './op-defs.ts';
import type { AttrValue, FunctionDef, NameAttrList, NodeDef } from './schema.ts';

// A graph, or the body of a function, without calls: the nodes of a called function stand in the place of the call, under its name.

export interface FlatNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly Edge[];
  readonly controls: readonly string[];
  /** With defaults, without placeholders. */
  readonly attrs: ReadonlyMap<string, AttrValue>;
}

export interface Scope {
  readonly nodes: Map<string, FlatNode>;
  /** `_Arg` nodes of a function, in order. */
  readonly args: readonly string[];
  /** What a function returns. */
  readonly outputs: readonly Edge[];
  /** Nodes of a function that run even when no output needs them. */
  readonly effects: readonly string[];
  /** Follows an output of a call to the node that makes it. */
  resolve(edge: Edge): Edge;
  /** The calls that an edge passes on its way: who reads it waits for all that they do. */
  callsOf(edge: Edge): readonly string[];
}

/** Calls nest at most this deep, which ends functions that call themselves. */
const MAX_CALL_DEPTH = 48;

/** Nodes after inlining, in all scopes of one file. */
const MAX_NODES = 400_000;

/** Operators that call a function once, by the attribute that names it. */
const callAttributes: Readonly<Record<string, string>> = { PartitionedCall: 'f', StatefulPartitionedCall: 'f', BatchFunction: 'f' };

/** Operators that change a variable, a table or the world outside. */
const writeOps =
  /^(Assign.*|Resource(Scatter|Apply|SparseApply|StridedSliceAssign|CountUpTo|ConditionalAccumulator).*|Scatter(Update|Add|Sub|Mul|Div|Min|Max)|ScatterNd(Update|Add|Sub|Min|Max)|StridedSliceAssign|CountUpTo|(Sparse)?Apply[A-Z].*|LookupTable(Insert|Import|Remove).*|InitializeTable.*|(Write|Append).*File|Save(V2|Slices)?|Queue(Enqueue|Dequeue|Close).*|DestroyResourceOp)$/;

export function isWrite(op: string): boolean {
  return writeOps.test(op);
}

export class Flattener {
  readonly #functions: ReadonlyMap<string, FunctionDef>;
  readonly #ops: OpDefs;
  #nodes = 0;

  constructor(functions: readonly FunctionDef[], ops: OpDefs) {
    this.#functions = new Map(functions.map((definition) => [definition.signature?.name ?? '', definition]));
    this.#ops = ops;
  }

  /** The graph itself. */
  graph(nodes: readonly NodeDef[]): Scope {
    const scope = new Building();
    for (const node of nodes) {
      const { edges, controls } = split(node.input);
      this.#add(scope, { ...node, inputs: edges.map(parseEdge), controls, attrs: this.#ops.complete(node.op, node.attr) }, 0);
    }
    return scope.finish([], [], []);
  }

  /** The body of a function, its arguments as `_Arg` nodes; undefined when there is none of this name. */
  body({ name, attr }: NameAttrList): Scope | undefined {
    const definition = this.#functions.get(name);
    if (!definition) return undefined;
    const scope = new Building();
    const args: string[] = [];
    const addArg = (arg: string, index: number, type: number) => {
      const node = {
        name: arg,
        op: '_Arg',
        inputs: [],
        controls: [],
        attrs: new Map<string, AttrValue>([
          ['T', { type }],
          ['index', { i: index }],
        ]),
      };
      scope.add(node);
      args.push(arg);
      return { node: arg, index: 0 };
    };
    const inputs = (definition.signature?.input_arg ?? []).flatMap((arg) => {
      const count = countOf(arg, attr);
      const types = arg.type_list_attr ? (attr.get(arg.type_list_attr)?.list?.type ?? []) : [];
      return Array.from({ length: count }, (_, offset) => {
        const type = types[offset] ?? (arg.type_attr ? (attr.get(arg.type_attr)?.type ?? 0) : arg.type);
        return addArg(offset === 0 ? arg.name : `${arg.name}_${offset}`, args.length, type);
      });
    });
    const { outputs, effects } = this.#expand(scope, definition, attr, inputs, '', [], 0);
    return scope.finish(args, outputs, effects);
  }

  has(name: string): boolean {
    return this.#functions.has(name);
  }

  #add(scope: Building, node: FlatNode, depth: number): void {
    this.#nodes += 1;
    if (this.#nodes > MAX_NODES) throw damaged(`the graph has more than ${MAX_NODES} nodes with its functions in the place of their calls`);
    const called = this.#called(node);
    const definition = called && this.#functions.get(called.name);
    // A call that is too deep, or of nothing, stays: only signatures that need it fail.
    if (!called || !definition || depth >= MAX_CALL_DEPTH) {
      scope.add(node);
      return;
    }
    const { outputs, effects } = this.#expand(scope, definition, called.attr, node.inputs, `${node.name}/`, node.controls, depth + 1);
    scope.alias(node.name, outputs);
    // What waits for the call waits for all of it.
    scope.add({ name: node.name, op: 'NoOp', inputs: [], controls: [...node.controls, ...effects], attrs: new Map() });
  }

  #called(node: FlatNode): NameAttrList | undefined {
    const attribute = Object.hasOwn(callAttributes, node.op) ? callAttributes[node.op] : undefined;
    if (attribute !== undefined) return node.attrs.get(attribute)?.func;
    return this.#functions.has(node.op) ? { name: node.op, attr: node.attrs } : undefined;
  }

  /** Adds the nodes of a function under a prefix. */
  #expand(
    scope: Building,
    { signature, node_def: nodes, ret, control_ret: controlRet }: FunctionDef,
    attrs: ReadonlyMap<string, AttrValue>,
    inputs: readonly Edge[],
    prefix: string,
    controls: readonly string[],
    depth: number,
  ): { outputs: Edge[]; effects: string[] } {
    const name = signature?.name ?? '';
    const args = new Map<string, number>();
    let count = 0;
    for (const arg of signature?.input_arg ?? []) {
      args.set(arg.name, count);
      count += countOf(arg, attrs);
    }
    if (count !== inputs.length) throw damaged(`function ${name} takes ${count} arguments, a call has ${inputs.length}`);
    const flat = new Map<string, FlatNode>();
    const edge = (text: string): Edge => {
      const [node = '', output = '', offset = '0'] = text.split(':');
      const arg = args.get(node);
      if (arg !== undefined && !flat.has(node)) {
        const input = inputs[arg + (output === '' ? 0 : Number(output))];
        if (input) return input;
      }
      const source = flat.get(node);
      if (!source || !/^\d+$/.test(offset)) throw damaged(`function ${name} has no ${text}`);
      if (output === '') return { node: source.name, index: 0 };
      return { node: source.name, index: this.#ops.outputIndex(source.op, source.attrs, output, Number(offset)) };
    };
    // An argument runs no node of its own: who waits for it waits for nothing here.
    const local = (control: string): string[] => {
      const node = flat.get(control);
      return node ? [node.name] : [];
    };
    for (const node of nodes) {
      const own = this.#ops.complete(node.op, substitute(node.attr, attrs));
      flat.set(node.name, { name: prefix + node.name, op: node.op, inputs: [], controls: [], attrs: own });
    }
    const effects: string[] = [];
    for (const node of nodes) {
      const { edges, controls: waits } = split(node.input);
      const made = flat.get(node.name)!; // set above
      // A node without inputs would otherwise not know that its call stands in a branch that is not taken.
      const outer = edges.length === 0 ? controls : [];
      this.#add(scope, { ...made, inputs: edges.map(edge), controls: [...waits.flatMap(local), ...outer] }, depth);
      if (isWrite(node.op)) effects.push(made.name);
    }
    effects.push(...[...controlRet.values()].flatMap(local));
    const outputs = (signature?.output_arg ?? []).flatMap((arg) => {
      const text = ret.get(arg.name);
      if (text === undefined) throw damaged(`function ${name} does not say what its output ${arg.name} is`);
      const { node, index } = edge(text);
      return Array.from({ length: countOf(arg, attrs) }, (_, offset) => ({ node, index: index + offset }));
    });
    return { outputs, effects };
  }
}

/** Attributes of a node in a function, those of the call in the place of `placeholder`. */
function substitute(own: ReadonlyMap<string, AttrValue>, ofCall: ReadonlyMap<string, AttrValue>): ReadonlyMap<string, AttrValue> {
  if (![...own.values()].some(({ placeholder, func }) => placeholder !== undefined || func)) return own;
  const replace = (value: AttrValue): AttrValue => {
    if (value.placeholder !== undefined) return ofCall.get(value.placeholder) ?? {};
    return value.func ? { ...value, func: { name: value.func.name, attr: substitute(value.func.attr, ofCall) } } : value;
  };
  return new Map([...own].map(([name, value]) => [name, replace(value)]));
}

/** `name:1`; without a number it is the first output. */
export function parseEdge(text: string): Edge {
  const match = /^(.*):(\d{1,9})$/s.exec(text);
  return match ? { node: match[1]!, index: Number(match[2]) } : { node: text, index: 0 }; // the pattern has both
}

function split(inputs: readonly string[]): { edges: string[]; controls: string[] } {
  return {
    edges: inputs.filter((input) => !input.startsWith('^')),
    controls: inputs.filter((input) => input.startsWith('^')).map((input) => input.slice(1)),
  };
}

class Building {
  readonly #nodes = new Map<string, FlatNode>();
  readonly #aliases = new Map<string, readonly Edge[]>();

  add(node: FlatNode): void {
    if (node.name === '' || this.#nodes.has(node.name)) throw damaged(`two nodes have the name "${node.name}"`);
    this.#nodes.set(node.name, node);
  }

  alias(call: string, outputs: readonly Edge[]): void {
    this.#aliases.set(call, outputs);
  }

  finish(args: readonly string[], outputs: readonly Edge[], effects: readonly string[]): Scope {
    const trace = (edge: Edge): { edge: Edge; calls: string[] } => {
      const calls: string[] = [];
      for (let at = edge; ; ) {
        const target = this.#aliases.get(at.node);
        if (!target) return { edge: at, calls };
        const next = target[at.index];
        if (!next || calls.length > this.#aliases.size) throw damaged(`the call ${at.node} has no output ${at.index}`);
        calls.push(at.node);
        at = next;
      }
    };
    const nodes = new Map<string, FlatNode>();
    for (const [name, node] of this.#nodes) {
      const traced = node.inputs.map(trace);
      const calls = traced.flatMap((input) => input.calls);
      const inputs = calls.length === 0 ? node.inputs : traced.map((input) => input.edge);
      nodes.set(name, { ...node, inputs, controls: [...new Set([...node.controls, ...calls])] });
    }
    const resolve = (edge: Edge) => trace(edge).edge;
    return { nodes, args, outputs: outputs.map(resolve), effects, resolve, callsOf: (edge) => trace(edge).calls };
  }
}

import { NearfarError } from '../../errors.ts';
import { createTensor } from '../../tensor/index.ts';
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
import { convertAttribute } from './convert-attributes.ts';
import { damaged } from './damaged.ts';
import { dtypeOfNumber } from './data-types.ts';
import { type FlatNode, type Flattener, isWrite, type Scope } from './flatten.ts';
import { isTable, isVariable, originOf, plainOp, runBy } from './handles.ts';
import type { OpDefs } from './op-defs.ts';
import type { NameAttrList } from './schema.ts';
import type { State, Table } from './state.ts';

// From TensorFlow's nodes to those of the graph: variables become constants in the very place of their handles, so that all that passes
// a handle on (a Switch into a branch, an Enter into a loop) passes the value on, and reading becomes Identity.

/** What a node becomes. */
export interface Frozen {
  /** The node, and constants that it needs beside it. */
  readonly nodes: readonly GraphNode[];
  /** Why it cannot be run. */
  readonly reasons: readonly string[];
}

/** A variable or a table that a function is given; it has it as a constant of its own instead. */
type Capture = { readonly kind: 'variable'; readonly constant: Constant } | { readonly kind: 'table'; readonly table: Table };

export interface FreezeContext {
  readonly flattener: Flattener;
  readonly ops: OpDefs;
  /** Undefined in a frozen graph, which has none. */
  readonly state: State | undefined;
  readonly functions: Map<string, GraphFunction>;
  readonly specialised: Map<string, { readonly name: string; readonly reasons: readonly string[] }>;
  /** A number for each object, so that a key can say which one it is. */
  readonly identify: (object: object) => number;
}

export function createFreezeContext(flattener: Flattener, ops: OpDefs, state?: State): FreezeContext {
  const numbers = new Map<object, number>();
  const identify = (object: object): number => {
    const number = numbers.get(object) ?? numbers.size;
    numbers.set(object, number);
    return number;
  };
  return { flattener, ops, state, functions: new Map(), specialised: new Map(), identify };
}

/** Bodies of control flow nest at most this deep. */
const MAX_BODY_DEPTH = 32;

/** Operators whose functions become functions of the graph, with the attributes that name them. */
const controlFlow: Readonly<Record<string, { readonly functions: readonly string[]; readonly inputTypes: string; readonly skip: number }>> =
  {
    While: { functions: ['cond', 'body'], inputTypes: 'T', skip: 0 },
    StatelessWhile: { functions: ['cond', 'body'], inputTypes: 'T', skip: 0 },
    If: { functions: ['then_branch', 'else_branch'], inputTypes: 'Tin', skip: 1 },
    StatelessIf: { functions: ['then_branch', 'else_branch'], inputTypes: 'Tin', skip: 1 },
    Case: { functions: ['branches'], inputTypes: 'Tin', skip: 1 },
    StatelessCase: { functions: ['branches'], inputTypes: 'Tin', skip: 1 },
  };

/** Operators that give their input on and only look at it. */
const lookingOps: ReadonlySet<string> = new Set([
  'CheckNumerics',
  'CheckNumericsV2',
  'DebugIdentity',
  'DebugIdentityV2',
  'DebugIdentityV3',
  'PreventGradient',
  'Print',
  'Snapshot',
  'StopGradient',
]);

const RESOURCE = 20;

/** The nodes of one scope, frozen when they are asked for. */
export class Freezer {
  readonly #context: FreezeContext;
  readonly #scope: Scope;
  readonly #captures: readonly (Capture | undefined)[];
  readonly #depth: number;
  readonly #frozen = new Map<string, Frozen>();
  /** Old positions of the outputs and inputs that a control flow operator keeps. */
  readonly #kept = new Map<string, readonly number[]>();

  constructor(context: FreezeContext, scope: Scope, captures: readonly (Capture | undefined)[] = [], depth = 0) {
    this.#context = context;
    this.#scope = scope;
    this.#captures = captures;
    this.#depth = depth;
  }

  /** Where an output of the scope is after freezing. */
  edge(edge: Edge): Edge {
    const origin = this.#tableOrigin(edge);
    if (origin) return { node: origin, index: 0 };
    const node = this.#scope.nodes.get(edge.node);
    if (!node || (node.op !== 'While' && node.op !== 'StatelessWhile')) return edge;
    const index = this.#keptOf(node).indexOf(edge.index);
    if (index >= 0) return { node: edge.node, index };
    // A handle that went through the loop: read where it comes from.
    const handle = originOf(this.#scope, edge);
    if (handle) return { node: handle.name, index: 0 };
    throw damaged(`${node.op} "${node.name}" has no output ${edge.index}`);
  }

  /** All that some outputs need, with the reasons why it cannot be run. */
  collect(outputs: readonly Edge[]): { nodes: Map<string, GraphNode>; reasons: string[] } {
    const nodes = new Map<string, GraphNode>();
    const reasons = new Set<string>();
    const open = outputs.map((output) => this.edge(output).node);
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      if (nodes.has(name)) continue;
      const frozen = this.#node(name);
      for (const reason of frozen.reasons) reasons.add(reason);
      for (const node of frozen.nodes) {
        nodes.set(node.name, node);
        for (const input of node.inputs) open.push(input.node);
        open.push(...node.controls);
      }
      if (frozen.nodes.length === 0 && frozen.reasons.length === 0) throw damaged(`the node ${name} gives nothing that can be read`);
    }
    return { nodes, reasons: [...reasons].sort() };
  }

  #node(name: string): Frozen {
    const known = this.#frozen.get(name);
    if (known) return known;
    const node = this.#scope.nodes.get(name);
    if (!node) throw damaged(`the graph has no node ${name}`);
    let frozen: Frozen;
    try {
      frozen = this.#convert(node);
    } catch (error) {
      if (!(error instanceof NearfarError) || error.code !== 'unsupported') throw error;
      frozen = { nodes: [], reasons: [`op ${node.op} ("${name}"): ${error.message}`] };
    }
    this.#frozen.set(name, frozen);
    // Constants beside it are asked for by their own names.
    for (const beside of frozen.nodes) if (beside.name !== name) this.#frozen.set(beside.name, { nodes: [beside], reasons: [] });
    return frozen;
  }

  #convert(node: FlatNode): Frozen {
    if (isVariable(node)) return this.#variable(node);
    if (isTable(node)) return this.#table(node);
    if (Object.hasOwn(controlFlow, node.op)) return this.#controlFlow(node);
    if (isWrite(node.op)) return refuse(node, 'changes what the model holds; only signatures without state are run');
    const op = plainOp(node.op);
    switch (op) {
      case '_Arg':
        return this.#argument(node);
      case 'ReadVariableOp':
        return this.#one(node, 'Identity', this.#inputs(node), { T: this.#typeOf(node, 'dtype') });
      case 'ResourceGather':
        return this.#gather(node);
      case 'ResourceGatherNd':
        return this.#one(node, 'GatherNd', this.#inputs(node), {
          Tparams: this.#typeOf(node, 'dtype'),
          Tindices: this.#typeOf(node, 'Tindices'),
        });
      case 'VariableShape':
        return this.#one(node, 'Shape', this.#inputs(node), { T: this.#variableType(node), out_type: this.#typeOf(node, 'out_type') });
      case 'VarIsInitializedOp':
      case 'IsVariableInitialized':
        return one(constNode(node.name, toConstant(createTensor('bool', [], Uint8Array.of(1)))));
      case 'PlaceholderWithDefault':
        return this.#one(node, 'Identity', this.#inputs(node), { T: this.#typeOf(node, 'dtype') });
      case 'LookupTableFind':
      case 'LookupTableSize':
        return this.#one(node, `${op}V2`, this.#inputs(node), this.#attributes(node));
      case 'IdentityN':
      case 'Identity':
      case 'Switch':
      case 'Merge':
      case 'Enter':
      case 'Exit':
      case 'NextIteration':
        return this.#passOn(node, op);
    }
    if (lookingOps.has(op)) return this.#one(node, 'Identity', this.#inputs(node).slice(0, 1), { T: this.#typeOf(node, 'T') });
    return this.#plain(node, op);
  }

  #plain(node: FlatNode, op: string): Frozen {
    const { flattener, ops } = this.#context;
    const called = node.attrs.get('f')?.func?.name ?? '';
    if (/PartitionedCall$|^BatchFunction$/.test(op) || flattener.has(op)) {
      return refuse(
        node,
        flattener.has(called || op) ? 'calls functions too deep in each other' : `calls the function ${called}, which is not there`,
      );
    }
    const takesFunction = [...node.attrs.values()].some(({ func, list }) => func || (list && list.func.length > 0));
    if (takesFunction) return refuse(node, 'runs a function in a way that is not supported');
    if (!op.startsWith('TensorArray') && ops.outputTypes(node.op, node.attrs).includes(RESOURCE))
      return refuse(node, 'holds state; only variables and tables are supported');
    return this.#one(node, op, this.#inputs(node), this.#attributes(node));
  }

  #one(node: FlatNode, op: string, inputs: readonly Edge[], attributes: Attributes): Frozen {
    return one({ name: node.name, op, inputs, controls: this.#controls(node), attributes });
  }

  #inputs(node: FlatNode): Edge[] {
    return node.inputs.map((input) => this.edge(input));
  }

  #attributes(node: FlatNode): Record<string, Attribute> {
    const attributes: Record<string, Attribute> = {};
    // In order of their names: maps of protobuf have none.
    for (const name of [...node.attrs.keys()].sort()) {
      if (name.startsWith('_')) continue; // placement, compilation, shapes that were known
      const converted = convertAttribute(node.attrs.get(name)!, `attribute ${name} of ${node.op} "${node.name}"`);
      if (converted) attributes[name] = converted;
    }
    return attributes;
  }

  #typeOf(node: FlatNode, name: string): Attribute {
    const type = dtypeOfNumber(node.attrs.get(name)?.type ?? 0);
    if (type) return attribute.type(type);
    throw new NearfarError('unsupported', `${name} is no type that is supported`, { details: { node: node.name, attribute: name } });
  }

  /**
   * Waiting matters only for a node without inputs in a branch or a loop of TensorFlow 1: it must not run when the branch is not taken.
   * All others learn that from their inputs.
   */
  #controls(node: FlatNode): string[] {
    if (node.inputs.length > 0) return [];
    return node.controls.filter((name) => this.#isPivot(name)).sort();
  }

  #isPivot(name: string): boolean {
    let node = this.#scope.nodes.get(name);
    for (let hops = 0; node && hops < 100; hops++) {
      const op = plainOp(node.op);
      if (op === 'Switch' || op === 'Merge' || op === 'Enter' || op === 'NextIteration' || op === 'LoopCond') return true;
      if (op !== 'Identity') return false;
      node = this.#scope.nodes.get(node.inputs[0]?.node ?? '');
    }
    return false;
  }

  #variable(node: FlatNode): Frozen {
    const value = this.#context.state?.variable(node) ?? { kind: 'missing', reason: 'a frozen graph has no values of variables' };
    if (value.kind === 'missing') return refuse(node, value.reason);
    if (value.kind === 'edge') return this.#one(node, 'Identity', [this.edge(value.edge)], { T: this.#typeOf(node, 'dtype') });
    return one({ ...constNode(node.name, value.constant), controls: this.#controls(node) });
  }

  #table(node: FlatNode): Frozen {
    const table = this.#context.state?.table(node) ?? { reason: 'a frozen graph has no content of tables' };
    return 'reason' in table ? refuse(node, table.reason) : one(tableNode(node.name, table));
  }

  #argument(node: FlatNode): Frozen {
    const index = node.attrs.get('index')?.i ?? 0;
    const capture = this.#captures[index];
    if (capture?.kind === 'variable') return one(constNode(node.name, capture.constant));
    if (capture) return one(tableNode(node.name, capture.table));
    const before = this.#captures.slice(0, index).filter((other) => other !== undefined).length;
    return this.#one(node, '_Arg', [], { T: this.#typeOf(node, 'T'), index: attribute.int(index - before) });
  }

  /** What gives a handle on gives the value on. */
  #passOn(node: FlatNode, op: string): Frozen {
    const attributes = this.#attributes(node);
    const value = this.#valueType(node.inputs[0]);
    if (value && attributes['T']?.kind === 'type') attributes['T'] = attribute.type(value);
    if (op === 'IdentityN' && attributes['T']?.kind === 'list') {
      const types = attributes['T'].value.map((type, index): Attribute => {
        const of = this.#valueType(node.inputs[index]);
        return of ? attribute.type(of) : type;
      });
      attributes['T'] = { kind: 'list', value: types };
    }
    return this.#one(node, op, this.#inputs(node), attributes);
  }

  /** Type of the values of the variable that an edge is a handle of. */
  #valueType(edge: Edge | undefined): GraphDType | undefined {
    const origin = edge && originOf(this.#scope, edge);
    if (!origin) return undefined;
    if (isVariable(origin)) return dtypeOfNumber(origin.attrs.get('dtype')?.type ?? 0);
    const capture = this.#captureOf(origin);
    return capture?.kind === 'variable' ? capture.constant.dtype : undefined;
  }

  #variableType(node: FlatNode): Attribute {
    return attribute.type(this.#valueType(node.inputs[0]) ?? 'float32');
  }

  #captureOf(origin: FlatNode): Capture | undefined {
    return origin.op === '_Arg' ? this.#captures[origin.attrs.get('index')?.i ?? 0] : undefined;
  }

  /** Name of the table that an edge is a handle of. */
  #tableOrigin(edge: Edge): string | undefined {
    const from = this.#scope.nodes.get(edge.node);
    if (!from || (from.op !== '_Arg' && !isTable(from) && !passesHandle(from))) return undefined;
    const origin = originOf(this.#scope, edge);
    if (!origin) return undefined;
    if (isTable(origin)) return origin.name;
    const capture = this.#captureOf(origin);
    return capture?.kind === 'table' ? origin.name : undefined;
  }

  #gather(node: FlatNode): Frozen {
    const batch = node.attrs.get('batch_dims')?.i ?? 0;
    const axis = constNode(this.#freeName(`${node.name}/axis`), toConstant(createTensor('int32', [], Int32Array.of(batch))));
    const attributes = {
      Tparams: this.#typeOf(node, 'dtype'),
      Tindices: this.#typeOf(node, 'Tindices'),
      Taxis: attribute.type('int32'),
      batch_dims: attribute.int(batch),
    };
    const { nodes } = this.#one(node, 'GatherV2', [...this.#inputs(node), { node: axis.name, index: 0 }], attributes);
    return { nodes: [...nodes, axis], reasons: [] };
  }

  #freeName(name: string): string {
    return this.#scope.nodes.has(name) ? this.#freeName(`${name}_`) : name;
  }

  /** Positions of the arguments of a control flow operator that are no handles of variables or tables. */
  #keptOf(node: FlatNode): readonly number[] {
    let kept = this.#kept.get(node.name);
    if (!kept) {
      const flow = controlFlow[node.op]!; // only asked for those
      const types = node.attrs.get(flow.inputTypes)?.list?.type ?? [];
      kept = types.flatMap((type, index) => (type === RESOURCE ? [] : [index]));
      this.#kept.set(node.name, kept);
    }
    return kept;
  }

  #controlFlow(node: FlatNode): Frozen {
    const flow = controlFlow[node.op]!; // the caller has looked
    const isLoop = flow.skip === 0;
    const types = node.attrs.get(flow.inputTypes)?.list?.type ?? [];
    const args = node.inputs.slice(flow.skip);
    if (types.length !== args.length)
      throw damaged(`${node.op} "${node.name}" has ${args.length} arguments, its types say ${types.length}`);
    const reasons: string[] = [];
    const captures = types.map((type, index): Capture | undefined => {
      if (type !== RESOURCE) return undefined;
      const capture = this.#capture(args[index]!); // as many as types
      if (capture && !('reasons' in capture)) return capture;
      reasons.push(...(capture?.reasons ?? refuse(node, `is given a handle (argument ${index}) of no variable or table`).reasons));
      return undefined;
    });
    if (!isLoop && node.attrs.get('Tout')?.list?.type.includes(RESOURCE)) reasons.push(...refuse(node, 'gives a handle back').reasons);
    if (reasons.length > 0) return { nodes: [], reasons };
    const kept = this.#keptOf(node);
    const attributes = this.#attributes(node);
    for (const name of flow.functions) {
      const value = node.attrs.get(name);
      const functions = value?.func ? [value.func] : (value?.list?.func ?? []);
      const made = functions.map((called) => this.#specialise(called, captures, name === 'body', node));
      reasons.push(...made.flatMap((one) => one.reasons));
      const names = made.map((one): Attribute => ({ kind: 'function', value: one.name }));
      if (made.length === 0) reasons.push(...refuse(node, `has no function ${name}`).reasons);
      attributes[name] = value?.func ? names[0]! : { kind: 'list', value: names }; // one function, one name
    }
    for (const name of [flow.inputTypes, ...(isLoop ? ['output_shapes'] : [])]) {
      const list = attributes[name];
      if (list?.kind === 'list' && list.value.length === types.length)
        attributes[name] = { kind: 'list', value: kept.map((index) => list.value[index]!) }; // positions of types
    }
    const inputs = [...node.inputs.slice(0, flow.skip), ...kept.map((index) => args[index]!)].map((input) => this.edge(input));
    const op = node.op === 'StatelessCase' ? 'Case' : node.op;
    const frozen = this.#one(node, op, inputs, attributes);
    return { nodes: frozen.nodes, reasons };
  }

  /** What the body of a function has in the place of a handle. */
  #capture(edge: Edge): Capture | { readonly reasons: readonly string[] } | undefined {
    const origin = originOf(this.#scope, edge);
    if (!origin) return undefined;
    if (origin.op === '_Arg') return this.#captureOf(origin);
    const { state } = this.#context;
    if (isVariable(origin)) {
      const value = state?.variable(origin);
      if (value?.kind === 'constant') return { kind: 'variable', constant: value.constant };
      return refuse(origin, value?.kind === 'missing' ? value.reason : 'its value is computed on loading, and a function reads it');
    }
    if (!isTable(origin)) return undefined;
    const table = state?.table(origin);
    if (!table || 'reason' in table) return refuse(origin, table?.reason ?? 'a frozen graph has no content of tables');
    return { kind: 'table', table };
  }

  /** A function of the graph for what it is given: other variables make another function. */
  #specialise(
    called: NameAttrList,
    captures: readonly (Capture | undefined)[],
    isBody: boolean,
    node: FlatNode,
  ): { name: string; reasons: readonly string[] } {
    const { flattener, functions, specialised, identify } = this.#context;
    const given = captures.map((capture) => capture && identify(capture.kind === 'variable' ? capture.constant : capture.table));
    const attributes = [...called.attr].map(([name, value]) => [name, identify(value)]);
    const key = JSON.stringify([called.name, isBody, attributes, given]);
    const known = specialised.get(key);
    if (known) return known;
    const give = (name: string, reasons: readonly string[]) => {
      const made = { name, reasons };
      specialised.set(key, made);
      return made;
    };
    if (this.#depth >= MAX_BODY_DEPTH) return { name: called.name, reasons: refuse(node, 'nests functions too deep').reasons };
    const scope = flattener.body(called);
    if (!scope) return give(called.name, refuse(node, `needs the function ${called.name}, which is not there`).reasons);
    const freezer = new Freezer(this.#context, scope, captures, this.#depth + 1);
    const outputs = isBody ? scope.outputs.filter((_, index) => !captures[index]) : scope.outputs;
    const lost = isBody ? captures.findIndex((capture, index) => capture && !passesArgument(scope, index)) : -1;
    const { nodes, reasons } = freezer.collect(outputs);
    const all = [...reasons, ...writesOf(scope, scope.outputs, scope.effects)];
    if (lost >= 0) all.push(...refuse(node, `changes its handle ${lost} in the loop`).reasons);
    if (all.length > 0) return give(called.name, all);
    const args = scope.args.filter((_, index) => !captures[index]);
    for (const arg of args) for (const argument of freezer.#node(arg).nodes) nodes.set(arg, argument);
    let name = called.name;
    for (let count = 1; functions.has(name); count++) name = `${called.name}_${count}`;
    functions.set(name, { inputs: args, outputs: outputs.map((output) => freezer.edge(output)), nodes });
    return give(name, []);
  }
}

function passesHandle({ op }: FlatNode): boolean {
  const plain = plainOp(op);
  return plain !== op || /^(Identity|IdentityN|Switch|Merge|Enter|Exit|NextIteration|While|StatelessWhile)$/.test(plain);
}

function passesArgument(scope: Scope, index: number): boolean {
  const output = scope.outputs[index];
  return output !== undefined && originOf(scope, output)?.name === scope.args[index];
}

/** Why some outputs cannot be run again and again: what they need, or what runs beside them, changes something. */
export function writesOf(scope: Scope, outputs: readonly Edge[], effects: readonly string[] = []): string[] {
  const roots = [...outputs.map(({ node }) => node), ...effects];
  const writes = runBy(scope, roots).filter(({ op }) => isWrite(op));
  return writes.flatMap((node) => refuse(node, 'changes what the model holds; only signatures without state are run').reasons).sort();
}

function refuse({ op, name }: FlatNode, why: string): Frozen {
  return { nodes: [], reasons: [`op ${op} ("${name}") ${why}`] };
}

function one(node: GraphNode): Frozen {
  return { nodes: [node], reasons: [] };
}

function tableNode(name: string, { keys, values }: Table): GraphNode {
  const attributes = {
    key_dtype: attribute.type(keys.dtype),
    value_dtype: attribute.type(values.dtype),
    keys: attribute.tensor(keys),
    values: attribute.tensor(values),
  };
  return { name, op: 'HashTableV2', inputs: [], controls: [], attributes };
}

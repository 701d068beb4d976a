import { NearfarError } from '../../errors.ts';
import {
  type Attribute,
  type Attributes,
  attribute,
  type Constant,
  constNode,
  type Edge,
  edgeKey,
  type GraphFunction,
  type GraphNode,
  type ModelGraph,
  type Nodes,
  sortNodes,
  toConstant,
} from '../graph/index.ts';
import { createNodeNames, type NodeNames } from './names.ts';
import { MAX_IDENTITIES } from './ops.ts';

// Functional control flow, written with TensorFlow 1's Switch, Merge, Enter, NextIteration and Exit. tfjs-converter runs functions too,
// but a While body disposes the tensors that a list keeps (a GRU that gives sequences fails), and If is not known as asynchronous.
//
// How tfjs-converter runs these (executor/graph_executor.js) shapes what is written here. A node runs in the frame of whichever input
// came last, and a value of an outer frame is seen from inside, but its arrival wakes no node inside. So inside a function every node
// must read at least one value of its own frame: one that reads constants only gets them through `Identity(constant, ^pivot)`, where the
// pivot is a node that is alive exactly when the function runs. The control input is on Identity alone, because operators with any
// number of inputs would read it as one more. Values from outside a loop that it only reads are referred to from inside; all its Enter
// nodes wait for them.

/** Enough for loops in loops in branches; a recursive function ends here. */
const MAX_DEPTH = 64;
/** A function used in many places is written once for each; nested, that grows without bounds. */
const MAX_FUNCTION_NODES = 200_000;

/** A root graph without functions. */
export interface LoweredGraph {
  readonly nodes: ReadonlyMap<string, GraphNode>;
  /** Where an output of the root graph's nodes is found now. */
  edgeOf(edge: Edge): Edge;
}

/**
 * @param renamed Names that some nodes of the root graph have from now on, all taken from `names`.
 * @throws {NearfarError} `invalid-argument` for a damaged graph, `unsupported` for functions that call themselves or grow too large.
 */
export function lowerControlFlow(
  { nodes, functions }: Pick<ModelGraph, 'nodes' | 'functions'>,
  names: NodeNames,
  renamed: ReadonlyMap<string, string>,
): LoweredGraph {
  const lowering = new Lowering(functions, names);
  const scope = lowering.writeRoot(nodes, renamed);
  return { nodes: lowering.nodes, edgeOf: (edge) => resolve(scope, edge) };
}

/** One function where it is written out, or the root. */
interface Scope {
  readonly prefix: string;
  readonly depth: number;
  /** New names of its nodes by their old ones. */
  readonly renamed: Map<string, string>;
  /** Where outputs are found that no node of the same name gives any more. */
  readonly moved: Map<string, Edge>;
  /** New names of nodes whose values appear in this frame, each time the function runs. */
  readonly alive: Set<string>;
  /** Identities of constants, by the constants' edges. */
  readonly gates: Map<string, Edge>;
  /** Name of a node that is alive when the function runs, made when first asked for; undefined at the root, where all is alive. */
  readonly pivot: (() => string) | undefined;
}

interface Call {
  readonly prefix: string;
  readonly depth: number;
  readonly args: readonly Argument[];
  readonly pivot: Scope['pivot'];
}

/** An argument is made when the function reads it. */
type Argument = () => { readonly edge: Edge; readonly isAlive: boolean };

class Lowering {
  readonly nodes = new Map<string, GraphNode>();
  readonly #functions: ModelGraph['functions'];
  readonly #names: NodeNames;
  readonly #frames = createNodeNames({ lowerCase: true });
  // The same constant in several functions is one node.
  readonly #constants = new Map<Constant, string>();
  readonly #tables: { readonly keys: Constant; readonly values: Constant; readonly name: string }[] = [];
  readonly #sorted = new Map<GraphFunction, readonly GraphNode[]>();
  #functionNodes = 0;

  constructor(functions: ModelGraph['functions'], names: NodeNames) {
    this.#functions = functions;
    this.#names = names;
  }

  writeRoot(nodes: Nodes, renamed: ReadonlyMap<string, string>): Scope {
    const scope = createScope({ prefix: '', depth: 0, pivot: undefined });
    for (const [from, to] of renamed) scope.renamed.set(from, to);
    this.#write(sortNodes(nodes), scope, []);
    return scope;
  }

  #write(nodes: readonly GraphNode[], scope: Scope, args: readonly Argument[]): void {
    if (scope.depth > 0) this.#functionNodes += nodes.length + 1;
    if (this.#functionNodes > MAX_FUNCTION_NODES) throw tooLarge();
    for (const { name } of nodes) if (!scope.renamed.has(name)) scope.renamed.set(name, this.#names.take(scope.prefix + name));
    for (const node of nodes) this.#writeNode(node, scope, args);
  }

  #writeNode(node: GraphNode, scope: Scope, args: readonly Argument[]): void {
    switch (node.op) {
      case '_Arg':
        this.#writeArgument(node, scope, args);
        break;
      case 'Const':
        this.#writeConstant(node, scope);
        break;
      case 'HashTableV2':
        this.#writeTable(node, scope);
        break;
      case 'If':
      case 'StatelessIf':
        this.#writeIf(node, scope);
        break;
      case 'Case':
      case 'StatelessCase':
        this.#writeCase(node, scope);
        break;
      case 'While':
      case 'StatelessWhile':
        this.#writeWhile(node, scope);
        break;
      default:
        this.#writePlain(node, scope);
    }
  }

  #writeArgument(node: GraphNode, scope: Scope, args: readonly Argument[]): void {
    const argument = args[attribute.numberOf(node, 'index')];
    if (argument === undefined) throw damaged(node, 'names an argument that its function is not given');
    const { edge, isAlive } = argument();
    scope.moved.set(edgeKey({ node: node.name, index: 0 }), edge);
    if (isAlive) scope.alive.add(edge.node);
  }

  #writeConstant(node: GraphNode, scope: Scope): void {
    const constant = attribute.constantOf(node);
    const name = newName(scope, node.name);
    const written = this.#constants.get(constant) ?? (node.controls.length > 0 ? this.#names.take(`${name}/value`) : name);
    if (!this.#constants.has(constant)) this.#add({ ...node, name: written, inputs: [], controls: [] });
    this.#constants.set(constant, written);
    if (node.controls.length === 0) scope.renamed.set(node.name, written);
    else {
      // A constant of one side of a switch: the executor has all constants from the start.
      const T = attribute.type(constant.dtype);
      const inputs = [{ node: written, index: 0 }];
      this.#add({ name, op: 'Identity', inputs, controls: this.#controlsOf(node, scope), attributes: { T } });
      scope.alive.add(name);
    }
  }

  #writeTable(node: GraphNode, scope: Scope): void {
    const [keys, values] = [attribute.constantOf(node, 'keys'), attribute.constantOf(node, 'values')];
    const written = this.#tables.find((table) => table.keys === keys && table.values === values);
    if (written) {
      scope.renamed.set(node.name, written.name);
      return;
    }
    const name = newName(scope, node.name);
    this.#tables.push({ keys, values, name });
    this.#add({ ...node, name, inputs: [], controls: [] });
  }

  #writePlain(node: GraphNode, scope: Scope): void {
    const name = newName(scope, node.name);
    const inputs = node.inputs.map((input) => resolve(scope, input));
    // A table is found by the name of its node, so the gate goes to what is looked up.
    const gated = node.op.startsWith('LookupTable') && inputs.length > 1 ? 1 : 0;
    const first = inputs[gated];
    if (scope.pivot && first && !inputs.some((input) => scope.alive.has(input.node))) inputs[gated] = this.#gate(first, scope);
    const controls = this.#controlsOf(node, scope);
    const [held, ...rest] = inputs;
    if (controls.length > 0 && held && node.op !== 'Identity' && node.op !== 'Enter') {
      const waits = this.#make(`${name}/after`, 'Identity', [held], {}, scope, controls);
      this.#add({ ...node, name, inputs: [waits, ...rest], controls: [] });
    } else this.#add({ ...node, name, inputs, controls });
    if (inputs.length > 0) scope.alive.add(name);
  }

  #controlsOf(node: GraphNode, scope: Scope): string[] {
    return node.controls.map((control) => resolve(scope, { node: control, index: 0 }).node);
  }

  #writeIf(node: GraphNode, scope: Scope): void {
    const [condition, ...args] = this.#inputsOf(node, scope);
    if (condition === undefined) throw damaged(node, 'has no condition');
    const branches = ['then_branch', 'else_branch'].map((name) => attribute.functionOf(node, name));
    const outputs = this.#branch(newName(scope, node.name), condition, args, node, scope, [
      (call) => this.#call(branches[0]!, call),
      (call) => this.#call(branches[1]!, call),
    ]);
    moveOutputs(node, outputs, scope);
  }

  /** One branch after the other, the last one for every other index. */
  #writeCase(node: GraphNode, scope: Scope): void {
    const [index, ...args] = this.#inputsOf(node, scope);
    const branches = node.attributes['branches'];
    const functions = branches?.kind === 'list' ? branches.value.flatMap((item) => (item.kind === 'function' ? [item.value] : [])) : [];
    if (index === undefined || functions.length === 0) throw damaged(node, 'has no index or no branches');
    const name = newName(scope, node.name);
    const choose = (position: number, index: Edge, args: readonly Edge[], scope: Scope, prefix: string): readonly Edge[] => {
      const expected = this.#constant(`${prefix}/index`, position);
      const isChosen = this.#make(`${prefix}/is`, 'Equal', [this.#live(index, scope), expected], { T: attribute.type('int32') }, scope);
      return this.#branch(prefix, isChosen, [index, ...args], node, scope, [
        (call) => this.#call(functions[position]!, { ...call, args: call.args.slice(1) }),
        (call) => {
          if (position + 2 >= functions.length) return this.#call(functions.at(-1)!, { ...call, args: call.args.slice(1) });
          if (call.depth > MAX_DEPTH) throw tooDeep(node);
          const inner = createScope(call);
          const [next, ...rest] = call.args.map((argument) => {
            const { edge, isAlive } = argument();
            if (isAlive) inner.alive.add(edge.node);
            return edge;
          });
          return { outputs: choose(position + 1, next!, rest, inner, `${prefix}/else`), scope: inner };
        },
      ]);
    };
    if (functions.length === 1) {
      const given = args.map((edge) => asArgument(edge, scope));
      const called = this.#call(functions[0]!, { prefix: `${name}/`, depth: scope.depth + 1, args: given, pivot: scope.pivot });
      const outputs = called.outputs.map((edge) => this.#live(edge, called.scope));
      for (const { node } of outputs) scope.alive.add(node);
      moveOutputs(node, outputs, scope);
      return;
    }
    moveOutputs(node, choose(0, index, args, scope, name), scope);
  }

  /** Both branches behind switches, and a merge for each output. */
  #branch(
    name: string,
    givenCondition: Edge,
    args: readonly Edge[],
    node: GraphNode,
    scope: Scope,
    branches: readonly [Branch, Branch],
  ): readonly Edge[] {
    const condition = this.#live(givenCondition, scope);
    const switched = new Map<number, string>();
    const switchOf = (position: number, edge: Edge): string => {
      const T = node.op.endsWith('If') ? listOf(node, 'Tin')[position] : undefined;
      const made = switched.get(position) ?? this.#make(`${name}/switch`, 'Switch', [edge, condition], T ? { T } : {}, scope).node;
      switched.set(position, made);
      return made;
    };
    const [whenTrue, whenFalse] = branches.map((branch, side) => {
      const index = 1 - side;
      const argumentsOf = args.map((edge, position): Argument => {
        // A constant is there in every frame.
        if (this.nodes.get(edge.node)?.op === 'Const') return () => ({ edge, isAlive: false });
        return () => ({ edge: { node: switchOf(position, edge), index }, isAlive: true });
      });
      const label = index === 1 ? 'then' : 'else';
      const pivot = once(() => {
        const chosen = { node: switchOf(-1, condition), index };
        return this.#make(`${name}/${label}/pivot`, 'Identity', [chosen], {}, scope).node;
      });
      const called = branch({ prefix: `${name}/${label}/`, depth: scope.depth + 1, args: argumentsOf, pivot });
      return called.outputs.map((edge) => this.#live(edge, called.scope));
    });
    if (whenTrue?.length !== whenFalse?.length) throw damaged(node, 'has branches with different numbers of outputs');
    const types = listOf(node, 'Tout');
    return whenTrue!.map((edge, index) => {
      const T = types[index];
      return this.#make(`${name}/merge`, 'Merge', [whenFalse![index]!, edge], T ? { T } : {}, scope);
    });
  }

  #writeWhile(node: GraphNode, scope: Scope): void {
    const name = newName(scope, node.name);
    const initial = this.#inputsOf(node, scope);
    const [condition, body] = ['cond', 'body'].map((part) => attribute.functionOf(node, part));
    const unchanged = unchangedArguments(node, this.#function(node, body!));
    const types = listOf(node, 'T');

    // What the loop only reads it reads from outside.
    const outside = new Map<number, Edge>();
    const waits: string[] = [];
    for (const index of unchanged) {
      const edge = initial[index];
      if (edge === undefined) throw damaged(node, 'passes more values round than it is given');
      if (this.nodes.get(edge.node)?.op === 'Const') outside.set(index, edge);
      else {
        const held = this.#make(`${name}/outside`, 'Identity', [this.#live(edge, scope)], {}, scope);
        outside.set(index, held);
        waits.push(held.node);
      }
    }
    // One to wait for, so that many variables and many values from outside do not multiply.
    const [held, ...others] = waits;
    const all =
      held === undefined || others.length === 0
        ? waits
        : [this.#make(`${name}/outside`, 'Identity', [{ node: held, index: 0 }], {}, scope, others).node];
    if (outside.size === initial.length) {
      moveOutputs(node, initial, scope);
      return;
    }

    const frame = attribute.string(this.#frames.take(name));
    const merges = new Map<number, string>();
    for (const [index, edge] of initial.entries()) {
      if (outside.has(index)) continue;
      const T = types[index];
      const attributes = { ...(T && { T }), frame_name: frame, is_constant: attribute.bool(false), parallel_iterations: attribute.int(1) };
      const enter = this.#make(`${name}/enter`, 'Enter', [this.#live(edge, scope)], attributes, scope, all);
      const merge = this.#names.take(`${name}/merge`);
      const next = this.#names.take(`${name}/next`);
      this.#add({ name: merge, op: 'Merge', inputs: [enter, { node: next, index: 0 }], controls: [], attributes: T ? { T } : {} });
      merges.set(index, merge);
    }

    const inFrame = (source: ReadonlyMap<number, string>, output: number): Argument[] =>
      initial.map((_, index) => {
        const edge = outside.get(index);
        return () => (edge ? { edge, isAlive: false } : { edge: { node: source.get(index)!, index: output }, isAlive: true });
      });
    const [first] = merges.values();
    const test = this.#call(condition!, { prefix: `${name}/cond/`, depth: scope.depth + 1, args: inFrame(merges, 0), pivot: () => first! });
    const decided = test.outputs[0];
    if (decided === undefined) throw damaged(node, 'has a condition without a result');
    const goesOn = this.#make(`${name}/goes_on`, 'LoopCond', [this.#live(decided, test.scope)], {}, test.scope);

    const switches = new Map(
      [...merges].map(([index, merge]): [number, string] => {
        const T = types[index];
        return [index, this.#make(`${name}/switch`, 'Switch', [{ node: merge, index: 0 }, goesOn], T ? { T } : {}, test.scope).node];
      }),
    );
    const pivot = once(() => {
      const [switched] = switches.values();
      return this.#make(`${name}/pivot`, 'Identity', [{ node: switched!, index: 1 }], {}, test.scope).node;
    });
    const turn = this.#call(body!, { prefix: `${name}/body/`, depth: scope.depth + 1, args: inFrame(switches, 1), pivot });
    if (turn.outputs.length !== initial.length)
      throw damaged(node, `gives its body ${initial.length} values and gets ${turn.outputs.length}`);

    const results = initial.map((edge, index): Edge => {
      const switched = switches.get(index);
      if (switched === undefined) return edge;
      const T = types[index];
      const attributes: Attributes = T ? { T } : {};
      const [, next] = this.nodes.get(merges.get(index)!)!.inputs;
      this.#add({
        name: next!.node,
        op: 'NextIteration',
        inputs: [this.#live(turn.outputs[index]!, turn.scope)],
        controls: [],
        attributes,
      });
      return this.#make(`${name}/exit`, 'Exit', [{ node: switched, index: 0 }], attributes, scope);
    });
    moveOutputs(node, results, scope);
  }

  /** Writes a function's nodes where they are called from. */
  #call(name: string, call: Call): Called {
    const callee = this.#functions.get(name);
    if (callee === undefined) throw new NearfarError('invalid-argument', `the graph has no function ${name}`, { details: { name } });
    if (call.depth > MAX_DEPTH) throw tooDeep({ name, op: 'function' });
    const scope = createScope(call);
    const sorted = this.#sorted.get(callee) ?? sortNodes(callee.nodes);
    this.#sorted.set(callee, sorted);
    this.#write(sorted, scope, call.args);
    return { outputs: callee.outputs.map((edge) => resolve(scope, edge)), scope };
  }

  #function(node: GraphNode, name: string): GraphFunction {
    const found = this.#functions.get(name);
    if (found) return found;
    throw damaged(node, `calls ${name}, which the graph has not`);
  }

  #inputsOf(node: GraphNode, scope: Scope): Edge[] {
    return node.inputs.map((input) => resolve(scope, input));
  }

  /** The value as one of the scope's own frame. */
  #live(edge: Edge, scope: Scope): Edge {
    return scope.pivot === undefined || scope.alive.has(edge.node) ? edge : this.#gate(edge, scope);
  }

  #gate(edge: Edge, scope: Scope): Edge {
    const key = edgeKey(edge);
    const made = scope.gates.get(key);
    if (made) return made;
    const gate = this.#make(`${scope.prefix}gate/${edge.node}`, 'Identity', [edge], {}, scope, scope.pivot ? [scope.pivot()] : []);
    scope.gates.set(key, gate);
    return gate;
  }

  /** A node of this scope's frame. */
  #make(wanted: string, op: string, inputs: readonly Edge[], attributes: Attributes, scope: Scope, controls: readonly string[] = []): Edge {
    const name = this.#names.take(wanted);
    const T = attributes['T'] ?? this.#typeOf(inputs[0]!);
    this.#add({ name, op, inputs, controls, attributes: { ...attributes, ...(T && { T }) } });
    scope.alive.add(name);
    return { node: name, index: 0 };
  }

  /** Strings run elsewhere than numbers, and their nodes are known by their types. Undefined when it takes more to tell. */
  #typeOf({ node }: Edge): Attribute | undefined {
    const source = this.nodes.get(node);
    if (source === undefined) return undefined;
    const { op, attributes } = source;
    if (op === 'Const' || op === 'Placeholder') return attributes['dtype'];
    const type = handsOn.has(op) ? attributes['T'] : (attributes['Tout'] ?? attributes['DstT']);
    return type?.kind === 'type' ? type : undefined;
  }

  #constant(wanted: string, value: number): Edge {
    const name = this.#names.take(wanted);
    this.#add(constNode(name, toConstant({ dtype: 'int32', shape: [], data: Int32Array.of(value) })));
    return { node: name, index: 0 };
  }

  #add(node: GraphNode): void {
    this.nodes.set(node.name, node);
  }
}

/** Operators whose outputs have the type of their input. */
const handsOn: ReadonlySet<string> = new Set(['Enter', 'Exit', 'Identity', 'Merge', 'NextIteration', 'Reshape', 'Switch']);

interface Called {
  readonly outputs: readonly Edge[];
  readonly scope: Scope;
}

type Branch = (call: Call) => Called;

function createScope({ prefix, depth, pivot }: Pick<Scope, 'prefix' | 'depth' | 'pivot'>): Scope {
  return { prefix, depth, renamed: new Map(), moved: new Map(), alive: new Set(), gates: new Map(), pivot };
}

function asArgument(edge: Edge, scope: Scope): Argument {
  return () => ({ edge, isAlive: scope.pivot === undefined || scope.alive.has(edge.node) });
}

function resolve(scope: Scope, edge: Edge): Edge {
  return scope.moved.get(edgeKey(edge)) ?? { node: newName(scope, edge.node), index: edge.index };
}

function newName(scope: Scope, name: string): string {
  const found = scope.renamed.get(name);
  if (found !== undefined) return found;
  throw new NearfarError('invalid-argument', `the graph has no node ${name}`, { details: { node: name } });
}

function moveOutputs(node: GraphNode, outputs: readonly Edge[], scope: Scope): void {
  for (const [index, edge] of outputs.entries()) scope.moved.set(edgeKey({ node: node.name, index }), edge);
}

/** Arguments that the body gives back as they came. */
function unchangedArguments(node: GraphNode, { nodes, outputs }: GraphFunction): number[] {
  return outputs.flatMap((output, index) => {
    let source = nodes.get(output.node);
    for (let steps = MAX_IDENTITIES; source?.op === 'Identity' && steps > 0; steps--) source = nodes.get(source.inputs[0]?.node ?? '');
    return source?.op === '_Arg' && attribute.numberOf(source, 'index') === index && index < node.inputs.length ? [index] : [];
  });
}

function listOf(node: GraphNode, name: string) {
  const list = node.attributes[name];
  return list?.kind === 'list' ? list.value : [];
}

function once(make: () => string): () => string {
  let made: string | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

function damaged({ op, name }: Pick<GraphNode, 'op' | 'name'>, message: string): NearfarError {
  return new NearfarError('invalid-argument', `${op} ${name} ${message}`, { details: { op, node: name } });
}

function tooLarge(): NearfarError {
  return new NearfarError(
    'unsupported',
    `written out where they are called, the functions of the graph are more than ${MAX_FUNCTION_NODES} nodes`,
  );
}

function tooDeep({ op, name }: Pick<GraphNode, 'op' | 'name'>): NearfarError {
  return new NearfarError('unsupported', `${op} ${name} is nested more than ${MAX_DEPTH} functions deep, or calls itself`, {
    details: { op, node: name },
  });
}

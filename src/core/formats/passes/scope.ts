import { type Edge, edgeKey, type GraphNode, type ModelGraph, type Nodes, reachable } from '../graph/index.ts';
import type { Known, ShapeTable } from './shapes/index.ts';

/** The graph, or the body of one function: what a pass works on. */
export interface Scope {
  /** '' for the graph itself. */
  readonly functionName: string;
  readonly nodes: Nodes;
  /** What must keep its value: outputs of signatures, or of the function. */
  readonly outputs: readonly Edge[];
  /** Names that must stay: placeholders of signatures, arguments of the function. */
  readonly inputs: readonly string[];
}

/** Gives back the same scope when it finds nothing to do. */
export type ScopePass = (scope: Scope, known: (edge: Edge) => Known) => Scope | Promise<Scope>;

/** Applies a pass to the graph and to the functions it still uses. */
export async function applyPass(model: ModelGraph, pass: ScopePass, shapes: ShapeTable): Promise<ModelGraph> {
  const run = async (scope: Scope) => pass(scope, (edge) => shapes.of(edge, scope.functionName));
  const before = scopeOf(model);
  const after = await run(before);
  const functions = new Map<string, ModelGraph['functions'] extends ReadonlyMap<string, infer F> ? F : never>();
  let isSame = after === before;
  for (const [name, body] of model.functions) {
    const scope: Scope = { functionName: name, nodes: body.nodes, outputs: body.outputs, inputs: body.inputs };
    const changed = await run(scope);
    if (changed !== scope) isSame = false;
    functions.set(name, changed === scope ? body : { inputs: body.inputs, outputs: changed.outputs, nodes: changed.nodes });
  }
  return isSame ? model : { ...model, nodes: after.nodes, functions, signatures: withOutputs(model, after.outputs) };
}

function scopeOf(model: ModelGraph): Scope {
  const signatures = Object.values(model.signatures);
  return {
    functionName: '',
    nodes: model.nodes,
    outputs: signatures.flatMap((signature) => Object.values(signature.outputs).map((output) => output.edge)),
    inputs: signatures.flatMap((signature) => Object.values(signature.inputs).map((input) => input.node)),
  };
}

function withOutputs(model: ModelGraph, edges: readonly Edge[]): ModelGraph['signatures'] {
  let next = 0;
  return Object.fromEntries(
    Object.entries(model.signatures).map(([name, signature]) => {
      const outputs = Object.entries(signature.outputs).map(([key, output]) => [key, { ...output, edge: edges[next++]! }] as const);
      return [name, { ...signature, outputs: Object.fromEntries(outputs) }];
    }),
  );
}

/** Collects changes to a scope; nothing is changed in place. */
export class ScopeEdit {
  readonly #scope: Scope;
  readonly #nodes: Map<string, GraphNode>;
  readonly #replaced: Map<string, Edge> = new Map<string, Edge>();
  #isChanged = false;

  constructor(scope: Scope) {
    this.#scope = scope;
    this.#nodes = new Map(scope.nodes);
  }

  /** The node as it is now. */
  node(name: string): GraphNode | undefined {
    return this.#nodes.get(name);
  }

  /** Adds a node, or puts it in the place of the one of its name. */
  set(node: GraphNode): Edge {
    this.#isChanged = true;
    this.#nodes.set(node.name, node);
    return { node: node.name, index: 0 };
  }

  /** A name that no node has yet. */
  nameFor(base: string): string {
    let name = base;
    for (let i = 1; this.#nodes.has(name); i++) name = `${base}_${i}`;
    return name;
  }

  /** Lets every reader of one edge read another. */
  replace(from: Edge, to: Edge): void {
    this.#isChanged = true;
    this.#replaced.set(edgeKey(from), to);
  }

  /** What an edge was replaced by. */
  resolve(edge: Edge): Edge {
    let current = edge;
    for (let next = this.#replaced.get(edgeKey(current)); next; next = this.#replaced.get(edgeKey(current))) current = next;
    return current;
  }

  finish(): Scope {
    if (!this.#isChanged) return this.#scope;
    const nodes = new Map<string, GraphNode>();
    for (const [name, node] of this.#nodes) {
      const inputs = node.inputs.map((input) => this.resolve(input));
      nodes.set(name, inputs.some((input, i) => input !== node.inputs[i]) ? { ...node, inputs } : node);
    }
    const outputs = this.#scope.outputs.map((output) => this.resolve(output));
    return withoutDeadNodes({ ...this.#scope, nodes, outputs });
  }
}

/** Drops the nodes that no output depends on. */
export function withoutDeadNodes(scope: Scope): Scope {
  const live = reachable(scope.nodes, [
    ...scope.outputs.map((output) => output.node),
    ...scope.inputs.filter((name) => scope.nodes.has(name)),
  ]);
  if (live.size === scope.nodes.size) return scope;
  // In the order the nodes had.
  return { ...scope, nodes: new Map([...scope.nodes].filter(([name]) => live.has(name))) };
}

/** Who reads each edge. */
export class Readers {
  readonly #readers: Map<string, GraphNode[]> = new Map<string, GraphNode[]>();
  readonly #outputs: ReadonlySet<string>;
  readonly #controls: Set<string> = new Set<string>();
  readonly #counts: Map<string, number> = new Map<string, number>();

  constructor(scope: Scope) {
    this.#outputs = new Set(scope.outputs.map(edgeKey));
    for (const output of scope.outputs) this.#countOutput(output);
    for (const node of scope.nodes.values()) {
      for (const control of node.controls) this.#controls.add(control);
      for (const input of node.inputs) {
        this.#countOutput(input);
        const list = this.#readers.get(edgeKey(input));
        if (list) list.push(node);
        else this.#readers.set(edgeKey(input), [node]);
      }
    }
  }

  /** How often an edge is read, outputs included. */
  count(edge: Edge): number {
    return (this.#readers.get(edgeKey(edge))?.length ?? 0) + (this.#outputs.has(edgeKey(edge)) ? 1 : 0);
  }

  /** The one node that reads an edge, once, when nothing else depends on its node. */
  only(edge: Edge): GraphNode | undefined {
    return this.count(edge) === 1 && !this.isWaitedFor(edge.node) ? this.#readers.get(edgeKey(edge))?.[0] : undefined;
  }

  /** How many outputs a node has, as far as they are read. */
  outputCount(node: string): number {
    return this.#counts.get(node) ?? 0;
  }

  #countOutput({ node, index }: Edge): void {
    this.#counts.set(node, Math.max(this.#counts.get(node) ?? 0, index + 1));
  }

  /** Whether other nodes name it as one that must run before. */
  isWaitedFor(node: string): boolean {
    return this.#controls.has(node);
  }
}

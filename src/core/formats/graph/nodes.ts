import { NearfarError } from '../../errors.ts';
import type { Edge, GraphNode, Nodes } from './graph.ts';

/** `name:index`, to use an edge as a key. */
export function edgeKey({ node, index }: Edge): string {
  return `${node}:${index}`;
}

/** The node that makes an edge. */
export function sourceOf(nodes: Nodes, { node }: Edge): GraphNode {
  const found = nodes.get(node);
  if (found) return found;
  throw new NearfarError('invalid-argument', `the graph has no node ${node}`, { details: { node } });
}

/** Nodes by the node whose outputs, or whose end, they wait for. */
export function consumersOf(nodes: Nodes): ReadonlyMap<string, readonly GraphNode[]> {
  const consumers = new Map<string, GraphNode[]>();
  for (const node of nodes.values()) {
    const sources = new Set([...node.inputs.map((input) => input.node), ...node.controls]);
    for (const source of sources) {
      const list = consumers.get(source);
      if (list) list.push(node);
      else consumers.set(source, [node]);
    }
  }
  return consumers;
}

/** The nodes that others depend on, and they themselves. Dead code is all the rest. */
export function reachable(nodes: Nodes, from: Iterable<string>): Map<string, GraphNode> {
  const found = new Map<string, GraphNode>();
  const open = [...from];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (found.has(name)) continue;
    const node = sourceOf(nodes, { node: name, index: 0 });
    found.set(name, node);
    for (const input of node.inputs) open.push(input.node);
    open.push(...node.controls);
  }
  return found;
}

/**
 * Nodes so that each comes after those it reads (but for a `NextIteration` that a `Merge` reads), independent nodes in order of their
 * names: the same graph gives the same order on every machine.
 * @throws {NearfarError} `invalid-argument` when a cycle goes through no `NextIteration`, or a node is missing.
 */
export function sortNodes(nodes: Nodes): GraphNode[] {
  const sorted: GraphNode[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const names = [...nodes.keys()].sort();
  for (const root of names) {
    // A stack of our own: a deep graph must not end the thread's.
    const stack: { node: GraphNode; before: string[] }[] = [];
    const enter = (name: string) => {
      const node = sourceOf(nodes, { node: name, index: 0 });
      state.set(name, 'open');
      stack.push({ node, before: dependenciesOf(node, nodes) });
    };
    if (!state.has(root)) enter(root);
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const next = top.before.pop();
      if (next === undefined) {
        state.set(top.node.name, 'done');
        sorted.push(top.node);
        stack.pop();
      } else if (state.get(next) === 'open') {
        throw new NearfarError('invalid-argument', `the graph has a cycle through ${next}`, { details: { node: next } });
      } else if (!state.has(next)) enter(next);
    }
  }
  return sorted;
}

/** In reverse, as they are taken from the end. */
function dependenciesOf(node: GraphNode, nodes: Nodes): string[] {
  const all = [...node.inputs.map((input) => input.node), ...node.controls];
  const isBack = (name: string) => node.op === 'Merge' && nodes.get(name)?.op === 'NextIteration';
  return all.filter((name) => !isBack(name)).reverse();
}

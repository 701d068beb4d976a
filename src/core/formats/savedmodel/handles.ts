import type { Edge } from '../graph/index.ts';
import type { FlatNode, Scope } from './flatten.ts';

// Variables and tables are reached by handles, which graphs pass on through other nodes.

const variableOps: ReadonlySet<string> = new Set(['VarHandleOp', 'Variable', 'VariableV2', 'AutoReloadVariable']);

const tableOps: ReadonlySet<string> = new Set([
  'HashTable',
  'HashTableV2',
  'AnonymousHashTable',
  'MutableHashTable',
  'MutableHashTableV2',
  'AnonymousMutableHashTable',
  'MutableDenseHashTable',
  'MutableDenseHashTableV2',
]);

export function isVariable({ op }: FlatNode): boolean {
  return variableOps.has(op);
}

export function isTable({ op }: FlatNode): boolean {
  return tableOps.has(op);
}

/** What two nodes must agree in to be the same variable or table. */
export function stateKey(node: FlatNode): string {
  const text = (name: string) => new TextDecoder().decode(node.attrs.get(name)?.s);
  return JSON.stringify([isTable(node), text('container'), text('shared_name') || node.name]);
}

/** `Ref` is TensorFlow 1's mark of operators that pass variables on. */
export function plainOp(op: string): string {
  return /^Ref(Identity|Switch|Merge|Enter|Exit|NextIteration)$/.test(op) ? op.slice(3) : op;
}

const passing: ReadonlySet<string> = new Set(['Identity', 'Switch', 'Merge', 'Enter', 'Exit', 'NextIteration']);

/** The node that a handle comes from: where it was made, or an argument; undefined when it cannot be said. */
export function originOf(scope: Scope, edge: Edge): FlatNode | undefined {
  let at = edge;
  for (let hops = 0; hops <= scope.nodes.size; hops++) {
    const node = scope.nodes.get(at.node);
    if (!node) return undefined;
    const op = plainOp(node.op);
    let next: Edge | undefined;
    if (op === 'IdentityN' || op === 'While' || op === 'StatelessWhile') next = node.inputs[at.index];
    else if (passing.has(op)) next = node.inputs[0];
    else return node;
    if (!next) return undefined;
    at = next;
  }
  return undefined;
}

/** Nodes that are reached from some, by data and by waiting. */
export function runBy(scope: Scope, roots: readonly string[]): FlatNode[] {
  const found = new Map<string, FlatNode>();
  const open = [...roots];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = scope.nodes.get(name);
    if (!node || found.has(name)) continue;
    found.set(name, node);
    for (const input of node.inputs) open.push(input.node);
    open.push(...node.controls);
  }
  return [...found.values()];
}

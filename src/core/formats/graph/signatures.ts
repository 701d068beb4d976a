import type { GraphNode, ModelGraph, Nodes } from './graph.ts';
import { reachable } from './nodes.ts';

/**
 * The model without some of its signatures, and without what only they needed.
 * @param reasons By signature; they are told among `unusable` from now on.
 */
export function withoutSignatures(model: ModelGraph, reasons: Readonly<Record<string, readonly string[]>>): ModelGraph {
  const signatures = Object.fromEntries(Object.entries(model.signatures).filter(([name]) => !Object.hasOwn(reasons, name)));
  const roots = Object.values(signatures).flatMap(({ inputs, outputs }) => [
    ...Object.values(outputs).map(({ edge }) => edge.node),
    ...Object.values(inputs).map(({ node }) => node),
  ]);
  const nodes = reachable(model.nodes, roots);
  return { nodes, functions: calledFunctions(nodes, model.functions), signatures, unusable: { ...model.unusable, ...reasons } };
}

function calledFunctions(nodes: Nodes, functions: ModelGraph['functions']): ModelGraph['functions'] {
  const called = new Set<string>();
  const open = namesIn(nodes);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (called.has(name)) continue;
    called.add(name);
    const definition = functions.get(name);
    if (definition) open.push(...namesIn(definition.nodes));
  }
  return new Map([...functions].filter(([name]) => called.has(name)));
}

function namesIn(nodes: Nodes): string[] {
  return [...nodes.values()].flatMap(({ attributes }: GraphNode) =>
    Object.values(attributes).flatMap((item) =>
      (item.kind === 'list' ? item.value : [item]).flatMap((single) => (single.kind === 'function' ? [single.value] : [])),
    ),
  );
}

import type { DType } from '../../tensor/index.ts';
import type { OnnxAttribute, OnnxGraph, OnnxNode } from './encode.ts';
import type { GraphBuilder, Scope, Value } from './graph-builder.ts';

/** A graph in an attribute that gives these values, each under a name of its own; what it does not need is left out. */
export function encodeScope(builder: GraphBuilder, scope: Scope, results: readonly Value[], held: readonly DType[]): OnnxGraph {
  const outputs = results.map((value, index) => {
    const dtype = held[index]!;
    const inner = builder.form(value, 'plain', dtype);
    // Two results may be one value, but not one name.
    const name = builder.unique('result');
    scope.nodes.push({ op: 'Identity', name, inputs: [inner], outputs: [name], attributes: {} });
    return { name, dtype, shape: undefined };
  });
  const live = new Set(outputs.map(({ name }) => name));
  return { nodes: withoutDead(scope.nodes, live), inputs: [], outputs };
}

/** The nodes that make wanted names; `live` gets the names they read, those read inside their graphs too. */
export function withoutDead(nodes: readonly OnnxNode[], live: Set<string>): OnnxNode[] {
  const kept: OnnxNode[] = [];
  for (const node of nodes.toReversed()) {
    if (!node.outputs.some((name) => live.has(name))) continue;
    kept.push(node);
    for (const input of node.inputs) live.add(input);
    for (const attribute of Object.values(node.attributes)) addRead(attribute, live);
  }
  return kept.reverse();
}

function addRead(attribute: OnnxAttribute, live: Set<string>): void {
  if (typeof attribute !== 'object' || !('graph' in attribute)) return;
  for (const node of attribute.graph.nodes) {
    for (const input of node.inputs) live.add(input);
    for (const inner of Object.values(node.attributes)) addRead(inner, live);
  }
}

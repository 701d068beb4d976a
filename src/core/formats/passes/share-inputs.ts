import type { Edge, GraphNode, GraphSignature, ModelGraph, SignatureInput } from '../graph/index.ts';

/**
 * Lets signatures that take the same inputs (names, dtypes and shapes) share their placeholders, so that what they compute alike is computed
 * by the same nodes. Keras exports its one function under two names; ONNX has only one set of inputs.
 */
export function shareInputs(model: ModelGraph): ModelGraph {
  const first = new Map<string, GraphSignature>();
  const replaced = new Map<string, string>();
  for (const signature of Object.values(model.signatures)) {
    const key = describe(signature.inputs);
    const shared = first.get(key);
    if (!shared) first.set(key, signature);
    for (const [name, { node }] of shared ? Object.entries(signature.inputs) : []) {
      const other = shared?.inputs[name]?.node;
      if (other !== undefined && other !== node) replaced.set(node, other);
    }
  }
  if (replaced.size === 0) return model;
  const moved = (edge: Edge): Edge => ({ node: replaced.get(edge.node) ?? edge.node, index: edge.index });
  const nodes = new Map<string, GraphNode>();
  for (const node of model.nodes.values()) {
    if (!replaced.has(node.name)) nodes.set(node.name, { ...node, inputs: node.inputs.map(moved), controls: node.controls });
  }
  const move = ({ method, inputs, outputs }: GraphSignature): GraphSignature => ({
    method,
    inputs: mapValues(inputs, (input: SignatureInput) => ({ ...input, node: replaced.get(input.node) ?? input.node })),
    outputs: mapValues(outputs, (output) => ({ ...output, edge: moved(output.edge) })),
  });
  return { ...model, nodes, signatures: mapValues(model.signatures, move) };
}

function describe(inputs: GraphSignature['inputs']): string {
  const sorted = Object.entries(inputs).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(sorted.map(([name, { dtype, shape }]) => [name, dtype, shape ?? null]));
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}

import { attribute, type Constant, constNode, type GraphNode, type Nodes, toConstant } from '../graph/index.ts';

// Operators that TensorFlow.js lacks, or computes otherwise, written with those it has.

type Rewrite = (node: GraphNode, name: (suffix: string) => string) => GraphNode[];

const rewrites: ReadonlyMap<string, Rewrite> = new Map<string, Rewrite>([
  ['Erfc', rewriteErfc],
  ['LookupTableFind', keepShapeOfKeys],
  ['LookupTableFindV2', keepShapeOfKeys],
]);

/** The same graph without the operators named above; the last node that replaces another keeps its name. */
export function rewriteNodes(nodes: Nodes): Nodes {
  if (![...nodes.values()].some(({ op }) => rewrites.has(op))) return nodes;
  const out = new Map<string, GraphNode>();
  for (const node of nodes.values()) {
    const name = (suffix: string) => freeName(`${node.name}/${suffix}`, nodes);
    for (const made of rewrites.get(node.op)?.(node, name) ?? [node]) out.set(made.name, made);
  }
  return out;
}

function freeName(wanted: string, nodes: Nodes): string {
  let name = wanted;
  for (let number = 1; nodes.has(name); number++) name = `${wanted}_${number}`;
  return name;
}

const one: Constant = toConstant({ dtype: 'float32', shape: [], data: Float32Array.of(1) });

/** erfc(x) = 1 - erf(x): beyond x = 4 its digits are lost in float32, where the difference from 0 is below 2e-8. */
function rewriteErfc(node: GraphNode, name: (suffix: string) => string): GraphNode[] {
  const { T } = node.attributes;
  const attributes = T ? { T } : {};
  const erf: GraphNode = { ...node, op: 'Erf', name: name('erf'), attributes };
  const unit = constNode(name('one'), one);
  const inputs = [unit, erf].map((source) => ({ node: source.name, index: 0 }));
  return [erf, unit, { name: node.name, op: 'Sub', inputs, controls: [], attributes }];
}

/** HashTable.find of tfjs-converter gives a flat list. */
function keepShapeOfKeys(node: GraphNode, name: (suffix: string) => string): GraphNode[] {
  const keys = node.inputs[1];
  if (keys === undefined) return [node]; // what is wrong is told where inputs are counted
  const flat: GraphNode = { ...node, name: name('flat') };
  const { Tin, Tout } = node.attributes;
  const int32 = attribute.type('int32');
  const shape: GraphNode = {
    name: name('shape'),
    op: 'Shape',
    inputs: [keys],
    controls: [],
    attributes: { ...(Tin && { T: Tin }), out_type: int32 },
  };
  const inputs = [flat, shape].map((source) => ({ node: source.name, index: 0 }));
  return [flat, shape, { name: node.name, op: 'Reshape', inputs, controls: [], attributes: { ...(Tout && { T: Tout }), Tshape: int32 } }];
}

import { attribute, type Constant, constNode, type GraphDType, type GraphNode, type Nodes, toConstant } from '../graph/index.ts';
import { MAX_IDENTITIES } from './ops.ts';

// Operators that TensorFlow.js lacks, or computes otherwise, written with those it has.

type Rewrite = (node: GraphNode, name: (suffix: string) => string, nodes: Nodes) => GraphNode[] | Promise<GraphNode[]>;

const rewrites: ReadonlyMap<string, Rewrite> = new Map<string, Rewrite>([
  ['Erfc', rewriteErfc],
  ['Gather', gatherStrings],
  ['GatherV2', gatherStrings],
  ['LookupTableFind', keepShapeOfKeys],
  ['LookupTableFindV2', keepShapeOfKeys],
  ['TensorArrayGatherV3', (node) => [node]],
]);

/** Bits of whole numbers that TensorFlow.js computes in int32, and whether they have a sign. */
const smallTypes: ReadonlyMap<GraphDType, readonly [bits: number, isSigned: boolean]> = new Map<GraphDType, readonly [number, boolean]>([
  ['int8', [8, true]],
  ['uint8', [8, false]],
  ['int16', [16, true]],
  ['uint16', [16, false]],
]);

/** What can leave the range of its type. */
const leavesRange: ReadonlySet<string> = new Set([
  ...['Abs', 'Add', 'AddN', 'AddV2', 'BatchMatMul', 'BatchMatMulV2', 'BiasAdd', 'Cumprod', 'Cumsum', 'MatMul', 'Mul', 'Neg', 'Prod'],
  ...['Square', 'SquaredDifference', 'Sub', 'Sum'],
]);

/** The small type that a node's numbers must be brought back to; undefined where they stay within it. */
function wrappedType({ op, attributes }: GraphNode): GraphDType | undefined {
  const typeOf = (name: string) => {
    const attribute = attributes[name];
    return attribute?.kind === 'type' ? attribute.value : undefined;
  };
  if (op !== 'Cast') return leavesRange.has(op) && smallTypes.has(typeOf('T')!) ? typeOf('T') : undefined;
  const [from, to] = [typeOf('SrcT'), typeOf('DstT')];
  const target = to && smallTypes.get(to);
  const source = from && smallTypes.get(from);
  const fits = from === 'bool' || (source && target && source[0] + (source[1] ? 0 : 1) <= target[0] && (target[1] || !source[1]));
  return target && from !== to && !fits ? to : undefined;
}

/** Whole numbers beyond their type begin again at its other end, as in TensorFlow: their low bits are right in int32. */
function wrapAround(node: GraphNode, type: GraphDType, name: (suffix: string) => string): GraphNode[] {
  const [bits, isSigned] = smallTypes.get(type)!;
  const T = attribute.type('int32');
  const integer = (suffix: string, value: number) =>
    constNode(name(suffix), toConstant({ dtype: 'int32', shape: [], data: Int32Array.of(value) }));
  const operator = (label: string, op: string, a: GraphNode, b: GraphNode): GraphNode => {
    const inputs = [a, b].map((source) => ({ node: source.name, index: 0 }));
    return { name: label, op, inputs, controls: [], attributes: { T } };
  };
  const wide = { ...node, name: name('wide') };
  const size = integer('size', 2 ** bits);
  if (!isSigned) return [wide, size, operator(node.name, 'FloorMod', wide, size)];
  const half = integer('half', 2 ** (bits - 1));
  const moved = operator(name('moved'), 'AddV2', wide, half);
  const rest = operator(name('rest'), 'FloorMod', moved, size);
  return [wide, size, half, moved, rest, operator(node.name, 'Sub', rest, half)];
}

/** The same graph without the operators named above; the last node that replaces another keeps its name. */
export async function rewriteNodes(nodes: Nodes): Promise<Nodes> {
  if (![...nodes.values()].some((node) => rewrites.has(node.op) || wrappedType(node))) return nodes;
  const out = new Map<string, GraphNode>();
  for (const node of nodes.values()) {
    const name = (suffix: string) => freeName(`${node.name}/${suffix}`, nodes);
    const type = wrappedType(node);
    const made = type ? wrapAround(node, type, name) : await rewrites.get(node.op)?.(node, name, nodes);
    for (const each of made ?? [node]) out.set(each.name, each);
  }
  shapeArrays(out);
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

/** tfjs-core's gather refuses strings, its gatherND does not; along the first axis they do the same. */
async function gatherStrings(node: GraphNode, name: (suffix: string) => string, nodes: Nodes): Promise<GraphNode[]> {
  const [params, indices, axis] = node.inputs;
  const { Tparams, Tindices, batch_dims: batch } = node.attributes;
  if (Tparams?.kind !== 'type' || Tparams.value !== 'string' || !params || !indices) return [node];
  const isFirst = axis === undefined || (await readInteger(nodes.get(axis.node))) === 0;
  if (!isFirst || (batch?.kind === 'int' && batch.value !== 0)) return [node];
  const last = constNode(name('last'), toConstant({ dtype: 'int32', shape: [], data: Int32Array.of(-1) }));
  const types = Tindices ? { Tindices } : {};
  const expanded: GraphNode = {
    name: name('indices'),
    op: 'ExpandDims',
    inputs: [indices, { node: last.name, index: 0 }],
    controls: [],
    attributes: { ...(Tindices && { T: Tindices }), Tdim: attribute.type('int32') },
  };
  const inputs = [params, { node: expanded.name, index: 0 }];
  return [last, expanded, { name: node.name, op: 'GatherNd', inputs, controls: [], attributes: { Tparams, ...types } }];
}

async function readInteger(node: GraphNode | undefined): Promise<number | undefined> {
  if (node?.op !== 'Const') return undefined;
  const constant = attribute.constantOf(node);
  if (constant.byteLength > 8 || (constant.dtype !== 'int32' && constant.dtype !== 'int64')) return undefined;
  return Number((await constant.load()).data[0]);
}

/** An array that is given nothing has no shape to give but that of its attribute, which the operator that reads it often knows better. */
function shapeArrays(nodes: Map<string, GraphNode>): void {
  for (const { op, inputs, attributes } of [...nodes.values()]) {
    const known = attributes['element_shape'];
    if (op !== 'TensorArrayGatherV3' || known?.kind !== 'shape' || known.value === undefined) continue;
    let array = nodes.get(inputs[0]?.node ?? '');
    for (let steps = MAX_IDENTITIES; array?.op === 'Identity' && steps > 0; steps--) array = nodes.get(array.inputs[0]?.node ?? '');
    const own = array?.attributes['element_shape'];
    if (array?.op !== 'TensorArrayV3' || (own?.kind === 'shape' && own.value !== undefined)) continue;
    nodes.set(array.name, { ...array, attributes: { ...array.attributes, element_shape: known } });
  }
}

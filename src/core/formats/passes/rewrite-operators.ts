import { type AnyTensor, createTensor } from '../../tensor/index.ts';
import { attribute, constNode, type Edge, edgeKey, type GraphNode, sortNodes, toConstant } from '../graph/index.ts';
import { Readers, type Scope, ScopeEdit } from './scope.ts';
import type { Known } from './shapes/index.ts';

/**
 * Rewrites what no runtime of ours can compute right: `Erfc`, whose kernel TensorFlow.js lacks, as `1 - Erf`; the result of a table
 * lookup, which TensorFlow.js makes flat, back to the shape of its keys; `PlaceholderWithDefault` as a placeholder where a signature
 * feeds it, and else as its default.
 */
export function rewriteOperators(scope: Scope, known: (edge: Edge) => Known): Scope {
  const edit = new ScopeEdit(scope);
  const inputs = new Set(scope.inputs);
  const readers = new Readers(scope);
  for (const node of sortNodes(scope.nodes)) {
    if (node.op === 'Erfc') rewriteErfc(node, known, edit);
    else if (node.op === 'LookupTableFind' || node.op === 'LookupTableFindV2') restoreShape(node, known, edit, scope, readers);
    else if (node.op === 'PlaceholderWithDefault') {
      const { dtype: fallback } = known({ node: node.name, index: 0 });
      const dtype = attribute.type(attribute.typeOf(node, 'dtype', fallback));
      const shape = attribute.shape(attribute.shapeOf(node, 'shape'));
      if (inputs.has(node.name)) edit.set({ ...node, op: 'Placeholder', inputs: [], attributes: { dtype, shape } });
      else edit.set({ ...node, op: 'Identity', attributes: { T: dtype } });
    }
  }
  return edit.finish();
}

function rewriteErfc(node: GraphNode, known: (edge: Edge) => Known, edit: ScopeEdit): void {
  const { dtype } = known({ node: node.name, index: 0 });
  if (dtype !== 'float32' && dtype !== 'float64') return;
  const data = dtype === 'float32' ? Float32Array.of(1) : Float64Array.of(1);
  const one = edit.set(constNode(edit.nameFor(`${node.name}/one`), toConstant(createTensor(dtype, [], data as never) as AnyTensor)));
  const attributes = { T: attribute.type(dtype) };
  const erf = edit.set({ ...node, name: edit.nameFor(`${node.name}/erf`), op: 'Erf', attributes });
  edit.set({ name: node.name, op: 'Sub', inputs: [one, erf], controls: [], attributes });
}

function restoreShape(node: GraphNode, known: (edge: Edge) => Known, edit: ScopeEdit, scope: Scope, readers: Readers): void {
  const keys = node.inputs[1];
  if (!keys || known(keys).shape?.length === 1) return; // a flat result of flat keys
  const reader = readers.only({ node: node.name, index: 0 });
  const target = reader?.op === 'Reshape' ? scope.nodes.get(reader.inputs[1]?.node ?? '') : undefined;
  if (target?.op === 'Shape' && target.inputs[0] && edgeKey(target.inputs[0]) === edgeKey(keys)) return;
  const { dtype } = known({ node: node.name, index: 0 });
  const flat = edit.set({ ...node, name: edit.nameFor(`${node.name}/flat`) });
  const shape = edit.set({
    name: edit.nameFor(`${node.name}/keys_shape`),
    op: 'Shape',
    inputs: [keys],
    controls: [],
    attributes: { T: attribute.type(known(keys).dtype), out_type: attribute.type('int32') },
  });
  const attributes = { T: attribute.type(dtype), Tshape: attribute.type('int32') };
  edit.set({ name: node.name, op: 'Reshape', inputs: [flat, shape], controls: [], attributes });
}

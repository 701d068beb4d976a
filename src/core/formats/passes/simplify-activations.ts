import { attribute, type Edge, type GraphNode, sortNodes } from '../graph/index.ts';
import { scalarOf } from './evaluate/index.ts';
import { type Scope, ScopeEdit } from './scope.ts';
import type { Known } from './shapes/index.ts';

/**
 * Writes bounds of zero and six as the activations they are, which layers can take in: `Maximum(x, 0)` is `Relu`,
 * `Minimum(Relu(x), 6)` and `ClipByValue(x, 0, 6)` are `Relu6`.
 */
export async function simplifyActivations(scope: Scope, known: (edge: Edge) => Known): Promise<Scope> {
  const edit = new ScopeEdit(scope);
  const bound = async (edge: Edge | undefined): Promise<number | undefined> => {
    const node = edge && scope.nodes.get(edge.node);
    if (node?.op !== 'Const' || node.controls.length > 0) return undefined;
    const constant = attribute.constantOf(node);
    return constant.shape.length === 0 && constant.dtype === 'float32' ? scalarOf(await constant.load()) : undefined;
  };
  const as = (node: GraphNode, op: string, x: Edge) => edit.set({ ...node, op, inputs: [x], attributes: { T: attribute.type('float32') } });
  for (const node of sortNodes(scope.nodes)) {
    const [a, b, c] = node.inputs;
    if (!a || !b || known({ node: node.name, index: 0 }).dtype !== 'float32') continue;
    if (node.op === 'ClipByValue') {
      if ((await bound(b)) === 0 && (await bound(c)) === 6) as(node, 'Relu6', a);
    } else if (node.op === 'Maximum' || node.op === 'Minimum') {
      const valueB = await bound(b);
      const value = valueB ?? (await bound(a));
      const x = valueB === undefined ? b : a;
      if (node.op === 'Maximum' && value === 0) as(node, 'Relu', x);
      const source = edit.node(x.node);
      const inner = source?.op === 'Relu' && source.controls.length === 0 ? source.inputs[0] : undefined;
      if (node.op === 'Minimum' && value === 6 && inner) as(node, 'Relu6', inner);
    }
  }
  return edit.finish();
}

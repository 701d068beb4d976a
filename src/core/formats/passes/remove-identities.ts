import { attribute, type Edge, type GraphNode, sortNodes } from '../graph/index.ts';
import { isStatic } from './dimensions/index.ts';
import { squeezeAxes } from './evaluate/index.ts';
import { Readers, type Scope, ScopeEdit } from './scope.ts';
import { type Known, RuleInputs } from './shapes/index.ts';

const copies: ReadonlySet<string> = new Set([
  'Identity',
  'StopGradient',
  'PreventGradient',
  'Snapshot',
  'CheckNumerics',
  'CheckNumericsV2',
]);

/**
 * Lets readers of a node that changes nothing read what it reads: copies, casts to the same type, reshapes to the same shape, additions
 * of zero and the like. Nodes that order control flow stay.
 */
export function removeIdentities(scope: Scope, known: (edge: Edge) => Known): Scope {
  const edit = new ScopeEdit(scope);
  const readers = new Readers(scope);
  for (const node of sortNodes(scope.nodes)) {
    if (node.controls.length > 0 || readers.isWaitedFor(node.name)) continue;
    if (node.op === 'IdentityN') {
      for (const [index, input] of node.inputs.entries()) edit.replace({ node: node.name, index }, input);
      continue;
    }
    const input = unchangedInput(node, new RuleInputs(node.inputs.map(known)), known({ node: node.name, index: 0 }));
    // TensorFlow.js makes the result of a lookup flat: this one restores its shape (see rewriteOperators).
    if (node.op === 'Reshape' && scope.nodes.get(node.inputs[0]?.node ?? '')?.op.startsWith('LookupTableFind')) continue;
    if (input) edit.replace({ node: node.name, index: 0 }, input);
  }
  return edit.finish();
}

function unchangedInput(node: GraphNode, inputs: RuleInputs, output: Known): Edge | undefined {
  const [first, second] = node.inputs;
  const isSameShape = hasSameShape(inputs.shape(0), output.shape);
  switch (node.op) {
    case 'Cast':
      return inputs.at(0).dtype === attribute.typeOf(node, 'DstT') ? first : undefined;
    case 'EnsureShape':
      return isSameShape && isStatic(inputs.shape(0)) ? first : undefined;
    case 'Reshape':
    case 'BroadcastTo':
      return isSameShape ? first : undefined;
    case 'Squeeze':
      return isSameShape && squeezeAxes(node).length === 0 ? first : undefined;
    case 'Transpose':
      return inputs.values(1)?.every((axis, i) => axis === i) ? first : undefined;
    case 'Pad':
    case 'MirrorPad':
      return inputs.values(1)?.every((count) => count === 0) ? first : undefined;
    case 'Tile':
      return inputs.values(1)?.every((count) => count === 1) ? first : undefined;
    case 'Sum':
    case 'Mean':
    case 'Max':
    case 'Min':
    case 'Prod':
      return inputs.shape(1)?.length === 1 && inputs.shape(1)?.[0] === 0 ? first : undefined;
    case 'ConcatV2':
      return node.inputs.length === 2 ? first : undefined;
    case 'Concat':
      return node.inputs.length === 2 ? second : undefined;
    case 'AddN':
      return node.inputs.length === 1 ? first : undefined;
    default:
      return copies.has(node.op) ? first : undefined;
  }
}

/** Whether a change from one shape to the other, of the same number of elements, changes nothing. */
function hasSameShape(a: Known['shape'], b: Known['shape']): boolean {
  if (!a || !b || a.length !== b.length || a.some((size, axis) => size !== b[axis])) return false;
  const open = a.filter((size) => size === -1).length;
  return open === 0 || (open === 1 && !a.includes(0)); // one open size follows from the others
}

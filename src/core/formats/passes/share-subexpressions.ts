import { type Attribute, attribute, edgeKey, type GraphNode, SMALL_CONSTANT_BYTES, sortNodes } from '../graph/index.ts';
import type { DerivedConstants } from './derived-constants.ts';
import { isPure } from './purity.ts';
import { Readers, type Scope, ScopeEdit } from './scope.ts';

/** Lets nodes that compute the same be one: same operator, attributes and inputs; constants when they are the same, or small with the same content. */
export function shareSubexpressions(derived: DerivedConstants): (scope: Scope) => Promise<Scope> {
  return async (scope) => shareIn(scope, derived);
}

async function shareIn(scope: Scope, derived: DerivedConstants): Promise<Scope> {
  const edit = new ScopeEdit(scope);
  const readers = new Readers(scope);
  const inputNames = new Set(scope.inputs);
  const found = new Map<string, GraphNode>();
  for (const node of sortNodes(scope.nodes)) {
    if (node.controls.length > 0 || readers.isWaitedFor(node.name)) continue;
    let key: string;
    if (node.op === 'Const') key = `Const ${await derived.contentOf(attribute.constantOf(node), SMALL_CONSTANT_BYTES)}`;
    else if (isPure(node)) {
      const inputs = node.inputs.map((input) => edgeKey(edit.resolve(input)));
      key = JSON.stringify([node.op, inputs, attributesKey(node, derived)]);
    } else continue;
    const other = found.get(key);
    if (!other) found.set(key, node);
    else if (inputNames.has(node.name)) continue;
    else {
      const count = readers.outputCount(node.name);
      for (let index = 0; index < count; index++) edit.replace({ node: node.name, index }, { node: other.name, index });
    }
  }
  return edit.finish();
}

/** All that the attributes say, as plain values. */
export function attributesKey(node: GraphNode, derived: DerivedConstants): unknown {
  const plain = (value: Attribute): unknown => {
    if (value.kind === 'tensor') return ['tensor', derived.identify(value.value)];
    if (value.kind === 'list') return ['list', value.value.map(plain)];
    return [value.kind, value.value === undefined ? null : String(value.value)];
  };
  return Object.keys(node.attributes)
    .filter((name) => !name.startsWith('_'))
    .sort()
    .map((name) => [name, plain(node.attributes[name]!)]);
}

import { attribute, type Constant, consumersOf, type GraphNode, type ModelGraph, type PartialShape } from '../core/index.ts';

/** A dense feature that serialized tf.Examples must hold. */
export interface FeaturePlan {
  readonly key: string;
  readonly kind: 'float' | 'int64' | 'bytes';
  /** How many values one example has. */
  readonly size: number;
  /** Texts the model knows, for a feature of texts. */
  readonly words: readonly Uint8Array[];
}

/** What the texts of an input mean to the model. */
export type StringPlan =
  | { readonly kind: 'examples'; readonly features: readonly FeaturePlan[] }
  | { readonly kind: 'words'; readonly words: readonly Uint8Array[] };

/** So many keys of a table are used at most. */
const MAX_WORDS = 64;

/**
 * Finds out what a model reads from an input of texts: serialized tf.Examples with certain features, or keys of a table.
 * @param placeholder Name of the input's node.
 * @returns Undefined when it is neither; any text will do then.
 */
export async function planStrings({ nodes }: ModelGraph, placeholder: string): Promise<StringPlan | undefined> {
  const consumers = consumersOf(nodes);
  const seen = new Set([placeholder]);
  let words: Uint8Array[] | undefined;
  for (const name of seen) {
    for (const node of consumers.get(name) ?? []) {
      if (isParser(node) && node.inputs[0]?.node === name)
        return { kind: 'examples', features: await planFeatures(nodes, consumers, node) };
      words ??= await keysOf(nodes, node, name);
      seen.add(node.name);
    }
  }
  return words && { kind: 'words', words };
}

function isParser({ op }: GraphNode): boolean {
  return op === 'ParseExample' || op === 'ParseExampleV2' || op === 'ParseSingleExample';
}

type Nodes = ModelGraph['nodes'];
type Consumers = ReturnType<typeof consumersOf>;

const kinds: Readonly<Record<string, FeaturePlan['kind']>> = { float32: 'float', int64: 'int64', string: 'bytes' };

async function planFeatures(nodes: Nodes, consumers: Consumers, node: GraphNode): Promise<FeaturePlan[]> {
  const types = attribute.typesOf(node, 'Tdense', []);
  const shapes = listOf(node, 'dense_shapes');
  const features: FeaturePlan[] = [];
  for (const [index, key] of (await denseKeys(nodes, node, types.length)).entries()) {
    const kind = kinds[types[index] ?? ''];
    // An open first size takes any number of values; one will do.
    const size = (shapes[index] ?? []).reduce((product, length) => product * (length < 0 ? 1 : length), 1);
    if (kind) features.push({ key, kind, size, words: kind === 'bytes' ? await wordsBehind(nodes, consumers, node) : [] });
  }
  return features;
}

function listOf(node: GraphNode, name: string): readonly PartialShape[] {
  const found = node.attributes[name];
  return found?.kind === 'list' ? found.value.map((item) => (item.kind === 'shape' ? item.value : undefined)) : [];
}

/** Names of the dense features: constants that the operator reads, or an attribute of the one for single examples. */
async function denseKeys(nodes: Nodes, node: GraphNode, count: number): Promise<string[]> {
  if (node.op === 'ParseSingleExample') return [...attribute.stringsOf(node, 'dense_keys', [])];
  const first = node.op === 'ParseExampleV2' ? 3 : 2 + attribute.numberOf(node, 'Nsparse', 0);
  const inputs = node.op === 'ParseExampleV2' ? node.inputs.slice(first, first + 1) : node.inputs.slice(first, first + count);
  const keys: string[] = [];
  for (const edge of inputs) {
    const source = nodes.get(edge.node);
    if (source?.op === 'Const') keys.push(...(await textsOf(attribute.constantOf(source))).map((bytes) => new TextDecoder().decode(bytes)));
  }
  return keys;
}

async function wordsBehind(nodes: Nodes, consumers: Consumers, from: GraphNode): Promise<readonly Uint8Array[]> {
  const seen = new Set([from.name]);
  for (const name of seen) {
    for (const node of consumers.get(name) ?? []) {
      const words = await keysOf(nodes, node, name);
      if (words) return words;
      seen.add(node.name);
    }
  }
  return [];
}

/** The keys of the table in which a node looks up what comes from another. */
async function keysOf(nodes: Nodes, node: GraphNode, from: string): Promise<Uint8Array[] | undefined> {
  const [table, keys] = node.inputs;
  if (!/^LookupTableFind(V2)?$/.test(node.op) || keys?.node !== from || !table) return undefined;
  let source = nodes.get(table.node);
  while (source?.op === 'Identity' && source.inputs[0]) source = nodes.get(source.inputs[0].node);
  const constant = source && source.attributes['keys']?.kind === 'tensor' ? source.attributes['keys'].value : undefined;
  const words = constant?.dtype === 'string' ? (await textsOf(constant)).slice(0, MAX_WORDS) : [];
  return words.length > 0 ? words : undefined;
}

async function textsOf(constant: Constant): Promise<readonly Uint8Array[]> {
  const tensor = await constant.load();
  return tensor.dtype === 'string' ? tensor.data : [];
}

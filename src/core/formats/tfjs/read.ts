import { NearfarError } from '../../errors.ts';
import type { DType } from '../../tensor/index.ts';
import {
  type Attribute,
  attribute,
  type Constant,
  type Edge,
  edgeKey,
  type GraphDType,
  type GraphFunction,
  type GraphNode,
  type GraphSignature,
  type ModelGraph,
  type Nodes,
  reachable,
  sortNodes,
} from '../graph/index.ts';
import type { ModelFolder } from '../model-folder.ts';
import type { ModelTensor } from '../model-tensor.ts';
import { decodeAttribute } from './attribute-json.ts';
import { narrowDType, narrowType, typeOfName, typesOf } from './data-types.ts';
import { isStrings, parseSignature, parseTfjsGraphModel } from './graph-model.ts';
import { MAX_IDENTITIES } from './ops.ts';
import { outputIndexOf } from './output-names.ts';
import { locateConstants } from './read-weights.ts';
import { joinShards } from './shards.ts';

/** A topology of a million nodes takes about a quarter of it. */
const MAX_ENTRY_BYTES = 512 * 2 ** 20;

/**
 * Reads a GraphModel of TensorFlow.js. Its graph has the types that TensorFlow.js computes with; where a signature declares others
 * (int64), a Cast stands between. Quantised weights are read as float32, each when it is needed.
 * @param entry Path of its model.json in the folder; shards lie beside it.
 * @throws {NearfarError} `not-found` when a file is missing, `invalid-argument` when it is damaged, `unsupported` for a LayersModel, an
 * unknown element type, or when no signature can run.
 */
export async function readTfjsGraph(folder: ModelFolder, entry = 'model.json'): Promise<ModelGraph> {
  const file = folder.get(entry);
  if (!file) throw new NearfarError('not-found', `the model has no file ${entry}`, { details: { file: entry } });
  if (file.byteLength > MAX_ENTRY_BYTES) throw damaged(`${entry} is ${file.byteLength} bytes, expected at most ${MAX_ENTRY_BYTES}`);
  const model = parseTfjsGraphModel(await file.read(0, file.byteLength));
  const constants = await locateConstants(model.weights, joinShards(folder, entry, model.shards));
  const { document } = model;
  const topology = document['modelTopology'] as Json; // parseTfjsGraphModel found it

  const initializer = parseNodes(isRecord(document['modelInitializer']) ? document['modelInitializer']['node'] : undefined, constants);
  const tables = tablesOf(initializer);
  const parsed = parseNodes(topology['node'], constants);
  const nodes = bindTables(parsed, tables, capturedTables(document, initializer, tables));
  const functions = parseFunctions(topology['library'], constants, tables);
  return assemble(nodes, functions, signaturesOf(document, model));
}

type Json = Readonly<Record<string, unknown>>;

// Nodes

interface ParsedNode extends GraphNode {
  /** As written, to be resolved once all nodes are known. */
  readonly written: readonly string[];
}

function parseNodes(list: unknown, constants: ReadonlyMap<string, Constant>, given: readonly GraphNode[] = []): Map<string, GraphNode> {
  if (list !== undefined && list !== null && !Array.isArray(list)) throw damaged('a list of nodes is none');
  const parsed = (list ?? []).map((node: unknown) => parseNode(node, constants));
  const nodes = new Map<string, GraphNode>(given.map((node) => [node.name, node]));
  for (const node of parsed) {
    if (nodes.has(node.name)) throw damaged(`two nodes are named ${node.name}`);
    nodes.set(node.name, node);
  }
  // Grappler leaves control edges that order nothing any more; in TensorFlow 1's control flow they hold constants to one side.
  const keepsControls = parsed.some(({ op }: GraphNode) => op === 'Switch' || op === 'Enter');
  for (const { written, ...node } of parsed as ParsedNode[]) {
    const inputs = written.filter((input) => !input.startsWith('^')).map((input) => parseEdge(node.name, input, nodes));
    const controls = written.filter((input) => input.startsWith('^')).map((input) => parseEdge(node.name, input.slice(1), nodes).node);
    nodes.set(node.name, { ...node, inputs, controls: keepsControls ? controls : [] });
  }
  return nodes;
}

function parseNode(json: unknown, constants: ReadonlyMap<string, Constant>): ParsedNode {
  if (!isRecord(json)) throw damaged('a node is no JSON object');
  const { name, op, input, attr } = json;
  if (typeof name !== 'string' || name === '' || typeof op !== 'string') throw damaged('a node has no name or op');
  const written = input ?? [];
  if (!isStrings(written)) throw damaged(`the inputs of node ${name} are no list of names`);
  if (attr !== undefined && attr !== null && !isRecord(attr)) throw damaged(`the attributes of node ${name} are no JSON object`);
  const node = { name, op, inputs: [], controls: [], written };
  if (op === 'Const') {
    const value = constants.get(name);
    if (!value) throw damaged(`the weights have none for the constant ${name}`);
    return { ...node, written: written.filter((each) => each.startsWith('^')), attributes: constantAttributes(value) };
  }
  return { ...node, attributes: parseAttributes(name, attr ?? {}, typesOf(op)) };
}

function constantAttributes(value: Constant) {
  return { dtype: attribute.type(value.dtype), value: attribute.tensor(value) };
}

/** What TensorFlow.js computes, not what the model had before it was converted. */
function parseAttributes(node: string, json: Json, narrow: (type: GraphDType) => GraphDType): Record<string, Attribute> {
  const entries = Object.entries(json).flatMap(([key, value]): [string, Attribute][] => {
    if (key.startsWith('_')) return []; // notes of optimisers
    const decoded = decodeAttribute(`attribute ${key} of node ${node}`, value);
    return decoded ? [[key, narrowAttribute(decoded, narrow)]] : [];
  });
  return Object.fromEntries(entries);
}

function narrowAttribute(given: Attribute, narrow: (type: GraphDType) => GraphDType): Attribute {
  if (given.kind === 'type') return attribute.type(narrow(given.value));
  return given.kind === 'list' ? { kind: 'list', value: given.value.map((item) => narrowAttribute(item, narrow)) } : given;
}

/** `node`, `node:1`, and in functions `node:name:0`. */
function parseEdge(reader: string, text: string, nodes: Nodes): Edge {
  const [name = '', ...rest] = text.split(':');
  const node = nodes.get(name);
  if (!node) throw damaged(`node ${reader} reads ${text}, which the graph has not`);
  const number = Number(rest.at(-1) ?? 0);
  if (rest.length > 2 || !Number.isInteger(number) || number < 0 || number > 1e6)
    throw damaged(`node ${reader} reads ${text}, which is no output`);
  return { node: name, index: rest.length === 2 ? outputIndexOf(node.op, rest[0]!, number) : number };
}

// Functions

function parseFunctions(
  library: unknown,
  constants: ReadonlyMap<string, Constant>,
  tables: ReadonlyMap<string, Table>,
): Map<string, GraphFunction> {
  const list = isRecord(library) ? (library['function'] ?? []) : [];
  if (!Array.isArray(list)) throw damaged('the library of functions is no list');
  const functions = new Map<string, GraphFunction>();
  for (const definition of list) {
    const signature = isRecord(definition) ? definition['signature'] : undefined;
    if (!isRecord(definition) || !isRecord(signature) || typeof signature['name'] !== 'string') throw damaged('a function has no name');
    const name = signature['name'];
    if (functions.has(name)) throw damaged(`two functions are named ${name}`);
    functions.set(name, parseFunction(name, signature, definition, constants, tables));
  }
  return functions;
}

function parseFunction(
  name: string,
  signature: Json,
  definition: Json,
  constants: ReadonlyMap<string, Constant>,
  tables: ReadonlyMap<string, Table>,
): GraphFunction {
  const args = parseArguments(name, signature['inputArg']).map(({ name, type }, index): GraphNode => {
    return { name, op: '_Arg', inputs: [], controls: [], attributes: { T: attribute.type(type), index: attribute.int(index) } };
  });
  const nodes = bindTables(parseNodes(definition['nodeDef'], constants, args), tables, new Map());
  const returned = definition['ret'];
  const outputs = parseArguments(name, signature['outputArg']).map((output) => {
    const text = isRecord(returned) && Object.hasOwn(returned, output.name) ? returned[output.name] : undefined;
    if (typeof text !== 'string') throw damaged(`function ${name} does not say what it returns as ${output.name}`);
    return parseEdge(`function ${name}`, text, nodes);
  });
  return { inputs: args.map((arg) => arg.name), outputs, nodes };
}

function parseArguments(name: string, list: unknown): { name: string; type: GraphDType }[] {
  if (list !== undefined && !Array.isArray(list)) throw damaged(`function ${name} has no list of arguments`);
  return (list ?? []).map((item: unknown) => {
    const { name: argument, type } = isRecord(item) ? item : {};
    if (typeof argument !== 'string') throw damaged(`function ${name} has an argument without a name`);
    return { name: argument, type: narrowType(typeOfName(type) ?? 'float32') };
  });
}

// Tables

interface Table {
  readonly keys: Constant;
  readonly values: Constant;
}

const isTable = (op: string) => op === 'HashTable' || op === 'HashTableV2';
const fillsTable = /^(InitializeTable|LookupTableImport)(V2)?$/;

/** What the initializer fills, by the names of the tables' nodes. */
function tablesOf(nodes: Nodes): Map<string, Table> {
  const tables = new Map<string, Table>();
  for (const { name, op, inputs } of nodes.values()) {
    if (!fillsTable.test(op)) continue;
    const [table, keys, values] = inputs.map((input) => throughIdentities(nodes, input));
    if (!table || !isTable(table.op) || keys?.op !== 'Const' || values?.op !== 'Const') {
      throw new NearfarError('unsupported', `${op} ${name} fills no table with constants`, { details: { op, node: name } });
    }
    tables.set(table.name, { keys: attribute.constantOf(keys), values: attribute.constantOf(values) });
  }
  return tables;
}

function throughIdentities(nodes: Nodes, edge: Edge): GraphNode | undefined {
  let node = nodes.get(edge.node);
  for (let steps = MAX_IDENTITIES; node?.op === 'Identity' && node.inputs[0] && steps > 0; steps--) node = nodes.get(node.inputs[0].node);
  return node;
}

/** The converter feeds tables that the initializer gives through placeholders of the signature, paired by `resourceId`. */
function capturedTables(document: Json, initializer: Nodes, tables: ReadonlyMap<string, Table>): Map<string, string> {
  const given = resourcesOf(document['initializerSignature'], 'outputs');
  const metadata = document['userDefinedMetadata'];
  const taken = resourcesOf((isRecord(metadata) ? metadata['signature'] : undefined) ?? document['signature'], 'inputs');
  const captured = new Map<string, string>();
  for (const [id, placeholder] of taken) {
    const source = given.get(id);
    const table = source === undefined ? undefined : throughIdentities(initializer, { node: source, index: 0 });
    if (table && tables.has(table.name)) captured.set(placeholder, table.name);
  }
  return captured;
}

/** Names of nodes by their resource. */
function resourcesOf(signature: unknown, part: 'inputs' | 'outputs'): Map<unknown, string> {
  const tensors = isRecord(signature) ? signature[part] : undefined;
  const entries = Object.entries(isRecord(tensors) ? tensors : {}).flatMap(([key, info]): [unknown, string][] => {
    if (!isRecord(info) || !('resourceId' in info)) return [];
    return [[info['resourceId'], String(info['name'] ?? key).split(':')[0]!]];
  });
  return new Map(entries);
}

function bindTables(nodes: Nodes, tables: ReadonlyMap<string, Table>, captured: ReadonlyMap<string, string>): Map<string, GraphNode> {
  const bound = new Map(nodes);
  for (const node of nodes.values()) {
    const table = tables.get(captured.get(node.name) ?? (isTable(node.op) ? node.name : ''));
    if (!table) continue;
    const { keys, values } = table;
    const types = { key_dtype: attribute.type(keys.dtype), value_dtype: attribute.type(values.dtype) };
    const attributes = { ...types, keys: attribute.tensor(keys), values: attribute.tensor(values) };
    bound.set(node.name, { name: node.name, op: 'HashTableV2', inputs: [], controls: [], attributes });
  }
  return bound;
}

// Signatures

interface ParsedSignature {
  readonly method: GraphSignature['method'];
  readonly inputs: Readonly<Record<string, ModelTensor>>;
  readonly outputs: Readonly<Record<string, ModelTensor>>;
}

/** Those that this package writes, or the one that every GraphModel has. */
function signaturesOf(document: Json, model: Omit<ParsedSignature, 'method'>): [string, ParsedSignature][] {
  const metadata = document['userDefinedMetadata'];
  const own = isRecord(metadata) && isRecord(metadata['nearfar']) ? metadata['nearfar']['signatures'] : undefined;
  if (!isRecord(own)) return [['serving_default', { method: 'predict', inputs: model.inputs, outputs: model.outputs }]];
  return Object.keys(own)
    .sort()
    .map((name) => {
      const signature = own[name];
      if (!isRecord(signature)) throw damaged(`signature ${name} is no JSON object`);
      const method = (['classify', 'regress'] as const).find((known) => known === signature['method']) ?? 'predict';
      return [name, { method, ...parseSignature(signature) }];
    });
}

function assemble(
  parsed: ReadonlyMap<string, GraphNode>,
  functions: ReadonlyMap<string, GraphFunction>,
  described: readonly [string, ParsedSignature][],
): ModelGraph {
  const nodes = new Map(parsed);
  const signatures: [string, GraphSignature][] = [];
  const unusable: Record<string, readonly string[]> = {};
  const feeds = declareInputs(nodes, described);
  for (const [name, { method, inputs, outputs }] of described) {
    const signature: GraphSignature = {
      method,
      inputs: mapValues(inputs, ({ tensor, shape }) => {
        const { node } = parseEdge(`signature ${name}`, tensor, nodes);
        return { node, dtype: feeds.get(node)!, shape };
      }),
      outputs: mapValues(outputs, ({ tensor, dtype, shape }, key) => {
        return { edge: castTo(dtype, parseEdge(`signature ${name}`, tensor, nodes), `${name}/${key}/cast`, nodes), dtype, shape };
      }),
    };
    const reasons = missingFeeds(nodes, signature);
    if (reasons.length > 0) unusable[name] = reasons;
    else signatures.push([name, signature]);
  }
  if (signatures.length === 0) {
    const reasons = Object.entries(unusable).map(([name, lines]) => `signature ${name}: ${lines.join('; ')}`);
    throw new NearfarError('unsupported', `no signature of the GraphModel can run: ${reasons.join('; ')}`, { details: { unusable } });
  }
  const roots = signatures.flatMap(([, { inputs, outputs }]) => [
    ...Object.values(inputs).map(({ node }) => node),
    ...Object.values(outputs).map(({ edge }) => edge.node),
  ]);
  const used = reachable(nodes, roots);
  sortNodes(used); // throws where a cycle is none of a loop
  return { nodes: used, functions, signatures: Object.fromEntries(signatures), unusable };
}

/**
 * Makes each input of a signature a placeholder of the type that it declares, read through a Cast where TensorFlow.js has another.
 * @returns The type of each by its node.
 */
function declareInputs(nodes: Map<string, GraphNode>, described: readonly [string, ParsedSignature][]): Map<string, DType> {
  const feeds = new Map<string, DType>();
  const casts = new Map<string, Edge>();
  for (const [name, { inputs }] of described) {
    for (const { tensor, dtype: declared, shape } of Object.values(inputs)) {
      const edge = parseEdge(`signature ${name}`, tensor, nodes);
      if (feeds.has(edge.node)) continue;
      const { attributes } = nodes.get(edge.node)!;
      const own = attributes['dtype']?.kind === 'type' ? attributes['dtype'].value : narrowType(declared);
      if (own === 'resource' || own === 'variant') throw damaged(`signature ${name} feeds ${edge.node}, which is a ${own}`);
      // The placeholder knows better what the graph reads; the signature, what it was before it was narrowed.
      const dtype = narrowDType(declared) === own ? declared : own;
      feeds.set(edge.node, dtype);
      const known = attributes['shape']?.kind === 'shape' && attributes['shape'].value !== undefined ? attributes['shape'].value : shape;
      const placeholder = { dtype: attribute.type(dtype), shape: attribute.shape(known) };
      nodes.set(edge.node, { name: edge.node, op: 'Placeholder', inputs: [], controls: [], attributes: placeholder });
      if (dtype !== own) casts.set(edgeKey({ node: edge.node, index: 0 }), makeCast(edge, dtype, own, `${edge.node}/cast`, nodes));
    }
  }
  for (const node of casts.size > 0 ? [...nodes.values()] : []) {
    const inputs = node.inputs.map((input) => {
      const cast = casts.get(edgeKey(input));
      return cast && cast.node !== node.name ? cast : input;
    });
    nodes.set(node.name, { ...node, inputs });
  }
  return feeds;
}

function castTo(dtype: DType, edge: Edge, name: string, nodes: Map<string, GraphNode>): Edge {
  const narrow = narrowDType(dtype);
  return narrow === dtype ? edge : makeCast(edge, narrow, dtype, name, nodes);
}

function makeCast(edge: Edge, from: DType, to: DType, wanted: string, nodes: Map<string, GraphNode>): Edge {
  let name = wanted;
  for (let number = 1; nodes.has(name); number++) name = `${wanted}_${number}`;
  nodes.set(name, { name, op: 'Cast', inputs: [edge], controls: [], attributes: { SrcT: attribute.type(from), DstT: attribute.type(to) } });
  return { node: name, index: 0 };
}

/** Placeholders that no input of the signature is: tables and variables that nothing fills. */
function missingFeeds(nodes: Nodes, { inputs, outputs }: GraphSignature): string[] {
  const fed = new Set(Object.values(inputs).map(({ node }) => node));
  const used = reachable(
    nodes,
    Object.values(outputs).map(({ edge }) => edge.node),
  );
  return [...used.values()]
    .filter(({ name, op, attributes }) => (op === 'Placeholder' && !fed.has(name)) || (isTable(op) && attributes['keys'] === undefined))
    .map(({ name, op }) => `${op} ${name} is given no value`)
    .sort();
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, change: (value: T, key: string) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value, key)]));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function damaged(message: string): NearfarError {
  return new NearfarError('invalid-argument', `not a TensorFlow.js GraphModel: ${message}`, { details: { format: 'tfjs-graph' } });
}

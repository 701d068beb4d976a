import { NearfarError } from '../../errors.ts';
import { type DType, elementCount } from '../../tensor/index.ts';
import type { ModelTensor } from '../model-tensor.ts';
import { decodeShape } from './attribute-json.ts';
import { type TfjsDType, typeOfName } from './data-types.ts';
import { PER_CHANNEL, type Storage, storedByteLength } from './quantization.ts';

// A TensorFlow.js GraphModel: model.json (tfjs-core's ModelJSON around a GraphDef in JSON form) and its weights, the shards
// of `weightsManifest` joined in order.

/** One weight, in the order in which the weights lie in the joined shards. */
export interface TfjsWeight {
  readonly name: string;
  readonly shape: readonly number[];
  /** Type of its elements once they are decoded. */
  readonly dtype: TfjsDType;
  readonly storage: Storage;
}

/** The precision of a weight's quantisation; undefined without one. */
export function quantizationOf({ storage }: TfjsWeight): 'float16' | 'uint16' | 'uint8' | undefined {
  switch (storage.kind) {
    case 'plain':
      return undefined;
    case 'affine':
      return storage.dtype;
    case 'per-channel':
      return 'uint8';
    case 'float16':
      return 'float16';
  }
}

export interface TfjsGraphModel {
  /** By the names of the signature. */
  readonly inputs: Readonly<Record<string, ModelTensor>>;
  readonly outputs: Readonly<Record<string, ModelTensor>>;
  /** Shards, relative to model.json, in order. */
  readonly shards: readonly string[];
  readonly weights: readonly TfjsWeight[];
  /** Operators of the graph and of its functions, sorted. */
  readonly ops: readonly string[];
  /** The whole document, to write it again. */
  readonly document: Readonly<Record<string, unknown>>;
}

/** Whether bytes look like a model.json of TensorFlow.js, of either kind. */
export function isTfjsModel(bytes: Uint8Array): boolean {
  const document = parseJson(bytes);
  return isRecord(document) && 'modelTopology' in document && 'weightsManifest' in document;
}

/**
 * Reads a GraphModel's model.json. Without a signature the graph's placeholders are the inputs, the nodes nobody reads the outputs.
 * @throws {NearfarError} `invalid-argument` when it is damaged; `unsupported` for a LayersModel or an unknown element type.
 */
export function parseTfjsGraphModel(bytes: Uint8Array): TfjsGraphModel {
  const document = parseJson(bytes);
  if (!isRecord(document)) throw damaged('not a JSON object');
  if (document['format'] === 'layers-model') {
    throw new NearfarError('unsupported', 'a TensorFlow.js LayersModel is not supported yet; convert it to a GraphModel', {
      details: { format: 'layers-model' },
    });
  }
  const topology = document['modelTopology'];
  const nodes = isRecord(topology) ? topology['node'] : undefined;
  if (!isRecord(topology) || !Array.isArray(nodes)) throw damaged('modelTopology.node is missing');
  const graph = nodes.map(parseNode);
  const metadata = document['userDefinedMetadata'];
  // The order in which tfjs-converter looks for it.
  const signature = (isRecord(metadata) ? metadata['signature'] : undefined) ?? document['signature'];
  const { shards, weights } = parseWeights(document['weightsManifest']);
  return {
    ...(isRecord(signature) ? parseSignature(signature) : signatureOfGraph(graph)),
    shards,
    weights,
    ops: [...new Set([...graph, ...functionNodes(topology)].map(({ op }) => op))].sort(),
    document,
  };
}

/**
 * model.json for one joined weight file; the rest of the document is kept as it is.
 * @param weightsPath Where the weight file lies, relative to the new model.json.
 */
export function encodeTfjsGraphModel({ document }: TfjsGraphModel, weightsPath: string): Uint8Array<ArrayBuffer> {
  const groups = Array.isArray(document['weightsManifest']) ? document['weightsManifest'] : [];
  const weights = groups.flatMap((group: { weights: unknown[] }) => group.weights);
  const weightsManifest = [{ paths: [weightsPath], weights }];
  return new TextEncoder().encode(JSON.stringify({ ...document, weightsManifest }));
}

/**
 * Where each weight lies in the joined shards.
 * @param bytes The joined shards; only needed in full because strings say their own length.
 * @throws {NearfarError} `invalid-argument` when the weights do not fill the bytes exactly.
 */
export function locateTfjsWeights(weights: readonly TfjsWeight[], bytes: Uint8Array): { start: number; end: number }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let position = 0;
  const ranges = weights.map(({ name, shape, dtype, storage }) => {
    const start = position;
    if (dtype === 'string') {
      for (let left = elementCount(shape); left > 0; left--) {
        if (position + 4 > bytes.byteLength) throw damaged(`weight ${name} ends outside the shards`);
        position += 4 + view.getUint32(position, true);
      }
    } else {
      position += storedByteLength(storage, dtype, shape);
    }
    if (position > bytes.byteLength) throw damaged(`weight ${name} ends outside the shards (${position} of ${bytes.byteLength} bytes)`);
    return { start, end: position };
  });
  if (position !== bytes.byteLength) throw damaged(`the shards hold ${bytes.byteLength} bytes, the weights ${position}`);
  return ranges;
}

interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly attributes: Readonly<Record<string, unknown>>;
}

function parseNode(node: unknown): GraphNode {
  if (!isRecord(node)) throw damaged('a node is no JSON object');
  const { name, op, input = [], attr = {} } = node;
  if (typeof name !== 'string' || typeof op !== 'string' || !isStrings(input) || !isRecord(attr)) throw damaged('a node has no name or op');
  return { name, op, inputs: input, attributes: attr };
}

function functionNodes(topology: Record<string, unknown>): GraphNode[] {
  const library = topology['library'];
  const functions = isRecord(library) ? library['function'] : undefined;
  if (!Array.isArray(functions)) return [];
  return functions.flatMap((definition: unknown) => {
    const nodes = isRecord(definition) ? definition['nodeDef'] : undefined;
    return Array.isArray(nodes) ? nodes.map(parseNode) : [];
  });
}

export function parseSignature(signature: Record<string, unknown>): Pick<TfjsGraphModel, 'inputs' | 'outputs'> {
  return { inputs: parseTensors('inputs', signature['inputs']), outputs: parseTensors('outputs', signature['outputs']) };
}

function parseTensors(kind: string, tensors: unknown): Record<string, ModelTensor> {
  if (!isRecord(tensors)) throw damaged(`signature.${kind} is missing`);
  // The converter adds resource inputs (hash tables, variables) that it feeds itself.
  const entries = Object.entries(tensors).filter(([, info]) => !(isRecord(info) && 'resourceId' in info));
  return Object.fromEntries(
    entries.map(([name, info]) => {
      if (!isRecord(info)) throw damaged(`signature.${kind}.${name} is no JSON object`);
      const tensor = typeof info['name'] === 'string' && info['name'] !== '' ? info['name'] : name;
      return [
        name,
        { tensor, dtype: parseDType(name, info['dtype']), shape: decodeShape(`signature.${kind}.${name}`, info['tensorShape']) },
      ];
    }),
  );
}

function signatureOfGraph(nodes: readonly GraphNode[]): Pick<TfjsGraphModel, 'inputs' | 'outputs'> {
  const read = new Set(nodes.flatMap(({ inputs }) => inputs.map((input) => input.replace(/^\^/, '').replace(/:\d+$/, ''))));
  const describe = ({ name, attributes }: GraphNode): [string, ModelTensor] => {
    const shape = isRecord(attributes['shape']) ? attributes['shape']['shape'] : undefined;
    const type = isRecord(attributes['dtype']) ? attributes['dtype'] : attributes['T'];
    const dtype = parseDType(name, isRecord(type) ? type['type'] : 'DT_FLOAT');
    return [name, { tensor: `${name}:0`, dtype, shape: decodeShape(name, shape) }];
  };
  return {
    inputs: Object.fromEntries(nodes.filter(({ op }) => op === 'Placeholder').map(describe)),
    outputs: Object.fromEntries(nodes.filter(({ name, op }) => op !== 'Const' && op !== 'NoOp' && !read.has(name)).map(describe)),
  };
}

function parseDType(name: string, type: unknown): DType {
  const dtype = typeOfName(type);
  if (dtype !== undefined && dtype !== 'resource' && dtype !== 'variant') return dtype;
  throw new NearfarError('unsupported', `tensor ${name} has the type ${String(type)}`, { details: { name, type: String(type) } });
}

/** The shards and the weights of a manifest. */
export function parseWeights(groups: unknown): { shards: string[]; weights: TfjsWeight[] } {
  if (!Array.isArray(groups)) throw damaged('weightsManifest is missing');
  const shards: string[] = [];
  const weights: TfjsWeight[] = [];
  for (const group of groups) {
    if (!isRecord(group) || !isStrings(group['paths']) || !Array.isArray(group['weights']))
      throw damaged('a weight group has no paths or weights');
    shards.push(...group['paths']);
    weights.push(...group['weights'].map(parseWeight));
  }
  return { shards, weights };
}

const weightDTypes = ['float32', 'int32', 'bool', 'string', 'complex64'] as const satisfies readonly TfjsDType[];

/** An entry of a weights manifest. */
export function parseWeight(weight: unknown): TfjsWeight {
  if (!isRecord(weight)) throw damaged('a weight is no JSON object');
  const { name, shape, quantization } = weight;
  if (typeof name !== 'string' || !isShape(shape)) throw damaged('a weight has no name or shape');
  const dtype = weightDTypes.find((known) => known === weight['dtype']);
  if (!dtype) throw new NearfarError('unsupported', `weight ${name} has the type ${String(weight['dtype'])}`, { details: { name } });
  return {
    name,
    shape,
    dtype,
    storage: quantization === undefined ? { kind: 'plain' } : parseQuantization(name, dtype, shape, quantization),
  };
}

function parseQuantization(name: string, dtype: TfjsDType, shape: readonly number[], quantization: unknown): Storage {
  const { dtype: stored, scale, min, axis } = isRecord(quantization) ? quantization : {};
  switch (stored) {
    case 'float16':
      if (dtype === 'float32') return { kind: 'float16' };
      break;
    case 'uint8':
    case 'uint16':
      if (dtype !== 'float32' && dtype !== 'int32') break;
      if (!Number.isFinite(scale) || !Number.isFinite(min)) throw damaged(`weight ${name} is quantised without a scale or a minimum`);
      return { kind: 'affine', dtype: stored, scale: Number(scale), min: Number(min) };
    case PER_CHANNEL:
      if (dtype !== 'float32') break;
      if (typeof axis !== 'number' || shape[axis] === undefined) throw damaged(`weight ${name} is quantised along no axis of its own`);
      return { kind: 'per-channel', axis };
  }
  throw new NearfarError('unsupported', `weight ${name} of ${dtype} is stored as ${String(stored)}`, { details: { name } });
}

function isShape(value: unknown): value is number[] {
  if (!Array.isArray(value) || !value.every((size) => Number.isSafeInteger(size) && size >= 0)) return false;
  return Number.isSafeInteger(elementCount(value));
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function damaged(message: string): NearfarError {
  return new NearfarError('invalid-argument', `not a sound TensorFlow.js model: ${message}`, { details: { format: 'tfjs-graph' } });
}

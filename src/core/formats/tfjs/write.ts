import { NearfarError } from '../../errors.ts';
import { attribute, type GraphNode, type GraphSignature, type ModelGraph, sortNodes } from '../graph/index.ts';
import type { EmittedBindings, EmittedFile, EmittedModel } from '../model-folder.ts';
import { encodeAttribute, encodeShape } from './attribute-json.ts';
import { customTfjsOps } from './custom-ops.ts';
import { nameOfType, typesOf } from './data-types.ts';
import { constantsOf, narrowingNotes, type PlannedConstant, planTfjsGraph, problemsOf, tableConstants } from './plan.ts';
import { channelAxesOf, chooseStorage } from './precision.ts';
import { PER_CHANNEL, type Storage } from './quantization.ts';
import { type PlannedWeight, planWeight, weightFile } from './weights.ts';

export interface TfjsWriteOptions {
  /** How large weights are stored; TensorFlow.js computes with float32 in any case. */
  readonly precision: 'float32' | 'float16' | 'uint16' | 'uint8';
}

/**
 * Writes a graph as a GraphModel of TensorFlow.js: model.json and weights.bin. Functional control flow becomes switches and merges, each
 * input and output has a node of its own (`in/x`, `out/y`; with several signatures `<signature>/in/x`), tables are filled by
 * `modelInitializer`, types become those that TensorFlow.js has. The same graph gives the same bytes on every machine.
 *
 * model.json names one signature, `serving_default` or the first; all are in `userDefinedMetadata.nearfar.signatures`.
 * @throws {NearfarError} `unsupported` that lists everything TensorFlow.js cannot run (`checkTfjsOps` tells it by signature),
 * `failed-precondition` without any signature, `invalid-argument` for a damaged graph.
 */
export async function writeTfjsGraph(model: ModelGraph, { precision }: TfjsWriteOptions): Promise<EmittedModel> {
  if (Object.keys(model.signatures).length === 0) throw new NearfarError('failed-precondition', 'the graph has no signature to write');
  const plan = await planTfjsGraph(model);
  const problems = await problemsOf(plan);
  if (problems.length > 0) {
    throw new NearfarError('unsupported', `TensorFlow.js cannot run the graph: ${problems.join('; ')}`, { details: { problems } });
  }
  const sorted = sortNodes(plan.nodes);
  const nodes = new Map(sorted.map((node) => [node.name, node]));
  const weights: PlannedWeight[] = [];
  const axes = channelAxesOf(nodes);
  for (const planned of constantsOf(nodes)) {
    weights.push(await planWeight(planned, await chooseStorage(planned, precision, axes.get(planned.name))));
  }
  const initializer = initializerOf(sorted);
  const ops = new Set([...sorted, ...initializer].map(({ op }) => op));
  const document = {
    format: 'graph-model',
    generatedBy: 'nearfar',
    ...signatureOf(model, plan.bindings),
    modelTopology: { node: sorted.map(encodeNode), library: {}, versions: {} },
    ...(initializer.length > 0 && { modelInitializer: { node: initializer.map(encodeNode), library: {}, versions: {} } }),
    userDefinedMetadata: { nearfar: metadataOf(model, plan.bindings, ops) },
    weightsManifest: [{ paths: [WEIGHTS], weights: weights.map(describeWeight) }],
  };
  const notes = narrowingNotes(nodes);
  return {
    format: 'tfjs-graph',
    precision,
    entry: ENTRY,
    files: new Map([
      [ENTRY, fileOf(new TextEncoder().encode(JSON.stringify(document)))],
      [WEIGHTS, weightFile(weights)],
    ]),
    bindings: plan.bindings,
    ops: [...ops].sort(),
    ...(notes.length > 0 && { notes }),
  };
}

const ENTRY = 'model.json';
const WEIGHTS = 'weights.bin';

/**
 * What keeps each signature from running on TensorFlow.js, with operators and nodes; signatures that run are left out.
 * `withoutSignatures` drops the others, so that they do not keep the good ones from being written.
 * @throws {NearfarError} `invalid-argument` for a damaged graph.
 */
export async function checkTfjsOps(model: ModelGraph): Promise<Record<string, readonly string[]>> {
  const found: Record<string, readonly string[]> = {};
  for (const [name, signature] of Object.entries(model.signatures)) {
    try {
      const problems = await problemsOf(await planTfjsGraph({ ...model, signatures: { [name]: signature } }));
      if (problems.length > 0) found[name] = problems;
    } catch (error) {
      if (!(error instanceof NearfarError) || error.code !== 'unsupported') throw error;
      found[name] = [error.message];
    }
  }
  return found;
}

/** The nodes that fill the tables: tfjs-converter runs them once, and finds the tables again by the names of their nodes. */
function initializerOf(nodes: readonly GraphNode[]): GraphNode[] {
  return nodes.flatMap((table) => {
    if (table.op !== 'HashTableV2') return [];
    const [keys, values] = tableConstants(table).map(({ name, constant }: PlannedConstant): GraphNode => {
      const attributes = { dtype: attribute.type(constant.dtype), value: attribute.tensor(constant) };
      return { name, op: 'Const', inputs: [], controls: [], attributes };
    });
    const { key_dtype: Tin, value_dtype: Tout } = table.attributes;
    const filled: GraphNode = {
      name: `${table.name}/fill`,
      op: 'LookupTableImportV2',
      inputs: [table, keys!, values!].map(({ name }) => ({ node: name, index: 0 })),
      controls: [],
      attributes: { ...(Tin && { Tin }), ...(Tout && { Tout }) },
    };
    return [table, keys!, values!, filled];
  });
}

/** A NodeDef in JSON form. */
function encodeNode({ name, op, inputs, controls, attributes }: GraphNode): Readonly<Record<string, unknown>> {
  const input = [
    ...inputs.map(({ node, index }) => (index === 0 ? node : `${node}:${index}`)),
    ...controls.map((control) => `^${control}`),
  ];
  const isKept = (key: string) => !key.startsWith('_') && !(op === 'HashTableV2' && (key === 'keys' || key === 'values'));
  const attr = Object.fromEntries(
    Object.keys(attributes)
      .filter(isKept)
      .sort()
      .map((key) => [key, encodeAttribute(attributes[key]!, typesOf(op))]),
  );
  return { name, op, ...(input.length > 0 && { input }), attr };
}

/** The one signature that model.json has room for. */
function signatureOf({ signatures }: ModelGraph, bindings: Readonly<Record<string, EmittedBindings>>) {
  const [first] = Object.keys(signatures).sort();
  const name = Object.hasOwn(signatures, 'serving_default') ? 'serving_default' : first!;
  return { signature: encodeSignature(signatures[name]!, bindings[name]!) };
}

function metadataOf({ signatures }: ModelGraph, bindings: Readonly<Record<string, EmittedBindings>>, ops: ReadonlySet<string>) {
  const described = Object.keys(signatures)
    .sort()
    .map((name) => [name, { method: signatures[name]!.method, ...encodeSignature(signatures[name]!, bindings[name]!) }] as const);
  return { customOps: [...ops].filter((op) => customTfjsOps.has(op)).sort(), signatures: Object.fromEntries(described) };
}

function encodeSignature({ inputs, outputs }: GraphSignature, bindings: EmittedBindings) {
  const encode = (tensors: GraphSignature['inputs'] | GraphSignature['outputs'], bound: EmittedBindings['inputs']) =>
    Object.fromEntries(
      Object.keys(tensors)
        .sort()
        .map((key) => {
          const { dtype, shape } = tensors[key]!;
          return [key, { name: bound[key]!.tensor, dtype: nameOfType(dtype), tensorShape: encodeShape(shape) }];
        }),
    );
  return { inputs: encode(inputs, bindings.inputs), outputs: encode(outputs, bindings.outputs) };
}

/** An entry of the weights manifest. */
function describeWeight({ name, dtype, storage, constant: { shape } }: PlannedWeight) {
  const quantization = describeStorage(storage);
  return { name, shape, dtype, ...(quantization && { quantization: { ...quantization, original_dtype: dtype } }) };
}

function describeStorage(storage: Storage) {
  switch (storage.kind) {
    case 'plain':
      return undefined;
    case 'float16':
      return { dtype: 'float16' };
    case 'affine': {
      const { dtype, scale, min } = storage;
      return { dtype, scale, min };
    }
    case 'per-channel':
      return { dtype: PER_CHANNEL, axis: storage.axis };
  }
}

function fileOf(bytes: Uint8Array<ArrayBuffer>): EmittedFile {
  return {
    byteLength: bytes.byteLength,
    tensors: [],
    async *read() {
      yield bytes;
    },
  };
}

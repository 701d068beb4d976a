import { NearfarError } from '../../errors.ts';
import type { ModelGraph } from '../graph/index.ts';
import type { ModelFolder } from '../model-folder.ts';
import { openBundle, type TensorBundle } from './bundle.ts';
import { damaged } from './damaged.ts';
import { Flattener } from './flatten.ts';
import { createFreezeContext } from './freeze.ts';
import { readMessage } from './message-file.ts';
import { OpDefs } from './op-defs.ts';
import { type AssetFileDef, assetFileDef, type MetaGraphDef, savedModel, trackableObjectGraph, variableDef } from './schema.ts';
import { buildModel } from './signatures.ts';
import { readState, type SavedName } from './state.ts';
import { decodeMessage } from './wire.ts';

export interface SavedModelOptions {
  /** Tags of the graph to take, all of them and no others. @default ['serve'], or none where no graph has that */
  readonly tags?: readonly string[];
}

/** Signatures that TensorFlow's loader runs, no client. */
const INITIALISER_SIGNATURES = ['__saved_model_init_op', '__saved_model_train_op'];

/**
 * Reads a TensorFlow SavedModel, of TensorFlow 1 or 2: weights bound, calls inlined, everything no signature needs cut away. Weights are
 * read by range when they are loaded, their checksums checked then.
 * @param folder With `saved_model.pb` (or `.pbtxt`), `variables/` and `assets/` in it.
 * @throws {NearfarError} `invalid-argument` when it is damaged; `integrity-mismatch` when the index of the variables has a wrong checksum;
 * `not-found` when no graph has the tags; `unsupported`, with every reason, when no signature can be run.
 */
export async function readSavedModel(folder: ModelFolder, options: SavedModelOptions = {}): Promise<ModelGraph> {
  const meta = chooseMetaGraph(await readMetaGraphs(folder), options.tags);
  const graph = meta.graph_def;
  if (!graph) throw damaged('the SavedModel has no graph');
  const functions = graph.library?.function ?? [];
  const ops = new OpDefs(meta.meta_info_def?.stripped_op_list?.op ?? [], functions);
  const flattener = new Flattener(functions, ops);
  const scope = flattener.graph(graph.node);
  const bundle = await openBundle(folder, 'variables/variables');
  const state = await readState(scope, {
    bundle,
    restore: meta.saver_def ? [nodeOf(meta.saver_def.restore_op_name)] : [],
    initialize: initialisers(meta),
    assets: new Map(assetsOf(meta).map(({ tensor_info: info, filename }) => [nodeOf(info?.name ?? ''), `assets/${filename}`])),
    folder,
    readNames: async () => new Map([...(await readCheckpointKeys(bundle)), ...readVariableDefs(meta)]),
  });
  const signatures = new Map([...meta.signature_def].filter(([name]) => !INITIALISER_SIGNATURES.includes(name)));
  return buildModel(scope, createFreezeContext(flattener, ops, state), signatures, graph.versions?.producer ?? 0);
}

/** The graphs of a SavedModel, in its order. */
export async function readMetaGraphs(folder: ModelFolder): Promise<readonly MetaGraphDef[]> {
  const file = folder.get('saved_model.pb') ?? folder.get('saved_model.pbtxt');
  if (!file) throw damaged('there is no saved_model.pb');
  return (await readMessage(savedModel, file)).meta_graphs;
}

/** The asset files of a graph; the first versions of SavedModel have them among the collections. */
export function assetsOf({ asset_file_def: assets, collection_def: collections }: MetaGraphDef): readonly AssetFileDef[] {
  if (assets.length > 0) return assets;
  return (collections.get('saved_model_assets')?.any_list?.value ?? []).map(({ value }) => decodeMessage(assetFileDef, value));
}

/** Without a wish it is the graph for serving; a module of TensorFlow Hub has one without tags instead. */
function chooseMetaGraph(graphs: readonly MetaGraphDef[], tags: readonly string[] | undefined): MetaGraphDef {
  const found = tags ? withTags(graphs, tags) : (withTags(graphs, ['serve']) ?? withTags(graphs, []));
  if (found) return found;
  const present = graphs.map((graph) => `[${tagsOf(graph).join(', ')}]`).join(', ');
  const wanted = tags ?? ['serve'];
  throw new NearfarError('not-found', `the SavedModel has no graph with the tags [${wanted.join(', ')}], only ${present || 'none'}`, {
    details: { tags: [...wanted] },
  });
}

function withTags(graphs: readonly MetaGraphDef[], tags: readonly string[]): MetaGraphDef | undefined {
  const wanted = new Set(tags);
  return graphs.find((graph) => {
    const own = new Set(tagsOf(graph));
    return own.size === wanted.size && [...own].every((tag) => wanted.has(tag));
  });
}

function tagsOf({ meta_info_def: info }: MetaGraphDef): readonly string[] {
  return info?.tags ?? [];
}

/** Operators that TensorFlow runs after it has restored the variables. */
function initialisers({ collection_def: collections, signature_def: signatures }: MetaGraphDef): string[] {
  const named = ['saved_model_main_op', 'legacy_init_op'].flatMap((name) => collections.get(name)?.node_list?.value ?? []);
  const ofSignature = [...(signatures.get('__saved_model_init_op')?.outputs.values() ?? [])].map(({ name }) => name);
  return [...named, ...ofSignature].map(nodeOf);
}

/** The node of a tensor's name. */
function nodeOf(name: string): string {
  return name.replace(/^\^|:\d+$/g, '');
}

/** Names that TensorFlow 2 keeps beside the variables: where the restore operator does not say it, they do. */
async function readCheckpointKeys(bundle: TensorBundle | undefined): Promise<ReadonlyMap<string, SavedName>> {
  const key = '_CHECKPOINTABLE_OBJECT_GRAPH';
  if (!bundle?.has(key)) return new Map();
  const { data } = await bundle.tensor(key).load();
  const bytes = data[0];
  if (!(bytes instanceof Uint8Array)) return new Map();
  const { nodes } = decodeMessage(trackableObjectGraph, bytes);
  const attributes = nodes.flatMap((node) => node.attributes).filter(({ full_name: name }) => name !== '');
  return new Map(attributes.map(({ full_name: name, checkpoint_key: at }) => [name, { name: at }]));
}

/** What TensorFlow 1 notes about its variables: of the parts of one, where they lie in it. */
function readVariableDefs({ collection_def: collections }: MetaGraphDef): Map<string, SavedName> {
  const definitions = [...collections.keys()]
    .filter((name) => name.endsWith('variables'))
    .flatMap((name) => collections.get(name)?.bytes_list?.value ?? []);
  const names = new Map<string, SavedName>();
  for (const bytes of definitions) {
    const { variable_name: variable, save_slice_info_def: part } = decodeMessage(variableDef, bytes);
    if (!part || part.full_name === '') continue;
    const slice = part.var_offset.map((start, axis) => ({ start, length: part.var_shape[axis] ?? -1 }));
    names.set(nodeOf(variable), { name: part.full_name, slice });
  }
  return names;
}

import { NearfarError } from '../../errors.ts';
import type { ModelGraph } from '../graph/index.ts';
import type { ModelFile, ModelFolder } from '../model-folder.ts';
import { readTfjsWeights } from '../tfjs/index.ts';
import { type Json, parseObject } from './config.ts';
import { type Hdf5Object, isHdf5, openHdf5 } from './hdf5/index.ts';
import { isLayersModelDocument, layersTopology } from './layers-model.ts';
import { lowerModel } from './lower.ts';
import { type KerasVersion, parseModel } from './model-config.ts';
import { damaged, unsupported } from './problems.ts';
import { VOCABULARY } from './vocabulary.ts';
import { archiveStore, hdf5Store, namedStore, type WeightStore } from './weights.ts';
import { isZip, openZip } from './zip.ts';

export { isHdf5 };

const SNIFFED_BYTES = 16;
const MAX_CONFIG_BYTES = 256 * 2 ** 20;

/**
 * Reads a Keras model: a `.keras` archive (Keras 3) or its unpacked folder, a whole model in one `.h5` file (Keras 1 to 3), or a
 * TensorFlow.js LayersModel (`model.json` and its shards). The graph computes what `model.predict` does: dropout and other random layers
 * do nothing, batch normalisation uses its moving averages; mixed precision is computed in float32.
 *
 * The one signature is `serving_default`, its inputs named by the input layers, its outputs by the layers that make them (`name_1` for a
 * second one of the same name), as the SavedModels of Keras 2 have it. Shapes keep -1 for the batch; dtypes are those of the input layers.
 * @param source The file, or the folder with it.
 * @param entry Which file of the folder; found by its content when it is the only one.
 * @throws {NearfarError} `unsupported`, with all problems at once, for custom layers, Lambda, quantised or non-float32 layers, and for
 * files that hold weights alone; `invalid-argument` when a file is damaged, `integrity-mismatch` when a checksum is wrong.
 */
export async function readKeras(source: ModelFile | ModelFolder, entry?: string): Promise<ModelGraph> {
  if (!isFolder(source)) return readFile(source);
  if (entry === undefined && source.has('config.json') && source.has('model.weights.h5')) {
    return readParts(source, source.get('config.json')!, source.get('model.weights.h5')!);
  }
  const name = entry ?? (await findEntry(source));
  const file = source.get(name);
  if (!file) throw damaged(`the folder has no ${name}`);
  const head = await sniff(file);
  if (isZip(head) || isHdf5(head)) return readFile(file);
  return readLayersModel(await wholeOf(file, name), source, name);
}

/** Whether bytes are the model.json of a TensorFlow.js LayersModel. */
export function isLayersModel(bytes: Uint8Array): boolean {
  try {
    return isLayersModelDocument(parseObject(bytes, 'model.json'));
  } catch {
    return false;
  }
}

/** Whether a file, or an unpacked folder, is a `.keras` archive: a config beside weights in HDF5. */
export async function isKerasArchive(source: ModelFile | ModelFolder): Promise<boolean> {
  if (isFolder(source)) return source.has('config.json') && source.has('metadata.json') && source.has('model.weights.h5');
  if (!isZip(await sniff(source))) return false;
  try {
    const members = await openZip(source);
    return members.has('config.json') && members.has('metadata.json');
  } catch {
    return false;
  }
}

function isFolder(source: ModelFile | ModelFolder): source is ModelFolder {
  return 'get' in source;
}

async function sniff(file: ModelFile): Promise<Uint8Array> {
  return file.read(0, Math.min(SNIFFED_BYTES, file.byteLength));
}

async function findEntry(folder: ModelFolder): Promise<string> {
  if (folder.has('model.json')) return 'model.json';
  const found: string[] = [];
  for (const [name, file] of folder) {
    const head = await sniff(file);
    if (isHdf5(head) || (isZip(head) && (await isKerasArchive(file)))) found.push(name);
  }
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  throw damaged(found.length === 0 ? 'the folder holds no Keras model' : `the folder holds several models (${found.join(', ')}); name one`);
}

async function readFile(file: ModelFile): Promise<ModelGraph> {
  const head = await sniff(file);
  if (isHdf5(head)) return readHdf5Model(file);
  if (isZip(head)) return readArchive(file);
  throw damaged('it begins neither as an HDF5 file nor as a ZIP archive');
}

async function readArchive(file: ModelFile): Promise<ModelGraph> {
  const members = await openZip(file);
  const config = members.get('config.json');
  const weights = members.get('model.weights.h5');
  if (!config) throw damaged('the archive has no config.json');
  if (!weights) {
    if (members.has('model.weights.json')) throw unsupported('a .keras archive with its weights in several files');
    if (members.has('model.weights.npz')) throw unsupported('a .keras archive with its weights as npz');
    throw damaged('the archive has no model.weights.h5');
  }
  if (config.byteLength > MAX_CONFIG_BYTES) throw damaged(`config.json of ${config.byteLength} bytes`);
  const texts = await vocabularies([...members].map(([name, member]) => [name, member.byteLength, () => member.bytes()]));
  const store = archiveStore(await openHdf5(await weights.open()), texts);
  const metadata = members.get('metadata.json');
  if (metadata && metadata.byteLength > MAX_CONFIG_BYTES) throw damaged(`metadata.json of ${metadata.byteLength} bytes`);
  return lowerArchive(await config.bytes(), await metadata?.bytes(), store);
}

async function readParts(folder: ModelFolder, config: ModelFile, weights: ModelFile): Promise<ModelGraph> {
  const metadata = folder.get('metadata.json');
  const about = metadata && (await wholeOf(metadata, 'metadata.json'));
  const texts = await vocabularies([...folder].map(([name, file]) => [name, file.byteLength, () => file.read(0, file.byteLength)]));
  return lowerArchive(await wholeOf(config, 'config.json'), about, archiveStore(await openHdf5(weights), texts));
}

const ASSETS = 'assets/';

/** The vocabulary files among the files of an archive, by the paths of their layers. */
async function vocabularies(
  files: readonly (readonly [name: string, byteLength: number, read: () => Promise<Uint8Array>])[],
): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>();
  for (const [name, byteLength, read] of files) {
    if (!name.startsWith(ASSETS) || !name.endsWith(`/${VOCABULARY}`)) continue;
    if (byteLength > MAX_CONFIG_BYTES) throw damaged(`${name} of ${byteLength} bytes`);
    try {
      texts.set(name.slice(ASSETS.length), new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await read()));
    } catch (cause) {
      if (cause instanceof NearfarError) throw cause;
      throw damaged(`${name} is not UTF-8`, cause);
    }
  }
  return texts;
}

/** Archives began with Keras 2.12, whose functions are those of Keras 2. */
async function lowerArchive(config: Uint8Array, metadata: Uint8Array | undefined, store: WeightStore): Promise<ModelGraph> {
  const version = metadata && parseObject(metadata, 'metadata.json')['keras_version'];
  const model = parseModel(parseObject(config, 'config.json'));
  return lowerModel(model, store, typeof version === 'string' ? versionOf(version) : 3);
}

async function readHdf5Model(file: ModelFile): Promise<ModelGraph> {
  const root = await openHdf5(file);
  const config = await root.attribute('model_config');
  const [text] = config?.kind === 'text' ? config.value : [];
  if (text === undefined) throw await withoutConfig(root);
  const weights = await root.find('model_weights');
  if (!weights) throw damaged('the file has no model_weights');
  const json = parseObject(new TextEncoder().encode(text), 'model_config');
  const version = (await root.attribute('keras_version')) ?? (await weights.attribute('keras_version'));
  return lowerModel(parseModel(json), hdf5Store(weights), versionOf(version?.kind === 'text' ? version.value[0] : undefined));
}

async function withoutConfig(root: Hdf5Object): Promise<Error> {
  const names = await root.names();
  const isKeras =
    names.includes('layers') || names.includes('_layer_checkpoint_dependencies') || (await root.attribute('layer_names')) !== undefined;
  if (!isKeras) return unsupported('the HDF5 file holds no Keras model (it has no model_config)');
  return unsupported(
    'the file holds weights alone, without the architecture: load them into the model in Python and save it whole, model.save("model.keras")',
  );
}

async function readLayersModel(bytes: Uint8Array, folder: ModelFolder, entry: string): Promise<ModelGraph> {
  const document: Json = parseObject(bytes, entry);
  if (!isLayersModelDocument(document)) throw damaged(`${entry} is no LayersModel`);
  const { model, kerasVersion } = layersTopology(document);
  // TensorFlow.js has the functions of Keras 2 whatever wrote the file.
  const version = kerasVersion.startsWith('tfjs') ? 2 : versionOf(kerasVersion);
  return lowerModel(parseModel(model), namedStore(await readTfjsWeights(document['weightsManifest'], folder, entry)), version);
}

function versionOf(text: string | undefined): KerasVersion {
  return text?.startsWith('3.') ? 3 : 2;
}

async function wholeOf(file: ModelFile, name: string): Promise<Uint8Array> {
  if (file.byteLength > MAX_CONFIG_BYTES) throw damaged(`${name} of ${file.byteLength} bytes`);
  return file.read(0, file.byteLength);
}

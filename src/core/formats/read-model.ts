import { NearfarError } from '../errors.ts';
import type { ModelGraph } from './graph/index.ts';
import { isHdf5, isKerasArchive, isLayersModel, readKeras } from './keras/index.ts';
import type { ModelFile, ModelFolder } from './model-folder.ts';
import { isOnnxModel } from './onnx/index.ts';
import { refusalOf, refusalOfFolder } from './pytorch.ts';
import { isGraphDef, isSavedModel, readGraphDef, readSavedModel } from './savedmodel/index.ts';
import { isTfjsModel, readTfjsGraph } from './tfjs/index.ts';

/** Formats of model files, as `inspect` and the provenance name them. */
export type ModelFormat = 'saved-model' | 'graph-def' | 'tfjs-graph' | 'tfjs-layers' | 'keras' | 'onnx';

/** A model found in a folder. */
export interface FoundModel {
  readonly format: ModelFormat;
  /** The file that says what the model is; undefined for an unpacked .keras archive. */
  readonly entry: string | undefined;
}

/** Of larger files the beginning tells enough. */
const MAX_SNIFFED_BYTES = 64 * 2 ** 20;

/** In this order a folder's files are looked at: what describes a model comes before what may be its weights. */
const likelyNames = [/^saved_model\.pb(txt)?$/, /^model\.json$/, /\.json$/, /\.onnx$/, /\.keras$/, /\.(h5|hdf5)$/, /\.pb(txt)?$/, /./];

/**
 * Finds the model of a folder, or says what one file is, by content alone: names only say what is looked at first.
 * @param file The file that is meant; without it the folder's own files are looked at, not those of its folders.
 * @throws {NearfarError} `not-found` when nothing in the folder is a model; `unsupported`, with the way to a readable one, for PyTorch,
 * TensorFlow Lite and others; `invalid-argument` for a file that looks like a model and is damaged, or when several files are models.
 */
export async function findModel(folder: ModelFolder, file?: string): Promise<FoundModel> {
  if (file !== undefined) return recognise(fileOf(folder, file), file);
  if (await isKerasArchive(folder)) return { format: 'keras', entry: undefined };
  const names = new Set([...folder.keys()].filter((name) => !name.includes('/')));
  const refusals: NearfarError[] = [];
  for (const likely of likelyNames) {
    const found: FoundModel[] = [];
    for (const name of [...names].filter((candidate) => likely.test(candidate))) {
      names.delete(name);
      try {
        found.push(await recognise(fileOf(folder, name), name));
      } catch (error) {
        if (!(error instanceof NearfarError)) throw error;
        if (error.code !== 'not-found') refusals.push(error);
      }
    }
    const [first, second] = found;
    if (first && !second) return first;
    if (first) {
      const entries = found.map(({ entry }) => entry ?? '');
      throw new NearfarError('invalid-argument', `the folder holds several models (${entries.join(', ')}), name one of them`, {
        details: { found: entries },
      });
    }
  }
  const refusal = refusals[0] ?? refusalOfFolder(folder);
  if (refusal) throw refusal;
  throw new NearfarError('not-found', 'the folder holds no model: no SavedModel, model.json, ONNX, Keras or GraphDef file', {
    details: { files: [...folder.keys()].slice(0, 20) },
  });
}

export interface ReadModelOptions {
  /** Tags of the graph to take of a SavedModel. @default ['serve'], or none where no graph has that */
  readonly savedModelTags?: readonly string[] | undefined;
}

/** Reads what `findModel` found, other than ONNX, into a graph. */
export function readModelGraph(
  folder: ModelFolder,
  { format, entry }: FoundModel,
  { savedModelTags: tags }: ReadModelOptions = {},
): Promise<ModelGraph> {
  switch (format) {
    case 'saved-model':
      return readSavedModel(folder, tags ? { tags } : {});
    case 'graph-def':
      return readGraphDef(fileOf(folder, entry ?? ''));
    case 'tfjs-graph':
      return readTfjsGraph(folder, entry);
    case 'tfjs-layers':
    case 'keras':
      return readKeras(folder, entry);
    case 'onnx':
      throw new NearfarError('unsupported', 'an ONNX model is run as it is; it is not read into a graph');
  }
}

async function recognise(file: ModelFile, entry: string): Promise<FoundModel> {
  const head = await file.read(0, Math.min(file.byteLength, MAX_SNIFFED_BYTES));
  if (isHdf5(head) || (await isKerasArchive(file))) return { format: 'keras', entry };
  const refusal = refusalOf(head);
  if (refusal) throw refusal;
  if (isLayersModel(head)) return { format: 'tfjs-layers', entry };
  if (isTfjsModel(head)) return { format: 'tfjs-graph', entry };
  if (isSavedModel(head)) return { format: 'saved-model', entry };
  if (isGraphDef(head)) return { format: 'graph-def', entry };
  if (await isOnnxFile(file, head)) return { format: 'onnx', entry };
  const namesake = namesakes.find(([name]) => name.test(entry))?.[1];
  if (namesake !== undefined) {
    throw new NearfarError('invalid-argument', `${entry} is named like ${namesake} and holds none: it is damaged, or of another format`, {
      details: { file: entry },
    });
  }
  throw new NearfarError('not-found', `${entry} is no model file that can be read`, { details: { file: entry } });
}

/** What people mean by a name, to say more of a file whose content is nothing known. */
const namesakes: readonly (readonly [RegExp, string])[] = [
  [/^saved_model\.pb(txt)?$/, 'a SavedModel'],
  [/^model\.json$/, 'a TensorFlow.js model'],
  [/\.onnx$/, 'an ONNX model'],
  [/\.(keras|h5|hdf5)$/, 'a Keras model'],
];

/** An ONNX file is read whole in any case, and recognised by all of it; it begins with its version. */
async function isOnnxFile(file: ModelFile, head: Uint8Array): Promise<boolean> {
  if (file.byteLength === head.byteLength) return isOnnxModel(head);
  return head[0] === 0x08 && file.byteLength < 2 ** 31 && isOnnxModel(await file.read(0, file.byteLength));
}

function fileOf(folder: ModelFolder, name: string): ModelFile {
  const file = folder.get(name);
  if (file) return file;
  throw new NearfarError('not-found', `the folder has no file ${name}`, { details: { file: name } });
}

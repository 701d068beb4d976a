import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import type { ImageClassificationOptions } from './image-task.ts';

/** Where the model of a folder lies, and what the folder says about its use. */
export interface ModelLayout {
  /** The model file, or the folder that holds it. */
  readonly path: string;
  /** Of an image classifier of Hugging Face Transformers: its class names and its preprocessing. */
  readonly task?: Omit<ImageClassificationOptions, 'task'> | undefined;
}

/**
 * Understands the folders that other tools leave: of TFX's Pusher, with nothing but versions, the latest version; of Hugging Face
 * Transformers (config.json says so) the ONNX file or the SavedModel in it. Any other path is the model itself.
 */
export async function resolveLayout(path: string): Promise<ModelLayout> {
  const names = await namesIn(path);
  if (names.length === 0) return { path };
  const latest = names.every((name) => VERSION.test(name)) ? await latestSavedModel(path, names) : undefined;
  if (latest !== undefined) return { path: latest };
  const config = names.includes('config.json') ? await readConfig(join(path, 'config.json')) : undefined;
  if (!config) return { path };
  return { path: (await findExport(path, names)) ?? path, task: await readTask(path, names, config) };
}

const VERSION = /^\d+$/;

/** Names in a folder but for hidden ones; none where `path` is no folder. */
async function namesIn(path: string): Promise<string[]> {
  const names = await readdir(path).catch(() => []);
  return names.filter((name) => !name.startsWith('.')).sort();
}

async function latestSavedModel(path: string, names: readonly string[]): Promise<string | undefined> {
  const [latest] = names.filter((name) => VERSION.test(name)).sort((a, b) => (BigInt(a) > BigInt(b) ? -1 : 1));
  if (latest === undefined) return undefined;
  return isSavedModel(await namesIn(join(path, latest))) ? join(path, latest) : undefined;
}

function isSavedModel(names: readonly string[]): boolean {
  return names.includes('saved_model.pb') || names.includes('saved_model.pbtxt');
}

const configSchema = v.looseObject({
  architectures: v.optional(v.nullable(v.array(v.string()))),
  model_type: v.optional(v.string()),
  id2label: v.optional(v.nullable(v.record(v.string(), v.string()))),
});

interface TransformersConfig {
  readonly bytes: Uint8Array;
  readonly architectures: readonly string[];
  readonly hasLabels: boolean;
}

/** @returns Undefined for a config.json of another tool. */
async function readConfig(path: string): Promise<TransformersConfig | undefined> {
  const bytes = new Uint8Array(await readFile(path));
  const parsed = v.safeParse(configSchema, parseJson(bytes));
  if (!parsed.success) return undefined;
  const { architectures, model_type: type, id2label } = parsed.output;
  if (!architectures && type === undefined && !id2label) return undefined;
  return { bytes, architectures: architectures ?? [], hasLabels: Boolean(id2label) };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

/** What Optimum and Transformers write, the file that runs everywhere first. */
async function findExport(path: string, names: readonly string[]): Promise<string | undefined> {
  if (names.includes('onnx') && (await namesIn(join(path, 'onnx'))).includes('model.onnx')) return join(path, 'onnx/model.onnx');
  if (names.includes('model.onnx')) return join(path, 'model.onnx');
  if (isSavedModel(names) || !names.includes('saved_model')) return undefined;
  const folder = join(path, 'saved_model');
  const inside = await namesIn(folder);
  return isSavedModel(inside) ? folder : await latestSavedModel(folder, inside);
}

async function readTask(path: string, names: readonly string[], config: TransformersConfig): Promise<ModelLayout['task']> {
  const hasPreprocessor = names.includes('preprocessor_config.json');
  // A detector has labels and a preprocessor, too: where the architecture is told, it decides.
  const isClassifier =
    config.architectures.length > 0
      ? config.architectures.some((name) => /ForImageClassification(WithTeacher)?$/.test(name))
      : config.hasLabels && hasPreprocessor;
  if (!isClassifier) return undefined;
  return {
    ...(config.hasLabels && { labels: config.bytes }),
    ...(hasPreprocessor && { preprocessor: new Uint8Array(await readFile(join(path, 'preprocessor_config.json'))) }),
    // `pixel_values` of Transformers, in every framework; exports leave all its sizes open.
    layout: 'NCHW',
  };
}

import type { Dirent } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import {
  type ByteRange,
  digestOf,
  encodeTfjsGraphModel,
  isOnnxModel,
  isTfjsModel,
  locateTfjsWeights,
  type ModelTensor,
  NearfarError,
  parseOnnxModel,
  parseTfjsGraphModel,
  quantizationOf,
  type Variant,
} from '../core/index.ts';

/** A file of a variant before it is published. */
export interface SourceFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where its weights lie, for the borders of chunks. */
  readonly tensors: readonly ByteRange[];
}

/** A model file or directory, read and understood, that becomes one variant. */
export interface Source {
  readonly format: 'tfjs-graph' | 'onnx';
  readonly precision: Variant['precision'];
  /** The graph's own tensors by the names the source gives them. */
  readonly inputs: Readonly<Record<string, ModelTensor>>;
  readonly outputs: Readonly<Record<string, ModelTensor>>;
  readonly ops: readonly string[];
  /** Name of the entry among `files`. */
  readonly entry: string;
  /** By name inside the variant's folder. */
  readonly files: ReadonlyMap<string, SourceFile>;
  /** Digest of each original file, by its name beside the source. */
  readonly originals: Readonly<Record<string, string>>;
}

/**
 * Reads a source: an .onnx file, a GraphModel's model.json, or a directory that holds one of them. What it is, is told by
 * the content, not by the name.
 * @throws {NearfarError} `not-found`, `unsupported` for other formats, `invalid-argument` for damaged files.
 */
export async function readSource(path: string): Promise<Source> {
  const file = await findModelFile(path);
  const bytes = await readBytes(file);
  if (isTfjsModel(bytes)) return readTfjsSource(file, bytes);
  if (isOnnxModel(bytes)) return readOnnxSource(file, bytes);
  throw refuse(file, bytes);
}

async function findModelFile(path: string): Promise<string> {
  const info = await stat(path).catch((cause) => {
    throw new NearfarError('not-found', `there is no model at ${path}`, { cause, details: { path } });
  });
  if (!info.isDirectory()) return path;
  const found = findModelIn(await readdir(path, { withFileTypes: true }));
  if (found.length === 1) return join(path, found[0]!);
  const what = found.length === 0 ? 'no model.json and no .onnx file' : `several models (${found.join(', ')}), name one of them`;
  throw new NearfarError('invalid-argument', `${path} holds ${what}`, { details: { path, found } });
}

/** Names of the model files in a directory: model.json, else model.onnx, else the .onnx files, else a SavedModel. */
export function findModelIn(entries: readonly Dirent[]): string[] {
  const names = entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
  for (const name of ['model.json', 'model.onnx']) if (names.includes(name)) return [name];
  const onnx = names.filter((name) => name.endsWith('.onnx')).sort();
  return onnx.length > 0 ? onnx : names.filter((name) => name === 'saved_model.pb');
}

async function readTfjsSource(file: string, bytes: Uint8Array<ArrayBuffer>): Promise<Source> {
  const model = parseTfjsGraphModel(bytes);
  const originals: [string, string][] = [[basename(file), await digestOf(bytes)]];
  const shards: Uint8Array[] = [];
  for (const shard of model.shards) {
    const content = await readBytes(resolveBeside(file, shard));
    originals.push([shard, await digestOf(content)]);
    shards.push(content);
  }
  const weights = concatenate(shards);
  return {
    format: 'tfjs-graph',
    precision: tfjsPrecision(model.weights),
    inputs: model.inputs,
    outputs: model.outputs,
    ops: model.ops,
    entry: 'model.json',
    files: new Map([
      ['model.json', { bytes: encodeTfjsGraphModel(model, 'weights.bin'), tensors: [] }],
      ['weights.bin', { bytes: weights, tensors: locateTfjsWeights(model.weights, weights) }],
    ]),
    originals: Object.fromEntries(originals),
  };
}

async function readOnnxSource(file: string, bytes: Uint8Array<ArrayBuffer>): Promise<Source> {
  const model = parseOnnxModel(bytes);
  return {
    format: 'onnx',
    precision: onnxPrecision(model.initializers),
    inputs: model.inputs,
    outputs: model.outputs,
    ops: model.ops,
    entry: 'model.onnx',
    files: new Map([['model.onnx', { bytes, tensors: model.initializers }]]),
    originals: { [basename(file)]: await digestOf(bytes) },
  };
}

/** Shards come from the model file: a path that leaves its folder is refused. */
function resolveBeside(file: string, shard: string): string {
  const folder = resolve(dirname(file));
  const path = resolve(folder, shard);
  if (path.startsWith(folder + sep)) return path;
  throw new NearfarError('invalid-argument', `${file} names the shard ${shard} outside its folder`, { details: { file, shard } });
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let position = 0;
  for (const part of parts) {
    bytes.set(part, position);
    position += part.byteLength;
  }
  return bytes;
}

/** The stored precision of the quantised weights; float32 where none is. */
function tfjsPrecision(weights: ReturnType<typeof parseTfjsGraphModel>['weights']): Variant['precision'] {
  const quantized = weights.map(quantizationOf);
  return (['uint8', 'uint16', 'float16'] as const).find((precision) => quantized.includes(precision)) ?? 'float32';
}

/** The element type that most weight bytes have, among those a network computes with. */
function onnxPrecision(initializers: ReturnType<typeof parseOnnxModel>['initializers']): Variant['precision'] {
  const precisions = new Map<number, Variant['precision']>([
    [1, 'float32'],
    [10, 'float16'],
    [3, 'int8'],
    [2, 'uint8'],
  ]);
  const bytes = new Map<Variant['precision'], number>([['float32', 0]]);
  for (const { dataType, start, end } of initializers) {
    const precision = precisions.get(dataType);
    if (precision) bytes.set(precision, (bytes.get(precision) ?? 0) + end - start);
  }
  return [...bytes].reduce((most, entry) => (entry[1] > most[1] ? entry : most))[0];
}

const otherFormats: readonly { readonly name: string; readonly is: (file: string, bytes: Uint8Array) => boolean }[] = [
  {
    name: 'a TensorFlow SavedModel; its importer is not part of this version yet, convert it to a TensorFlow.js GraphModel or to ONNX',
    is: (file) => basename(file) === 'saved_model.pb',
  },
  {
    name: 'a Keras HDF5 file; convert it to a TensorFlow.js GraphModel or to ONNX',
    is: (_, bytes) => startsWith(bytes, 0, [0x89, 0x48, 0x44, 0x46]),
  },
  { name: 'a TensorFlow Lite model; convert it to ONNX', is: (_, bytes) => startsWith(bytes, 4, [0x54, 0x46, 0x4c, 0x33]) },
  {
    name: 'a zip archive (a .keras file?); convert it to a TensorFlow.js GraphModel or to ONNX',
    is: (_, bytes) => startsWith(bytes, 0, [0x50, 0x4b, 3, 4]),
  },
];

/** The error for a file that is neither: a damaged one says what is wrong with it, another format is named. */
function refuse(file: string, bytes: Uint8Array): NearfarError {
  const other = otherFormats.find(({ is }) => is(file, bytes));
  if (other) return new NearfarError('unsupported', `${file} is ${other.name}`, { details: { file } });
  try {
    if (/\.json$/.test(file)) parseTfjsGraphModel(bytes);
    else parseOnnxModel(bytes);
  } catch (cause) {
    if (cause instanceof NearfarError)
      return new NearfarError(cause.code, `${file} is ${cause.message}`, { cause, details: { ...cause.details, file } });
  }
  return new NearfarError('unsupported', `${file} is no TensorFlow.js GraphModel and no ONNX model`, { details: { file } });
}

function startsWith(bytes: Uint8Array, offset: number, magic: readonly number[]): boolean {
  return magic.every((byte, index) => bytes[offset + index] === byte);
}

async function readBytes(file: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(file));
  } catch (cause) {
    throw new NearfarError('not-found', `cannot read ${file}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
      details: { file },
    });
  }
}

import { createTensor, type DType, dataFromBytes, elementCount, float16ToNumber } from '../../tensor/index.ts';
import type { Constant } from '../graph/index.ts';
import type { ModelFile, ModelFolder } from '../model-folder.ts';
import { isRecord, type Json } from './config.ts';
import { damaged, unsupported } from './problems.ts';

// A TensorFlow.js LayersModel: model.json (tfjs-core's ModelJSON) around a Keras config, with weights in shards.

/** Whether a parsed model.json is that of a LayersModel. */
export function isLayersModelDocument(document: Json): boolean {
  const topology = document['modelTopology'];
  if (!isRecord(topology) || 'node' in topology) return false;
  return document['format'] === 'layers-model' || isRecord(topology['model_config']) || typeof topology['class_name'] === 'string';
}

/** The Keras config in it, and the version of Keras that wrote it. */
export function layersTopology(document: Json): { readonly model: Json; readonly kerasVersion: string } {
  const topology = document['modelTopology'];
  if (!isRecord(topology)) throw damaged('model.json has no modelTopology');
  const model = isRecord(topology['model_config']) ? topology['model_config'] : topology;
  return { model, kerasVersion: typeof topology['keras_version'] === 'string' ? topology['keras_version'] : '2' };
}

/** All weights of the manifest by name, read by range from the shards when they are asked for. */
export function manifestWeights(document: Json, folder: ModelFolder, entry: string): Map<string, Constant> {
  const groups = document['weightsManifest'];
  if (!Array.isArray(groups)) throw damaged('model.json has no weightsManifest');
  const base = entry.slice(0, entry.lastIndexOf('/') + 1);
  const weights = new Map<string, Constant>();
  for (const group of groups) {
    if (!isRecord(group) || !Array.isArray(group['paths']) || !Array.isArray(group['weights'])) throw damaged('a group of weightsManifest');
    const shards = group['paths'].map((path: unknown) => {
      const file = typeof path === 'string' ? folder.get(`${base}${path}`) : undefined;
      if (!file) throw damaged(`the shard ${String(path)} is missing`);
      return file;
    });
    const total = shards.reduce((sum, { byteLength }) => sum + byteLength, 0);
    let at = 0;
    for (const weight of group['weights']) {
      const [name, constant, byteLength] = parseWeight(weight, shards, at, total);
      if (weights.has(name)) throw damaged(`two weights are called ${name}`);
      weights.set(name, constant);
      at += byteLength;
    }
  }
  return weights;
}

interface Stored {
  readonly dtype: DType;
  readonly bytes: number;
}

const storedTypes: Readonly<Record<string, Stored>> = {
  float32: { dtype: 'float32', bytes: 4 },
  int32: { dtype: 'int32', bytes: 4 },
  bool: { dtype: 'bool', bytes: 1 },
  float16: { dtype: 'float16', bytes: 2 },
  uint8: { dtype: 'uint8', bytes: 1 },
  uint16: { dtype: 'uint16', bytes: 2 },
};

function parseWeight(weight: unknown, shards: readonly ModelFile[], at: number, total: number): [string, Constant, number] {
  if (!isRecord(weight)) throw damaged('a weight of weightsManifest');
  const { name, shape, dtype, quantization } = weight;
  if (typeof name !== 'string' || typeof dtype !== 'string' || !isShape(shape)) throw damaged(`weight ${String(name)} of weightsManifest`);
  const coding = isRecord(quantization) ? quantization : undefined;
  const storedName = String(coding?.['dtype'] ?? dtype);
  const stored = Object.hasOwn(storedTypes, storedName) ? storedTypes[storedName] : undefined;
  if (!stored || (coding && dtype !== 'float32' && dtype !== 'int32'))
    throw unsupported(`weight ${name} is stored as ${storedName} of ${dtype}`);
  const byteLength = elementCount(shape) * stored.bytes;
  if (!Number.isSafeInteger(byteLength) || at + byteLength > total) throw damaged(`weight ${name} ends outside of its shards`);
  const bytes = () => readAcross(shards, at, at + byteLength);
  const decode = coding ? affine(coding, name, stored) : undefined;
  if (!decode)
    return [name, { dtype: stored.dtype, shape, byteLength, load: async () => tensorOf(stored.dtype, shape, await bytes()) }, byteLength];
  const load = async () => {
    const tensor = tensorOf(stored.dtype, shape, await bytes());
    const data = Float32Array.from(tensor.data as ArrayLike<number>, decode); // uint8, uint16 or float16
    return dtype === 'int32' ? createTensor('int32', shape, Int32Array.from(data, Math.round)) : createTensor('float32', shape, data);
  };
  return [name, { dtype: dtype === 'int32' ? 'int32' : 'float32', shape, byteLength: elementCount(shape) * 4, load }, byteLength];
}

/** tfjs-core/src/io/io_utils.ts, decodeWeights. */
function affine(coding: Json, name: string, { dtype }: Stored): (value: number) => number {
  if (dtype === 'float16') return float16ToNumber;
  const { scale, min } = coding;
  if (typeof scale !== 'number' || typeof min !== 'number') throw damaged(`weight ${name} has no scale or min`);
  return (value) => value * scale + min;
}

function tensorOf(dtype: DType, shape: readonly number[], bytes: Uint8Array) {
  switch (dtype) {
    case 'float32':
      return createTensor(dtype, shape, dataFromBytes(dtype, bytes));
    case 'int32':
      return createTensor(dtype, shape, dataFromBytes(dtype, bytes));
    case 'float16':
    case 'uint16':
      return createTensor(dtype, shape, dataFromBytes(dtype, bytes));
    default:
      return createTensor(dtype === 'bool' ? 'bool' : 'uint8', shape, dataFromBytes('uint8', bytes));
  }
}

async function readAcross(shards: readonly ModelFile[], start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(end - start);
  let at = 0;
  for (const shard of shards) {
    const from = Math.max(start, at);
    const to = Math.min(end, at + shard.byteLength);
    if (from < to) bytes.set(await shard.read(from - at, to - at), from - start);
    at += shard.byteLength;
  }
  return bytes;
}

function isShape(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadGraphModelSync } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import type { EmittedFile, EmittedModel, ModelFile, ModelFolder } from '../../src/core/formats/model-folder.ts';
import { decodeTfjsWeights } from '../../src/core/index.ts';

/** The values of one tensor, as tfjs gives them. */
export interface Result {
  readonly shape: readonly number[];
  readonly values: readonly (number | string)[];
}

/** Runs an emitted model on the stock converter; its weights may not be quantised per channel. */
export async function runEmitted(
  model: EmittedModel,
  signature: string,
  inputs: Readonly<Record<string, tf.Tensor>>,
  { backend = 'cpu' } = {},
): Promise<Record<string, Result>> {
  const { inputs: bound, outputs } = model.bindings[signature]!;
  const fed = Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [bound[name]!.tensor, tensor]));
  const names = Object.keys(outputs);
  const results = await runGraphModel(
    await emittedFolder(model),
    fed,
    names.map((name) => outputs[name]!.tensor),
    { backend },
  );
  return Object.fromEntries(names.map((name, index) => [name, results[index]!]));
}

/** Runs the GraphModel of a folder by the names of its own tensors. */
export async function runGraphModel(
  folder: ModelFolder,
  inputs: Readonly<Record<string, tf.Tensor>>,
  outputs: readonly string[],
  { backend = 'cpu' } = {},
): Promise<Result[]> {
  if (!(await tf.setBackend(backend)) || tf.getBackend() !== backend) throw new Error(`TensorFlow.js cannot start ${backend}`);
  const read = async (name: string) => {
    const file = folder.get(name)!;
    return file.read(0, file.byteLength);
  };
  const { weightsManifest, ...rest } = JSON.parse(new TextDecoder().decode(await read('model.json')));
  const groups: { paths: string[]; weights: tf.io.WeightsManifestEntry[] }[] = weightsManifest;
  const buffers = await Promise.all(groups.flatMap(({ paths }) => paths).map(async (path) => (await read(path)).buffer));
  const decoded = decodeTfjsWeights(
    groups.flatMap(({ weights }) => weights),
    buffers,
  );
  const graph = loadGraphModelSync({ ...rest, weightSpecs: decoded.specs, weightData: decoded.buffers });
  const isAsync = /"op":"(Switch|HashTable|HashTableV2|StatelessWhile)"/.test(JSON.stringify(rest));
  const results = [isAsync ? await graph.executeAsync({ ...inputs }, [...outputs]) : graph.execute({ ...inputs }, [...outputs])].flat();
  const values = await Promise.all(results.map(async (tensor) => ({ shape: tensor.shape, values: [...(await tensor.data())] })));
  tf.dispose(results);
  graph.dispose();
  return values;
}

export async function readEmitted(file: EmittedFile): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(file.byteLength);
  let position = 0;
  for await (const part of file.read()) {
    bytes.set(part, position);
    position += part.byteLength;
  }
  if (position !== file.byteLength) throw new Error(`a file of ${file.byteLength} bytes gave ${position}`);
  return bytes;
}

/** An emitted model as a reader meets it. */
export async function emittedFolder({ files }: EmittedModel): Promise<ModelFolder> {
  const entries: [string, ModelFile][] = [];
  for (const [name, file] of files) entries.push([name, memoryFile(await readEmitted(file))]);
  return new Map(entries);
}

export function memoryFile(bytes: Uint8Array): ModelFile {
  return { byteLength: bytes.byteLength, read: async (start, end) => new Uint8Array(bytes.subarray(start, end)) };
}

/** The files of a directory on disk. */
export async function diskFolder(directory: string): Promise<ModelFolder> {
  const names = (await readdir(directory)).sort();
  return new Map(await Promise.all(names.map(async (name) => [name, memoryFile(await readFile(join(directory, name)))] as const)));
}

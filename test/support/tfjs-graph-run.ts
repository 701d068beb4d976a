import { loadGraphModelSync } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import type { EmittedFile, EmittedModel, ModelFile, ModelFolder } from '../../src/core/formats/model-folder.ts';

/** The values of one tensor, as tfjs gives them. */
export interface Result {
  readonly shape: readonly number[];
  readonly values: readonly (number | string)[];
}

/** Runs an emitted model on the stock converter and its cpu backend. */
export async function runEmitted(
  model: EmittedModel,
  signature: string,
  inputs: Readonly<Record<string, tf.Tensor>>,
  { backend = 'cpu' } = {},
): Promise<Record<string, Result>> {
  await tf.setBackend(backend);
  const { modelTopology, weightsManifest, ...rest } = JSON.parse(
    new TextDecoder().decode(await readEmitted(model.files.get('model.json')!)),
  );
  const bytes = await readEmitted(model.files.get('weights.bin')!);
  const graph = loadGraphModelSync({ modelTopology, weightSpecs: weightsManifest[0].weights, weightData: bytes.buffer, ...rest });
  const { inputs: bound, outputs } = model.bindings[signature]!;
  const fed = Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [bound[name]!.tensor, tensor]));
  const names = Object.keys(outputs);
  const nodes = names.map((name) => outputs[name]!.tensor);
  const isAsync = model.ops.some((op) => op === 'LoopCond' || op === 'Switch' || op.startsWith('HashTable'));
  const results = [isAsync ? await graph.executeAsync(fed, nodes) : graph.execute(fed, nodes)].flat();
  const read = await Promise.all(results.map(async (tensor) => ({ shape: tensor.shape, values: [...(await tensor.data())] })));
  tf.dispose(results);
  graph.dispose();
  return Object.fromEntries(names.map((name, index) => [name, read[index]!]));
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

import { NearfarError } from '../../errors.ts';
import { type AnyTensor, createTensor, dataFromBytes, elementCount, itemsPerElement } from '../../tensor/index.ts';
import type { Constant } from '../graph/index.ts';
import type { ModelFile, ModelFolder } from '../model-folder.ts';
import { parseWeights, type TfjsWeight } from './graph-model.ts';
import { decodeStored, storedByteLength } from './quantization.ts';
import { endOfStrings, joinShards } from './shards.ts';

/**
 * The weights of a manifest (of a GraphModel or a LayersModel) as constants by their names, read when they are asked for.
 * @param entry Path of the model.json in the folder; shards lie beside it.
 * @throws {NearfarError} `invalid-argument` when they do not fill their shards exactly, or two have one name; `not-found` without a shard.
 */
export async function readTfjsWeights(manifest: unknown, folder: ModelFolder, entry: string): Promise<Map<string, Constant>> {
  const { shards, weights } = parseWeights(manifest);
  return locateConstants(weights, joinShards(folder, entry, shards));
}

/**
 * The weights as constants by their names.
 * @param file The joined shards.
 * @throws {NearfarError} `invalid-argument` when they do not fill it exactly, or two have one name.
 */
export async function locateConstants(weights: readonly TfjsWeight[], file: ModelFile): Promise<Map<string, Constant>> {
  const constants = new Map<string, Constant>();
  let position = 0;
  for (const weight of weights) {
    const { name, shape, dtype, storage } = weight;
    const start = position;
    const end = dtype === 'string' ? await endOfStrings(file, start, elementCount(shape)) : start + storedByteLength(storage, dtype, shape);
    if (!(end <= file.byteLength)) throw damaged(`weight ${name} ends at byte ${end}, the shards have ${file.byteLength}`);
    if (constants.has(name)) throw damaged(`two weights are named ${name}`);
    const byteLength = dtype === 'string' ? end - start - 4 * elementCount(shape) : storedByteLength({ kind: 'plain' }, dtype, shape);
    constants.set(name, { dtype, shape, byteLength, load: async () => decodeWeight(weight, await file.read(start, end)) });
    position = end;
  }
  if (position !== file.byteLength) throw damaged(`the shards hold ${file.byteLength} bytes, the weights ${position}`);
  return constants;
}

function decodeWeight({ shape, dtype, storage }: TfjsWeight, bytes: Uint8Array): AnyTensor {
  switch (dtype) {
    case 'float32':
    case 'int32': {
      const values = decodeStored(storage, dtype, shape, bytes);
      return values instanceof Float32Array ? { dtype: 'float32', shape, data: values } : { dtype: 'int32', shape, data: values };
    }
    case 'bool':
      return createTensor(
        'bool',
        shape,
        Uint8Array.from(bytes, (value) => (value === 0 ? 0 : 1)),
      );
    case 'complex64':
      return createTensor('complex64', shape, dataFromBytes('complex64', bytes));
    case 'string':
      return createTensor('string', shape, decodeStrings(elementCount(shape) * itemsPerElement('string'), bytes));
  }
}

function decodeStrings(count: number, bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let position = 0;
  return Array.from({ length: count }, () => {
    const start = position + 4;
    position = start + view.getUint32(position, true);
    return bytes.slice(start, position);
  });
}

function damaged(message: string): NearfarError {
  return new NearfarError('invalid-argument', `not a sound TensorFlow.js model: ${message}`, { details: { format: 'tfjs-graph' } });
}

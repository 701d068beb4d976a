import { NearfarError } from '../../errors.ts';
import { locateTfjsWeights, parseWeight } from './graph-model.ts';
import { decodeStored } from './quantization.ts';

/** Weights as tfjs-core takes them: their entries of the manifest, and buffers that hold them one after another. */
export interface DecodedTfjsWeights<Entry> {
  readonly specs: Entry[];
  readonly buffers: ArrayBuffer[];
}

/**
 * Turns weights that are quantised per channel, which TensorFlow.js cannot read, into float32; all others stay as they are.
 * @param specs Entries of the weights manifest, in order.
 * @param shards The weight files, in order.
 * @throws {NearfarError} `invalid-argument` when the weights do not fill the shards exactly; `unsupported` for an unknown element type.
 */
export function decodeTfjsWeights<Entry extends object>(
  specs: readonly Entry[],
  shards: readonly ArrayBuffer[],
): DecodedTfjsWeights<Entry> {
  const weights = specs.map(parseWeight);
  if (!weights.some(({ storage }) => storage.kind === 'per-channel')) return { specs: [...specs], buffers: [...shards] };
  const bytes = join(shards);
  const ranges = locateTfjsWeights(weights, bytes);
  const buffers: ArrayBuffer[] = [];
  let unchangedFrom = 0;
  const decoded = specs.map((spec, index) => {
    const { name, shape, storage } = weights[index]!;
    const { start, end } = ranges[index]!;
    if (storage.kind !== 'per-channel') return spec;
    if (start > unchangedFrom) buffers.push(bytes.buffer.slice(unchangedFrom, start));
    buffers.push(decodeStored(storage, 'float32', shape, bytes.subarray(start, end)).buffer);
    unchangedFrom = end;
    const { quantization, ...plain } = spec as Entry & { quantization?: unknown };
    if (quantization === undefined) throw new NearfarError('internal', `weight ${name} is quantised without saying so`);
    return plain as unknown as Entry; // what is left of a manifest's entry is one: quantization is optional there
  });
  if (bytes.byteLength > unchangedFrom) buffers.push(bytes.buffer.slice(unchangedFrom));
  return { specs: decoded, buffers };
}

function join(shards: readonly ArrayBuffer[]): Uint8Array<ArrayBuffer> {
  if (shards.length === 1) return new Uint8Array(shards[0]!);
  const bytes = new Uint8Array(shards.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let position = 0;
  for (const shard of shards) {
    bytes.set(new Uint8Array(shard), position);
    position += shard.byteLength;
  }
  return bytes;
}

import { locateTfjsWeights, parseWeight } from './graph-model.ts';
import { decodeStored, PER_CHANNEL } from './quantization.ts';

/** An entry of a weights manifest, as far as it matters here. */
interface WeightEntry {
  readonly quantization?: { readonly dtype?: unknown };
}

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
export function decodeTfjsWeights<Entry extends WeightEntry>(
  specs: readonly Entry[],
  shards: readonly ArrayBuffer[],
): DecodedTfjsWeights<Entry | Omit<Entry, 'quantization'>> {
  const isPerChannel = ({ quantization }: Entry) => quantization?.dtype === PER_CHANNEL;
  if (!specs.some(isPerChannel)) return { specs: [...specs], buffers: [...shards] };
  const weights = specs.map(parseWeight);
  const bytes = join(shards);
  const ranges = locateTfjsWeights(weights, bytes);
  const buffers: ArrayBuffer[] = [];
  let unchangedFrom = 0;
  const decoded = specs.map((spec, index) => {
    if (!isPerChannel(spec)) return spec;
    const { shape, storage } = weights[index]!;
    const { start, end } = ranges[index]!;
    if (start > unchangedFrom) buffers.push(bytes.buffer.slice(unchangedFrom, start));
    // tfjs-core reads beyond the buffers when one of them is empty.
    if (end > start) buffers.push(decodeStored(storage, 'float32', shape, bytes.subarray(start, end)).buffer);
    unchangedFrom = end;
    const { quantization: _, ...plain } = spec;
    return plain;
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

import { NearfarError } from '../../errors.ts';
import type { ModelFile, ModelFolder } from '../model-folder.ts';

/** The shards of a model as one file; nothing is read before it is asked for. */
export function joinShards(folder: ModelFolder, entry: string, shards: readonly string[]): ModelFile {
  const parts: { readonly file: ModelFile; readonly start: number; readonly end: number }[] = [];
  let position = 0;
  for (const shard of shards) {
    const file = findShard(folder, entry, shard);
    parts.push({ file, start: position, end: position + file.byteLength });
    position += file.byteLength;
  }
  const byteLength = position;
  return {
    byteLength,
    async read(start, end) {
      if (start < 0 || end < start || end > byteLength) {
        throw new NearfarError('invalid-argument', `bytes ${start} to ${end} leave the ${byteLength} bytes of the shards`);
      }
      const bytes = new Uint8Array(end - start);
      for (const part of parts) {
        const [from, to] = [Math.max(start, part.start), Math.min(end, part.end)];
        if (from < to) bytes.set(await part.file.read(from - part.start, to - part.start), from - start);
      }
      return bytes;
    },
  };
}

function findShard(folder: ModelFolder, entry: string, shard: string): ModelFile {
  // Paths come from the model file: none may lead out of its folder.
  if (shard.startsWith('/') || shard.includes('\\') || shard.split('/').some((part) => part === '' || part === '.' || part === '..')) {
    throw new NearfarError('invalid-argument', `${entry} names the shard ${shard} outside its folder`, { details: { file: entry, shard } });
  }
  const path = entry.slice(0, entry.lastIndexOf('/') + 1) + shard;
  const file = folder.get(path);
  if (file) return file;
  throw new NearfarError('not-found', `${entry} needs the weight file ${path}, which is not there`, { details: { file: path } });
}

/** Strings are read in pieces of this size to find where they end. */
const BLOCK_BYTES = 2 ** 16;

/**
 * Where a number of strings that begins at `start` ends; each is its length as 32 bits and its bytes.
 * @throws {NearfarError} `invalid-argument` when they leave the file.
 */
export async function endOfStrings(file: ModelFile, start: number, count: number): Promise<number> {
  const leaves = () =>
    new NearfarError('invalid-argument', `${count} strings from byte ${start} leave the ${file.byteLength} bytes of the shards`);
  if (count * 4 > file.byteLength - start) throw leaves();
  let position = start;
  let block = new Uint8Array(0);
  let blockStart = start;
  for (let left = count; left > 0; left--) {
    if (position + 4 > file.byteLength) throw leaves();
    if (position + 4 > blockStart + block.byteLength) {
      block = await file.read(position, Math.min(position + BLOCK_BYTES, file.byteLength));
      blockStart = position;
    }
    position += 4 + new DataView(block.buffer, block.byteOffset).getUint32(position - blockStart, true);
    if (position > file.byteLength) throw leaves();
  }
  return position;
}

import { NearfarError } from '../errors.ts';
import { digestOf } from './digest.ts';
import type { ManifestFile } from './manifest.ts';

// Content-defined chunking: FastCDC (Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data
// Deduplication", USENIX ATC 2016) with its Gear hash, cut-point skipping below the minimum and normalised chunking of
// level 2, on 32-bit hashes (JavaScript's fast integers). On top of it weight files are cut at the borders of large tensors.

const MIN_CHUNK_BYTES = 256 * 2 ** 10;
const AVERAGE_CHUNK_BYTES = 2 ** 20;
const MAX_CHUNK_BYTES = 2 * 2 ** 20;

/** Tensors from this size on begin a chunk of their own; no piece at the end of a segment is smaller. */
const MIN_SEGMENT_BYTES = 64 * 2 ** 10;

// A cut is where the top bits of the hash are 0: log2(average) ± 2 bits. The top bits are taken because a byte leaves the
// hash at the top, so they depend on the most bytes.
const STRICT_SHIFT = 32 - (20 + 2);
const LOOSE_SHIFT = 32 - (20 - 2);

/** A piece of a file, in bytes from its start; `end` is exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Cuts a file into chunks. The same bytes and tensors give the same chunks everywhere.
 * @param tensors Where the weights lie in the file; none for files that hold no weights.
 * @returns Ranges that cover the file in order; none for an empty file.
 * @remarks A tensor of at least 64 KiB starts a segment, which holds the smaller tensors behind it too (a run of 64 KiB
 * or more of those is a segment of its own). FastCDC then runs inside each segment and leaves no tail under 64 KiB. So a
 * changed large tensor changes no chunk of another large tensor, and only the bytes ahead of the first one can be tiny.
 */
export function cutChunks(bytes: Uint8Array, tensors: readonly ByteRange[] = []): ByteRange[] {
  const chunks: ByteRange[] = [];
  for (const segment of cutSegments(bytes.byteLength, tensors)) {
    let start = segment.start;
    while (start < segment.end) {
      const end = findCut(bytes, start, segment.end);
      chunks.push({ start, end });
      start = end;
    }
  }
  return chunks;
}

/**
 * Cuts a file that comes in parts, as `cutChunks` cuts it whole, and holds no more of it than two chunks.
 * @param byteLength Of the whole file.
 * @returns The bytes of each chunk, in order; each is the caller's to keep.
 * @throws {NearfarError} `invalid-argument` when the parts are not as long as announced.
 */
export async function* cutStream(
  parts: AsyncIterable<Uint8Array>,
  byteLength: number,
  tensors: readonly ByteRange[] = [],
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const window = new Uint8Array(2 * MAX_CHUNK_BYTES);
  const ends = cutSegments(byteLength, tensors).map(({ end }) => end);
  let filled = 0;
  let position = 0;
  for await (const part of parts) {
    for (let taken = 0; taken < part.byteLength; ) {
      const length = Math.min(window.byteLength - filled, part.byteLength - taken);
      window.set(part.subarray(taken, taken + length), filled);
      filled += length;
      taken += length;
      let start = 0;
      while (start < filled) {
        while (ends[0] !== undefined && ends[0] <= position) ends.shift();
        const rest = (ends[0] ?? position) - position;
        // A cut is decided by the bytes before it and by how long its segment still is.
        if (rest === 0 || filled - start < Math.min(rest, MAX_CHUNK_BYTES)) break;
        const end = findCut(window, start, start + rest);
        yield window.slice(start, end);
        position += end - start;
        start = end;
      }
      window.copyWithin(0, start, filled);
      filled -= start;
      if (filled === window.byteLength) throw wrongLength(byteLength, position + filled);
    }
  }
  if (filled > 0 || position !== byteLength) throw wrongLength(byteLength, position + filled);
}

function wrongLength(want: number, got: number): NearfarError {
  return new NearfarError('invalid-argument', `a file of ${want} bytes was announced, its parts hold ${got}`, { details: { want, got } });
}

/** The manifest's record of a file: its length, its digest and its chunks. */
export async function describeFile(bytes: Uint8Array<ArrayBuffer>, tensors: readonly ByteRange[] = []): Promise<ManifestFile> {
  const chunks: [number, string][] = [];
  for (const { start, end } of cutChunks(bytes, tensors)) chunks.push([end - start, await digestOf(bytes.subarray(start, end))]);
  return { bytes: bytes.byteLength, digest: await digestOf(bytes), chunks };
}

function cutSegments(length: number, tensors: readonly ByteRange[]): ByteRange[] {
  const large = tensors.filter(({ start, end }) => end - start >= MIN_SEGMENT_BYTES).sort((a, b) => a.start - b.start);
  const borders = new Set([0]);
  for (const [index, { start, end }] of large.entries()) {
    borders.add(start);
    const next = large[index + 1]?.start ?? length;
    if (next - end >= MIN_SEGMENT_BYTES) borders.add(end);
  }
  const starts = [...borders].filter((border) => border < length);
  return starts.map((start, index) => ({ start, end: starts[index + 1] ?? length }));
}

/** The end of the chunk that begins at `start`. */
function findCut(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length <= MIN_CHUNK_BYTES) return end;
  const limit = start + Math.min(MAX_CHUNK_BYTES, length - MIN_SEGMENT_BYTES);
  const normal = Math.min(limit, start + AVERAGE_CHUNK_BYTES);
  let hash = 0;
  let position = start + MIN_CHUNK_BYTES;
  for (; position < normal; position++) {
    hash = ((hash << 1) + gear[bytes[position]!]!) | 0;
    if (hash >>> STRICT_SHIFT === 0) return position + 1;
  }
  for (; position < limit; position++) {
    hash = ((hash << 1) + gear[bytes[position]!]!) | 0;
    if (hash >>> LOOSE_SHIFT === 0) return position + 1;
  }
  return length <= MAX_CHUNK_BYTES ? end : limit;
}

/**
 * The Gear table: 256 fixed 32-bit numbers, one per byte value. Entry i is MurmurHash3's 32-bit finaliser (Appleby, public
 * domain) of `(i + 1) * 0x9e3779b9`. Part of the format: another table would cut the same bytes elsewhere.
 */
const gear: Int32Array = Int32Array.from({ length: 256 }, (_, index) => {
  let value = Math.imul(index + 1, 0x9e3779b9);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return value ^ (value >>> 16);
});

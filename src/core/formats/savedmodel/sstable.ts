import { NearfarError } from '../../errors.ts';
import { maskedCrc32c } from './crc32c.ts';
import { damaged } from './damaged.ts';
import { decodeSnappy } from './snappy.ts';

// LevelDB's table format, which TensorFlow writes the index of a checkpoint in
// (https://github.com/google/leveldb/blob/main/doc/table_format.md): blocks of prefix-compressed entries, an index block of their
// positions, and a footer of 48 bytes that says where the index is.

const FOOTER_BYTES = 48;
const TRAILER_BYTES = 5;
const MAGIC = 0xdb4775248b80fb57n;

/** An index has names and positions only: even that of a model with a million variables is smaller. */
const MAX_TABLE_BYTES = 256 * 2 ** 20;

/**
 * Every entry of a table, in order of the keys.
 * @throws {NearfarError} `integrity-mismatch` when a block's checksum is wrong, `invalid-argument` when the table is damaged.
 */
export function readTable(file: Uint8Array): { readonly key: Uint8Array; readonly value: Uint8Array }[] {
  if (file.length < FOOTER_BYTES) throw damaged(`an index of ${file.length} bytes has no footer`);
  if (file.length > MAX_TABLE_BYTES) throw damaged(`an index of ${file.length} bytes is above ${MAX_TABLE_BYTES}`);
  const footer = file.subarray(file.length - FOOTER_BYTES);
  if (viewOf(footer).getBigUint64(40, true) !== MAGIC) throw damaged('an index has no table in it (its magic number is wrong)');
  const cursor = new Cursor(footer);
  cursor.varint(); // Offset and size of the block of filters, which TensorFlow does not write.
  cursor.varint();
  const budget = { bytes: MAX_TABLE_BYTES };
  const blocks = readEntries(readBlock(file, cursor.varint(), cursor.varint(), budget));
  return blocks.flatMap(({ value }) => {
    const handle = new Cursor(value);
    return readEntries(readBlock(file, handle.varint(), handle.varint(), budget));
  });
}

function readBlock(file: Uint8Array, offset: number, size: number, budget: { bytes: number }): Uint8Array {
  const end = offset + size;
  if (!(end + TRAILER_BYTES <= file.length - FOOTER_BYTES)) throw damaged(`a block at ${offset} of ${size} bytes leaves the index`);
  const trailer = viewOf(file.subarray(end, end + TRAILER_BYTES));
  if (maskedCrc32c(file.subarray(offset, end + 1)) !== trailer.getUint32(1, true)) {
    throw new NearfarError('integrity-mismatch', `the index is damaged: the checksum of its block at ${offset} is wrong`, {
      details: { offset },
    });
  }
  const content = file.subarray(offset, end);
  const block = trailer.getUint8(0) === 1 ? decodeSnappy(content, budget.bytes) : content;
  if (trailer.getUint8(0) > 1) throw damaged(`a block has the unknown compression ${trailer.getUint8(0)}`);
  budget.bytes -= block.length;
  if (budget.bytes < 0) throw damaged(`the blocks of an index are above ${MAX_TABLE_BYTES} bytes`);
  return block;
}

/** Entries of a block: shared and own length of the key, length of the value, own part of the key, value. */
function readEntries(block: Uint8Array): { key: Uint8Array; value: Uint8Array }[] {
  if (block.length < 4) throw damaged('a block of the index is too short');
  const restarts = viewOf(block).getUint32(block.length - 4, true);
  const end = block.length - 4 - 4 * restarts;
  if (end < 0) throw damaged('a block of the index has too many restarts');
  const cursor = new Cursor(block.subarray(0, end));
  const entries: { key: Uint8Array; value: Uint8Array }[] = [];
  let last = new Uint8Array();
  while (!cursor.isAtEnd()) {
    const shared = cursor.varint();
    const own = cursor.varint();
    const length = cursor.varint();
    // A short file must not make keys that grow with each entry without end.
    if (shared > last.length || shared + own > MAX_KEY_BYTES) throw damaged('a key of the index is inconsistent');
    const key = new Uint8Array(shared + own);
    key.set(last.subarray(0, shared));
    key.set(cursor.bytes(own), shared);
    entries.push({ key, value: cursor.bytes(length) });
    last = key;
  }
  return entries;
}

const MAX_KEY_BYTES = 64 * 2 ** 10;

/** Reads varints and bytes one after the other. */
export class Cursor {
  position = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  isAtEnd(): boolean {
    return this.position >= this.#bytes.length;
  }

  /** A varint64; above 2^53 it is refused, no length is so large. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 56; shift += 7) {
      const byte = this.#bytes[this.position++];
      if (byte === undefined) break;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128 && Number.isSafeInteger(value)) return value;
    }
    throw damaged('a length in the index is damaged');
  }

  bytes(length: number): Uint8Array {
    const start = this.position;
    if (!(start + length <= this.#bytes.length)) throw damaged('an entry of the index ends early');
    this.position += length;
    return this.#bytes.subarray(start, this.position);
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

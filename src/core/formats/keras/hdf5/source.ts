import { NearfarError } from '../../../errors.ts';
import type { ModelFile } from '../../model-folder.ts';

const BLOCK_BYTES = 64 * 2 ** 10;
const MAX_CACHED_BLOCKS = 64;
/** Nothing but weights is larger; weights are read by `bytes` alone. */
const MAX_STRUCTURE_BYTES = 64 * 2 ** 20;

/**
 * Bounded random access to an HDF5 file. Structures are small and lie near each other, so blocks are kept; weights are read past the cache.
 */
export class Source {
  readonly byteLength: number;
  readonly #file: ModelFile;
  readonly #blocks = new Map<number, Promise<Uint8Array>>();
  #steps = 0;

  constructor(file: ModelFile) {
    this.#file = file;
    this.byteLength = file.byteLength;
  }

  /**
   * Counts one structure that was visited. A sound file has no more of them than it has room for; a damaged one may point in circles.
   */
  step(): void {
    this.#steps++;
    if (this.#steps > 10_000 + this.byteLength / 8) throw damaged('its structures point in circles');
  }

  /** The file's own bytes, not cached. */
  async bytes(start: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#check(start, length);
    return this.#file.read(start, start + length);
  }

  /** A part of a structure. */
  async cursor(start: number, length: number): Promise<Cursor> {
    this.step();
    this.#check(start, length);
    if (length > MAX_STRUCTURE_BYTES) throw damaged(`a structure of ${length} bytes at ${start}`);
    const first = Math.floor(start / BLOCK_BYTES);
    const last = Math.floor((start + Math.max(length, 1) - 1) / BLOCK_BYTES);
    if (first === last) {
      const block = await this.#block(first);
      const from = start - first * BLOCK_BYTES;
      return new Cursor(block.subarray(from, from + length), start);
    }
    return new Cursor(await this.#file.read(start, start + length), start);
  }

  #block(index: number): Promise<Uint8Array> {
    const kept = this.#blocks.get(index);
    if (kept) return kept;
    const oldest = this.#blocks.keys().next();
    if (this.#blocks.size >= MAX_CACHED_BLOCKS && !oldest.done) this.#blocks.delete(oldest.value);
    const start = index * BLOCK_BYTES;
    const read = this.#file.read(start, Math.min(start + BLOCK_BYTES, this.byteLength));
    this.#blocks.set(index, read);
    return read;
  }

  #check(start: number, length: number): void {
    const isWhole = Number.isSafeInteger(start) && Number.isSafeInteger(length) && start >= 0 && length >= 0;
    if (!isWhole || start + length > this.byteLength) {
      throw damaged(`${length} bytes at ${start} are outside its ${this.byteLength} bytes`);
    }
  }
}

/** Reads little-endian fields one after the other. */
export class Cursor {
  readonly bytes: Uint8Array;
  /** Where the bytes lie in the file, for messages. */
  readonly at: number;
  position = 0;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.at = at;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.bytes.byteLength - this.position;
  }

  /** An unsigned integer; the all-ones value of 8 bytes (the undefined address) is not safe and refused wherever it is used. */
  uint(size: number): number {
    const at = this.#advance(size);
    if (size === 1) return this.#view.getUint8(at);
    if (size === 2) return this.#view.getUint16(at, true);
    if (size === 4) return this.#view.getUint32(at, true);
    if (size === 8) return Number(this.#view.getBigUint64(at, true));
    throw damaged(`an integer of ${size} bytes at ${this.at + at}`);
  }

  take(length: number): Uint8Array {
    const at = this.#advance(length);
    return this.bytes.subarray(at, at + length);
  }

  skip(length: number): void {
    this.#advance(length);
  }

  /** Moves on to the next multiple of 8, counted from the start of these bytes. */
  align(): void {
    this.#advance((8 - (this.position % 8)) % 8);
  }

  expect(signature: string): void {
    const found = String.fromCharCode(...this.take(signature.length));
    if (found !== signature) throw damaged(`${signature} is missing at ${this.at}`);
  }

  /** Text up to a NUL or the end. */
  text(length: number): string {
    return textOf(this.take(length));
  }

  #advance(length: number): number {
    const at = this.position;
    if (!(length >= 0) || at + length > this.bytes.byteLength) throw damaged(`the structure at ${this.at} ends too early`);
    this.position += length;
    return at;
  }
}

export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end === -1 ? bytes : bytes.subarray(0, end));
}

export function damaged(message: string, cause?: unknown): NearfarError {
  return new NearfarError('invalid-argument', `not a sound HDF5 file: ${message}`, { cause, details: { format: 'hdf5' } });
}

export function unsupported(message: string): NearfarError {
  return new NearfarError('unsupported', `HDF5: ${message}`, { details: { format: 'hdf5' } });
}

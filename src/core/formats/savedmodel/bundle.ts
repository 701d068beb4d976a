import { NearfarError } from '../../errors.ts';
import {
  type AnyTensor,
  bytesPerElement,
  createData,
  createTensor,
  type DType,
  dataFromBytes,
  elementCount,
  type NumericDType,
} from '../../tensor/index.ts';
import type { Constant } from '../graph/index.ts';
import type { ModelFile, ModelFolder } from '../model-folder.ts';
import { crc32c, maskCrc, maskedCrc32c } from './crc32c.ts';
import { damaged } from './damaged.ts';
import { type Extent, sliceKey } from './ordered-code.ts';
import { type BundleEntry, bundleEntry, bundleHeader } from './schema.ts';
import { Cursor, readTable } from './sstable.ts';
import { dataDType, fullShape, MAX_TENSOR_BYTES, numericTensor } from './tensor.ts';
import { decodeMessage } from './wire.ts';

// The tensor bundle (tensorflow/core/util/tensor_bundle): an index of names, and shards with the values.

/** Part of a tensor: one extent per axis, none cut when undefined. */
export type Slice = readonly Extent[] | undefined;

export interface TensorBundle {
  has(name: string): boolean;
  /**
   * A tensor, or a part of it, read when it is needed; the same object for the same part.
   * @throws {NearfarError} `invalid-argument` when there is none of this name, or it is damaged.
   */
  tensor(name: string, slice?: Slice): Constant;
}

/**
 * Opens the bundle at `prefix`, such as `variables/variables`.
 * @returns Undefined when there is none.
 * @throws {NearfarError} `invalid-argument` or `integrity-mismatch` when its index is damaged.
 */
export async function openBundle(folder: ModelFolder, prefix: string): Promise<TensorBundle | undefined> {
  const index = folder.get(`${prefix}.index`);
  if (!index) return undefined;
  const entries = new Map<string, Uint8Array>();
  for (const { key, value } of readTable(await index.read(0, index.byteLength))) entries.set(binaryString(key), value);
  const headerBytes = entries.get('');
  if (!headerBytes) throw damaged('the index of the variables has no header');
  const header = decodeMessage(bundleHeader, headerBytes);
  if (header.endianness !== 0 && header.endianness !== 1) throw damaged(`the variables have the byte order ${header.endianness}`);
  const shardOf = (shard: number): ModelFile => {
    const path = `${prefix}.data-${pad(shard)}-of-${pad(header.num_shards)}`;
    const file = folder.get(path);
    if (file) return file;
    throw damaged(`the file ${path} is missing`);
  };
  return new Bundle(entries, shardOf, header.endianness === 1);
}

function pad(number: number): string {
  return String(number).padStart(5, '0');
}

function keyOf(name: string): string {
  return binaryString(new TextEncoder().encode(name));
}

/** One character per byte, so that bytes can be keys of a Map. */
function binaryString(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

class Bundle implements TensorBundle {
  readonly #entries: ReadonlyMap<string, Uint8Array>;
  readonly #shardOf: (shard: number) => ModelFile;
  readonly #isBigEndian: boolean;
  readonly #constants = new Map<string, Constant>();

  constructor(entries: ReadonlyMap<string, Uint8Array>, shardOf: (shard: number) => ModelFile, isBigEndian: boolean) {
    this.#entries = entries;
    this.#shardOf = shardOf;
    this.#isBigEndian = isBigEndian;
  }

  has(name: string): boolean {
    return name !== '' && this.#entries.has(keyOf(name));
  }

  tensor(name: string, slice?: Slice): Constant {
    const key = JSON.stringify([name, slice]);
    let constant = this.#constants.get(key);
    if (!constant) {
      constant = this.#make(name, slice);
      this.#constants.set(key, constant);
    }
    return constant;
  }

  #entry(key: string, name: string): BundleEntry {
    const bytes = this.#entries.get(key);
    if (bytes === undefined || key === '') throw damaged(`the variables have no tensor ${name}`);
    return decodeMessage(bundleEntry, bytes);
  }

  #make(name: string, slice: Slice): Constant {
    const entry = this.#entry(keyOf(name), name);
    const dtype = dataDType(entry.dtype, `variable ${name}`);
    const shape = fullShape(entry.shape, dtype, `variable ${name}`);
    const wanted = slice ? boxOf(slice, shape, name) : undefined;
    if (entry.slices.length === 0) {
      const whole = this.#stored(entry, dtype, shape, name);
      return wanted ? cutOut([{ box: boxOf([], shape, name), constant: whole }], wanted, dtype, name) : whole;
    }
    const parts = entry.slices.map(({ extent }) => {
      const extents = extent.map(({ start, length }) => ({ start, length: length ?? -1 }));
      const box = boxOf(extents, shape, name);
      const part = this.#entry(binaryString(sliceKey(name, extents)), `${name} (part at [${box.start}])`);
      return { box, constant: this.#stored(part, dtype, box.size, name) };
    });
    return cutOut(parts, wanted ?? boxOf([], shape, name), dtype, name);
  }

  #stored(entry: BundleEntry, dtype: DType, shape: readonly number[], name: string): Constant {
    const file = this.#shardOf(entry.shard_id);
    const { offset, size } = entry;
    if (!(offset >= 0 && size >= 0 && offset + size <= file.byteLength)) {
      throw damaged(`variable ${name} (${size} bytes from ${offset}) leaves its file of ${file.byteLength} bytes`);
    }
    if (size > MAX_TENSOR_BYTES) throw damaged(`variable ${name} of ${size} bytes is above ${MAX_TENSOR_BYTES}`);
    const elements = elementCount(shape);
    if (dtype === 'string') {
      if (elements > size) throw damaged(`variable ${name} has ${size} bytes for ${elements} strings`);
      return {
        dtype,
        shape,
        byteLength: size,
        load: async () => decodeStrings(await file.read(offset, offset + size), shape, entry.crc32c, name),
      };
    }
    const byteLength = elements * bytesPerElement(dtype);
    if (size !== byteLength) throw damaged(`variable ${name} of shape [${shape}] has ${size} bytes, expected ${byteLength}`);
    const load = async (): Promise<AnyTensor> => {
      const bytes = await file.read(offset, offset + size);
      if (maskedCrc32c(bytes) !== entry.crc32c) throw wrongChecksum(name);
      if (this.#isBigEndian) swapBytes(bytes, dtype);
      return numericTensor(dtype, shape, dataFromBytes(dtype, bytes));
    };
    return { dtype, shape, byteLength, load };
  }
}

function wrongChecksum(name: string): NearfarError {
  return new NearfarError('integrity-mismatch', `variable ${name} is damaged: its checksum is wrong`, { details: { name } });
}

function swapBytes(bytes: Uint8Array, dtype: NumericDType): void {
  const width = bytesPerElement(dtype) / (dtype === 'complex64' || dtype === 'complex128' ? 2 : 1);
  for (let start = 0; start < bytes.length; start += width) bytes.subarray(start, start + width).reverse();
}

/** Lengths as varints, a checksum of them, the strings (WriteStringTensor in tensor_bundle.cc). */
function decodeStrings(bytes: Uint8Array, shape: readonly number[], checksum: number, name: string): AnyTensor {
  const cursor = new Cursor(bytes);
  const lengths = Array.from({ length: elementCount(shape) }, () => cursor.varint());
  // The checksum takes lengths as fixed numbers, of 64 bits where 32 are too few; strings here are below 2^31 bytes.
  const fixed = new DataView(new ArrayBuffer(4 * lengths.length));
  for (const [index, length] of lengths.entries()) fixed.setUint32(4 * index, length, true);
  const ofLengths = crc32c(new Uint8Array(fixed.buffer));
  const stored = cursor.bytes(4);
  if (maskCrc(ofLengths) !== new DataView(stored.buffer, stored.byteOffset, 4).getUint32(0, true)) throw wrongChecksum(name);
  if (maskCrc(crc32c(bytes.subarray(cursor.position - 4), ofLengths)) !== checksum) throw wrongChecksum(name);
  const strings = lengths.map((length) => cursor.bytes(length));
  if (!cursor.isAtEnd()) throw damaged(`variable ${name} has more bytes than its strings`);
  return createTensor('string', shape, strings);
}

interface Box {
  readonly start: readonly number[];
  readonly size: readonly number[];
}

/** The part of a tensor that extents name; all of it when there are none. */
function boxOf(extents: readonly Extent[], shape: readonly number[], name: string): Box {
  if (extents.length !== 0 && extents.length !== shape.length)
    throw damaged(`a part of ${name} has the rank ${extents.length}, expected ${shape.length}`);
  const start = shape.map((_, axis) => extents[axis]?.start ?? 0);
  const size = shape.map((whole, axis) => {
    const length = extents[axis]?.length ?? -1;
    return length === -1 ? whole : length;
  });
  const isInside = shape.every((whole, axis) => start[axis]! >= 0 && size[axis]! >= 0 && start[axis]! + size[axis]! <= whole);
  if (!isInside) throw damaged(`a part of ${name}, [${size}] from [${start}], leaves its shape [${shape}]`);
  return { start, size };
}

interface Part {
  readonly box: Box;
  readonly constant: Constant;
}

/** The wanted part of a tensor out of those that are stored; a part that is stored as it is wanted is not copied. */
function cutOut(parts: readonly Part[], wanted: Box, dtype: DType, name: string): Constant {
  const equal = parts.find(({ box }) => isEqual(box.start, wanted.start) && isEqual(box.size, wanted.size));
  if (equal) return equal.constant;
  const needed = parts.flatMap(({ box, constant }) => {
    const common = intersection(box, wanted);
    return common ? [{ box, constant, common }] : [];
  });
  const covered = needed.reduce((sum, { common }) => sum + elementCount(common.size), 0);
  const elements = elementCount(wanted.size);
  // Parts do not overlap where TensorFlow writes them: enough elements are all of them.
  if (covered !== elements) throw damaged(`the stored parts of ${name} hold ${covered} of ${elements} elements of a variable`);
  const shape = wanted.size;
  const byteLength =
    dtype === 'string' ? needed.reduce((sum, { constant }) => sum + constant.byteLength, 0) : elements * bytesPerElement(dtype);
  const load = async (): Promise<AnyTensor> => {
    if (dtype === 'string') {
      const data = new Array<Uint8Array>(elements).fill(new Uint8Array());
      for (const { box, constant, common } of needed) {
        const { data: from } = await constant.load();
        copyRows(box, wanted, common, (source, target, count) => {
          for (let i = 0; i < count; i++) data[target + i] = from[source + i] as Uint8Array; // a string tensor, as its dtype says
        });
      }
      return createTensor('string', shape, data);
    }
    const data = createData(dtype, elements);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const width = bytesPerElement(dtype);
    for (const { box, constant, common } of needed) {
      const tensor = await constant.load();
      if (tensor.dtype === 'string') throw damaged(`the parts of ${name} are of several types`);
      const from = new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
      copyRows(box, wanted, common, (source, target, count) =>
        bytes.set(from.subarray(source * width, (source + count) * width), target * width),
      );
    }
    return numericTensor(dtype, shape, data);
  };
  return { dtype, shape, byteLength, load };
}

function isEqual(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

function intersection(a: Box, b: Box): Box | undefined {
  const start = a.start.map((from, axis) => Math.max(from, b.start[axis]!));
  const size = start.map((from, axis) => Math.min(a.start[axis]! + a.size[axis]!, b.start[axis]! + b.size[axis]!) - from);
  return size.every((length) => length > 0) ? { start, size } : undefined;
}

/** Visits the rows (along the last axis) of a common part: where each begins in either box, in elements. */
function copyRows(source: Box, target: Box, common: Box, copy: (source: number, target: number, count: number) => void): void {
  const last = common.size.length - 1;
  const row = common.size[last] ?? 1;
  const rows = elementCount(common.size) / row;
  for (let number = 0; number < rows; number++) {
    const position = [...common.start];
    for (let axis = last - 1, left = number; axis >= 0; axis--) {
      position[axis]! += left % common.size[axis]!;
      left = Math.floor(left / common.size[axis]!);
    }
    copy(offsetIn(source, position), offsetIn(target, position), row);
  }
}

function offsetIn(box: Box, position: readonly number[]): number {
  return position.reduce((offset, value, axis) => offset * box.size[axis]! + value - box.start[axis]!, 0);
}

import { unzlibSync } from 'fflate/browser';
import { elementCount, type NumericDType } from '../../../tensor/index.ts';
import { readDataspace, readDatatype } from './datatype.ts';
import { type Message, messageTypes, type Sizes } from './header.ts';
import { leavesOf } from './links.ts';
import { type Cursor, damaged, type Source, unsupported } from './source.ts';

type Layout =
  | { readonly kind: 'compact'; readonly bytes: Uint8Array }
  | { readonly kind: 'contiguous'; readonly address: number }
  | { readonly kind: 'chunked'; readonly tree: number; readonly chunk: readonly number[] };

type Filter = 'deflate' | 'shuffle';

export interface StoredDataset {
  readonly path: string;
  readonly dtype: NumericDType;
  readonly elementBytes: number;
  readonly shape: readonly number[];
  readonly byteLength: number;
  readonly layout: Layout;
  /** In the order in which they were applied. */
  readonly filters: readonly Filter[];
}

/** Deflate makes at most 1032 bytes of one (258 for a pair of 2 bits). */
const MAX_DEFLATE_RATIO = 1032;

/** What the header says of a dataset. */
export function openDataset(messages: readonly Message[], sizes: Sizes, path: string): StoredDataset {
  const body = (type: number) => {
    const message = messages.find((candidate) => candidate.type === type);
    if (message?.isShared) throw unsupported(`${path} shares its description with other objects`);
    return message?.body;
  };
  const space = body(messageTypes.dataspace);
  const type = body(messageTypes.datatype);
  const layout = body(messageTypes.layout);
  if (!space || !type || !layout) throw damaged(`${path} is no dataset`);
  const shape = readDataspace(space, sizes.length);
  const datatype = readDatatype(type);
  if (shape === undefined || datatype.kind !== 'number') throw unsupported(`${path} holds no numbers`);
  const byteLength = elementCount(shape) * datatype.size;
  if (!Number.isSafeInteger(byteLength)) throw damaged(`${path} has the shape [${shape}]`);
  const filters = body(messageTypes.filters);
  return {
    path,
    dtype: datatype.dtype,
    elementBytes: datatype.size,
    shape,
    byteLength,
    layout: readLayout(layout, sizes, shape.length, path),
    filters: filters ? readFilters(filters, path) : [],
  };
}

/** The packed elements. */
export async function readDataset(source: Source, dataset: StoredDataset, sizes: Sizes): Promise<Uint8Array<ArrayBuffer>> {
  const { layout, byteLength, path } = dataset;
  if (layout.kind === 'compact') {
    if (layout.bytes.byteLength < byteLength)
      throw damaged(`${path} holds ${layout.bytes.byteLength} bytes, its shape needs ${byteLength}`);
    return layout.bytes.slice(0, byteLength);
  }
  if (byteLength === 0) return new Uint8Array(0);
  if (layout.kind === 'contiguous') return source.bytes(layout.address, byteLength);
  return readChunks(source, dataset, layout, sizes);
}

async function readChunks(
  source: Source,
  { shape, elementBytes, byteLength, filters, path }: StoredDataset,
  { tree, chunk }: Extract<Layout, { kind: 'chunked' }>,
  sizes: Sizes,
): Promise<Uint8Array<ArrayBuffer>> {
  const rank = shape.length;
  const chunkBytes = elementCount(chunk) * elementBytes;
  const chunks = await leavesOf(source, tree, { type: 1, keyBytes: 8 + 8 * (rank + 1) }, sizes);
  const want = shape.reduce((product, dim, axis) => product * Math.ceil(dim / chunk[axis]!), 1);
  if (chunks.length !== want) throw damaged(`${path} has ${chunks.length} of its ${want} chunks`);
  const parts = chunks.map(({ key, child }) => {
    const stored = key.uint(4);
    const mask = key.uint(4);
    const offset = shape.map(() => key.uint(8));
    return { stored, mask, offset, address: child };
  });
  const room = parts.reduce((sum, { stored }) => sum + stored, 0);
  const ratio = filters.includes('deflate') ? MAX_DEFLATE_RATIO : 1;
  // Each byte of a sound file belongs to one chunk, so this bounds the memory by the file.
  if (room > source.byteLength || chunkBytes > ratio * room + 64 || byteLength > ratio * room + 64) {
    throw damaged(`${path} claims ${byteLength} bytes in chunks of ${room}`);
  }
  const data = new Uint8Array(byteLength);
  const seen = new Set<string>();
  for (const { stored, mask, offset, address } of parts) {
    const isOnGrid = offset.every((start, axis) => start < shape[axis]! && start % chunk[axis]! === 0);
    if (!isOnGrid || seen.has(offset.join())) throw damaged(`${path} has a chunk at [${offset}]`);
    seen.add(offset.join());
    const active = filters.filter((_, index) => !(mask & (1 << index)));
    const bytes = unfilter(await source.bytes(address, stored), active, chunkBytes, elementBytes, path);
    placeChunk(bytes, data, { shape, chunk, offset, elementBytes });
  }
  return data;
}

function unfilter(stored: Uint8Array, filters: readonly Filter[], bytes: number, elementBytes: number, path: string): Uint8Array {
  let data = stored;
  for (const filter of filters.toReversed()) data = filter === 'deflate' ? inflate(data, bytes, path) : unshuffle(data, elementBytes);
  if (data.byteLength !== bytes) throw damaged(`a chunk of ${path} has ${data.byteLength} bytes, expected ${bytes}`);
  return data;
}

function inflate(data: Uint8Array, bytes: number, path: string): Uint8Array {
  try {
    // One byte more than expected shows a stream that is too long; what lies past it is dropped, not kept.
    return unzlibSync(data, { out: new Uint8Array(bytes + 1) });
  } catch (cause) {
    throw damaged(`a chunk of ${path} does not inflate`, cause);
  }
}

/** The first bytes of all elements, then the second ones, ...: back to elements. */
function unshuffle(data: Uint8Array, elementBytes: number): Uint8Array {
  const count = Math.floor(data.byteLength / elementBytes);
  const plain = data.slice();
  for (let byte = 0; byte < elementBytes; byte++) {
    for (let index = 0; index < count; index++) plain[index * elementBytes + byte] = data[byte * count + index]!;
  }
  return plain;
}

interface Placement {
  readonly shape: readonly number[];
  readonly chunk: readonly number[];
  readonly offset: readonly number[];
  readonly elementBytes: number;
}

/** Copies the rows of a chunk to where they belong; chunks at the edges stand over. */
function placeChunk(bytes: Uint8Array, data: Uint8Array, { shape, chunk, offset, elementBytes }: Placement): void {
  const copy = (axis: number, from: number, to: number): void => {
    const inside = Math.min(chunk[axis]!, shape[axis]! - offset[axis]!);
    const fromStride = elementCount(chunk.slice(axis + 1));
    const toStride = elementCount(shape.slice(axis + 1));
    if (axis === shape.length - 1) {
      const start = (to + offset[axis]!) * elementBytes;
      data.set(bytes.subarray(from * elementBytes, (from + inside) * elementBytes), start);
      return;
    }
    for (let index = 0; index < inside; index++) copy(axis + 1, from + index * fromStride, to + (offset[axis]! + index) * toStride);
  };
  copy(0, 0, 0);
}

/** IV.A.2.i "The Data Layout Message", versions 3 and 4. */
function readLayout(body: Cursor, sizes: Sizes, rank: number, path: string): Layout {
  const version = body.uint(1);
  if (version !== 3 && version !== 4) throw unsupported(`${path} has a layout of version ${version}`);
  const kind = body.uint(1);
  if (kind === 0) return { kind: 'compact', bytes: body.take(body.uint(2)) };
  if (kind === 1) return { kind: 'contiguous', address: body.uint(sizes.address) };
  if (kind !== 2 || version === 4)
    throw unsupported(`${path} has a layout that only libver='latest' writes; save with h5py's default libver`);
  const dimensions = body.uint(1);
  const tree = body.uint(sizes.address);
  const chunk = Array.from({ length: dimensions - 1 }, () => body.uint(4));
  if (chunk.length !== rank || rank === 0 || chunk.some((size) => size === 0)) throw damaged(`${path} has chunks of [${chunk}]`);
  return { kind: 'chunked', tree, chunk };
}

/** IV.A.2.l "The Data Storage - Filter Pipeline Message". */
function readFilters(body: Cursor, path: string): Filter[] {
  const version = body.uint(1);
  const count = body.uint(1);
  if (version === 1) body.skip(6);
  else if (version !== 2) throw damaged(`filters of version ${version} in ${path}`);
  return Array.from({ length: count }, () => {
    const id = body.uint(2);
    const nameBytes = version === 1 || id >= 256 ? body.uint(2) : 0;
    body.skip(2);
    const values = body.uint(2);
    body.skip(version === 1 ? Math.ceil(nameBytes / 8) * 8 : nameBytes);
    body.skip(values * 4);
    if (version === 1 && values % 2 === 1) body.skip(4);
    if (id === 1) return 'deflate';
    if (id === 2) return 'shuffle';
    throw unsupported(`${path} is written with filter ${id}; only deflate and shuffle are read`);
  });
}

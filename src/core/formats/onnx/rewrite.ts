import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { NearfarError } from '../../errors.ts';
import type { EmittedFile } from '../model-folder.ts';
import { encodePrefix } from './encode.ts';
import { damaged } from './wire.ts';

// Changes to a few messages of an ONNX file: what is not changed stays as it was, byte for byte, and is not copied.

/** A part of a file: bytes, or bytes that are read when they are written. */
export type Piece = Uint8Array | LazyPiece;

export interface LazyPiece {
  readonly byteLength: number;
  read(): Promise<Uint8Array>;
}

type Kind = 'model' | 'graph' | 'node' | 'attribute' | 'tensor' | 'sparse' | 'function' | 'training';

/** Fields of onnx.proto that lead to tensors. */
const schema: Readonly<Record<Kind, Readonly<Record<number, Kind>>>> = {
  model: { 7: 'graph', 20: 'training', 25: 'function' },
  graph: { 1: 'node', 5: 'tensor', 15: 'sparse' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse' },
  tensor: {},
  sparse: { 1: 'tensor', 2: 'tensor' },
  function: { 7: 'node' },
  training: { 1: 'graph', 2: 'graph' },
};

/** Graphs inside attributes nest at most this deep; three messages lead from one to the next. */
const MAX_DEPTH = 3 * 64;
/** Of a protobuf message. */
const MAX_BYTES = 2 ** 31 - 1;

/**
 * A message with some of its tensors replaced.
 * @param replace The new content of a tensor; undefined where it stays.
 */
export function replaceTensors(
  bytes: Uint8Array,
  kind: Kind,
  replace: (tensor: Uint8Array) => readonly Piece[] | undefined,
  depth = 0,
): readonly Piece[] {
  if (depth > MAX_DEPTH) throw damaged('messages nest too deep');
  if (kind === 'tensor') return replace(bytes) ?? [bytes];
  return replaceFields(bytes, (field, content) => {
    const inner = schema[kind][field];
    if (inner === undefined || content === undefined) return undefined;
    const made = replaceTensors(content, inner, replace, depth + 1);
    return made.length === 1 && made[0] === content ? undefined : [...withPrefix(field, made)];
  });
}

/**
 * A message with some of its fields replaced.
 * @param replace What takes the place of a field, tag included; undefined where it stays. Content is given of fields with a length.
 */
export function replaceFields(
  bytes: Uint8Array,
  replace: (field: number, content: Uint8Array | undefined) => readonly Piece[] | undefined,
): readonly Piece[] {
  const pieces: Piece[] = [];
  const reader = new BinaryReader(bytes);
  let kept = 0;
  let isChanged = false;
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [field, type] = reader.tag();
    let content: Uint8Array | undefined;
    if (type === WireType.LengthDelimited) content = reader.bytes();
    else reader.skip(type, field);
    const made = replace(field, content);
    if (made === undefined) continue;
    if (start > kept) pieces.push(bytes.subarray(kept, start));
    pieces.push(...made);
    kept = reader.pos;
    isChanged = true;
  }
  if (!isChanged) return [bytes];
  if (kept < bytes.byteLength) pieces.push(bytes.subarray(kept));
  return pieces;
}

/** A field of these bytes. */
export function withPrefix(field: number, pieces: readonly Piece[]): readonly Piece[] {
  return [encodePrefix(field, lengthOf(pieces)), ...pieces];
}

/** @throws {NearfarError} `unsupported` for what a protobuf message cannot hold. */
export function lengthOf(pieces: readonly Piece[]): number {
  const length = pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (length <= MAX_BYTES) return length;
  throw new NearfarError('unsupported', `an ONNX file with its weights inside holds less than 2 GiB, this one would have ${length} bytes`, {
    details: { format: 'onnx', bytes: length },
  });
}

/** @param isWeight Whether a piece is a weight, for the borders of chunks. */
export function emitPieces(pieces: readonly Piece[], isWeight: (piece: Piece) => boolean): EmittedFile {
  const byteLength = lengthOf(pieces);
  let offset = 0;
  const tensors = pieces.flatMap((piece) => {
    const start = offset;
    offset += piece.byteLength;
    return isWeight(piece) ? [{ start, end: offset }] : [];
  });
  return { byteLength, tensors, read: () => readPieces(pieces) };
}

async function* readPieces(pieces: readonly Piece[]): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (const piece of pieces) {
    const bytes = piece instanceof Uint8Array ? piece : await piece.read();
    if (bytes.byteLength !== piece.byteLength) {
      throw new NearfarError('internal', `a part of ${piece.byteLength} bytes was read as ${bytes.byteLength}`);
    }
    if (bytes.byteLength > 0) yield new Uint8Array(bytes);
  }
}

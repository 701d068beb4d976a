import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { NearfarError } from '../../errors.ts';
import type { ModelFile } from '../model-folder.ts';
import { damaged } from './damaged.ts';
import { isText } from './recognise.ts';
import { tensorProto } from './schema.ts';
import { parseTextMessage } from './text-format.ts';
import { type AnySchema, decodeMessage, fieldsOf, MAX_DEPTH, RANGE_FIELD, type Schema } from './wire.ts';

// A frozen graph may hold gigabytes of weights inside its messages. They stay in the file: what is read is the message without them, and
// in their places where they are.

/** Messages of at most this many bytes are read whole; longer contents of tensors stay in the file. */
const SMALL_BYTES = 64 * 2 ** 10;

/** A graph without its large tensors; the largest that is known has some tens of megabytes. */
const MAX_BYTES = 2 ** 30;

/** Strings of JavaScript end at about this length. */
const MAX_TEXT_BYTES = 2 ** 28;

/**
 * Reads a message from a file in binary or text form.
 * @throws {NearfarError} `invalid-argument` when it is damaged, `unsupported` when it is too large.
 */
export async function readMessage<T>(schema: Schema<T>, source: ModelFile | Uint8Array): Promise<T> {
  const file = source instanceof Uint8Array ? fileOf(source) : source;
  const head = await file.read(0, Math.min(256, file.byteLength));
  if (isText(head)) {
    if (file.byteLength > MAX_TEXT_BYTES) throw tooLarge(file.byteLength, MAX_TEXT_BYTES);
    return parseTextMessage(schema, new TextDecoder().decode(await file.read(0, file.byteLength)));
  }
  const reader = new OutlineReader(file);
  const parts = await reader.read(schema as AnySchema, 0, file.byteLength, 0);
  return decodeMessage(schema, join(parts), { messages: 0, file });
}

function tooLarge(bytes: number, limit: number): NearfarError {
  return new NearfarError('unsupported', `a graph of ${bytes} bytes without its tensors is above ${limit}`, { details: { bytes, limit } });
}

/** Bytes in memory as a file; views where that is possible, because nobody writes into them. */
function fileOf(bytes: Uint8Array): ModelFile {
  const whole =
    bytes.buffer instanceof ArrayBuffer ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : new Uint8Array(bytes);
  return { byteLength: whole.byteLength, read: async (start, end) => whole.subarray(start, end) };
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts;
  if (first && parts.length === 1) return first;
  const joined = new Uint8Array(lengthOf(parts));
  let position = 0;
  for (const part of parts) {
    joined.set(part, position);
    position += part.length;
  }
  return joined;
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

class OutlineReader {
  readonly #file: ModelFile;
  #window = new Uint8Array();
  #windowStart = 0;
  #total = 0;

  constructor(file: ModelFile) {
    this.#file = file;
  }

  /** A message without its large tensors and without what the table does not name. */
  async read(schema: AnySchema, start: number, end: number, depth: number): Promise<Uint8Array[]> {
    if (end - start <= SMALL_BYTES) return [await this.#copy(start, end)];
    if (depth > MAX_DEPTH) throw damaged(`messages nest deeper than ${MAX_DEPTH}`);
    const fields = fieldsOf(schema);
    const parts: Uint8Array[] = [];
    let runStart = start; // Of fields that are taken as they are.
    const takeRun = async (runEnd: number, next: number) => {
      if (runEnd > runStart) parts.push(await this.#copy(runStart, runEnd));
      runStart = next;
    };
    for (let position = start; position < end; ) {
      const tag = await this.#varint(position);
      const number = Math.floor(tag.value / 8);
      const type = tag.value % 8;
      const length = type === WireType.LengthDelimited ? await this.#varint(tag.end) : undefined;
      const content = length?.end ?? tag.end;
      const next = content + (length?.value ?? (await this.#sizeOf(type, tag.end)));
      if (!(next <= end)) throw damaged('a field leaves its message');
      const field = fields.get(number)?.[1];
      if (!field) await takeRun(position, next);
      else if (length && length.value > SMALL_BYTES && field.type === 'message') {
        await takeRun(position, next);
        const inner = await this.read(field.schema!(), content, next, depth + 1); // a message has a table
        parts.push(new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(lengthOf(inner)).finish(), ...inner);
      } else if (length && length.value > SMALL_BYTES && schema === tensorProto && number === tensorProto.tensor_content.number) {
        await takeRun(position, next);
        const range = new BinaryWriter().tag(RANGE_FIELD, WireType.LengthDelimited).fork().int64(content).int64(next).join();
        parts.push(range.finish());
      }
      position = next;
    }
    await takeRun(end, end);
    return parts;
  }

  async #copy(start: number, end: number): Promise<Uint8Array> {
    this.#total += end - start;
    if (this.#total > MAX_BYTES) throw tooLarge(this.#total, MAX_BYTES);
    return await this.#file.read(start, end);
  }

  async #sizeOf(type: number, position: number): Promise<number> {
    if (type === WireType.Varint) return (await this.#varint(position)).end - position;
    if (type === WireType.Bit32) return 4;
    if (type === WireType.Bit64) return 8;
    throw damaged(`a field has the wire type ${type}`);
  }

  /** Negative numbers come out wrong, but nothing here asks for them. */
  async #varint(position: number): Promise<{ value: number; end: number }> {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      const byte = await this.#byte(position + i);
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) return { value, end: position + i + 1 };
    }
    throw damaged('a number is too long');
  }

  async #byte(position: number): Promise<number> {
    const byte = this.#window[position - this.#windowStart];
    if (byte !== undefined) return byte;
    if (position >= this.#file.byteLength) throw damaged('the file ends inside a field');
    this.#window = await this.#file.read(position, Math.min(position + SMALL_BYTES, this.#file.byteLength));
    this.#windowStart = position;
    return this.#window[0] ?? 0;
  }
}

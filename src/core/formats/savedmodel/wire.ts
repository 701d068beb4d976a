import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import type { ModelFile } from '../model-folder.ts';
import { damaged } from './damaged.ts';

// Protocol buffers of TensorFlow by tables: one table per message serves the binary form and the text form, names only what is read,
// and costs a browser a few hundred bytes where generated code would cost tens of kilobytes. Bytes are never copied: they are views
// into the file.

type Scalar = 'string' | 'bytes' | 'int' | 'int64' | 'uint64' | 'bool' | 'float' | 'double' | 'fixed32' | 'dataType' | 'range';

/** How a field is written. `V` is what it becomes; the tables are checked against the interfaces of `schema.ts` by it. */
export interface Field<out V> {
  readonly number: number;
  readonly type: Scalar | 'message';
  readonly label: 'one' | 'optional' | 'many' | 'map';
  readonly schema?: () => AnySchema;
  /** Only for the compiler. */
  readonly value?: V;
}

export type AnySchema = Readonly<Record<string, Field<unknown>>>;

/** A table with a field for every property of `T`, by the names of the proto file. */
export type Schema<T> = { readonly [K in keyof T]-?: Field<T[K]> };

const scalar =
  <V>(type: Scalar) =>
  (number: number): Field<V> => ({ number, type, label: 'one' });

export const string = scalar<string>('string');
export const bytes = scalar<Uint8Array>('bytes');
/** Any whole number; beyond 2^53 it is rounded. */
export const int = scalar<number>('int');
export const int64 = scalar<bigint>('int64');
export const uint64 = scalar<bigint>('uint64');
export const bool = scalar<boolean>('bool');
export const float = scalar<number>('float');
export const double = scalar<number>('double');
export const fixed32 = scalar<number>('fixed32');
/** The enum DataType, by number. */
export const dataType = scalar<number>('dataType');

/** Bytes that stayed in the file. */
export interface FileRange {
  readonly file: ModelFile;
  readonly start: number;
  readonly end: number;
}

/** The highest field number there is: no message of TensorFlow has it. */
export const RANGE_FIELD = 2 ** 29 - 1;

/** Where bytes are that were left in the file (`message-file.ts` writes it); in a file itself it is refused. */
export const range: Field<FileRange | undefined> = { number: RANGE_FIELD, type: 'range', label: 'optional' };

export function message<T>(number: number, schema: () => Schema<T>): Field<T | undefined> {
  return { number, type: 'message', label: 'one', schema: schema as () => AnySchema };
}

/** A scalar that knows whether it was there, for a oneof. */
export function optional<V>(field: Field<V>): Field<V | undefined> {
  return { ...field, label: 'optional' };
}

export function many<V>(field: Field<V>): Field<readonly NonNullable<V>[]> {
  return { number: field.number, type: field.type, label: 'many', ...(field.schema && { schema: field.schema }) };
}

/** Keys are strings; `value` has the number 2, as in every map entry. */
export function map<V>(number: number, value: Field<V>): Field<ReadonlyMap<string, NonNullable<V>>> {
  const schema = () => ({ key: string(1), value: { ...value, number: 2 } });
  return { number, type: 'message', label: 'map', schema };
}

/** Messages nest at most this deep (the limit of the protobuf libraries). */
export const MAX_DEPTH = 100;

/** A message costs two bytes in a file and some hundred in memory: this bounds what a small file can ask for. */
export const MAX_MESSAGES = 8_000_000;

/** What the messages of one file share. */
export interface Budget {
  messages: number;
  /** Where ranges are. */
  readonly file?: ModelFile;
}

/** An empty message: what fields have that are not written. */
export function emptyMessage(schema: AnySchema): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const name in schema) result[name] = emptyField(schema[name]!);
  return result;
}

function emptyField({ type, label }: Field<unknown>): unknown {
  if (label === 'many') return [];
  if (label === 'map') return new Map();
  if (label === 'optional' || type === 'message') return undefined;
  if (type === 'string') return '';
  if (type === 'bytes') return noBytes;
  if (type === 'bool') return false;
  return type === 'int64' || type === 'uint64' ? 0n : 0;
}

const noBytes = new Uint8Array();

/** Puts a value that was read into its message. */
export function setField(into: Record<string, unknown>, name: string, field: Field<unknown>, value: unknown): void {
  if (field.label === 'many') (into[name] as unknown[]).push(value);
  else if (field.label === 'map') {
    const { key, value: item } = value as { key: string; value: unknown };
    // An entry without a value stands for an empty one.
    const entry = field.schema!()['value']!;
    (into[name] as Map<string, unknown>).set(key, item ?? (entry.type === 'message' ? emptyMessage(entry.schema!()) : emptyField(entry)));
  } else into[name] = value;
}

const fieldsByNumber = new WeakMap<AnySchema, ReadonlyMap<number, readonly [string, Field<unknown>]>>();

/** The fields of a table by number, with their names. */
export function fieldsOf(schema: AnySchema): ReadonlyMap<number, readonly [string, Field<unknown>]> {
  let fields = fieldsByNumber.get(schema);
  if (!fields) {
    fields = new Map(Object.entries(schema).map(([name, field]) => [field.number, [name, field]]));
    fieldsByNumber.set(schema, fields);
  }
  return fields;
}

/**
 * Reads a message in binary form; fields that the table does not name are skipped.
 * @throws {NearfarError} `invalid-argument` when it is damaged, nests too deep or has too many parts.
 */
export function decodeMessage<T>(schema: Schema<T>, bytes: Uint8Array, budget: Budget = { messages: 0 }): T {
  try {
    return decode(schema as AnySchema, bytes, budget, 0) as T; // the table has a field for every property
  } catch (error) {
    throw damaged(error instanceof Error ? error.message : String(error), error);
  }
}

function decode(schema: AnySchema, bytes: Uint8Array, budget: Budget, depth: number): Record<string, unknown> {
  if (depth > MAX_DEPTH) throw damaged(`messages nest deeper than ${MAX_DEPTH}`);
  budget.messages += 1;
  if (budget.messages > MAX_MESSAGES) throw damaged(`more than ${MAX_MESSAGES} messages`);
  const fields = fieldsOf(schema);
  const result = emptyMessage(schema);
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    const found = fields.get(number);
    if (!found) reader.skip(wireType, number);
    else decodeField(result, found[0], found[1], reader, wireType, budget, depth);
  }
  return result;
}

function decodeField(
  into: Record<string, unknown>,
  name: string,
  field: Field<unknown>,
  reader: BinaryReader,
  wireType: WireType,
  budget: Budget,
  depth: number,
): void {
  const { type } = field;
  if (
    type !== 'message' &&
    type !== 'string' &&
    type !== 'bytes' &&
    type !== 'range' &&
    field.label === 'many' &&
    wireType === WireType.LengthDelimited
  ) {
    const packed = new BinaryReader(reader.bytes());
    const list = into[name] as unknown[];
    while (packed.pos < packed.len) list.push(decodeScalar(type, packed));
    return;
  }
  if (wireType !== wireTypes[type]) throw damaged(`field ${name} has the wire type ${wireType}, expected ${wireTypes[type]}`);
  if (type === 'range') setField(into, name, field, decodeRange(reader.bytes(), budget.file));
  else if (type !== 'message') setField(into, name, field, decodeScalar(type, reader));
  else setField(into, name, field, decode(field.schema!(), reader.bytes(), budget, depth + 1));
}

const wireTypes: Readonly<Record<Scalar | 'message', WireType>> = {
  string: WireType.LengthDelimited,
  bytes: WireType.LengthDelimited,
  message: WireType.LengthDelimited,
  range: WireType.LengthDelimited,
  int: WireType.Varint,
  int64: WireType.Varint,
  uint64: WireType.Varint,
  bool: WireType.Varint,
  dataType: WireType.Varint,
  float: WireType.Bit32,
  fixed32: WireType.Bit32,
  double: WireType.Bit64,
};

function decodeRange(bytes: Uint8Array, file: ModelFile | undefined): FileRange {
  const reader = new BinaryReader(bytes);
  const [start, end] = [Number(reader.int64()), Number(reader.int64())];
  if (file && start >= 0 && start <= end && end <= file.byteLength) return { file, start, end };
  throw damaged('a tensor is said to lie outside the file');
}

function decodeScalar(type: Exclude<Scalar, 'range'>, reader: BinaryReader): unknown {
  switch (type) {
    case 'string':
      return reader.string();
    case 'bytes':
      return reader.bytes();
    case 'int':
      return Number(reader.int64());
    case 'int64':
      return BigInt(reader.int64());
    case 'uint64':
      return BigInt(reader.uint64());
    case 'bool':
      return reader.bool();
    case 'dataType':
      return reader.int32();
    case 'float':
      return reader.float();
    case 'fixed32':
      return reader.fixed32();
    case 'double':
      return reader.double();
  }
}

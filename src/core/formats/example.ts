import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { NearfarError } from '../errors.ts';

// tf.Example (tensorflow/core/example/example.proto and feature.proto): named lists of bytes, floats or int64s.

/** One list of a tf.Example. `kind` is undefined where the feature is there but holds no list. */
export type ExampleFeature =
  | { readonly kind: 'bytes'; readonly values: readonly Uint8Array[] }
  | { readonly kind: 'float'; readonly values: readonly number[] }
  | { readonly kind: 'int64'; readonly values: readonly bigint[] }
  | { readonly kind: undefined; readonly values: readonly never[] };

const noFeature: ExampleFeature = { kind: undefined, values: [] };

/**
 * Reads a serialized tf.Example. Of a name that is there twice, the last one counts, as in TensorFlow.
 * @throws {NearfarError} `invalid-argument` when the bytes are no tf.Example.
 */
export function decodeExample(bytes: Uint8Array): ReadonlyMap<string, ExampleFeature> {
  const features = new Map<string, ExampleFeature>();
  try {
    readFields(bytes, 1, (example) => readFields(example, 1, (entry) => features.set(...decodeEntry(entry))));
  } catch (cause) {
    throw new NearfarError('invalid-argument', 'Could not parse example input: it is no serialized tf.Example', { cause });
  }
  return features;
}

function decodeEntry(entry: Uint8Array): [string, ExampleFeature] {
  let name = '';
  let feature = noFeature;
  const reader = new BinaryReader(entry);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1 && type === WireType.LengthDelimited) name = reader.string();
    else if (field === 2 && type === WireType.LengthDelimited) feature = decodeFeature(reader.bytes());
    else reader.skip(type);
  }
  return [name, feature];
}

function decodeFeature(bytes: Uint8Array): ExampleFeature {
  let feature = noFeature;
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field > 3 || type !== WireType.LengthDelimited) reader.skip(type);
    else feature = decodeList(field, reader.bytes());
  }
  return feature;
}

/** The three lists differ in the type of their one field; numbers may be packed or not. */
function decodeList(kind: number, bytes: Uint8Array): ExampleFeature {
  switch (kind) {
    case 1: {
      const values: Uint8Array[] = [];
      readFields(bytes, 1, (value) => values.push(value));
      return { kind: 'bytes', values };
    }
    case 2:
      return { kind: 'float', values: readNumbers(bytes, WireType.Bit32, (reader) => reader.float()) };
    case 3:
      return { kind: 'int64', values: readNumbers(bytes, WireType.Varint, (reader) => BigInt(reader.int64())) };
    default:
      return noFeature;
  }
}

/** Hands over each message of one length-delimited field and skips all others. */
function readFields(bytes: Uint8Array, wanted: number, take: (message: Uint8Array) => void): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === wanted && type === WireType.LengthDelimited) take(reader.bytes());
    else reader.skip(type);
  }
}

function readNumbers<T>(bytes: Uint8Array, single: WireType, read: (reader: BinaryReader) => T): T[] {
  const values: T[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1 && type === WireType.LengthDelimited) {
      const packed = new BinaryReader(reader.bytes());
      while (packed.pos < packed.len) values.push(read(packed));
    } else if (field === 1 && type === single) values.push(read(reader));
    else reader.skip(type);
  }
  return values;
}

/** A tf.Example in its serialized form; features in order of their names, so that the same ones give the same bytes. */
export function encodeExample(features: ReadonlyMap<string, ExampleFeature>): Uint8Array<ArrayBuffer> {
  const all = new BinaryWriter();
  for (const [name, feature] of [...features].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).string(name);
    entry.tag(2, WireType.LengthDelimited).bytes(encodeFeature(feature));
    all.tag(1, WireType.LengthDelimited).bytes(entry.finish());
  }
  return new Uint8Array(new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(all.finish()).finish());
}

function encodeFeature(feature: ExampleFeature): Uint8Array {
  const list = new BinaryWriter();
  switch (feature.kind) {
    case 'bytes':
      for (const value of feature.values) list.tag(1, WireType.LengthDelimited).bytes(value);
      return new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(list.finish()).finish();
    case 'float':
      for (const value of feature.values) list.float(value);
      return encodePacked(2, list);
    case 'int64':
      for (const value of feature.values) list.int64(value);
      return encodePacked(3, list);
    case undefined:
      return new Uint8Array();
  }
}

function encodePacked(kind: number, values: BinaryWriter): Uint8Array {
  const list = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(values.finish());
  return new BinaryWriter().tag(kind, WireType.LengthDelimited).bytes(list.finish()).finish();
}

import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { NearfarError } from '../errors.ts';

/**
 * Memory that one list of a message may take. V8 ends the process, and throws nothing that could be caught, where its heap (some 4 GB)
 * is full or an array grows beyond some 116 million elements.
 */
const maxListBytes = 800_000_000;

/** An array of bytes and its place in the list, whatever its length. */
const bytesPerObject = 128;

/**
 * Asserts that no list of the message, however deep, takes memory that ends the process. Numbers of variable length count by their bytes.
 * @throws {NearfarError} `invalid-argument` that names the list; whatever the reader says of damaged bytes.
 */
export function assertListsFit(schema: DescMessage, bytes: Uint8Array): void {
  const taken = new Map<DescField, number>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    const field = schema.fields.find((each) => each.number === number);
    if (!field || wireType !== WireType.LengthDelimited) {
      reader.skip(wireType, number);
      if (field) take(field, 1);
      continue;
    }
    const content = reader.bytes();
    take(field, isObject(field) ? 1 : content.length / leastBytes(field));
    if (field.message) assertListsFit(field.message, field.fieldKind === 'map' ? valueOfEntry(content) : content);
  }

  function take(field: DescField, elements: number): void {
    const sum = (taken.get(field) ?? 0) + elements * heapBytes(field);
    taken.set(field, sum);
    if (sum <= maxListBytes) return;
    const message = `${field.toString()} has too many elements: large tensors are sent as bytes (tensor_content, raw_input_contents)`;
    throw new NearfarError('invalid-argument', message, { details: { field: field.name, maxElements: maxListBytes / heapBytes(field) } });
  }
}

/** The value in an entry of a map, its second field. */
function valueOfEntry(entry: Uint8Array): Uint8Array {
  const reader = new BinaryReader(entry);
  let value: Uint8Array = new Uint8Array();
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === 2 && wireType === WireType.LengthDelimited) value = reader.bytes();
    else reader.skip(wireType, number);
  }
  return value;
}

function isObject({ message, scalar }: DescField): boolean {
  return message !== undefined || scalar === ScalarType.STRING || scalar === ScalarType.BYTES;
}

function leastBytes({ scalar }: DescField): number {
  if (scalar === ScalarType.FLOAT || scalar === ScalarType.FIXED32 || scalar === ScalarType.SFIXED32) return 4;
  return scalar === ScalarType.DOUBLE || scalar === ScalarType.FIXED64 || scalar === ScalarType.SFIXED64 ? 8 : 1;
}

const bigints: ReadonlySet<ScalarType | undefined> = new Set([
  ScalarType.INT64,
  ScalarType.UINT64,
  ScalarType.SINT64,
  ScalarType.FIXED64,
  ScalarType.SFIXED64,
]);

function heapBytes(field: DescField): number {
  if (isObject(field)) return bytesPerObject;
  return bigints.has(field.scalar) ? 32 : 8;
}

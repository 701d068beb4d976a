import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { NearfarError } from '../../errors.ts';

/** Calls `visit` for each field; a field it does not take (false) is skipped. */
export function readMessage(bytes: Uint8Array, visit: (field: number, reader: BinaryReader, type: WireType) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (!visit(field, reader, type)) reader.skip(type, field);
  }
}

export function readBytes(reader: BinaryReader, type: WireType): Uint8Array {
  if (type !== WireType.LengthDelimited) throw damaged(`wire type ${type} where bytes are expected`);
  return reader.bytes();
}

export function readText(reader: BinaryReader, type: WireType): string {
  return new TextDecoder().decode(readBytes(reader, type));
}

export function readNumber(reader: BinaryReader, type: WireType): number {
  if (type !== WireType.Varint) throw damaged(`wire type ${type} where a number is expected`);
  return Number(reader.int64());
}

export function damaged(what: string, cause?: unknown): NearfarError {
  return new NearfarError('invalid-argument', `not an ONNX model: ${what}`, { cause, details: { format: 'onnx' } });
}

/** What reading bytes that are no ONNX model throws, as `invalid-argument`. */
export function asDamaged<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof NearfarError) throw error;
    throw damaged(error instanceof Error ? error.message : String(error), error);
  }
}

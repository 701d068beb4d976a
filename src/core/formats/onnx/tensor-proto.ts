import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { damaged, readBytes, readMessage, readNumber, readText } from './wire.ts';

/** TensorProto, its data not looked into. */
export interface TensorProto {
  readonly name: string;
  readonly dataType: number;
  readonly shape: readonly number[];
  readonly raw: Uint8Array | undefined;
  /** `float_data`, packed or not. */
  readonly floats: readonly number[] | undefined;
  /** Where its data lies, when it lies in another file. */
  readonly external: Readonly<Record<string, string>> | undefined;
}

/** dims = 1, data_type = 2, float_data = 4, name = 8, raw_data = 9, external_data = 13, data_location = 14. */
export function readTensorProto(bytes: Uint8Array): TensorProto {
  const shape: number[] = [];
  const floats: number[] = [];
  const external: Record<string, string> = {};
  const found: { name: string; dataType: number; raw?: Uint8Array; isExternal: boolean } = { name: '', dataType: 0, isExternal: false };
  readMessage(bytes, (field, reader, type) => {
    if (field === 1) readDimensions(reader, type, shape);
    else if (field === 2) found.dataType = readNumber(reader, type);
    else if (field === 4) readFloats(reader, type, floats);
    else if (field === 8) found.name = readText(reader, type);
    else if (field === 9) found.raw = readBytes(reader, type);
    else if (field === 13) readEntry(readBytes(reader, type), external);
    else if (field === 14) found.isExternal = readNumber(reader, type) === 1;
    else return false;
    return true;
  });
  const { name, dataType, raw, isExternal } = found;
  return { name, dataType, shape, raw, floats: floats.length > 0 ? floats : undefined, external: isExternal ? external : undefined };
}

function readDimensions(reader: BinaryReader, type: WireType, shape: number[]): void {
  if (type !== WireType.LengthDelimited) shape.push(readDimension(readNumber(reader, type)));
  else {
    const packed = new BinaryReader(reader.bytes());
    while (packed.pos < packed.len) shape.push(readDimension(Number(packed.int64())));
  }
}

function readDimension(size: number): number {
  if (Number.isSafeInteger(size) && size >= 0) return size;
  throw damaged(`a weight has the dimension ${size}`);
}

function readFloats(reader: BinaryReader, type: WireType, floats: number[]): void {
  if (type === WireType.Bit32) floats.push(reader.float());
  else {
    const packed = new BinaryReader(readBytes(reader, type));
    while (packed.pos < packed.len) floats.push(packed.float());
  }
}

/** StringStringEntryProto. */
function readEntry(bytes: Uint8Array, entries: Record<string, string>): void {
  let key = '';
  let value = '';
  readMessage(bytes, (field, reader, type) => {
    if (field === 1) key = readText(reader, type);
    else if (field === 2) value = readText(reader, type);
    else return false;
    return true;
  });
  Object.defineProperty(entries, key, { value, enumerable: true, configurable: true, writable: true });
}

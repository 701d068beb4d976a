import { NearfarError } from '../errors.ts';
import {
  type AnyTensor,
  bytesPerElement,
  createTensor,
  type DType,
  dataFromBytes,
  elementCount,
  type NumericDType,
  type TensorMap,
} from '../tensor/index.ts';

// The safetensors format (https://github.com/huggingface/safetensors#format): 8 bytes with the header's length, a JSON
// header, the tensors' bytes. It has no strings: a string tensor is written as a U8 vector in the BYTES form of the Open
// Inference Protocol (per element a little-endian uint32 length, then the bytes), its shape in the file's metadata under
// `nearfar.strings`, a JSON object of tensor name → shape.

const STRINGS_KEY = 'nearfar.strings';

/** The limit of the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;

const codes = {
  bool: 'BOOL',
  uint8: 'U8',
  int8: 'I8',
  uint16: 'U16',
  int16: 'I16',
  uint32: 'U32',
  int32: 'I32',
  uint64: 'U64',
  int64: 'I64',
  float16: 'F16',
  bfloat16: 'BF16',
  float32: 'F32',
  float64: 'F64',
  complex64: 'C64',
} as const satisfies Partial<Record<NumericDType, string>>;

const dtypesByCode = new Map<string, NumericDType>(Object.entries(codes).map(([dtype, code]) => [code, dtype as keyof typeof codes]));

interface Entry {
  readonly name: string;
  readonly dtype: keyof typeof codes;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/**
 * Writes tensors as a safetensors file; equal tensors give equal bytes.
 * @throws {NearfarError} `unsupported` for complex128, which the format does not have.
 */
export function encodeSafetensors(tensors: TensorMap): Uint8Array<ArrayBuffer> {
  const entries = Object.entries(tensors).map(([name, tensor]) => entryOf(name, tensor));
  // The largest elements first keeps every tensor aligned, as the reference implementation does.
  entries.sort((a, b) => bytesPerElement(b.dtype) - bytesPerElement(a.dtype) || (a.name < b.name ? -1 : 1));
  const strings = Object.entries(tensors).filter(([, tensor]) => tensor.dtype === 'string');
  strings.sort(([a], [b]) => (a < b ? -1 : 1));
  const header: [string, unknown][] = [];
  if (strings.length > 0) {
    header.push(['__metadata__', { [STRINGS_KEY]: JSON.stringify(Object.fromEntries(strings.map(([name, { shape }]) => [name, shape]))) }]);
  }
  let offset = 0;
  for (const { name, dtype, shape, bytes } of entries) {
    header.push([name, { dtype: codes[dtype], shape, data_offsets: [offset, offset + bytes.byteLength] }]);
    offset += bytes.byteLength;
  }
  const text = JSON.stringify(Object.fromEntries(header));
  const json = new TextEncoder().encode(text + ' '.repeat((8 - (new TextEncoder().encode(text).byteLength % 8)) % 8));
  const file = new Uint8Array(8 + json.byteLength + offset);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.byteLength), true);
  file.set(json, 8);
  let position = 8 + json.byteLength;
  for (const { bytes } of entries) {
    file.set(bytes, position);
    position += bytes.byteLength;
  }
  return file;
}

/**
 * Reads a safetensors file; the tensors share its memory where the alignment allows.
 * @throws {NearfarError} `invalid-argument` when the file is damaged; `unsupported` for an element type without a dtype here (8-bit floats).
 */
export function decodeSafetensors(file: Uint8Array): TensorMap {
  const { entries, strings, data } = parseHeader(file);
  const tensors: [string, AnyTensor][] = [];
  let covered = 0;
  for (const { name, dtype, shape, start, end } of entries.sort((a, b) => a.start - b.start || a.end - b.end)) {
    const bytes = elementCount(shape) * bytesPerElement(dtype);
    if (start !== covered || end - start !== bytes || end > data.byteLength) {
      throw damaged(`tensor ${name} should hold ${bytes} bytes from ${covered}, its offsets are ${start} to ${end}`);
    }
    covered = end;
    const content = data.subarray(start, end);
    const stringShape = strings.get(name);
    if (stringShape) tensors.push([name, decodeStrings(name, stringShape, content)]);
    // The cast says what the union cannot: the data's array is that of the dtype.
    else tensors.push([name, createTensor(dtype, shape, dataFromBytes(dtype, content)) as AnyTensor]);
  }
  if (covered !== data.byteLength) throw damaged(`${data.byteLength - covered} bytes belong to no tensor`);
  return Object.fromEntries(tensors);
}

function entryOf(name: string, tensor: AnyTensor): Entry {
  if (tensor.dtype === 'string') {
    const bytes = encodeStrings(tensor.data);
    return { name, dtype: 'uint8', shape: [bytes.byteLength], bytes };
  }
  const { dtype, shape, data } = tensor;
  if (!isWritable(dtype))
    throw new NearfarError('unsupported', `safetensors has no ${dtype}, tensor ${name}`, { details: { name, dtype } });
  return { name, dtype, shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

function isWritable(dtype: DType): dtype is keyof typeof codes {
  return Object.hasOwn(codes, dtype);
}

function encodeStrings(strings: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(strings.reduce((sum, { byteLength }) => sum + 4 + byteLength, 0));
  const view = new DataView(bytes.buffer);
  let position = 0;
  for (const string of strings) {
    view.setUint32(position, string.byteLength, true);
    bytes.set(string, position + 4);
    position += 4 + string.byteLength;
  }
  return bytes;
}

function decodeStrings(name: string, shape: readonly number[], bytes: Uint8Array): AnyTensor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const strings: Uint8Array[] = [];
  let position = 0;
  while (position < bytes.byteLength) {
    const start = position + 4;
    const end = start <= bytes.byteLength ? start + view.getUint32(position, true) : Number.POSITIVE_INFINITY;
    if (end > bytes.byteLength) throw damaged(`string tensor ${name} ends inside element ${strings.length}`);
    strings.push(bytes.subarray(start, end));
    position = end;
  }
  if (strings.length !== elementCount(shape)) throw damaged(`string tensor ${name} of shape [${shape}] holds ${strings.length} elements`);
  return createTensor('string', shape, strings);
}

interface ParsedEntry {
  readonly name: string;
  readonly dtype: NumericDType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

function parseHeader(file: Uint8Array): { entries: ParsedEntry[]; strings: Map<string, readonly number[]>; data: Uint8Array } {
  if (file.byteLength < 8) throw damaged(`${file.byteLength} bytes are too few for a header`);
  const length = Number(new DataView(file.buffer, file.byteOffset, 8).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES || 8 + length > file.byteLength) throw damaged(`a header of ${length} bytes does not fit`);
  const header = parseJson(file.subarray(8, 8 + length));
  if (!isRecord(header)) throw damaged('the header is no JSON object');
  const strings = parseStringShapes(header['__metadata__']);
  const entries = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, entry]) => parseEntry(name, entry));
  return { entries, strings, data: file.subarray(8 + length) };
}

function parseEntry(name: string, entry: unknown): ParsedEntry {
  if (!isRecord(entry)) throw damaged(`tensor ${name} has no description`);
  const { dtype: code, shape, data_offsets: offsets } = entry;
  if (typeof code !== 'string' || !isCounts(shape) || !isCounts(offsets)) throw damaged(`tensor ${name} has no dtype, shape or offsets`);
  const dtype = dtypesByCode.get(code);
  if (!dtype) throw new NearfarError('unsupported', `tensor ${name} has the element type ${code}`, { details: { name, dtype: code } });
  const [start, end] = offsets;
  if (offsets.length !== 2 || start === undefined || end === undefined || start > end) throw damaged(`tensor ${name} has wrong offsets`);
  return { name, dtype, shape, start, end };
}

function parseStringShapes(metadata: unknown): Map<string, readonly number[]> {
  const text = isRecord(metadata) ? metadata[STRINGS_KEY] : undefined;
  if (text === undefined) return new Map();
  const shapes = typeof text === 'string' ? parseJson(new TextEncoder().encode(text)) : undefined;
  if (!isRecord(shapes)) throw damaged(`${STRINGS_KEY} is no JSON object`);
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      if (!isCounts(shape)) throw damaged(`string tensor ${name} has no shape`);
      return [name, shape];
    }),
  );
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw damaged('the header is not JSON', cause);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function damaged(message: string, cause?: unknown): NearfarError {
  return new NearfarError('invalid-argument', `not a safetensors file: ${message}`, { cause, details: { format: 'safetensors' } });
}

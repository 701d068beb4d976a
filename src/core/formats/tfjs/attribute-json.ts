import { decodeBase64, encodeBase64 } from '../../base64.ts';
import { NearfarError } from '../../errors.ts';
import { type Attribute, attribute as attributes, type GraphDType, type PartialShape } from '../graph/index.ts';
import { nameOfType, typeOfName } from './data-types.ts';

// AttrValue of tensorflow/core/framework/attr_value.proto in JSON form, as tfjs-converter's operation_mapper reads it: int64 as
// strings, bytes as base64.

type Json = Readonly<Record<string, unknown>>;

/**
 * An attribute in JSON form; of a tensor the type and the shape only, its values are among the weights.
 * @param narrow What becomes of its types.
 */
export function encodeAttribute(attribute: Attribute, narrow: (type: GraphDType) => GraphDType): Json {
  switch (attribute.kind) {
    case 'string':
      return { s: encodeBase64(attribute.bytes ?? new TextEncoder().encode(attribute.value)) };
    case 'int':
      return { i: String(attribute.value) };
    case 'float':
      return { f: finite(attribute.value) };
    case 'bool':
      return { b: attribute.value };
    case 'type':
      return { type: nameOfType(narrow(attribute.value)) };
    case 'shape':
      return { shape: encodeShape(attribute.value) };
    case 'tensor': {
      const { dtype, shape } = attribute.value;
      return { tensor: { dtype: nameOfType(narrow(dtype)), tensorShape: encodeShape(shape) } };
    }
    case 'function':
      return { func: { name: attribute.value, attr: {} } };
    case 'list':
      return { list: encodeList(attribute.value, narrow) };
  }
}

/** AttrValue.ListValue: one array, named by the kind of its items. */
function encodeList(items: readonly Attribute[], narrow: (type: GraphDType) => GraphDType): Json {
  const lists: Record<string, unknown[]> = {};
  for (const item of items) {
    const [kind, value] = Object.entries(encodeAttribute(item, narrow))[0]!; // encodeAttribute gives exactly one
    const list = lists[kind];
    if (list) list.push(value);
    else lists[kind] = [value];
  }
  return lists;
}

export function encodeShape(shape: PartialShape): Json {
  return shape === undefined ? { unknownRank: true } : { dim: shape.map((size) => ({ size: String(size) })) };
}

/** JSON has no infinity, and the converter reads a quoted one as NaN: the largest float32 does as well in a comparison. */
function finite(value: number): number {
  const largest = (2 - 2 ** -23) * 2 ** 127;
  return Math.min(Math.max(value, -largest), largest);
}

/**
 * The inverse, but for tensors: their values are found elsewhere, so they are left out.
 * @returns Undefined for a tensor, and for an attribute without a value.
 */
export function decodeAttribute(where: string, json: unknown): Attribute | undefined {
  if (!isRecord(json)) throw damaged(where, 'is no JSON object');
  if ('list' in json) return { kind: 'list', value: decodeList(where, json['list']) };
  const entry = Object.entries(json).find(([kind]) => scalars.has(kind));
  return entry && decodeScalar(where, entry[0], entry[1]);
}

const scalars = new Set(['s', 'i', 'f', 'b', 'type', 'shape', 'func']);

function decodeList(where: string, json: unknown): Attribute[] {
  if (json === null || json === undefined) return [];
  if (!isRecord(json)) throw damaged(where, 'has a list that is no JSON object');
  return Object.entries(json).flatMap(([kind, values]) => {
    if (!Array.isArray(values) || !scalars.has(kind)) return [];
    return values.map((value: unknown) => decodeScalar(where, kind, value));
  });
}

function decodeScalar(where: string, kind: string, value: unknown): Attribute {
  switch (kind) {
    case 's':
      return attributes.stringOfBytes(decodeBytes(where, value));
    case 'i':
      return { kind: 'int', value: decodeNumber(where, value) };
    case 'f':
      return { kind: 'float', value: decodeNumber(where, value) };
    case 'b':
      return { kind: 'bool', value: value === true };
    case 'type': {
      const type = typeOfName(value);
      if (type) return { kind: 'type', value: type };
      throw new NearfarError('unsupported', `${where} is of the type ${String(value)}`, { details: { type: String(value) } });
    }
    case 'shape':
      return { kind: 'shape', value: decodeShape(where, value) };
    default: {
      const name = isRecord(value) ? value['name'] : undefined;
      if (typeof name !== 'string') throw damaged(where, 'names no function');
      return { kind: 'function', value: name };
    }
  }
}

function decodeBytes(where: string, value: unknown): Uint8Array {
  const bytes = typeof value === 'string' ? decodeBase64(value) : isBytes(value) ? Uint8Array.from(value) : undefined;
  if (bytes === undefined) throw damaged(where, 'is no base64');
  return bytes;
}

function isBytes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((byte) => Number.isInteger(byte) && byte >= 0 && byte < 256);
}

function decodeNumber(where: string, value: unknown): number {
  if (typeof value === 'number') return value;
  // Protobuf's JSON names what JSON cannot write.
  if (typeof value === 'string' && /^(-?Infinity|NaN|[-+]?[\d.]+(e[-+]?\d+)?)$/i.test(value)) return Number(value);
  throw damaged(where, 'is no number');
}

/** A TensorShapeProto in JSON form; sizes are strings there, and a size of 0 may be left out. */
export function decodeShape(where: string, shape: unknown): number[] | undefined {
  if (!isRecord(shape) || shape['unknownRank'] === true) return undefined;
  const dimensions = shape['dim'] ?? [];
  if (!Array.isArray(dimensions) || dimensions.length > MAX_RANK) throw damaged(where, 'has a shape without dimensions');
  return dimensions.map((dimension: unknown) => {
    const size = isRecord(dimension) ? Number(dimension['size'] ?? 0) : Number.NaN;
    if (!Number.isSafeInteger(size)) throw damaged(where, 'has a shape with a dimension that is no whole number');
    return size < 0 ? -1 : size; // Grappler leaves symbolic sizes of -2 and less
  });
}

/** TensorFlow's own limit (TensorShape::MaxDimensions). */
const MAX_RANK = 254;

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function damaged(where: string, message: string): NearfarError {
  return new NearfarError('invalid-argument', `not a TensorFlow.js GraphModel: ${where} ${message}`, { details: { format: 'tfjs-graph' } });
}

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { DType } from '../../tensor/index.ts';
import type { PartialShape } from '../graph/index.ts';
import { dataTypeOf } from './data-types.ts';

// The parts of onnx.proto that a converted graph needs, as plain data and as bytes. Field numbers are the proto file's.

/** A whole number is an int, a list of them ints; floats and graphs say what they are. */
export type OnnxAttribute = number | string | readonly number[] | { readonly float: number } | { readonly graph: OnnxGraph };
export type OnnxAttributes = Readonly<Record<string, OnnxAttribute>>;

export interface OnnxNode {
  readonly op: string;
  readonly name: string;
  /** An optional input that is left out is the empty string. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: OnnxAttributes;
}

export interface OnnxTensorInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: PartialShape;
}

/** A graph without its weights; in an attribute it reads names of the graphs around it. */
export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxTensorInfo[];
  readonly outputs: readonly OnnxTensorInfo[];
}

type Field = readonly [field: number, value: number | string | Uint8Array];

/** A message of these fields: numbers as varints, strings and bytes with their length. */
export function encodeMessage(fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  for (const [field, value] of fields) {
    if (typeof value === 'number') writer.tag(field, WireType.Varint).int64(value);
    else if (typeof value === 'string') writer.tag(field, WireType.LengthDelimited).string(value);
    else writer.tag(field, WireType.LengthDelimited).bytes(value);
  }
  return new Uint8Array(writer.finish());
}

/** What stands before `length` bytes of a field. */
export function encodePrefix(field: number, length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new BinaryWriter().tag(field, WireType.LengthDelimited).uint32(length).finish());
}

/** NodeProto. */
export function encodeNode({ op, name, inputs, outputs, attributes }: OnnxNode): Uint8Array<ArrayBuffer> {
  return encodeMessage([
    ...inputs.map((input) => [1, input] as const),
    ...outputs.map((output) => [2, output] as const),
    [3, name],
    [4, op],
    ...Object.entries(attributes).map(([key, value]) => [5, encodeAttribute(key, value)] as const),
  ]);
}

/** AttributeProto: name = 1, f = 2, i = 3, s = 4, g = 6, ints = 8, type = 20. */
function encodeAttribute(name: string, value: OnnxAttribute): Uint8Array {
  const simple = (field: number, content: number | string | Uint8Array, type: number) =>
    encodeMessage([
      [1, name],
      [field, content],
      [20, type],
    ]);
  if (typeof value === 'number') return simple(3, value, 2);
  if (typeof value === 'string') return simple(4, value, 3);
  if ('graph' in value) return simple(6, encodeGraph(value.graph), 5);
  const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).string(name);
  if ('float' in value) writer.tag(2, WireType.Bit32).float(value.float).tag(20, WireType.Varint).int32(1);
  else {
    for (const item of value) writer.tag(8, WireType.Varint).int64(item);
    writer.tag(20, WireType.Varint).int32(7);
  }
  return writer.finish();
}

/** GraphProto: node = 1, name = 2, input = 11, output = 12. */
export function encodeGraph({ nodes, inputs, outputs }: OnnxGraph): Uint8Array<ArrayBuffer> {
  return encodeMessage([
    ...nodes.map((node) => [1, encodeNode(node)] as const),
    [2, 'graph'],
    ...inputs.map((input) => [11, encodeTensorInfo(input)] as const),
    ...outputs.map((output) => [12, encodeTensorInfo(output)] as const),
  ]);
}

/** ValueInfoProto; an unknown size is a dimension without a value. */
function encodeTensorInfo({ name, dtype, shape }: OnnxTensorInfo): Uint8Array {
  const dimensions = shape?.map((size) => [1, encodeMessage(size < 0 ? [] : [[1, size]])] as const);
  const tensorType = encodeMessage([[1, dataTypeOf(dtype)], ...(dimensions ? [[2, encodeMessage(dimensions)] as const] : [])]);
  return encodeMessage([
    [1, name],
    [2, encodeMessage([[1, tensorType]])],
  ]);
}

/** TensorProto up to its raw data, whose bytes follow. */
export function encodeTensorHead(name: string, dtype: DType, shape: readonly number[], byteLength: number): Uint8Array<ArrayBuffer> {
  const head = encodeMessage([...shape.map((size) => [1, size] as const), [2, dataTypeOf(dtype)], [8, name]]);
  return concatBytes([head, encodePrefix(9, byteLength)]);
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.byteLength;
  }
  return whole;
}

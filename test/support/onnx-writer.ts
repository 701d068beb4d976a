import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

// Writes the little of onnx.proto that tests of the reader need; field numbers are the proto file's.

export type Fields = readonly (readonly [field: number, value: number | string | Uint8Array])[];

/** A protobuf message: numbers as varints, strings and bytes with their length. */
export function message(fields: Fields): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  for (const [field, value] of fields) {
    if (typeof value === 'number') writer.tag(field, WireType.Varint).int64(value);
    else if (typeof value === 'string') writer.tag(field, WireType.LengthDelimited).string(value);
    else writer.tag(field, WireType.LengthDelimited).bytes(value);
  }
  return new Uint8Array(writer.finish());
}

/** @param shape Numbers are dim_value, strings dim_param. */
export function valueInfo(name: string, elementType: number, shape: readonly (number | string)[] | undefined): Uint8Array {
  const dims: Fields = (shape ?? []).map((size) => [1, message([[typeof size === 'number' ? 1 : 2, size]])]);
  const tensorType = message([[1, elementType], ...(shape ? ([[2, message(dims)]] as const) : [])]);
  return message([
    [1, name],
    [2, message([[1, tensorType]])],
  ]);
}

export function initializer(name: string, dataType: number, dims: readonly number[], raw: Uint8Array): Uint8Array {
  return message([...dims.map((size) => [1, size] as const), [2, dataType], [8, name], [9, raw]]);
}

export function node(op: string, inputs: readonly string[], outputs: readonly string[], more: Fields = []): Uint8Array {
  return message([...inputs.map((name) => [1, name] as const), ...outputs.map((name) => [2, name] as const), [4, op], ...more]);
}

export function onnxModel(graph: Fields, opset = 13): Uint8Array<ArrayBuffer> {
  return message([
    [1, 8],
    [7, message([...graph, [2, 'graph']])],
    [8, message([[2, opset]])],
  ]);
}

/** `y = x * factor` elementwise; x and y float32 of one declared shape. */
export function scalingModel(factor: number, shape: readonly (number | string)[] = ['n', 3]): Uint8Array<ArrayBuffer> {
  return onnxModel([
    [1, node('Mul', ['x', 'factor'], ['y'])],
    [5, initializer('factor', 1, [1], new Uint8Array(Float32Array.of(factor).buffer))],
    [11, valueInfo('x', 1, shape)],
    [12, valueInfo('y', 1, shape)],
  ]);
}

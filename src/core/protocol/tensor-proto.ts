import { create } from '@bufbuild/protobuf';
import { NearfarError } from '../errors.ts';
import {
  type AnyTensor,
  bytesPerElement,
  createData,
  createTensor,
  type DType,
  dataFromBytes,
  elementCount,
  itemsPerElement,
  type NumericDType,
} from '../tensor/index.ts';
import { type TensorProto, TensorProtoSchema } from './gen/tensorflow/core/framework/tensor_pb.ts';
import { numericTensor } from './numeric-tensor.ts';
import { dataTypeOf, dtypeOfDataType } from './wire-dtypes.ts';

const maxTensorBytes = 2 ** 31 - 1;

/** A value that stands for all that follow makes large tensors of small messages; this bounds them. */
const maxRepeatedBytes = 2 ** 27;

/** Of a string besides its own bytes, as TensorFlow counts it (sizeof tstring). */
const bytesPerString = 24;

/** The highest rank of a TensorFlow tensor (TensorShape::MaxDimensions). */
const maxRank = 254;

/**
 * A TensorProto with the elements in the typed `*_val` field of its dtype, as TensorFlow Serving answers; with
 * `asContent` in `tensor_content` (strings have no such form and stay in `string_val`).
 */
export function encodeTensorProto(tensor: AnyTensor, options: { readonly asContent?: boolean } = {}): TensorProto {
  const proto = create(TensorProtoSchema, {
    dtype: dataTypeOf(tensor.dtype),
    tensorShape: { dim: tensor.shape.map((size) => ({ size: BigInt(size) })) },
  });
  if (options.asContent && tensor.dtype !== 'string') {
    const { buffer, byteOffset, byteLength } = tensor.data;
    proto.tensorContent = new Uint8Array(buffer, byteOffset, byteLength);
    return proto;
  }
  setTypedValues(proto, tensor);
  return proto;
}

function setTypedValues(proto: TensorProto, tensor: AnyTensor): void {
  switch (tensor.dtype) {
    case 'float32':
      proto.floatVal = Array.from(tensor.data);
      return;
    case 'float64':
      proto.doubleVal = Array.from(tensor.data);
      return;
    case 'int32':
    case 'int16':
    case 'uint16':
    case 'int8':
    case 'uint8':
      proto.intVal = Array.from(tensor.data);
      return;
    case 'float16':
    case 'bfloat16':
      proto.halfVal = Array.from(tensor.data);
      return;
    case 'string':
      proto.stringVal = [...tensor.data];
      return;
    case 'int64':
      proto.int64Val = Array.from(tensor.data);
      return;
    case 'uint64':
      proto.uint64Val = Array.from(tensor.data);
      return;
    case 'uint32':
      proto.uint32Val = Array.from(tensor.data);
      return;
    case 'bool':
      proto.boolVal = Array.from(tensor.data, (value) => value !== 0);
      return;
    case 'complex64':
      proto.scomplexVal = Array.from(tensor.data);
      return;
    case 'complex128':
      proto.dcomplexVal = Array.from(tensor.data);
      return;
  }
}

/**
 * The tensor of a TensorProto in either encoding. As in TensorFlow's Tensor::FromProto, missing typed values repeat the
 * last one, none at all is zeros, and `tensor_content` must have the exact length.
 * @param alias Name of the input, for error texts.
 * @throws {NearfarError} `invalid-argument` (`tensor parsing error: <alias>`, TensorFlow Serving's text).
 */
export function decodeTensorProto(proto: TensorProto, alias: string): AnyTensor {
  const fail = (reason: string): never => {
    throw new NearfarError('invalid-argument', `tensor parsing error: ${alias}`, { details: { input: alias, reason } });
  };
  const dtype = dtypeOfDataType(proto.dtype);
  if (dtype === undefined) return fail(`data type ${proto.dtype} is not supported`);
  const shape = decodeShape(proto, fail);
  const elements = elementCount(shape);
  const bytes = elements * (dtype === 'string' ? bytesPerString : bytesPerElement(dtype));
  const isTooLarge =
    bytes > maxTensorBytes || (bytes > maxRepeatedBytes && proto.tensorContent.length === 0 && mostValues(proto) < elements);
  if (isTooLarge || Number.isNaN(bytes)) fail(`shape [${shape}] is too large`);
  return dtype === 'string' ? decodeStrings(proto, shape, elements, fail) : decodeNumbers(proto, dtype, shape, elements, fail);
}

/** The length of its longest list: of the dtype's, or the message is wrong anyway. */
function mostValues(proto: TensorProto): number {
  return Object.values(proto).reduce((most: number, field: unknown) => (Array.isArray(field) ? Math.max(most, field.length) : most), 0);
}

function decodeShape(proto: TensorProto, fail: (reason: string) => never): number[] {
  const { dim, unknownRank } = proto.tensorShape ?? { dim: [], unknownRank: false };
  if (unknownRank) fail('the rank is unknown');
  if (dim.length > maxRank) fail(`rank ${dim.length} is above ${maxRank}`);
  return dim.map(({ size }) => (size >= 0n && size <= BigInt(maxTensorBytes) ? Number(size) : fail(`dimension ${size} is not valid`)));
}

function decodeStrings(proto: TensorProto, shape: number[], elements: number, fail: (reason: string) => never): AnyTensor {
  if (proto.tensorContent.length > 0) fail('strings are sent in string_val');
  const values = proto.stringVal.slice(0, elements);
  const last = values.at(-1) ?? new Uint8Array();
  while (values.length < elements) values.push(last);
  return createTensor('string', shape, values);
}

function decodeNumbers(
  proto: TensorProto,
  dtype: NumericDType,
  shape: number[],
  elements: number,
  fail: (reason: string) => never,
): AnyTensor {
  if (proto.tensorContent.length > 0) {
    const want = elements * bytesPerElement(dtype);
    if (proto.tensorContent.length !== want) fail(`tensor_content has ${proto.tensorContent.length} bytes, expected ${want}`);
    return numericTensor(dtype, shape, dataFromBytes(dtype, proto.tensorContent));
  }
  const tensor = numericTensor(dtype, shape, createData(dtype, elements));
  fillTyped(tensor, proto);
  return tensor;
}

function fillTyped(tensor: AnyTensor, proto: TensorProto): void {
  switch (tensor.dtype) {
    case 'float32':
      fill(tensor.data, proto.floatVal, tensor.dtype);
      return;
    case 'float64':
      fill(tensor.data, proto.doubleVal, tensor.dtype);
      return;
    case 'int32':
    case 'int16':
    case 'uint16':
    case 'int8':
    case 'uint8':
      fill(tensor.data, proto.intVal, tensor.dtype);
      return;
    case 'float16':
    case 'bfloat16':
      fill(tensor.data, proto.halfVal, tensor.dtype);
      return;
    case 'int64':
      fill(tensor.data, proto.int64Val, tensor.dtype);
      return;
    case 'uint64':
      fill(tensor.data, proto.uint64Val, tensor.dtype);
      return;
    case 'uint32':
      fill(tensor.data, proto.uint32Val, tensor.dtype);
      return;
    case 'bool':
      fill(tensor.data, proto.boolVal.map(Number), tensor.dtype);
      return;
    case 'complex64':
      fill(tensor.data, proto.scomplexVal, tensor.dtype);
      return;
    case 'complex128':
      fill(tensor.data, proto.dcomplexVal, tensor.dtype);
      return;
    case 'string':
      return;
  }
}

/** Copies the values and repeats the last element (one item, or two for a complex number) to the end. */
function fill<T extends number | bigint>(data: { readonly length: number; [index: number]: T }, values: readonly T[], dtype: DType): void {
  const items = itemsPerElement(dtype);
  const given = Math.min(values.length - (values.length % items), data.length);
  for (let i = 0; i < given; i++) data[i] = values[i]!; // the loop bound proves the index
  if (given === 0) return;
  for (let i = given; i < data.length; i++) data[i] = data[i - items]!; // given >= items
}

import { NearfarError } from '../../errors.ts';
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
} from '../../tensor/index.ts';
import type { Constant, PartialShape } from '../graph/index.ts';
import { damaged } from './damaged.ts';
import { graphDType } from './data-types.ts';
import type { ShapeProto, TensorProto } from './schema.ts';

/** The largest tensor: one value may stand for all elements, so that a small message can ask for any size. */
export const MAX_TENSOR_BYTES = 2 ** 31 - 1;

/** The largest tensor that one value may stand for: a damaged message of some bytes could ask for gigabytes. */
const MAX_REPEATED_BYTES = 2 ** 28;

/** A reference to a string, in memory. */
const REFERENCE_BYTES = 8;

/** The highest rank of a TensorFlow tensor (TensorShape::MaxDimensions). */
const MAX_RANK = 254;

/** Undefined for an unknown rank. */
export function partialShape(proto: ShapeProto | undefined): PartialShape {
  if (proto === undefined || proto.unknown_rank) return undefined;
  if (proto.dim.length > MAX_RANK) throw damaged(`a shape of rank ${proto.dim.length} is above ${MAX_RANK}`);
  return proto.dim.map(({ size }) => {
    if (!Number.isSafeInteger(size) || size < -1) throw damaged(`a shape has the dimension ${size}`);
    return size;
  });
}

/**
 * A shape that a tensor of this dtype can have.
 * @throws {NearfarError} `invalid-argument` for an unknown or an absurd one.
 */
export function fullShape(proto: ShapeProto | undefined, dtype: DType, where: string): readonly number[] {
  const shape = partialShape(proto ?? { dim: [], unknown_rank: false });
  if (shape?.some((size) => size < 0) !== false) throw damaged(`${where} has no full shape`);
  const size = elementCount(shape) * (dtype === 'string' ? 1 : bytesPerElement(dtype));
  if (!(size <= MAX_TENSOR_BYTES)) throw damaged(`${where} of shape [${shape}] is above ${MAX_TENSOR_BYTES} bytes`);
  return shape;
}

/** A dtype of data; handles are refused. */
export function dataDType(number: number, where: string): DType {
  const dtype = graphDType(number, where);
  if (dtype !== 'resource' && dtype !== 'variant') return dtype;
  throw new NearfarError('unsupported', `${where} is a ${dtype}, expected numbers or strings`, { details: { dtype } });
}

const constants = new WeakMap<TensorProto, Constant>();

/** The constant of a TensorProto; the same one for the same message. */
export function constantOfProto(proto: TensorProto, where: string): Constant {
  const known = constants.get(proto);
  if (known) return known;
  const dtype = dataDType(proto.dtype, where);
  const shape = fullShape(proto.tensor_shape, dtype, where);
  const constant = dtype === 'string' ? stringConstant(proto, shape, where) : numericConstant(proto, dtype, shape, where);
  constants.set(proto, constant);
  return constant;
}

/** As in TensorFlow's Tensor::FromProto: the last string stands for all that are missing. */
function stringConstant(proto: TensorProto, shape: readonly number[], where: string): Constant {
  const elements = elementCount(shape);
  if (elements > proto.string_val.length) assertRepeatable(elements * REFERENCE_BYTES, where);
  const given = proto.string_val.slice(0, elements);
  const last = given.at(-1) ?? new Uint8Array();
  const byteLength = given.reduce((sum, { length }) => sum + length, 0) + (elements - given.length) * last.length;
  const load = async () => {
    const values = Array.from({ length: elements }, (_, index) => given[index] ?? last);
    return createTensor('string', shape, values);
  };
  return { dtype: 'string', shape, byteLength, load };
}

function numericConstant(proto: TensorProto, dtype: NumericDType, shape: readonly number[], where: string): Constant {
  const byteLength = elementCount(shape) * bytesPerElement(dtype);
  const { tensor_content: content, range } = proto;
  if (range) {
    const { file, start, end } = range;
    if (end - start !== byteLength) throw damaged(`${where} of shape [${shape}] has ${end - start} bytes, expected ${byteLength}`);
    return { dtype, shape, byteLength, load: async () => numericTensor(dtype, shape, dataFromBytes(dtype, await file.read(start, end))) };
  }
  if (content.length > 0) {
    if (content.length !== byteLength) throw damaged(`${where} of shape [${shape}] has ${content.length} bytes, expected ${byteLength}`);
    return { dtype, shape, byteLength, load: async () => numericTensor(dtype, shape, dataFromBytes(dtype, content)) };
  }
  const values = typedValues(proto, dtype);
  if (values.length < elementCount(shape)) assertRepeatable(byteLength, where);
  const load = async () => {
    const data = createData(dtype, elementCount(shape));
    fill(data as Fillable, values, itemsPerElement(dtype)); // bigints go into 64-bit arrays only, see typedValues
    return numericTensor(dtype, shape, data);
  };
  return { dtype, shape, byteLength, load };
}

function assertRepeatable(bytes: number, where: string): void {
  if (bytes > MAX_REPEATED_BYTES) throw damaged(`${where} repeats a value to ${bytes} bytes, above ${MAX_REPEATED_BYTES}`);
}

/** A tensor of a dtype that is only known at run time. */
export function numericTensor(dtype: NumericDType, shape: readonly number[], data: AnyTensor['data']): AnyTensor {
  return createTensor<DType>(dtype, shape, data) as AnyTensor; // createData and dataFromBytes make the array of the dtype
}

interface Fillable {
  readonly length: number;
  [index: number]: number | bigint;
}

function typedValues(proto: TensorProto, dtype: NumericDType): readonly (number | bigint)[] {
  switch (dtype) {
    case 'float32':
      return proto.float_val;
    case 'float64':
      return proto.double_val;
    case 'float16':
    case 'bfloat16':
      return proto.half_val;
    case 'int64':
      return proto.int64_val;
    case 'uint64':
      return proto.uint64_val;
    case 'uint32':
      return proto.uint32_val;
    case 'bool':
      return proto.bool_val.map(Number);
    case 'complex64':
      return proto.scomplex_val;
    case 'complex128':
      return proto.dcomplex_val;
    default:
      return proto.int_val;
  }
}

/** Copies the values and repeats the last element (two items of a complex number) to the end. */
function fill(data: Fillable, values: readonly (number | bigint)[], items: number): void {
  const given = Math.min(values.length - (values.length % items), data.length);
  for (let i = 0; i < given; i++) data[i] = values[i]!; // the loop bound proves the index
  if (given === 0) return;
  for (let i = given; i < data.length; i++) data[i] = data[i - items]!; // given >= items
}

import { NearfarError } from '../../errors.ts';
import {
  type AnyTensor,
  bytesPerElement,
  createData,
  createTensor,
  type DType,
  elementCount,
  float16ToNumber,
  itemsPerElement,
  type NumericDType,
  numberToFloat16,
} from '../../tensor/index.ts';
import { eachChannel, fitChannels, quantize as quantizeNumber } from '../affine-fit.ts';
import type { Constant } from '../graph/index.ts';

// Weights on their way into an ONNX file: each function gives a constant that reads the one it is made of when it is written.

/** Axes in another order, as `Transpose` would. */
export function permuteConstant(constant: Constant, order: readonly number[]): Constant {
  if (order.every((axis, index) => axis === index)) return constant;
  const shape = order.map((axis) => constant.shape[axis]!);
  return { ...constant, shape, load: async () => permute(await constant.load(), order) };
}

/** The same elements in another shape. */
export function reshapeConstant(constant: Constant, shape: readonly number[]): Constant {
  return { ...constant, shape, load: async () => ({ ...(await constant.load()), shape }) };
}

/** The elements in another dtype, as `Cast` would; into float16 what is too large becomes its largest number. */
export function castConstant(constant: Constant, dtype: NumericDType): Constant {
  if (constant.dtype === dtype) return constant;
  const byteLength = elementCount(constant.shape) * bytesPerElement(dtype);
  return { dtype, shape: constant.shape, byteLength, load: async () => castTensor(await constant.load(), dtype) };
}

/** A float32 constant as bytes, with the scale and the offset of each channel: `weight ≈ bytes * scale + offset`. */
export interface QuantizedConstant {
  readonly bytes: Constant;
  readonly scale: Constant;
  readonly offset: Constant;
}

/**
 * 8 bits per weight, each channel with its own scale and offset.
 * @param axis Of the channels.
 * @throws {NearfarError} When it is read: `unsupported` for weights that are not finite.
 */
export function quantizeConstant(constant: Constant, axis: number): QuantizedConstant {
  // The three parts are written one after the other: the last reading is kept until the third has had it.
  let last: { readonly made: Promise<QuantizedTensor>; left: number } | undefined;
  const part =
    <K extends keyof QuantizedTensor>(key: K) =>
    async () => {
      last ??= { made: constant.load().then((tensor) => quantize(tensor, axis)), left: 3 };
      const { made } = last;
      last.left -= 1;
      if (last.left === 0) last = undefined;
      return (await made)[key];
    };
  const shape = constant.shape.map((size, index) => (index === axis ? size : 1));
  const byteLength = 4 * elementCount(shape);
  return {
    bytes: { dtype: 'uint8', shape: constant.shape, byteLength: elementCount(constant.shape), load: part('bytes') },
    scale: { dtype: 'float32', shape, byteLength, load: part('scale') },
    offset: { dtype: 'float32', shape, byteLength, load: part('offset') },
  };
}

interface QuantizedTensor {
  readonly bytes: AnyTensor;
  readonly scale: AnyTensor;
  readonly offset: AnyTensor;
}

function quantize(tensor: AnyTensor, axis: number): QuantizedTensor {
  if (tensor.dtype !== 'float32') throw new NearfarError('internal', `a ${tensor.dtype} weight is not quantised`);
  const { shape, data } = tensor;
  const { scales, mins } = fitChannels(axis, shape, data);
  const bytes = new Uint8Array(data.length);
  eachChannel(axis, shape, (index, channel) => {
    const value = data[index]!;
    if (!Number.isFinite(value)) throw new NearfarError('unsupported', `a weight holds ${value}, which has no form in 8 bits`);
    bytes[index] = quantizeNumber(value, scales[channel]!, mins[channel]!, 255);
  });
  const one = shape.map((size, index) => (index === axis ? size : 1));
  return {
    bytes: createTensor('uint8', shape, bytes),
    scale: createTensor('float32', one, scales),
    offset: createTensor('float32', one, mins),
  };
}

function permute(tensor: AnyTensor, order: readonly number[]): AnyTensor {
  const { dtype } = tensor;
  if (dtype === 'string') throw new NearfarError('unsupported', 'a constant of strings cannot change its layout');
  const items = itemsPerElement(dtype);
  const target = createData(dtype, elementCount(tensor.shape));
  const shape = order.map((axis) => tensor.shape[axis]!);
  copyPermuted(tensor.data, target, { shape, strides: stridesOf(tensor.shape, order), items });
  return { dtype, shape, data: target } as AnyTensor; // made for this dtype, which the union cannot see
}

function stridesOf(shape: readonly number[], order: readonly number[]): number[] {
  return order.map((axis) => elementCount(shape.slice(axis + 1)));
}

interface Permutation {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly items: number;
}

function copyPermuted(
  source: ArrayLike<number | bigint>,
  target: { [index: number]: number | bigint },
  { shape, strides, items }: Permutation,
): void {
  const position = shape.map(() => 0);
  const count = elementCount(shape);
  let from = 0;
  for (let element = 0; element < count; element++) {
    for (let item = 0; item < items; item++) target[element * items + item] = source[from * items + item]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      position[axis]! += 1;
      from += strides[axis]!;
      if (position[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      position[axis] = 0;
    }
  }
}

const LARGEST_FLOAT16 = 65504;

function castTensor(tensor: AnyTensor, dtype: NumericDType): AnyTensor {
  // Element by element: a weight as an array of numbers would take several times its memory.
  const { length, at } = readerOf(tensor);
  const data = createData(dtype, length) as { [index: number]: number | bigint };
  if (dtype === 'int64' || dtype === 'uint64') for (let index = 0; index < length; index++) data[index] = BigInt(Math.trunc(at(index)));
  else {
    const encode = encoderOf(dtype);
    for (let index = 0; index < length; index++) data[index] = encode(at(index));
  }
  return { dtype, shape: tensor.shape, data } as unknown as AnyTensor; // made for this dtype, which the union cannot see
}

function encoderOf(dtype: NumericDType): (value: number) => number {
  if (dtype === 'float16') {
    // A mask of -1e9 must not become -Infinity, whose difference with itself is NaN.
    return (value) => numberToFloat16(Number.isFinite(value) ? Math.max(-LARGEST_FLOAT16, Math.min(LARGEST_FLOAT16, value)) : value);
  }
  if (dtype === 'bool') return (value) => (value === 0 ? 0 : 1);
  if (dtype === 'float32' || dtype === 'float64') return (value) => value;
  return Math.trunc;
}

/**
 * Elements as numbers; 64-bit ones are rounded.
 * @throws {NearfarError} `unsupported` for strings and complex numbers.
 */
export function toNumbers(tensor: AnyTensor): number[] {
  const { length, at } = readerOf(tensor);
  return Array.from({ length }, (_, index) => at(index));
}

interface NumberReader {
  readonly length: number;
  readonly at: (index: number) => number;
}

function readerOf(tensor: AnyTensor): NumberReader {
  switch (tensor.dtype) {
    case 'string':
    case 'complex64':
    case 'complex128':
      throw new NearfarError('unsupported', `a constant of ${tensor.dtype} has no numbers`);
    case 'float16': {
      const { data } = tensor;
      return { length: data.length, at: (index) => float16ToNumber(data[index]!) };
    }
    case 'bfloat16': {
      const wide = new Float32Array(Uint32Array.from(tensor.data, (bits) => bits << 16).buffer);
      return { length: wide.length, at: (index) => wide[index]! };
    }
    case 'int64':
    case 'uint64': {
      const { data } = tensor;
      return { length: data.length, at: (index) => Number(data[index]) };
    }
    default: {
      const { data } = tensor;
      return { length: data.length, at: (index) => data[index]! };
    }
  }
}

/** The bytes of a constant as ONNX's raw data: little-endian, packed. */
export async function readRaw(constant: Constant): Promise<Uint8Array<ArrayBuffer>> {
  const tensor = await constant.load();
  if (tensor.dtype === 'string') throw new NearfarError('unsupported', 'constants of strings have no raw data');
  const { buffer, byteOffset, byteLength } = tensor.data;
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(buffer, byteOffset, byteLength)
    : new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength));
}

/** Whether a dtype's elements have a fixed size and order. */
export function isNumeric(dtype: DType): dtype is NumericDType {
  return dtype !== 'string';
}

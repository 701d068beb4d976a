import {
  type AnyTensor,
  createData,
  type DType,
  type DTypeData,
  elementCount,
  float16ToNumber,
  itemsPerElement,
  type NumericDType,
  numberToFloat16,
} from '../../../tensor/index.ts';

/** Dtypes whose elements are JavaScript numbers, once float16 and bfloat16 are decoded. */
export type NumberDType = Exclude<DType, 'string' | 'int64' | 'uint64' | 'complex64' | 'complex128'>;
export type BigDType = 'int64' | 'uint64';

export function isNumberDType(dtype: DType): dtype is NumberDType {
  return dtype !== 'string' && !isBigDType(dtype) && dtype !== 'complex64' && dtype !== 'complex128';
}

export function isBigDType(dtype: DType): dtype is BigDType {
  return dtype === 'int64' || dtype === 'uint64';
}

export function isFloatDType(dtype: DType): boolean {
  return dtype === 'float32' || dtype === 'float64' || dtype === 'float16' || dtype === 'bfloat16';
}

/** The elements as numbers: int64 is rounded beyond 2^53, strings and complex numbers have none. */
export function numbersOf(tensor: AnyTensor): ArrayLike<number> | undefined {
  switch (tensor.dtype) {
    case 'string':
    case 'complex64':
    case 'complex128':
      return undefined;
    case 'int64':
    case 'uint64':
      return Float64Array.from(tensor.data, Number);
    case 'float16':
      return Float32Array.from(tensor.data, float16ToNumber);
    case 'bfloat16':
      return new Float32Array(Uint32Array.from(tensor.data, (bits) => bits << 16).buffer);
    default:
      return tensor.data;
  }
}

/**
 * A tensor of numbers that are rounded or wrapped to the dtype as a store into its typed array does; `bool` becomes 0 or 1.
 * @remarks A float32 result of +, -, *, / or a square root that was computed in float64 is rounded right (the second rounding is innocent).
 */
export function fromNumbers(dtype: NumberDType, shape: readonly number[], values: ArrayLike<number>): AnyTensor {
  const data = createData(dtype, values.length);
  if (dtype === 'float16') for (let i = 0; i < values.length; i++) data[i] = numberToFloat16(values[i]!);
  else if (dtype === 'bfloat16') for (let i = 0; i < values.length; i++) data[i] = toBfloat16(values[i]!);
  else if (dtype === 'bool') for (let i = 0; i < values.length; i++) data[i] = values[i] === 0 ? 0 : 1;
  else data.set(values);
  return tensorOf(dtype, shape, data);
}

export function fromBigints(dtype: BigDType, shape: readonly number[], values: ArrayLike<bigint>): AnyTensor {
  const data = createData(dtype, values.length);
  data.set(values);
  return tensorOf(dtype, shape, data);
}

/** Joins what is known to agree. */
export function tensorOf<D extends DType>(dtype: D, shape: readonly number[], data: DTypeData[D]): AnyTensor {
  return { dtype, shape, data } as unknown as AnyTensor; // one dtype's tensor, which the compiler does not see in a generic D
}

/** The same elements under another shape. */
export function withShape(tensor: AnyTensor, shape: readonly number[]): AnyTensor {
  return { ...tensor, shape };
}

/** The elements at these places, in their order; a place of -1 gives zero. */
export function pick(tensor: AnyTensor, shape: readonly number[], places: ArrayLike<number>): AnyTensor {
  if (tensor.dtype === 'string') {
    const empty = new Uint8Array(0);
    return tensorOf(
      'string',
      shape,
      Array.from(places, (place) => tensor.data[place] ?? empty),
    );
  }
  const items = itemsPerElement(tensor.dtype);
  const data = createData(tensor.dtype as NumericDType, places.length);
  const source = tensor.data as ArrayLike<number | bigint>;
  const target = data as { [index: number]: number | bigint }; // source and target have the same dtype
  for (let i = 0; i < places.length; i++) {
    const place = places[i]!;
    if (place < 0) continue;
    for (let item = 0; item < items; item++) target[i * items + item] = source[place * items + item]!;
  }
  return tensorOf(tensor.dtype as NumericDType, shape, data);
}

/** Elements from one axis index to the next. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1]! * shape[axis + 1]!;
  return strides;
}

/** Places of a walk over `shape`, row by row, where each axis has its own stride and all begin at `start`. */
export function walk(shape: readonly number[], strides: readonly number[], start = 0): Int32Array {
  const count = elementCount(shape);
  const places = new Int32Array(count);
  const index = new Array<number>(shape.length).fill(0);
  let place = start;
  for (let i = 0; i < count; i++) {
    places[i] = place;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      place += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      place -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return places;
}

/** Strides to read a tensor of `shape` as if it had the shape `target`, by broadcasting. */
export function broadcastStrides(shape: readonly number[], target: readonly number[]): number[] {
  const strides = stridesOf(shape);
  return target.map((_, axis) => {
    const own = axis - target.length + shape.length;
    return own < 0 || shape[own] === 1 ? 0 : strides[own]!;
  });
}

/** The one number of a scalar, or of a tensor of one element. */
export function scalarOf(tensor: AnyTensor | undefined): number | undefined {
  return tensor && elementCount(tensor.shape) === 1 ? numbersOf(tensor)?.[0] : undefined;
}

function toBfloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

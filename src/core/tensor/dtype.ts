/**
 * Element types of both protocols (TensorFlow's DataType and the Open Inference Protocol's datatype) with the array
 * that holds them. float16 and bfloat16 hold their bits in a Uint16Array, complex numbers alternate real and imaginary
 * parts, strings are bytes.
 */
export interface DTypeData {
  bool: Uint8Array;
  uint8: Uint8Array;
  uint16: Uint16Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
  int8: Int8Array;
  int16: Int16Array;
  int32: Int32Array;
  int64: BigInt64Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  float32: Float32Array;
  float64: Float64Array;
  complex64: Float32Array;
  complex128: Float64Array;
  string: readonly Uint8Array[];
}

export type DType = keyof DTypeData;

/** Dtypes whose elements have a fixed size, thus all but `string`. */
export type NumericDType = Exclude<DType, 'string'>;

interface NumericDTypeInfo<D extends NumericDType> {
  readonly create: (buffer: ArrayBuffer, byteOffset: number, length: number) => DTypeData[D];
  /** Bytes of one element of the array that holds the dtype. */
  readonly bytesPerItem: number;
  /** Array items of one tensor element: 2 for complex numbers. */
  readonly itemsPerElement: number;
}

const numericDTypes: { readonly [D in NumericDType]: NumericDTypeInfo<D> } = {
  bool: { create: (b, o, n) => new Uint8Array(b, o, n), bytesPerItem: 1, itemsPerElement: 1 },
  uint8: { create: (b, o, n) => new Uint8Array(b, o, n), bytesPerItem: 1, itemsPerElement: 1 },
  uint16: { create: (b, o, n) => new Uint16Array(b, o, n), bytesPerItem: 2, itemsPerElement: 1 },
  uint32: { create: (b, o, n) => new Uint32Array(b, o, n), bytesPerItem: 4, itemsPerElement: 1 },
  uint64: { create: (b, o, n) => new BigUint64Array(b, o, n), bytesPerItem: 8, itemsPerElement: 1 },
  int8: { create: (b, o, n) => new Int8Array(b, o, n), bytesPerItem: 1, itemsPerElement: 1 },
  int16: { create: (b, o, n) => new Int16Array(b, o, n), bytesPerItem: 2, itemsPerElement: 1 },
  int32: { create: (b, o, n) => new Int32Array(b, o, n), bytesPerItem: 4, itemsPerElement: 1 },
  int64: { create: (b, o, n) => new BigInt64Array(b, o, n), bytesPerItem: 8, itemsPerElement: 1 },
  float16: { create: (b, o, n) => new Uint16Array(b, o, n), bytesPerItem: 2, itemsPerElement: 1 },
  bfloat16: { create: (b, o, n) => new Uint16Array(b, o, n), bytesPerItem: 2, itemsPerElement: 1 },
  float32: { create: (b, o, n) => new Float32Array(b, o, n), bytesPerItem: 4, itemsPerElement: 1 },
  float64: { create: (b, o, n) => new Float64Array(b, o, n), bytesPerItem: 8, itemsPerElement: 1 },
  complex64: { create: (b, o, n) => new Float32Array(b, o, n), bytesPerItem: 4, itemsPerElement: 2 },
  complex128: { create: (b, o, n) => new Float64Array(b, o, n), bytesPerItem: 8, itemsPerElement: 2 },
};

export const dtypes: readonly DType[] = [...(Object.keys(numericDTypes) as NumericDType[]), 'string'];

export function isDType(value: unknown): value is DType {
  return typeof value === 'string' && (value === 'string' || Object.hasOwn(numericDTypes, value));
}

/** Bytes of one tensor element in memory and on both wires. */
export function bytesPerElement(dtype: NumericDType): number {
  const info = numericDTypes[dtype];
  return info.bytesPerItem * info.itemsPerElement;
}

/** Array items of one tensor element: 2 for complex numbers, else 1. */
export function itemsPerElement(dtype: DType): number {
  return dtype === 'string' ? 1 : numericDTypes[dtype].itemsPerElement;
}

/** A zeroed array for `elements` tensor elements. */
export function createData<D extends NumericDType>(dtype: D, elements: number): DTypeData[D] {
  const info = numericDTypes[dtype];
  return info.create(new ArrayBuffer(elements * bytesPerElement(dtype)), 0, elements * info.itemsPerElement);
}

/**
 * The elements of `bytes` (little-endian, packed), without a copy where the alignment allows.
 * @remarks Every platform that runs JavaScript engines in use is little-endian, as both wire formats are.
 */
export function dataFromBytes<D extends NumericDType>(dtype: D, bytes: Uint8Array): DTypeData[D] {
  const info = numericDTypes[dtype];
  const length = bytes.byteLength / info.bytesPerItem;
  if (bytes.byteOffset % info.bytesPerItem === 0 && bytes.buffer instanceof ArrayBuffer) {
    return info.create(bytes.buffer, bytes.byteOffset, length);
  }
  return info.create(new Uint8Array(bytes).buffer, 0, length);
}

import {
  type AnyTensor,
  createTensor,
  type DType,
  elementCount,
  float16ToNumber,
  isShapeCompatible,
  NearfarError,
  numberToFloat16,
  type TensorInfo,
} from '../../core/index.ts';

/** What an input of this dtype and shape may look like: zeros, or empty strings, one where any number may be. */
export function exampleText({ dtype, shape }: TensorInfo): string {
  const sizes = shape.map((size) => (size === -1 ? 1 : size));
  const value = dtype === 'string' ? '""' : dtype === 'bool' ? 'false' : '0';
  const write = (axis: number): string =>
    axis === sizes.length
      ? value
      : `[${Array.from({ length: sizes[axis] ?? 0 }, () => write(axis + 1)).join(axis === sizes.length - 1 ? ', ' : ',\n')}]`;
  return elementCount(sizes) > 4096 ? '' : write(0);
}

/**
 * Reads a tensor as a person writes it: nested lists in JSON, with `NaN` and `Infinity` as strings, and whole numbers of 64 bits as
 * strings where they are large. Where a batch is expected one example alone will do.
 * @throws {NearfarError} `invalid-argument`, `dtype-mismatch`, `shape-mismatch`, each with the place of the first wrong value.
 */
export function parseTensor(text: string, { dtype, shape: declared }: TensorInfo): AnyTensor {
  const value = parseJson(text, dtype);
  const given = shapeOf(value);
  const asBatch = given.length === declared.length - 1 && declared[0] === -1 && isShapeCompatible(declared.slice(1), given);
  const shape = asBatch ? [1, ...given] : given;
  if (!isShapeCompatible(declared, shape)) {
    throw new NearfarError(
      'shape-mismatch',
      `expected [${declared.map((size) => (size === -1 ? 'any' : size)).join(', ')}], got [${shape.join(', ')}]`,
    );
  }
  const items: unknown[] = [];
  flatten(value, given, [], items);
  return toTensor(dtype, shape, items);
}

/** A text alone may do without its quotes. */
function parseJson(text: string, dtype: DType): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (dtype === 'string' && !/^\s*[[{"]/.test(text)) return text;
    throw new NearfarError('invalid-argument', `no JSON: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** By the first of each list. */
function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...(value.length === 0 ? [] : shapeOf(value[0]))] : [];
}

function flatten(value: unknown, shape: readonly number[], place: readonly number[], into: unknown[]): void {
  const [size, ...rest] = shape;
  const where = place.map((index) => `[${index}]`).join('') || 'the value';
  if (size === undefined) {
    if (Array.isArray(value)) throw new NearfarError('shape-mismatch', `${where} is a list, where others are single values`);
    into.push(value);
    return;
  }
  if (!Array.isArray(value)) throw new NearfarError('shape-mismatch', `${where} is a single value, where others are lists`);
  if (value.length !== size) throw new NearfarError('shape-mismatch', `${where} has ${value.length} items, the first has ${size}`);
  for (const [index, each] of value.entries()) flatten(each, rest, [...place, index], into);
}

const ranges: Readonly<Partial<Record<DType, readonly [number, number]>>> = {
  uint8: [0, 255],
  uint16: [0, 65_535],
  uint32: [0, 2 ** 32 - 1],
  int8: [-128, 127],
  int16: [-32_768, 32_767],
  int32: [-(2 ** 31), 2 ** 31 - 1],
};

function toTensor(dtype: DType, shape: readonly number[], items: readonly unknown[]): AnyTensor {
  const numbers = () => items.map((item) => toNumber(dtype, item));
  switch (dtype) {
    case 'string':
      return createTensor(
        dtype,
        shape,
        items.map((item) => new TextEncoder().encode(typeof item === 'string' ? item : fail(dtype, item, 'a string'))),
      );
    case 'bool':
      return createTensor(
        dtype,
        shape,
        Uint8Array.from(items, (item) => (typeof item === 'boolean' ? Number(item) : fail(dtype, item, 'true or false'))),
      );
    case 'int64':
      return createTensor(
        dtype,
        shape,
        BigInt64Array.from(items, (item) => toBigInt(dtype, item, -(2n ** 63n), 2n ** 63n - 1n)),
      );
    case 'uint64':
      return createTensor(
        dtype,
        shape,
        BigUint64Array.from(items, (item) => toBigInt(dtype, item, 0n, 2n ** 64n - 1n)),
      );
    case 'float32':
      return createTensor(dtype, shape, Float32Array.from(numbers()));
    case 'float64':
      return createTensor(dtype, shape, Float64Array.from(numbers()));
    case 'float16':
      return createTensor(dtype, shape, Uint16Array.from(numbers(), numberToFloat16));
    case 'uint8':
      return createTensor(dtype, shape, Uint8Array.from(numbers()));
    case 'uint16':
      return createTensor(dtype, shape, Uint16Array.from(numbers()));
    case 'uint32':
      return createTensor(dtype, shape, Uint32Array.from(numbers()));
    case 'int8':
      return createTensor(dtype, shape, Int8Array.from(numbers()));
    case 'int16':
      return createTensor(dtype, shape, Int16Array.from(numbers()));
    case 'int32':
      return createTensor(dtype, shape, Int32Array.from(numbers()));
    case 'bfloat16':
    case 'complex64':
    case 'complex128':
      throw new NearfarError('unsupported', `${dtype} cannot be entered here`);
  }
}

function toNumber(dtype: DType, item: unknown): number {
  const range = ranges[dtype];
  if (typeof item === 'number' && range === undefined) return item;
  if (typeof item === 'number' && range && Number.isInteger(item) && item >= range[0] && item <= range[1]) return item;
  if (range === undefined && (item === 'NaN' || item === 'Infinity' || item === '-Infinity')) return Number(item);
  return fail(dtype, item, range ? `a whole number from ${range[0]} to ${range[1]}` : 'a number');
}

function toBigInt(dtype: DType, item: unknown, least: bigint, most: bigint): bigint {
  const isWhole = typeof item === 'number' ? Number.isSafeInteger(item) : typeof item === 'string' && /^-?\d{1,20}$/.test(item);
  if (!isWhole) return fail(dtype, item, 'a whole number, in quotes where it has more than 15 digits');
  const value = BigInt(item as number | string);
  return value >= least && value <= most ? value : fail(dtype, item, `a whole number from ${least} to ${most}`);
}

function fail(dtype: DType, item: unknown, expected: string): never {
  throw new NearfarError('dtype-mismatch', `${dtype}: expected ${expected}, got ${JSON.stringify(item)?.slice(0, 60) ?? 'nothing'}`);
}

/** The values of a tensor as a person reads them, complex numbers as two. */
export function valuesOf(tensor: AnyTensor): readonly (number | bigint | string | boolean)[] {
  switch (tensor.dtype) {
    case 'string':
      return tensor.data.map((bytes) => new TextDecoder().decode(bytes));
    case 'bool':
      return Array.from(tensor.data, Boolean);
    case 'float16':
      return Array.from(tensor.data, float16ToNumber);
    case 'bfloat16':
      // The upper half of a float32.
      return Array.from(tensor.data, (bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0] ?? 0);
    default:
      return Array.from<number | bigint>(tensor.data);
  }
}

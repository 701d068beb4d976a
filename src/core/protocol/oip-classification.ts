import { NearfarError } from '../errors.ts';
import { type AnyTensor, createTensor, float16ToNumber, type Tensor } from '../tensor/index.ts';
import { inferenceDatatypeOf } from './wire-dtypes.ts';

/**
 * Triton's classification extension: the classes with the highest values of an output, as strings `value:index` or
 * `value:index:label`, highest first, equal ones by lower index.
 * @param options.isBatched Whether the first dimension counts the rows of a batch: the answer is then `[rows, classes]`, else `[classes]`.
 * @throws {NearfarError} `invalid-argument` for an output that has no order: bool, strings, complex numbers.
 */
export function classifyOutput(
  name: string,
  tensor: AnyTensor,
  options: { readonly classCount: number; readonly labels?: readonly string[] | undefined; readonly isBatched: boolean },
): Tensor<'string'> {
  const values = orderedValues(name, tensor);
  const rows = options.isBatched ? (tensor.shape[0] ?? 1) : 1;
  const size = rows === 0 ? 0 : values.length / rows;
  const count = Math.min(options.classCount, size);
  const encoder = new TextEncoder();
  const texts = Array.from({ length: rows }, (_, row) => {
    const start = row * size;
    return highest(values, start, start + size, count).map((at) => {
      const index = at - start;
      const label = options.labels?.[index];
      return encoder.encode(`${valueText(tensor, values[at]!)}:${index}${label === undefined ? '' : `:${label}`}`);
    });
  });
  return createTensor('string', options.isBatched ? [rows, count] : [count], texts.flat());
}

function orderedValues(name: string, { dtype, data }: AnyTensor): ArrayLike<number | bigint> {
  switch (dtype) {
    case 'float16':
      return Float32Array.from(data, float16ToNumber);
    case 'bfloat16':
      return new Float32Array(Uint32Array.from(data, (bits) => bits << 16).buffer);
    case 'bool':
    case 'string':
    case 'complex64':
    case 'complex128':
      throw new NearfarError(
        'invalid-argument',
        `class result not available for output '${name}' due to unsupported type '${inferenceDatatypeOf(dtype) ?? dtype}'`,
      );
    default:
      return data;
  }
}

function highest(values: ArrayLike<number | bigint>, start: number, end: number, count: number): number[] {
  // NaN has no order; it is never among the best while there is a number.
  const key = (index: number) => (Number.isNaN(values[index]) ? Number.NEGATIVE_INFINITY : values[index]!);
  const indices = Array.from({ length: end - start }, (_, index) => start + index);
  indices.sort((a, b) => (key(a) > key(b) ? -1 : key(a) < key(b) ? 1 : a - b));
  return indices.slice(0, count);
}

/** The text of C++'s `std::to_string`, which clients split at its colons. */
function valueText({ dtype }: AnyTensor, value: number | bigint): string {
  if (typeof value === 'bigint' || !dtype.includes('float')) return String(value);
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  return value.toFixed(6);
}

import { NearfarError } from '../errors.ts';
import { bytesPerElement, dataFromBytes } from './dtype.ts';
import { type AnyTensor, elementCount, type TensorMap } from './tensor.ts';

/** Some rows of some tensors. */
export interface PartOfRows {
  readonly tensors: TensorMap;
  readonly from: number;
  readonly to: number;
}

export interface JoinOptions {
  /** Rows of the result; where they are more than there are, the first row of the last part fills them up, which is valid for sure. */
  readonly rows: number;
  readonly allocate: (bytes: number) => Uint8Array<ArrayBuffer>;
}

const noBytes = new Uint8Array();

/**
 * Rows of equally named tensors behind one another, each copied once. Where the dimensions behind the first differ, each part is filled
 * up with zeros, or empty strings, to the largest of them.
 */
export function joinRows(parts: readonly PartOfRows[], { rows, allocate }: JoinOptions): TensorMap {
  const [first] = parts;
  const last = parts.at(-1);
  if (!first || !last) return {};
  const taken = parts.reduce((sum, { from, to }) => sum + to - from, 0);
  const filler = { tensors: last.tensors, from: last.from, to: last.from + 1 };
  const all = [...parts, ...new Array<PartOfRows>(rows - taken).fill(filler)];
  return Object.fromEntries(
    Object.keys(first.tensors).map((name) => {
      const slices = all.map(({ tensors, from, to }) => sliceRows(tensors[name]!, from, to)); // they have the same names
      return [name, concatenate(slices, rows, allocate)];
    }),
  );
}

function concatenate(slices: readonly AnyTensor[], rows: number, allocate: JoinOptions['allocate']): AnyTensor {
  const { dtype, shape } = slices[0]!; // there is at least one part
  const inner = shape.slice(1).map((_, axis) => slices.reduce((most, slice) => Math.max(most, slice.shape[axis + 1] ?? 0), 0));
  const joined = [rows, ...inner];
  const padded = slices.map((slice) => padTo(slice, inner));
  if (dtype === 'string') {
    return { dtype, shape: joined, data: padded.flatMap((tensor) => (tensor.dtype === 'string' ? tensor.data : [])) };
  }
  const bytes = allocate(elementCount(joined) * bytesPerElement(dtype));
  let offset = 0;
  for (const tensor of padded) {
    const part = bytesOf(tensor);
    bytes.set(part, offset);
    offset += part.byteLength;
  }
  return { dtype, shape: joined, data: dataFromBytes(dtype, bytes) } as AnyTensor; // the data is of the dtype, which the union cannot see
}

/** Rows of a tensor, in its own memory. */
export function sliceRows(tensor: AnyTensor, from: number, to: number): AnyTensor {
  const { dtype, shape, data } = tensor;
  if (from === 0 && to === shape[0]) return tensor;
  const perRow = data.length / (shape[0] || 1);
  const start = from * perRow;
  const end = to * perRow;
  const rows = dtype === 'string' ? tensor.data.slice(start, end) : tensor.data.subarray(start, end);
  return { dtype, shape: [to - from, ...shape.slice(1)], data: rows } as AnyTensor; // a part of an array has its kind
}

/** The tensor with zeros, or empty strings, behind its elements up to the inner dimensions; itself where nothing is missing. */
function padTo(tensor: AnyTensor, inner: readonly number[]): AnyTensor {
  const { dtype, shape } = tensor;
  if (inner.every((size, axis) => size === shape[axis + 1])) return tensor;
  const padded = [shape[0] ?? 0, ...inner];
  const lines = linesOf(shape, padded);
  const length = shape.at(-1) ?? 0;
  if (tensor.dtype === 'string') {
    const data = new Array<Uint8Array>(elementCount(padded)).fill(noBytes);
    for (const { from, to } of lines) for (let index = 0; index < length; index++) data[to + index] = tensor.data[from + index] ?? noBytes;
    return { dtype: 'string', shape: padded, data };
  }
  const size = bytesPerElement(tensor.dtype);
  const source = bytesOf(tensor);
  const target = new Uint8Array(elementCount(padded) * size);
  for (const { from, to } of lines) target.set(source.subarray(from * size, (from + length) * size), to * size);
  return { dtype, shape: padded, data: dataFromBytes(tensor.dtype, target) } as AnyTensor; // as in concatenate
}

/** Where each run of elements along the last axis begins, in a tensor and in the larger one it goes into. */
function linesOf(shape: readonly number[], padded: readonly number[]): { readonly from: number; readonly to: number }[] {
  const length = shape.at(-1) ?? 0;
  const count = length === 0 ? 0 : elementCount(shape) / length;
  return Array.from({ length: count }, (_, line) => {
    let rest = line;
    let to = 0;
    let stride = padded.at(-1) ?? 1;
    for (let axis = shape.length - 2; axis >= 0; axis--) {
      const size = shape[axis] ?? 1;
      to += (rest % size) * stride;
      rest = Math.floor(rest / size);
      stride *= padded[axis] ?? 1;
    }
    return { from: line * length, to };
  });
}

function bytesOf(tensor: AnyTensor): Uint8Array {
  if (tensor.dtype === 'string') return noBytes;
  const { buffer, byteOffset, byteLength } = tensor.data;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/**
 * Checks that outputs have a row for each row of their inputs.
 * @throws {NearfarError} `failed-precondition` with the texts of TensorFlow Serving.
 */
export function assertRows(outputs: TensorMap, rows: number): void {
  for (const [name, { shape }] of Object.entries(outputs)) {
    if (shape[0] === rows) continue;
    const text =
      shape.length === 0
        ? 'Batched output tensor has 0 dimensions'
        : "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors";
    throw new NearfarError('failed-precondition', text, { details: { output: name, shape: [...shape], rows } });
  }
}

/**
 * Rows of a request: the first dimension that its inputs share.
 * @throws {NearfarError} `invalid-argument` with the texts of TensorFlow Serving.
 */
export function rowsOf(inputs: TensorMap): number {
  const tensors = Object.values(inputs);
  if (tensors.length === 0) throw new NearfarError('invalid-argument', 'Batching Run() must have at least one input tensor');
  if (tensors.some(({ shape }) => shape.length === 0)) {
    throw new NearfarError('invalid-argument', 'Batching Run() input tensors must have at least one dimension');
  }
  const rows = sharedRows(inputs);
  if (rows !== undefined) return rows;
  throw new NearfarError('invalid-argument', 'Batching Run() input tensors must have equal 0th-dimension size', {
    details: { shapes: Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, [...shape]])) },
  });
}

/** The first dimension that inputs share; undefined where they share none. */
export function sharedRows(inputs: TensorMap): number | undefined {
  const tensors = Object.values(inputs);
  const rows = tensors[0]?.shape[0];
  return tensors.every(({ shape }) => shape[0] === rows) ? rows : undefined;
}

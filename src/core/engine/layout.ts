import { NearfarError } from '../errors.ts';
import { type AnyTensor, bytesPerElement, type DType, type DTypeData, dataFromBytes } from '../tensor/index.ts';

export type Layout = 'NHWC' | 'NCHW';

/** Memory of exactly so many bytes, which may hold anything. */
export type Allocate = (byteLength: number) => ArrayBuffer;

const allocateNew: Allocate = (byteLength) => new ArrayBuffer(byteLength);

/** A rank-4 shape of one layout written in the other; other ranks have no layout and are refused. */
export function permuteShape(name: string, shape: readonly number[], from: Layout, to: Layout): readonly number[] {
  if (from === to) return shape;
  if (shape.length !== 4) {
    throw new NearfarError(
      'shape-mismatch',
      `tensor "${name}" changes layout from ${from} to ${to} and needs 4 dimensions, got [${shape}]`,
      {
        details: { name, from, to, got: [...shape] },
      },
    );
  }
  const [batch, a, b, c] = shape as readonly [number, number, number, number];
  return to === 'NCHW' ? [batch, c, a, b] : [batch, b, c, a];
}

/**
 * A rank-4 tensor of one layout in the other; the same tensor where the layouts agree.
 * @param allocate Where the numbers of the new tensor go.
 * @throws {NearfarError} `shape-mismatch` for other ranks, `unsupported` for complex numbers.
 */
export function changeLayout(name: string, tensor: AnyTensor, from: Layout, to: Layout, allocate: Allocate = allocateNew): AnyTensor {
  if (from === to) return tensor;
  const shape = permuteShape(name, tensor.shape, from, to);
  const [batch, first, second, third] = tensor.shape as readonly [number, number, number, number];
  // Both directions swap two neighbouring groups of axes: [H·W, C] <-> [C, H·W].
  const [rows, columns] = to === 'NCHW' ? [first * second, third] : [first, second * third];
  return withTransposedData(name, tensor, shape, { batch, rows, columns }, allocate);
}

interface Planes {
  readonly batch: number;
  readonly rows: number;
  readonly columns: number;
}

function withTransposedData(name: string, tensor: AnyTensor, shape: readonly number[], planes: Planes, allocate: Allocate): AnyTensor {
  if (tensor.dtype === 'complex64' || tensor.dtype === 'complex128') {
    throw new NearfarError('unsupported', `tensor "${name}" of dtype ${tensor.dtype} cannot change its layout`, {
      details: { name, dtype: tensor.dtype },
    });
  }
  if (tensor.dtype === 'string') {
    const data = new Array<Uint8Array>(tensor.data.length);
    transpose(tensor.data, data, planes);
    return { dtype: 'string', shape, data };
  }
  return transposeNumeric(tensor, shape, planes, allocate);
}

function transposeNumeric<D extends Exclude<DType, 'string' | 'complex64' | 'complex128'>>(
  tensor: { readonly dtype: D; readonly data: DTypeData[D] },
  shape: readonly number[],
  planes: Planes,
  allocate: Allocate,
): AnyTensor {
  const data = dataFromBytes(tensor.dtype, new Uint8Array(allocate(tensor.data.length * bytesPerElement(tensor.dtype))));
  transpose<number | bigint>(tensor.data, data, planes);
  return { dtype: tensor.dtype, shape, data } as AnyTensor; // D ties data to dtype, which the union cannot see
}

function transpose<T>(source: ArrayLike<T>, target: { [index: number]: T }, { batch, rows, columns }: Planes): void {
  for (let plane = 0; plane < batch; plane++) {
    const start = plane * rows * columns;
    if (columns === 3) {
      // RGB, without the inner loop: half the time.
      for (let to = start, from = start; to < start + rows; to++, from += 3) {
        target[to] = source[from]!;
        target[to + rows] = source[from + 1]!;
        target[to + 2 * rows] = source[from + 2]!;
      }
      continue;
    }
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        target[start + column * rows + row] = source[start + row * columns + column]!;
      }
    }
  }
}

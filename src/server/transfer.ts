import { type AnyTensor, dataFromBytes, type TensorMap } from '../core/index.ts';

/** Tensors ready to be posted to another thread, with the buffers that move. */
export interface Parcel {
  readonly tensors: TensorMap;
  readonly transfer: ArrayBuffer[];
}

/**
 * Packs tensors for another thread. A tensor that owns its whole buffer is moved, and is empty here afterwards; a view of a
 * larger one is copied first, as posting it would copy all of that, or move what others still read.
 * @param options.isMovable Whether a buffer belongs to these tensors alone, though they do not fill it: it then moves whole.
 * @remarks 602 KB: 0.04 ms moved, 0.28 ms copied then moved, 0.73 ms by structured clone. SharedArrayBuffers are copied too:
 * onnxruntime-node refuses tensors over them.
 */
export function packTensors(tensors: TensorMap, options: { readonly isMovable?: (buffer: ArrayBuffer) => boolean } = {}): Parcel {
  const { isMovable = () => false } = options;
  const transfer = new Set<ArrayBuffer>();
  const packed = Object.entries(tensors).map(([name, tensor]) => [name, packTensor(tensor, transfer, isMovable)] as const);
  return { tensors: Object.fromEntries(packed), transfer: [...transfer] };
}

/** Copies of tensors, packed: others may read these still, and a view would be posted with all of its buffer. */
export function copyTensors(tensors: TensorMap): Parcel {
  const copies = Object.entries(tensors).map(([name, tensor]) => {
    return [name, tensor.dtype === 'string' ? tensor : { ...tensor, data: tensor.data.slice() }];
  });
  return packTensors(Object.fromEntries(copies));
}

function packTensor(tensor: AnyTensor, transfer: Set<ArrayBuffer>, isMovable: (buffer: ArrayBuffer) => boolean): AnyTensor {
  if (tensor.dtype === 'string') {
    return { ...tensor, data: tensor.data.map((bytes) => new Uint8Array(bytes)) };
  }
  const { buffer, byteOffset, byteLength } = tensor.data;
  if (buffer instanceof ArrayBuffer && isMovable(buffer)) {
    transfer.add(buffer);
    return tensor;
  }
  // Two tensors may share a buffer: only the first can move.
  if (byteLength === buffer.byteLength && byteOffset === 0 && buffer instanceof ArrayBuffer && !transfer.has(buffer)) {
    transfer.add(buffer);
    return tensor;
  }
  const copy = new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength));
  transfer.add(copy.buffer);
  return { ...tensor, data: dataFromBytes(tensor.dtype, copy) } as AnyTensor; // the data is of the dtype, which the union cannot see
}

import type { TensorMap } from './tensor.ts';

/** The memory of tensors that may be moved to another thread: buffers that hold nothing else. */
export function buffersOf(tensors: TensorMap): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  for (const { dtype, data } of Object.values(tensors)) {
    const views = dtype === 'string' ? data : [data];
    for (const { buffer, byteLength } of views) {
      if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffers.add(buffer);
    }
  }
  return [...buffers];
}

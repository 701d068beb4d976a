import { bytesPerElement } from '../../tensor/index.ts';
import type { TfjsDType } from './data-types.ts';

/** How the values of one weight are stored. */
export type Storage = { readonly kind: 'plain' };

export function storedByteLength(
  _storage: Storage,
  dtype: Exclude<TfjsDType, 'string'>,
  _shape: readonly number[],
  elements: number,
): number {
  return elements * bytesPerElement(dtype);
}

export function encodeStored(_storage: Storage, _shape: readonly number[], values: Float32Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Float32Array.from(values).buffer);
}

import { createHash } from 'node:crypto';
import { decodeSafetensors, encodeSafetensors, type TensorMap } from '../../core/index.ts';

// An answer as another process may keep it: SHA-256 over its key and all that follows, when it expires (float64, milliseconds
// since the epoch), the outputs as safetensors.

const digestBytes = 32;
const headerBytes = digestBytes + 8;

export interface ResultValue {
  readonly outputs: TensorMap;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** @throws {NearfarError} `unsupported` for complex128, which safetensors does not have. */
export function encodeResultValue(key: string, { outputs, expiresAt }: ResultValue): Buffer {
  const tensors = encodeSafetensors(outputs);
  const value = Buffer.allocUnsafe(headerBytes + tensors.length);
  value.writeDoubleLE(expiresAt, digestBytes);
  value.set(tensors, headerBytes);
  value.set(digestOf(key, value.subarray(digestBytes)));
  return value;
}

/** @returns undefined for bytes that are damaged, or were written for another key. */
export function decodeResultValue(key: string, value: Buffer): ResultValue | undefined {
  if (value.length < headerBytes) return undefined;
  if (!digestOf(key, value.subarray(digestBytes)).equals(value.subarray(0, digestBytes))) return undefined;
  return { outputs: decodeSafetensors(new Uint8Array(value.subarray(headerBytes))), expiresAt: value.readDoubleLE(digestBytes) };
}

function digestOf(key: string, bytes: Uint8Array): Buffer {
  return createHash('sha256').update(key).update(bytes).digest();
}

// Keys that sort as what they encode (tensorflow/core/lib/strings/ordered_code.cc): the bundle keeps the parts of a partitioned tensor
// under such keys.

export interface Extent {
  readonly start: number;
  /** -1 for the whole axis, which then starts at 0. */
  readonly length: number;
}

/** Key of one part of a tensor (EncodeTensorNameSlice in tensorflow/core/util/saved_tensor_slice_util.cc). */
export function sliceKey(name: string, extents: readonly Extent[]): Uint8Array {
  const key: number[] = [];
  writeNumber(key, 0);
  writeString(key, name);
  writeNumber(key, extents.length);
  for (const { start, length } of extents) {
    writeSigned(key, BigInt(start));
    writeSigned(key, BigInt(length));
  }
  return Uint8Array.from(key);
}

/** Count of bytes, then the bytes, highest first. */
function writeNumber(into: number[], value: number): void {
  const bytes: number[] = [];
  for (let left = BigInt(value); left > 0n; left >>= 8n) bytes.unshift(Number(left & 255n));
  into.push(bytes.length, ...bytes);
}

function writeString(into: number[], text: string): void {
  for (const byte of new TextEncoder().encode(text)) {
    if (byte === 0) into.push(0, 255);
    else if (byte === 255) into.push(255, 0);
    else into.push(byte);
  }
  into.push(0, 1);
}

/** The length is written in the highest bits, as many ones as bytes; all are flipped in a negative number. */
function writeSigned(into: number[], value: bigint): void {
  const magnitude = value < 0n ? ~value : value;
  let length = 1;
  while (length < 10 && magnitude >> BigInt(7 * length - 1) > 0n) length += 1;
  const header = ((1n << BigInt(length)) - 1n) << BigInt(8 * length - length);
  const bits = BigInt.asUintN(8 * length, value) ^ header;
  for (let i = length - 1; i >= 0; i--) into.push(Number((bits >> BigInt(8 * i)) & 255n));
}

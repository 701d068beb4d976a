import { damaged } from './damaged.ts';

/**
 * Decompresses a block of Snappy (https://github.com/google/snappy/blob/main/format_description.txt).
 * @throws {NearfarError} `invalid-argument` when it is damaged, or larger than `maxBytes`.
 */
export function decodeSnappy(bytes: Uint8Array, maxBytes: number): Uint8Array<ArrayBuffer> {
  let position = 0;
  const next = (): number => {
    const byte = bytes[position++];
    if (byte === undefined) throw damaged('a compressed block ends early');
    return byte;
  };
  const little = (count: number): number => {
    let value = 0;
    for (let i = 0; i < count; i++) value += next() * 2 ** (8 * i);
    return value;
  };
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = next();
    length += (byte & 127) * 2 ** shift;
    if (byte < 128) break;
    if (shift > 28) throw damaged('a compressed block has no length');
  }
  if (length > maxBytes) throw damaged(`a compressed block of ${length} bytes is above ${maxBytes}`);
  const out = new Uint8Array(length);
  let filled = 0;
  while (position < bytes.length) {
    const tag = next();
    if ((tag & 3) === 0) {
      const short = tag >>> 2;
      const count = (short < 60 ? short : little(short - 59)) + 1;
      if (position + count > bytes.length || filled + count > length) throw damaged('a compressed block is inconsistent');
      out.set(bytes.subarray(position, position + count), filled);
      position += count;
      filled += count;
      continue;
    }
    const count = (tag & 3) === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    const offset = (tag & 3) === 1 ? ((tag >>> 5) << 8) | next() : little((tag & 3) === 2 ? 2 : 4);
    if (offset === 0 || offset > filled || filled + count > length) throw damaged('a compressed block is inconsistent');
    // Byte by byte: source and target may overlap, which repeats a pattern.
    for (let i = 0; i < count; i++, filled++) out[filled] = out[filled - offset]!;
  }
  if (filled !== length) throw damaged(`a compressed block holds ${filled} bytes, expected ${length}`);
  return out;
}

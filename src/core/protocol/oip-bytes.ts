import { NearfarError } from '../errors.ts';

/** Each takes some 128 bytes besides its own; a full heap ends the process. */
const maxStrings = 6_250_000;

/** Strings as the protocol's BYTES: each element behind its length, 4 bytes little-endian. */
export function writeBytesElements(elements: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(elements.reduce((sum, element) => sum + 4 + element.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const element of elements) {
    view.setUint32(at, element.length, true);
    bytes.set(element, at + 4);
    at += 4 + element.length;
  }
  return bytes;
}

/** @throws {NearfarError} `invalid-argument` when the bytes end inside an element, or hold more elements than there is memory for. */
export function readBytesElements(name: string, bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const elements: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 <= bytes.length ? at + 4 + view.getUint32(at, true) : Number.POSITIVE_INFINITY;
    if (end > bytes.length) throw new NearfarError('invalid-argument', `tensor '${name}': its bytes end inside element ${elements.length}`);
    if (elements.length === maxStrings) throw new NearfarError('invalid-argument', `tensor '${name}' has more than ${maxStrings} strings`);
    elements.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return elements;
}

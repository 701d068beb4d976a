const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const invalid = 255;
const codes = new Uint8Array(128).fill(invalid);
for (let i = 0; i < alphabet.length; i++) codes[alphabet.charCodeAt(i)] = i;

/** Base64 with padding (RFC 4648 section 4); neither `btoa` nor `Buffer` is there in both browser workers and core. */
export function encodeBase64(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let i = 0; i < bytes.length; i += 3) {
    const [a, b, c] = [bytes[i] ?? 0, bytes[i + 1], bytes[i + 2]];
    const word = (a << 16) | ((b ?? 0) << 8) | (c ?? 0);
    parts.push(letter(word >> 18), letter(word >> 12), b === undefined ? '=' : letter(word >> 6), c === undefined ? '=' : letter(word));
  }
  return parts.join('');
}

function letter(value: number): string {
  return alphabet.charAt(value & 63);
}

/** The inverse, with or without padding; white space is skipped, as absl::Base64Unescape does. Undefined when it is not base64. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const body = text.replace(/[\t\n\v\f\r ]+/g, '');
  const unpadded = body.replace(/={1,2}$/, '');
  if (unpadded.length % 4 === 1 || (unpadded.length !== body.length && body.length % 4 !== 0)) return undefined;
  const bytes = new Uint8Array(Math.floor((unpadded.length * 3) / 4));
  let bits = 0;
  let buffer = 0;
  let count = 0;
  for (let i = 0; i < unpadded.length; i++) {
    const code = codes[unpadded.charCodeAt(i)] ?? invalid;
    if (code === invalid) return undefined;
    buffer = ((buffer << 6) | code) & 0xffffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[count++] = buffer >> bits;
  }
  return bytes;
}

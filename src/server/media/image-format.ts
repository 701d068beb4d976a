/** Picture formats that both legs decode. */
export type ImageFormat = 'JPEG' | 'PNG' | 'GIF' | 'WebP' | 'AVIF';

// First bytes as the WHATWG MIME Sniffing standard has them, section 6.1; `.` is any byte.
const signatures: readonly (readonly [ImageFormat, string])[] = [
  ['JPEG', '\xff\xd8\xff'],
  ['PNG', '\x89PNG\r\n\x1a\n'],
  ['GIF', 'GIF87a'],
  ['GIF', 'GIF89a'],
  ['WebP', 'RIFF....WEBPVP'],
  ['AVIF', '....ftypavif'],
  ['AVIF', '....ftypavis'],
];

/** The format that the first bytes announce; undefined for any other. */
export function sniffImageFormat(bytes: Uint8Array): ImageFormat | undefined {
  return signatures.find(([, signature]) => startsWith(bytes, signature))?.[0];
}

function startsWith(bytes: Uint8Array, signature: string): boolean {
  return bytes.length >= signature.length && [...signature].every((char, index) => char === '.' || char.charCodeAt(0) === bytes[index]);
}

/** What some bytes begin with, for an error message. */
export function describeBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'no bytes';
  const start = Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return `${bytes.length} bytes that begin with ${start}`;
}

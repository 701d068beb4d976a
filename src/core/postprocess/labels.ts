import { NearfarError } from '../errors.ts';

/**
 * Class names from the bytes of a labels.txt: UTF-8, one per line, line number = class index; lines end with LF or CRLF,
 * the last one may do without. An empty line in between keeps its place.
 * @throws {NearfarError} `invalid-argument` when the bytes are not UTF-8.
 */
export function parseLabels(bytes: Uint8Array): string[] {
  const lines = decodeUtf8(bytes).split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new NearfarError('invalid-argument', 'labels are not UTF-8', { cause });
  }
}

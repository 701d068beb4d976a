import { NumberLists } from './json-numbers.ts';
import { type JsonDocument, likelyValues, readJson } from './json-reader.ts';

/** Reading lists in one piece pays from here on. */
const leastBytes = 4096;

/**
 * Decodes a document in which plain lists of numbers lie in one piece each (kind `numbers`), as far as that pays. Where `decode` cannot do
 * with those it is asked again with every value by itself, so that the rules, and what errors say, are those of the single values.
 * @throws {NearfarError} as `readJson`, and what `decode` throws.
 */
export function decodeJson<T>(bytes: Uint8Array, decode: (document: JsonDocument) => T): T {
  if (bytes.length < leastBytes) return decode(readJson(bytes));
  const lists = new NumberLists(likelyValues(bytes));
  const document = readJson(bytes, lists);
  if (lists.length === 0) return decode(document);
  try {
    return decode(document);
  } catch {
    return decode(readJson(bytes));
  }
}

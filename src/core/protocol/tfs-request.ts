import { NearfarError } from '../errors.ts';
import { type JsonDocument, readJson } from './json-reader.ts';
import { describeJson } from './json-text.ts';

/**
 * What `:predict`, `:classify` and `:regress` have in common: an object with, maybe, the name of a signature.
 * @throws {NearfarError} `invalid-argument`, with TensorFlow Serving's texts.
 */
export function readRequest(body: Uint8Array): { readonly document: JsonDocument; readonly signatureName: string } {
  assertNotEmpty(body);
  const document = readJson(body);
  return { document, signatureName: readSignatureName(document) };
}

/** @throws {NearfarError} as {@link readRequest}. */
export function assertNotEmpty(body: Uint8Array): void {
  if (body.length === 0) throw new NearfarError('invalid-argument', 'JSON Parse error: The document is empty');
}

/** @throws {NearfarError} as {@link readRequest}. */
export function readSignatureName(document: JsonDocument): string {
  if (document.kind(0) !== 'object') throw malformed(document, 'Is not object');
  const index = document.member(0, 'signature_name');
  if (index === undefined) return '';
  if (document.kind(index) === 'string') return document.string(index);
  throw malformed(document, "not formatted correctly. 'signature_name' key must be a string value.");
}

/** The whole request is echoed, cut. */
export function malformed(document: JsonDocument, reason: string): NearfarError {
  return new NearfarError('invalid-argument', `JSON Value: ${describeJson(document, 0)} ${reason}`);
}

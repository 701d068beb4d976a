import { NearfarError } from '../../core/index.ts';

/**
 * A version number of a path or a message in its canonical form: `00000123` is `123`.
 * @throws {NearfarError} `invalid-argument` when it is no int64, with TensorFlow Serving's text.
 */
export function canonicalVersion(digits: string): string {
  const version = BigInt(digits);
  if (version < 2n ** 63n) return version.toString();
  throw new NearfarError('invalid-argument', `Failed to convert version: ${digits} to numeric.`);
}

/** The version part of an Open Inference Protocol request, which has no labels of its own: what is no number is one of ours. */
export function versionOrLabel(text: string): { readonly version?: string; readonly label?: string } {
  if (text === '') return {};
  return /^\d+$/.test(text) ? { version: canonicalVersion(text) } : { label: text };
}

/** A label of a path, percent-decoded; also for names. */
export function decodePathPart(what: string, part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (cause) {
    throw new NearfarError('invalid-argument', `Failed to decode ${what}:${part}`, { cause });
  }
}

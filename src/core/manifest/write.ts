import type { LockFile } from './lock.ts';
import type { Manifest } from './manifest.ts';
import type { Versions } from './versions.ts';

// Canonical JSON: two spaces, a newline at the end, known fields in reading order, all other keys by code unit. The digest
// of a version is the digest of these bytes, so their form is part of the format.

/** Canonical bytes of a manifest.json: equal manifests give equal bytes, whatever the order of their keys. */
export function encodeManifest(manifest: Manifest): Uint8Array<ArrayBuffer> {
  return encodeDocument(manifest);
}

/** Canonical bytes of a versions.json. */
export function encodeVersions(versions: Versions): Uint8Array<ArrayBuffer> {
  return encodeDocument(versions);
}

/** Canonical bytes of a nearfar.lock.json. */
export function encodeLockFile(lock: LockFile): Uint8Array<ArrayBuffer> {
  return encodeDocument(lock);
}

function encodeDocument(document: object): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${JSON.stringify(sortKeys(document), null, 2)}\n`);
}

const leadingKeys = [
  'schemaVersion',
  'lockfileVersion',
  'name',
  'id',
  'version',
  'bytes',
  'digest',
  'license',
  'description',
  'format',
  'precision',
  'entry',
  'method',
  'dtype',
  'signature',
  'tensor',
  'shape',
  'input',
  'output',
  'inputs',
  'outputs',
  'signatures',
  'savedModel',
  'tasks',
  'variants',
  'golden',
  'provenance',
  'files',
];
const ranks = new Map(leadingKeys.map((key, rank) => [key, rank]));

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => rankOf(a) - rankOf(b) || (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sortKeys(item)]));
}

function rankOf(key: string): number {
  return ranks.get(key) ?? leadingKeys.length;
}

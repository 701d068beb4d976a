import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import {
  digestOf,
  encodeLockFile,
  encodeManifest,
  encodeVersions,
  parseLockFile,
  parseManifest,
  parseVersions,
} from '../../../src/core/index.ts';

const everyday10 = new URL('../../../models/everyday10/', import.meta.url);

test('the committed manifest is in canonical form and versions.json names its digest', async () => {
  const bytes = new Uint8Array(await readFile(new URL('1/manifest.json', everyday10)));
  const versions = parseVersions(new Uint8Array(await readFile(new URL('versions.json', everyday10))));

  expect(text(encodeManifest(parseManifest(bytes)))).toBe(text(bytes));
  expect(versions.versions).toEqual([{ version: '1', digest: await digestOf(bytes) }]);
});

test('the order of keys does not change the bytes, the order of lists does', () => {
  const a = encodeVersions({ schemaVersion: 1, name: 'm', versions: [], labels: { b: '1', a: '2' } });
  const b = encodeVersions({ labels: { a: '2', b: '1' }, versions: [], name: 'm', schemaVersion: 1 });

  expect(text(a)).toBe(text(b));
  expect(text(a)).toBe('{\n  "schemaVersion": 1,\n  "name": "m",\n  "labels": {\n    "a": "2",\n    "b": "1"\n  },\n  "versions": []\n}\n');
});

test('unknown fields and names like __proto__ survive', () => {
  const bytes = new TextEncoder().encode('{"lockfileVersion":1,"models":{},"x":{"__proto__":1}}');

  const written = text(encodeLockFile(parseLockFile(bytes)));

  expect(written).toContain('"__proto__": 1');
});

test('a version beyond int64 is refused', () => {
  const versionsOf = (version: string) =>
    encodeVersions({ schemaVersion: 1, name: 'm', versions: [{ version, digest: `sha256:${'0'.repeat(64)}` }], labels: {} });

  expect(parseVersions(versionsOf('9223372036854775807')).versions).toHaveLength(1);
  expect(() => parseVersions(versionsOf('9223372036854775808'))).toThrowError(expect.objectContaining({ code: 'invalid-argument' }));
});

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

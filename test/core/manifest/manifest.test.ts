import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseManifest } from '../../../src/core/index.ts';

const everyday10 = readFileSync(new URL('../../../models/everyday10/1/manifest.json', import.meta.url), 'utf8');

/** everyday10's manifest with one file more, of this path. */
function withFile(path: string): Uint8Array {
  const manifest = JSON.parse(everyday10);
  manifest.files[path] = { bytes: 0, digest: `sha256:${'0'.repeat(64)}`, chunks: [] };
  return new TextEncoder().encode(JSON.stringify(manifest));
}

test.each(['a', 'a/b', '.a', '..a', 'a..', '...', 'a/.b', 'a b', 'ä/日本', 'variables/variables.data-00000-of-00001'])(
  'a file may be called %j',
  (path) => {
    expect(Object.keys(parseManifest(withFile(path)).files)).toContain(path);
  },
);

// '..' after a line break: a pattern whose dot ends at the line would let it out of the version.
test.each(['', '.', '..', '/', '/a', 'a/', 'a//b', './a', 'a/.', 'a/..', 'a/../b', '../a', 'a\n/../../b', 'a\\b', 'a\0'])(
  'no file may be called %j',
  (path) => {
    expect(() => parseManifest(withFile(path))).toThrow(
      expect.objectContaining({ code: 'invalid-argument', message: expect.stringContaining('relative path') }),
    );
  },
);

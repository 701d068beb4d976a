import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { describeFlags } from '../../src/server/flags.ts';

test('docs/serving-flags.md has every flag as the server treats it; node scripts/write-flag-table.mjs writes the table', () => {
  const text = readFileSync(new URL('../../docs/serving-flags.md', import.meta.url), 'utf8');

  const written = [...text.matchAll(/^\| `(\w+)` \| (\w+) \| (honoured|accepted|refused) \|/gm)].map((row) => row.slice(1));

  expect(written).toEqual(describeFlags().map(({ name, flag }) => [name, flag.kind, flag.treatment]));
});

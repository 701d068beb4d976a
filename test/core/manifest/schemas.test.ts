import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { generateSchemas } from '../../../scripts/generate-schemas.mjs';
import { lockSchema, manifestSchema, versionsSchema } from '../../../src/core/index.ts';

test('the JSON Schema files are what the validators say (node scripts/generate-schemas.mjs writes them)', () => {
  const generated = generateSchemas({ manifestSchema, versionsSchema, lockSchema });

  const committed = Object.keys(generated).map((name) => [
    name,
    readFileSync(new URL(`../../../schemas/${name}`, import.meta.url), 'utf8'),
  ]);

  expect(Object.fromEntries(committed)).toEqual(generated);
});

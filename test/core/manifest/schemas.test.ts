import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { generateSchemas } from '../../../scripts/generate-schemas.mjs';
import { lockSchema, versionsSchema } from '../../../src/core/index.ts';
import { completeManifestSchema } from '../../../src/core/manifest/task-schemas/index.ts';

test('the JSON Schema files are what the validators say (node scripts/generate-schemas.mjs writes them)', () => {
  const generated = generateSchemas({ completeManifestSchema, versionsSchema, lockSchema });

  const committed = Object.keys(generated).map((name) => [
    name,
    readFileSync(new URL(`../../../schemas/${name}`, import.meta.url), 'utf8'),
  ]);

  expect(Object.fromEntries(committed)).toEqual(generated);
});

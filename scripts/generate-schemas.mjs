// Writes schemas/*.json, the JSON Schemas that editors use, from the validators of the built core: `node scripts/generate-schemas.mjs`.
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { toJsonSchema } from '@valibot/to-json-schema';

/** @typedef {import('../src/core/index.ts')} Core */
/** @typedef {import('../src/core/manifest/task-schemas/index.ts')} TaskSchemas */

/**
 * The schema files by name, from the validators of core.
 * @param {Pick<Core, 'versionsSchema' | 'lockSchema'> & Pick<TaskSchemas, 'completeManifestSchema'>} validators
 * @returns {Record<string, string>}
 */
export function generateSchemas({ completeManifestSchema, versionsSchema, lockSchema }) {
  return {
    'manifest.schema.json': encode('manifest.json: one version of a model in a nearfar repository', completeManifestSchema),
    'versions.schema.json': encode('versions.json: the published versions of a model in a nearfar repository', versionsSchema),
    'lock.schema.json': encode('nearfar.lock.json: the versions and digests an application is pinned to', lockSchema),
  };
}

/** @param {string} title @param {import('valibot').GenericSchema} schema */
function encode(title, schema) {
  // JSON Schema cannot bound a decimal string, so the check of versions against int64 is left to the parser.
  // A safe integer is an integer that JSON can hold; the schema language has no word for more.
  const json = toJsonSchema(schema, {
    ignoreActions: ['check'],
    overrideAction: ({ valibotAction, jsonSchema }) =>
      valibotAction.type === 'safe_integer' ? { ...jsonSchema, type: 'integer' } : undefined,
  });
  return `${JSON.stringify({ title, ...json }, null, 2)}\n`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const core = await import(new URL('../dist/core/index.js', import.meta.url).href);
  const tasks = await import(new URL('../dist/core/manifest/task-schemas/index.js', import.meta.url).href);
  const folder = fileURLToPath(new URL('../schemas', import.meta.url));
  await mkdir(folder, { recursive: true });
  for (const [name, text] of Object.entries(generateSchemas({ ...core, ...tasks }))) await writeFile(`${folder}/${name}`, text);
}

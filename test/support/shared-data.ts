import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const repositoryRoot = fileURLToPath(new URL('../..', import.meta.url));
const dataRoot = resolve(process.env['NEARFAR_TEST_DATA'] ?? join(repositoryRoot, '../shared/data'));

/** Path of a file of the shared test data, or undefined (said once on standard error) where the data is absent. */
export function sharedData(path: string): string | undefined {
  return existing(join(dataRoot, path));
}

/** Path of a file of the demo model's training output, beside the shared data; undefined where it is absent. */
export function demoModel(path: string): string | undefined {
  return existing(join(dataRoot, '../demo-model', path));
}

const reported = new Set<string>();

function existing(path: string): string | undefined {
  if (existsSync(path)) return path;
  if (!reported.has(path)) console.warn(`skipping what needs ${path}: it is not there (set NEARFAR_TEST_DATA)`);
  reported.add(path);
  return undefined;
}

import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeSafetensors, type TensorMap } from '../../src/core/index.ts';

const folder = fileURLToPath(new URL('../../models/everyday10/1', import.meta.url));

/** Copies the built-in model to `<modelFolder>/<version>`, as that version. */
export async function copyEveryday10(modelFolder: string, version: string, change: (manifest: Record<string, unknown>) => void = () => {}) {
  const to = join(modelFolder, version);
  const manifest: Record<string, unknown> = { ...JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')), version };
  change(manifest);
  await mkdir(modelFolder, { recursive: true });
  // The manifest comes last: before it is there the directory would pass for a plain one.
  await cp(folder, to, { recursive: true, filter: (path) => !path.endsWith('manifest.json') && !path.endsWith('report.json') });
  await writeFile(join(to, 'manifest.json'), JSON.stringify(manifest));
}

/** The first golden example: its inputs and the right outputs. */
export async function everyday10Golden(): Promise<{ inputs: TensorMap; outputs: TensorMap }> {
  const read = async (name: string) => decodeSafetensors(new Uint8Array(await readFile(join(folder, 'golden', name))));
  return { inputs: await read('0.in.safetensors'), outputs: await read('0.out.safetensors') };
}

/** Makes golden examples that nothing reproduces: a version whose files are right and which still must not serve. */
export function breakGolden(manifest: Record<string, unknown>): void {
  for (const variant of manifest['variants'] as { tolerance: object }[]) variant.tolerance = { absolute: -1, relative: 0 };
}

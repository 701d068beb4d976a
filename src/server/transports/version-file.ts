import { readFile } from 'node:fs/promises';
import { digestOf, NearfarError } from '../../core/index.ts';
import type { PublishedFiles } from '../repository/index.ts';
import type { ServableHandle } from '../servables/index.ts';

/**
 * A file of a served version, read through the repository and checked.
 * @throws {NearfarError} `not-found`; `integrity-mismatch` when it is not what the manifest says.
 */
export async function readVersionFile(
  files: PublishedFiles,
  { name, version, manifest }: ServableHandle,
  path: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const wanted = Object.hasOwn(manifest.files, path) ? manifest.files[path] : undefined;
  const file = wanted && (await files.find(`${name}/${version}/${path}`));
  if (!file) throw new NearfarError('not-found', `${name} version ${version}: ${path} is not there`, { details: { path } });
  const bytes = 'bytes' in file.body ? new Uint8Array(file.body.bytes) : new Uint8Array(await readFile(file.body.path));
  const digest = await digestOf(bytes);
  if (digest === wanted.digest) return bytes;
  throw new NearfarError('integrity-mismatch', `${path} is not what the manifest says`, {
    details: { path, want: wanted.digest, got: digest },
  });
}

import { readFile } from 'node:fs/promises';
import { digestOf, NearfarError, parseLabels } from '../../core/index.ts';
import type { PublishedFiles } from '../repository/index.ts';
import type { ServableHandle } from '../servables/index.ts';

/** The class names of a labels file of a version; undefined where the manifest has no such file. */
export type ClassLabels = (handle: ServableHandle, path: string | undefined) => Promise<readonly string[] | undefined>;

const maxCachedFiles = 256;

/** Class names by the digest of their file, read once through the repository and checked. */
export function createClassLabels(files: PublishedFiles): ClassLabels {
  const cache = new Map<string, readonly string[]>();
  return async ({ name, version, manifest }, path) => {
    const wanted = path === undefined ? undefined : manifest.files[path];
    if (!wanted) return undefined;
    const known = cache.get(wanted.digest);
    if (known) return known;
    const file = await files.find(`${name}/${version}/${path}`);
    if (!file) throw new NearfarError('not-found', `${name} version ${version}: ${path} is no longer there`);
    const bytes = 'bytes' in file.body ? new Uint8Array(file.body.bytes) : new Uint8Array(await readFile(file.body.path));
    const digest = await digestOf(bytes);
    if (digest !== wanted.digest) {
      throw new NearfarError('integrity-mismatch', `${path} is not what the manifest says`, {
        details: { path, want: wanted.digest, got: digest },
      });
    }
    const labels = parseLabels(bytes);
    if (cache.size >= maxCachedFiles) cache.clear();
    cache.set(digest, labels);
    return labels;
  };
}

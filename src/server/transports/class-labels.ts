import { parseLabels } from '../../core/index.ts';
import type { PublishedFiles } from '../repository/index.ts';
import type { ServableHandle } from '../servables/index.ts';
import { readVersionFile } from './version-file.ts';

/** The class names of a labels file of a version; undefined where the manifest has no such file. */
export type ClassLabels = (handle: ServableHandle, path: string | undefined) => Promise<readonly string[] | undefined>;

const maxCachedFiles = 256;

/** Class names by the digest of their file, read once through the repository and checked. */
export function createClassLabels(files: PublishedFiles): ClassLabels {
  const cache = new Map<string, readonly string[]>();
  return async (handle, path) => {
    const digest = path === undefined ? undefined : handle.manifest.files[path]?.digest;
    if (path === undefined || digest === undefined) return undefined;
    const known = cache.get(digest);
    if (known) return known;
    const labels = parseLabels(await readVersionFile(files, handle, path));
    if (cache.size >= maxCachedFiles) cache.clear();
    cache.set(digest, labels);
    return labels;
  };
}

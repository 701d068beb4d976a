import { createHash } from 'node:crypto';
import { parseVersionName } from '../version-directory.ts';
import type { StoreEntry } from './store.ts';

/** A version that is nothing but files. */
export interface PlainFiles {
  /** Their paths below the version's folder. */
  readonly files: readonly StoreEntry[];
  /** Of all paths, sizes and ETags. */
  readonly fingerprint: string;
  /** The folder's name: of `007` that, not `7`. */
  readonly originalName: string;
  /** Whether two listings agree: nobody is still copying. */
  readonly isSettled: boolean;
}

/** The version folders among the files of a model, by the version that their names say. */
export function groupVersions(entries: readonly StoreEntry[]): ReadonlyMap<string, PlainFiles> {
  const folders = new Map<string, StoreEntry[]>();
  for (const entry of entries) {
    const [, folder, path] = /^(\d+)\/(.+)$/s.exec(entry.path) ?? [];
    // Objects that stand for folders have no content; paths that lead out are nobody's.
    if (folder === undefined || path === undefined || !isSafePath(path)) continue;
    folders.set(folder, [...(folders.get(folder) ?? []), { ...entry, path }]);
  }
  const versions = new Map<string, PlainFiles>();
  for (const originalName of [...folders.keys()].sort()) {
    const version = parseVersionName(originalName);
    const files = folders.get(originalName)?.sort((a, b) => (a.path < b.path ? -1 : 1)) ?? [];
    if (version === undefined) continue;
    const hash = createHash('sha256');
    for (const { path, bytes, etag } of files) hash.update(`${path}\0${bytes}\0${etag}\n`);
    versions.set(version, { files, fingerprint: `sha256:${hash.digest('hex')}`, originalName, isSettled: false });
  }
  return versions;
}

function isSafePath(path: string): boolean {
  return path.split('/').every((segment) => segment !== '' && segment !== '.' && segment !== '..' && !/[\\\0]/.test(segment));
}

import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { NearfarError } from '../../../core/index.ts';
import { isMissing } from '../version-directory.ts';
import type { RepositoryStore, StoreEntry } from './store.ts';

/**
 * A folder as a store. Folders given to `--models` are read where they lie; this one is mirrored first, as is right for a slow network drive:
 * loads, and what browsers fetch, then come from the disk of this machine.
 */
export function openDiskStore(folder: string): RepositoryStore {
  const root = resolve(folder);
  const pathOf = (path: string) => {
    const file = resolve(join(root, path));
    if (file === root || file.startsWith(root + sep)) return file;
    throw new NearfarError('permission-denied', `${path} leads out of ${root}`, { details: { path } });
  };
  const failed = (cause: unknown): never => {
    if (cause instanceof NearfarError) throw cause;
    const code = cause instanceof Error && 'code' in cause && cause.code === 'EACCES' ? 'permission-denied' : 'unavailable';
    throw new NearfarError(code, cause instanceof Error ? cause.message : String(cause), { cause });
  };
  const listFolder = async (path: string, isDeep: boolean): Promise<readonly StoreEntry[]> => {
    const directory = pathOf(path);
    const entries = await readdir(directory, { withFileTypes: true, recursive: isDeep });
    const listed = entries.map(async (entry) => {
      const file = join(entry.parentPath, entry.name);
      const name = file.slice(directory.length + 1).replaceAll(sep, '/');
      const found = await stat(file).catch(() => undefined);
      if (found?.isDirectory()) return isDeep ? [] : [{ path: `${name}/` }];
      return found ? [{ path: name, bytes: found.size, etag: etagOf(found) }] : [];
    });
    return (await Promise.all(listed)).flat();
  };

  return {
    location: pathToFileURL(root).href,
    async list(folder, { isDeep = false, signal } = {}) {
      signal?.throwIfAborted();
      return listFolder(folder, isDeep).catch((error: unknown) => (isMissing(error) ? [] : failed(error)));
    },
    async read(path, { ifNoneMatch, start: wanted = 0, ifRange, signal } = {}) {
      signal?.throwIfAborted();
      const file = pathOf(path);
      const found = await stat(file).catch((error: unknown) => (isMissing(error) ? undefined : failed(error)));
      if (!found?.isFile()) return { kind: 'missing', freshForMs: 0 };
      const etag = etagOf(found);
      if (ifNoneMatch === etag) return { kind: 'unchanged', freshForMs: 0 };
      const start = ifRange === undefined || ifRange === etag ? wanted : 0;
      const body = async function* (): AsyncGenerator<Uint8Array> {
        try {
          for await (const part of createReadStream(file, { start, ...(signal && { signal }) })) yield part;
        } catch (error) {
          signal?.throwIfAborted();
          failed(error);
        }
      };
      return { kind: 'content', etag, start, body: body(), freshForMs: 0 };
    },
  };
}

function etagOf({ size, mtimeMs, ctimeMs, ino }: Awaited<ReturnType<typeof stat>>): string {
  return `"${size}-${mtimeMs}-${ctimeMs}-${ino}"`;
}

import { createHash } from 'node:crypto';
import type { RepositoryStore, StoreEntry } from './store.ts';

/** A repository in this process: for tests, and for models that an application makes itself. */
export interface MemoryStore extends RepositoryStore {
  /** Puts a file in place of what is there. @param path Such as `everyday10/1/manifest.json`. */
  write(path: string, bytes: Uint8Array | string): void;
  remove(path: string): void;
}

/** @param location How it is called in logs and statuses; a URL, so that `base_path` of a model may be one below it. */
export function createMemoryStore(location = 'memory://store'): MemoryStore {
  const files = new Map<string, { readonly bytes: Uint8Array; readonly etag: string }>();
  const listeners = new Set<(path: string) => void>();
  const tell = (path: string) => {
    for (const listener of listeners) listener(path);
  };
  return {
    location,
    write(path, content) {
      const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : Uint8Array.from(content);
      files.set(path, { bytes, etag: `"${createHash('sha256').update(bytes).digest('hex')}"` });
      tell(path);
    },
    remove(path) {
      if (files.delete(path)) tell(path);
    },
    async list(folder, { isDeep = false, signal } = {}) {
      signal?.throwIfAborted();
      const prefix = folder === '' ? '' : `${folder}/`;
      const entries = new Map<string, StoreEntry>();
      for (const [key, { bytes, etag }] of files) {
        if (!key.startsWith(prefix)) continue;
        const path = key.slice(prefix.length);
        const slash = isDeep ? -1 : path.indexOf('/');
        if (slash < 0) entries.set(path, { path, bytes: bytes.byteLength, etag });
        else entries.set(path.slice(0, slash + 1), { path: path.slice(0, slash + 1) });
      }
      return [...entries.values()];
    },
    async read(path, { ifNoneMatch, start: wanted = 0, ifRange, signal } = {}) {
      signal?.throwIfAborted();
      const file = files.get(path);
      if (!file) return { kind: 'missing', freshForMs: 0 };
      const { bytes, etag } = file;
      if (ifNoneMatch === etag) return { kind: 'unchanged', freshForMs: 0 };
      const start = ifRange === undefined || ifRange === etag ? wanted : 0;
      const body = async function* () {
        if (start < bytes.byteLength) yield bytes.subarray(start);
      };
      return { kind: 'content', etag, start, body: body(), freshForMs: 0 };
    },
    watch(onChange) {
      const listener = (path: string) => onChange(path);
      listeners.add(listener);
      return { [Symbol.dispose]: () => listeners.delete(listener) };
    },
  };
}

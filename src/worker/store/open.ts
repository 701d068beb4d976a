import { NearfarError } from '../../core/index.ts';
import type { ChunkStore } from './chunk-store.ts';
import { openIndexedDbStore } from './indexed-db.ts';
import { createMemoryStore } from './memory.ts';

export interface OpenedStore {
  readonly store: ChunkStore;
  /** Why nothing will outlive this worker; absent when the browser's storage is used. */
  readonly refusal?: NearfarError;
}

/** The browser's storage where it can be opened, else memory, with the reason. */
export async function openChunkStore(databaseName = 'nearfar'): Promise<OpenedStore> {
  try {
    return { store: await openIndexedDbStore(databaseName) };
  } catch (cause) {
    const refusal = cause instanceof NearfarError ? cause : new NearfarError('unavailable', String(cause), { cause });
    return { store: createMemoryStore(), refusal };
  }
}

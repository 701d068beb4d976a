export { clearCache, type Eviction, evictOne, makeRoom, reportCache, verifyCache } from './cache.ts';
export type { ChunkStore, VerdictKey, VersionRecord } from './chunk-store.ts';
export { estimateStorage, openIndexedDbStore } from './indexed-db.ts';
export { createMemoryStore } from './memory.ts';
export { type OpenedStore, openChunkStore } from './open.ts';

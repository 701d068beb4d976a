export { clearCache, pinVersion, reportCache, verifyCache } from './cache.ts';
export type { ChunkStore, VerdictKey, VersionRecord } from './chunk-store.ts';
export { estimateStorage, openIndexedDbStore } from './indexed-db.ts';
export { createMemoryStore } from './memory.ts';
export { type OpenedStore, openChunkStore } from './open.ts';
export { type Eviction, evictOne, makeRoom } from './room.ts';

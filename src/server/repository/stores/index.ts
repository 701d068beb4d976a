export { openDiskStore } from './disk-store.ts';
export { createMemoryStore, type MemoryStore } from './memory-store.ts';
export { isRemote, Mirrors, type StoreMetrics, type StoreStatus } from './mirrors.ts';
export type { ModelMirror } from './model-mirror.ts';
export { createStoreOpener, resolveStoreLocation } from './open-store.ts';
export type { ListOptions, ReadOptions, RepositoryStore, StoreAnswer, StoreContent, StoreEntry } from './store.ts';

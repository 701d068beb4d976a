export { fileDigest } from './checked-files.ts';
export { ImportCache, type ImportVersion } from './import-cache.ts';
export { createImporter } from './import-thread.ts';
export type { ModelSnapshot } from './model-directory.ts';
export { type ModelPlatform, type ModelSource, modelPlatforms } from './model-source.ts';
export type { PublishedFile, PublishedFiles } from './published-files.ts';
export { Repository } from './repository.ts';
export { createPublishedFiles } from './served-files.ts';
export {
  createMemoryStore,
  createStoreOpener,
  isRemote,
  type ListOptions,
  type MemoryStore,
  Mirrors,
  openDiskStore,
  type ReadOptions,
  type RepositoryStore,
  resolveStoreLocation,
  type StoreAnswer,
  type StoreContent,
  type StoreEntry,
  type StoreMetrics,
  type StoreStatus,
} from './stores/index.ts';
export { isMissing, isUnderWay, listVersions, type VersionOnDisk } from './version-directory.ts';
export { compareVersions, type VersionPolicy } from './version-policy.ts';

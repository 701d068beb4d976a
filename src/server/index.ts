export { parseConfig, resolveConfig, type ServerConfig, type ServerOptions } from './config.ts';
export { describeFlags } from './flags.ts';
export type { LogLevel } from './log.ts';
export {
  createMemoryStore,
  type ListOptions,
  type MemoryStore,
  type ModelSource,
  openDiskStore,
  type PublishedFile,
  type PublishedFiles,
  type ReadOptions,
  type RepositoryStore,
  type StoreAnswer,
  type StoreContent,
  type StoreEntry,
  type StoreStatus,
  type VersionPolicy,
} from './repository/index.ts';
export {
  type Authentication,
  changeApiKeys,
  createApiKey,
  type Role,
  readApiKeys,
  type StoredKey as ApiKey,
  writeApiKeys,
} from './security/index.ts';
export {
  type ServableHandle,
  type ServableSpec,
  type ServableState,
  type ServableStore,
  type ServableTiming,
  servableStates,
  type VersionStatus,
} from './servables/index.ts';
export { type RunningServer, startServer } from './server.ts';
export type { SiteOptions } from './transports/index.ts';

export { fileDigest } from './checked-files.ts';
export { ImportCache, type ImportVersion } from './import-cache.ts';
export { importInThread } from './import-thread.ts';
export type { ModelSnapshot } from './model-directory.ts';
export type { PublishedFile, PublishedFiles } from './published-files.ts';
export { type ModelSource, Repository } from './repository.ts';
export { createPublishedFiles } from './served-files.ts';
export { isMissing, type VersionOnDisk } from './version-directory.ts';
export { compareVersions, type VersionPolicy } from './version-policy.ts';

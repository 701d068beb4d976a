export { clientKey } from './client-key.ts';
export type { LoaderContext } from './context.ts';
export { fetchBytes } from './http.ts';
export { areFilesStored, loadFiles, type VersionFiles } from './load-files.ts';
export { type ResolvedVersion, resolveVersion } from './resolve.ts';
export { createSlots } from './slots.ts';

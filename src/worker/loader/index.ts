export type { LoaderContext } from './context.ts';
export { fetchBytes } from './http.ts';
export { type LoadRequest, loadFiles, type VersionFiles } from './load-files.ts';
export { fileUrl, type ResolvedVersion, resolveVersion } from './resolve.ts';

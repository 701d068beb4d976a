export type { GivenBindings } from './bindings.ts';
export type { BuildOptions } from './build.ts';
export type { ImageClassificationOptions } from './image-task.ts';
export { type ImportOptions, importDirectory } from './import-directory.ts';
export { type PublishOptions, type PublishReport, type PublishStep, publish } from './publish.ts';
export { connectRepository, listModels, type PinnedManifest, type Repository, readManifest, readVersions } from './repository.ts';
export type { OpenEngine } from './run.ts';
export type { BackendCheck } from './self-check.ts';

export type { GivenBindings } from './bindings.ts';
export type { BuildOptions } from './build.ts';
export { changeVersionsFile, commitFolder, type FolderCommit, replaceFile, withFileLock } from './commit.ts';
export {
  type ConvertedFormat,
  type ConvertFormat,
  type ConvertOptions,
  type ConvertPrecision,
  type ConvertReport,
  convert,
} from './convert.ts';
export type { DeclaredTasks } from './declared-tasks.ts';
export { type Changes, diffVersions, type VariantDiff, type VersionDiff } from './diff.ts';
export { type ImageClassificationOptions, readLabels } from './image-task.ts';
export { type ImportOptions, importDirectory } from './import-directory.ts';
export {
  drawModel,
  drawVersion,
  type Inspection,
  inspect,
  inspectVersion,
  type SourceSummary,
  type VariantSummary,
  type VersionSummary,
} from './inspect.ts';
export { createLock, type LockRequest } from './lock.ts';
export type { Distance, PruningMeasure, VariantMeasure } from './measure.ts';
export { type ModelConfig, scanModels, writeModelConfigList } from './model-config.ts';
export { assertNames } from './names.ts';
export { type PublishOptions, type PublishReport, type PublishStep, publish, publishSteps, type StepDetail } from './publish.ts';
export { connectRepository, listModels, type PinnedManifest, type Repository, readManifest, readVersions } from './repository.ts';
export type { OpenEngine } from './run.ts';
export { type BucketEnvironment, connectS3, listingQuery, parseListing } from './s3.ts';
export type { BackendCheck } from './self-check.ts';
export type { VariantSpeed } from './speed.ts';
export { findStrays, openAllEngines, type VerifyOptions, type VerifyReport, verify } from './verify.ts';

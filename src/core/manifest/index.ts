export { type ByteRange, cutChunks, cutStream, describeFile } from './chunk.ts';
export { digestOf } from './digest.ts';
export { filePathSchema } from './fields.ts';
export { type LockFile, lockSchema, parseLockFile } from './lock.ts';
export {
  type DeclaredSignature,
  digestSchema,
  type Manifest,
  type ManifestFile,
  manifestSchema,
  modelNameSchema,
  parseManifest,
  type Signature,
  type TensorInfo,
  type Variant,
  versionSchema,
} from './manifest.ts';
export { type ChunkPlace, type ChunkRequest, filesOfVariant, listChunks, type PlanOptions, planRequests } from './plan.ts';
export { type Pin, selectVersion, type VersionChoice } from './select.ts';
export { encodeSignature, encodeStatement, notSigned, readPublicKey, type SignedManifest, verifySignature } from './signature.ts';
export { signatureChanges } from './signature-changes.ts';
export type { AudioInput, ColumnSpec, DetectionOutput, PictureInput, TaskName, TaskSpecs, TextInputSpec } from './task-schemas/index.ts';
export { type ImageClassification, type ImageInput, type TaskReferences, type Tasks, taskNames, taskReferences } from './tasks.ts';
export { labelOfClient, type Traffic } from './traffic.ts';
export { parseVersions, type Versions, versionsSchema } from './versions.ts';
export { encodeLockFile, encodeManifest, encodeVersions } from './write.ts';

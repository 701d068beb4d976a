export { digestOf } from './digest.ts';
export { type LockFile, lockSchema, parseLockFile } from './lock.ts';
export {
  digestSchema,
  type ImageClassification,
  type ImageInput,
  type Manifest,
  type ManifestFile,
  manifestSchema,
  parseManifest,
  type Signature,
  type TensorInfo,
  type Variant,
} from './manifest.ts';
export { type Pin, selectVersion, type VersionChoice } from './select.ts';
export { parseVersions, type Versions, versionsSchema } from './versions.ts';

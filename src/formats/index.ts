// Readers and writers of model files, in a browser as in Node: bytes in, files out.

export {
  checkOnnxOps,
  checkTfjsOps,
  type EmittedFile,
  type EmittedModel,
  type FoundModel,
  findModel,
  type ModelFile,
  type ModelFolder,
  type ModelFormat,
  type ModelGraph,
  NearfarError,
  type OnnxPrecision,
  type OnnxProblem,
  type OptimizeOptions,
  optimize,
  readModelGraph,
  shareInputs,
  type TfjsWriteOptions,
  withoutSignatures,
  writeOnnx,
  writeTfjsGraph,
} from '../core/index.ts';
export { blobFolder } from './blob-folder.ts';

export { batchKey, isBatchable } from './batchable.ts';
export {
  assertBound,
  fromOwnOutputs,
  inSignatureLayout,
  inSignatureLayouts,
  type OwnTensors,
  ownOutputNames,
  resolveBindings,
  type SignatureBindings,
  type TensorBinding,
  toOwnInputs,
} from './bindings.ts';
export type { BackendId, Engine, EngineDevice, LoadedVariant, RunRequest, VariantSource } from './engine.ts';
export { assertShapeFits, type CheckedRequest, checkRequest, signatureOf } from './request.ts';

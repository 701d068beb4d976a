export { decodeBase64 } from './base64.ts';
export * from './engine/index.ts';
export {
  deserializeError,
  type ErrorDetails,
  errorStatuses,
  isNearfarErrorCode,
  isSerializedError,
  NearfarError,
  type NearfarErrorCode,
  type SerializedError,
  serializeError,
} from './errors.ts';
export * from './formats/index.ts';
export { type Agreement, checkGolden, compareOutputs } from './golden.ts';
export * from './manifest/index.ts';
export {
  type AvailabilityFacts,
  type AvailabilityState,
  type DeviceProfile,
  judgeAvailability,
  type Leg,
  legsOf,
  type Mode,
  modes,
  nearBackends,
  type PastFailure,
  type Placement,
  type PlacementPolicy,
  placeModel,
  type Reason,
  type SkippedBackend,
  unfitReason,
  usesGpu,
} from './placement.ts';
export * from './postprocess/index.ts';
export * from './preprocess/index.ts';
export * from './protocol/index.ts';
export { deferralOf, type Surroundings } from './surroundings.ts';
export * from './tasks/index.ts';
export * from './tensor/index.ts';

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
export * from './manifest/index.ts';
export * from './preprocess/index.ts';
export * from './protocol/index.ts';
export * from './tensor/index.ts';

// The public names of `nearfar`, one by one.
export type {
  AnyTensor,
  AvailabilityState,
  BackendId,
  CachedVersion,
  CacheOutcome,
  CacheReport,
  CacheVerification,
  Classification,
  ClassMask,
  Detection,
  DeviceProfile,
  DType,
  EngineDevice,
  ErrorDetails,
  ImageClassification,
  Leg,
  LegTiming,
  Manifest,
  Mode,
  NearfarErrorCode,
  Phase,
  PrefetchedVersion,
  Reason,
  Retry,
  RgbImage,
  Segmentation,
  ServerPolicy,
  Signature,
  SkippedBackend,
  Tensor,
  TensorInfo,
  TensorMap,
  Variant,
} from '../core/index.ts';
export { NearfarError } from '../core/index.ts';
export type { Availability } from './availability.ts';
export type { ModelCache, PrefetchOptions } from './cache.ts';
export { type AvailabilityOptions, type Client, createClient, type OpenOptions } from './client.ts';
export type { DownloadMonitor, DownloadProgressEvent, EventDetail, EventDetails, NearfarEvent, NearfarEventTarget } from './events.ts';
export type { Photo } from './image-source.ts';
export type {
  CallOptions,
  ClassifiedFrame,
  ClassifyOptions,
  ClassifyPhotoOptions,
  ClassifyStreamOptions,
  FrameSource,
  Model,
  ModelFaults,
  ModelInfo,
  ModelTasks,
  PredictOptions,
  RowInput,
  SoundInput,
  TaskOptions,
  TextInput,
} from './model.ts';
export type { ClientOptions, Lock } from './options.ts';
export type { Fallback, RunReport } from './run-report.ts';
export type { TensorInput } from './tensor-input.ts';

export type { Classification } from '../tasks/index.ts';
export { assertListsFit } from './assert-lists-fit.ts';
export { type ClientReport, clientReportsPath } from './client-reports.ts';
export { errorOfResponse } from './error-body.ts';
export { serializedExamples } from './example-input.ts';
export { classificationsOf, type ExampleMethod, exampleInputs, exampleOutputs, regressionsOf } from './example-signature.ts';
export { Health, HealthCheckResponse_ServingStatus, HealthCheckResponseSchema } from './gen/grpc/health/v1/health_pb.ts';
export { ServerReflection, ServerReflectionResponseSchema } from './gen/grpc/reflection/v1/reflection_pb.ts';
export { ServerReflection as ServerReflectionAlpha } from './gen/grpc/reflection/v1alpha/reflection_pb.ts';
export {
  GRPCInferenceService,
  InferParameterSchema,
  type ModelConfigResponse,
  ModelConfigResponseSchema,
  type ModelInferRequest,
  type ModelInferResponse,
  ModelInferResponseSchema,
  ModelMetadataResponseSchema,
  ModelReadyResponseSchema,
  type ModelStatisticsResponse,
  ModelStatisticsResponseSchema,
  ModelStreamInferResponseSchema,
  RepositoryIndexResponseSchema,
  RepositoryModelLoadResponseSchema,
  RepositoryModelUnloadResponseSchema,
  ServerLiveResponseSchema,
  ServerMetadataResponseSchema,
  ServerReadyResponseSchema,
} from './gen/inference/grpc_service_pb.ts';
export { type ModelConfig, ModelConfigSchema } from './gen/inference/model_config_pb.ts';
export {
  type NearfarOptions,
  NearfarOptions_SignatureChange,
  NearfarOptions_Transition,
  NearfarOptionsSchema,
} from './gen/nearfar/options_pb.ts';
export { ExampleSchema } from './gen/tensorflow/core/example/example_pb.ts';
export {
  type ClassificationRequest,
  ClassificationRequestSchema,
  type ClassificationResponse,
  ClassificationResponseSchema,
} from './gen/tensorflow_serving/apis/classification_pb.ts';
export {
  type GetModelMetadataRequest,
  type GetModelMetadataResponse,
  GetModelMetadataResponseSchema,
  SignatureDefMapSchema,
} from './gen/tensorflow_serving/apis/get_model_metadata_pb.ts';
export {
  type GetModelStatusRequest,
  type GetModelStatusResponse,
  GetModelStatusResponseSchema,
} from './gen/tensorflow_serving/apis/get_model_status_pb.ts';
export {
  type InferenceTask,
  type MultiInferenceRequest,
  MultiInferenceRequestSchema,
  type MultiInferenceResponse,
  MultiInferenceResponseSchema,
} from './gen/tensorflow_serving/apis/inference_pb.ts';
export type { InputSchema } from './gen/tensorflow_serving/apis/input_pb.ts';
export { LogMetadataSchema } from './gen/tensorflow_serving/apis/logging_pb.ts';
export {
  type ReloadConfigRequest,
  type ReloadConfigResponse,
  ReloadConfigResponseSchema,
} from './gen/tensorflow_serving/apis/model_management_pb.ts';
export { type ModelSpec, ModelSpecSchema } from './gen/tensorflow_serving/apis/model_pb.ts';
export { ModelService } from './gen/tensorflow_serving/apis/model_service_pb.ts';
export {
  type PredictRequest,
  PredictRequestSchema,
  type PredictResponse,
  PredictResponseSchema,
} from './gen/tensorflow_serving/apis/predict_pb.ts';
export { PredictionLogSchema } from './gen/tensorflow_serving/apis/prediction_log_pb.ts';
export { PredictionService } from './gen/tensorflow_serving/apis/prediction_service_pb.ts';
export {
  type RegressionRequest,
  RegressionRequestSchema,
  type RegressionResponse,
  RegressionResponseSchema,
} from './gen/tensorflow_serving/apis/regression_pb.ts';
export { type LoggingConfig, LoggingConfigSchema } from './gen/tensorflow_serving/config/logging_config_pb.ts';
export {
  type ModelConfig as ServingModelConfig,
  ModelConfigSchema as ServingModelConfigSchema,
  type ModelServerConfig,
  ModelServerConfigSchema,
  ModelType,
} from './gen/tensorflow_serving/config/model_server_config_pb.ts';
export { MonitoringConfigSchema } from './gen/tensorflow_serving/config/monitoring_config_pb.ts';
export { SSLConfigSchema } from './gen/tensorflow_serving/config/ssl_config_pb.ts';
export {
  type BatchingParameters,
  BatchingParametersSchema,
} from './gen/tensorflow_serving/servables/tensorflow/session_bundle_config_pb.ts';
export { decodeInferContents } from './infer-contents.ts';
export { formatDecimal } from './json-decimal.ts';
export { type JsonDocument, readJson } from './json-reader.ts';
export { describeJson, toPlain } from './json-text.ts';
export { readModelInferRequest, readPredictRequest } from './message-reader.ts';
export { type AnsweredSpec, type InferAnswer, writeModelInferResponse, writePredictResponse } from './message-writer.ts';
export { numericTensor } from './numeric-tensor.ts';
export {
  decodeInferRequest,
  decodeInferResponse,
  encodeInferRequest,
  encodeInferResponse,
  type InferBody,
  type InferParameters,
  type InferRequest,
  type InferResponse,
  inferenceHeaderLengthName,
  parseInferParameters,
  parseRequestedOutput,
  type RequestedOutput,
  tensorBytes,
  tensorFromBytes,
} from './oip.ts';
export { classifyOutput } from './oip-classification.ts';
export { type GrpcStatusName, grpcStatusName, grpcStatusNameOf } from './status-names.ts';
export { decodeTensorProto, encodeTensorProto } from './tensor-proto.ts';
export { parseTextMessage } from './text-format.ts';
export { decodeExamplesJson, encodeClassificationsJson, encodeRegressionsJson, type JsonExamplesRequest } from './tfs-example-json.ts';
export { decodePredictJson, encodePredictJson, type JsonPredictRequest, type PredictFormat } from './tfs-json.ts';
export { defaultSignatureName, encodeMetadataJson, encodeStatusJson, signatureDefMap, type VersionStatusView } from './tfs-metadata.ts';
export { decodeWarmupRecord, type WarmupRequest } from './warmup.ts';
export { dataTypeOf, inferenceDatatypeOf } from './wire-dtypes.ts';
export {
  type CachedVersion,
  type CacheOutcome,
  type CacheReport,
  type CacheVerification,
  type ClassifyAnswer,
  type ClassifyCall,
  type DeviceWorkerApi,
  type HandedBack,
  type ImageSource,
  isRoleMessage,
  type LegTiming,
  type MediaWorkerApi,
  type OpenConditions,
  type OpenedModel,
  type OpenRequest,
  type Phase,
  type PredictAnswer,
  type PredictCall,
  type PrefetchedVersion,
  type Retry,
  type RoleMessage,
  type ServerAnswer,
  type ServerPolicy,
  type ServerTarget,
  type TaskAnswer,
  type TaskCall,
  type VersionRequest,
  type WorkerEvent,
  type WorkerRole,
} from './worker.ts';

import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  encodeTensorProto,
  LogMetadataSchema,
  ModelSpecSchema,
  PredictRequestSchema,
  PredictResponseSchema,
  type RunRequest,
  type TensorMap,
} from '../../core/index.ts';

/** The version that answers. */
export interface LoggedVersion {
  readonly name: string;
  readonly version: string;
}

// Field numbers of PredictionLog (tensorflow_serving/apis/prediction_log.proto). Its parts are serialized one by one, because the tensors
// of the request are gone when there is an answer: their memory moved to the engine.
const logMetadata = 1;
const predictLog = 6;
const request = 1;
const response = 2;

/** The request of a PredictLog. It names no version, so that it can warm up the next one. */
export function encodeLoggedRequest({ name }: LoggedVersion, { signature, inputs, outputs }: RunRequest): Uint8Array {
  const message = create(PredictRequestSchema, {
    modelSpec: { name, signatureName: signature },
    inputs: toProtos(inputs),
    outputFilter: [...(outputs ?? [])],
  });
  return toBinary(PredictRequestSchema, message);
}

/** The PredictionLog of an answered request. */
export function encodePredictionLog(
  loggedRequest: Uint8Array,
  outputs: TensorMap,
  { version, signature, samplingRate, now }: { version: LoggedVersion; signature: string; samplingRate: number; now: number },
): Uint8Array {
  const modelSpec = create(ModelSpecSchema, {
    name: version.name,
    versionChoice: { case: 'version', value: { value: BigInt(version.version) } },
    signatureName: signature,
  });
  const metadata = create(LogMetadataSchema, {
    modelSpec,
    samplingConfig: { samplingRate },
    timestampSecs: BigInt(Math.floor(now / 1000)),
  });
  const answer = toBinary(PredictResponseSchema, create(PredictResponseSchema, { modelSpec, outputs: toProtos(outputs) }));
  const writer = new BinaryWriter();
  writer.tag(logMetadata, WireType.LengthDelimited).bytes(toBinary(LogMetadataSchema, metadata));
  writer.tag(predictLog, WireType.LengthDelimited).fork();
  writer.tag(request, WireType.LengthDelimited).bytes(loggedRequest);
  writer.tag(response, WireType.LengthDelimited).bytes(answer);
  return writer.join().finish();
}

function toProtos(tensors: TensorMap) {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, encodeTensorProto(tensor, { asContent: true })]));
}

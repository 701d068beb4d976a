import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  ClassificationRequestSchema,
  ClassificationResponseSchema,
  classificationsOf,
  type ExampleMethod,
  ExampleSchema,
  encodeTensorProto,
  type InputSchema,
  isTensorOf,
  LogMetadataSchema,
  ModelSpecSchema,
  MultiInferenceRequestSchema,
  MultiInferenceResponseSchema,
  NearfarError,
  PredictRequestSchema,
  PredictResponseSchema,
  RegressionRequestSchema,
  RegressionResponseSchema,
  type RunRequest,
  regressionsOf,
  type TensorMap,
} from '../../core/index.ts';

/** The version that answers. */
export interface LoggedVersion {
  readonly name: string;
  readonly version: string;
}

/** What is asked of it, by either transport. */
export interface LoggedCall {
  /** `Predict`, `classify`, … */
  readonly api: string;
  readonly run: RunRequest;
  readonly beside?: readonly RunRequest[] | undefined;
  /** What MultiInference asks of each run. */
  readonly tasks?: readonly { readonly method: ExampleMethod }[] | undefined;
}

/** The record of a request, before there is an answer. */
export interface LoggedRequest {
  readonly kind: LogKind;
  readonly signature: string;
  readonly request: Uint8Array;
  /** @param outputs Of each run. */
  encodeResponse(outputs: readonly TensorMap[], version: LoggedVersion): Uint8Array;
}

// Field numbers of PredictionLog (tensorflow_serving/apis/prediction_log.proto). Its parts are serialized one by one, because the tensors
// of the request are gone when there is an answer: their memory moved to the engine.
const logKinds = { classify: 2, regress: 3, multiInference: 4, predict: 6 } as const;
type LogKind = keyof typeof logKinds;
const metadataField = 1;
const requestField = 1;
const responseField = 2;

/** Copies a request, in the form of the API that it came by. It names no version, so that it can warm up the next one. */
export function encodeLoggedRequest({ name }: LoggedVersion, { api, run, beside = [], tasks = [] }: LoggedCall): LoggedRequest {
  const modelSpec = { name, signatureName: run.signature };
  const { signature } = run;
  switch (api) {
    case 'classify':
    case 'Classify': {
      const { input, count } = readExamples(run);
      return {
        kind: 'classify',
        signature,
        request: toBinary(ClassificationRequestSchema, create(ClassificationRequestSchema, { modelSpec, input })),
        encodeResponse: ([outputs = {}], version) => {
          const answer = { modelSpec: specOf(version, signature), result: classificationResult(outputs, count) };
          return toBinary(ClassificationResponseSchema, create(ClassificationResponseSchema, answer));
        },
      };
    }
    case 'regress':
    case 'Regress': {
      const { input, count } = readExamples(run);
      return {
        kind: 'regress',
        signature,
        request: toBinary(RegressionRequestSchema, create(RegressionRequestSchema, { modelSpec, input })),
        encodeResponse: ([outputs = {}], version) => {
          const answer = { modelSpec: specOf(version, signature), result: regressionResult(outputs, count) };
          return toBinary(RegressionResponseSchema, create(RegressionResponseSchema, answer));
        },
      };
    }
    case 'MultiInference': {
      const { input, count } = readExamples(run);
      const runs = [run, ...beside].map((one, index) => ({ signature: one.signature, method: tasks[index]?.method ?? 'classify' }));
      const asked = runs.map((one) => ({
        modelSpec: { name, signatureName: one.signature },
        methodName: `tensorflow/serving/${one.method}`,
      }));
      return {
        kind: 'multiInference',
        signature,
        request: toBinary(MultiInferenceRequestSchema, create(MultiInferenceRequestSchema, { tasks: asked, input })),
        encodeResponse: (outputs, version) => {
          const results = runs.map((one, index) => ({
            modelSpec: specOf(version, one.signature),
            result:
              one.method === 'regress'
                ? ({ case: 'regressionResult', value: regressionResult(outputs[index] ?? {}, count) } as const)
                : ({ case: 'classificationResult', value: classificationResult(outputs[index] ?? {}, count) } as const),
          }));
          return toBinary(MultiInferenceResponseSchema, create(MultiInferenceResponseSchema, { results }));
        },
      };
    }
    default: {
      const message = { modelSpec, inputs: toProtos(run.inputs), outputFilter: [...(run.outputs ?? [])] };
      return {
        kind: 'predict',
        signature,
        request: toBinary(PredictRequestSchema, create(PredictRequestSchema, message)),
        encodeResponse: ([outputs = {}], version) => {
          const answer = { modelSpec: specOf(version, signature), outputs: toProtos(outputs) };
          return toBinary(PredictResponseSchema, create(PredictResponseSchema, answer));
        },
      };
    }
  }
}

/** The PredictionLog of an answered request. */
export function encodePredictionLog(
  { kind, signature, request, encodeResponse }: LoggedRequest,
  outputs: readonly TensorMap[],
  { version, samplingRate, now }: { version: LoggedVersion; samplingRate: number; now: number },
): Uint8Array {
  const metadata = create(LogMetadataSchema, {
    modelSpec: specOf(version, signature),
    samplingConfig: { samplingRate },
    timestampSecs: BigInt(Math.floor(now / 1000)),
  });
  const writer = new BinaryWriter();
  writer.tag(metadataField, WireType.LengthDelimited).bytes(toBinary(LogMetadataSchema, metadata));
  writer.tag(logKinds[kind], WireType.LengthDelimited).fork();
  writer.tag(requestField, WireType.LengthDelimited).bytes(request);
  writer.tag(responseField, WireType.LengthDelimited).bytes(encodeResponse(outputs, version));
  return writer.join().finish();
}

function specOf({ name, version }: LoggedVersion, signatureName: string) {
  return create(ModelSpecSchema, { name, versionChoice: { case: 'version', value: { value: BigInt(version) } }, signatureName });
}

function toProtos(tensors: TensorMap) {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, encodeTensorProto(tensor, { asContent: true })]));
}

/** The examples that a run was made of: its one input has them serialized. */
function readExamples({ inputs }: RunRequest): { input: MessageInitShape<typeof InputSchema>; count: number } {
  const [tensor] = Object.values(inputs);
  if (!tensor || !isTensorOf(tensor, 'string')) throw new NearfarError('internal', 'a run of examples has none');
  const examples = Array.from(tensor.data, (bytes) => fromBinary(ExampleSchema, bytes));
  return { input: { kind: { case: 'exampleList', value: { examples } } }, count: examples.length };
}

function classificationResult(outputs: TensorMap, count: number) {
  return { classifications: classificationsOf(outputs, count).map((classes) => ({ classes })) };
}

function regressionResult(outputs: TensorMap, count: number) {
  return { regressions: regressionsOf(outputs, count).map((value) => ({ value })) };
}

import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { NearfarError } from '../errors.ts';
import type { TensorMap } from '../tensor/index.ts';
import { ModelSpecSchema } from './gen/tensorflow_serving/apis/model_pb.ts';
import { PredictRequestSchema } from './gen/tensorflow_serving/apis/predict_pb.ts';
import { decodeTensorProto } from './tensor-proto.ts';
import { defaultSignatureName } from './tfs-metadata.ts';

/** Kinds of PredictionLog that TensorFlow Serving takes for warm-up. */
type WarmupLog = 'classify' | 'regress' | 'predict' | 'multi-inference';

/** One run that a recorded request asks for: tensors by the names of the signature, or serialized tf.Examples for its only input. */
export type WarmupRequest = { readonly log: WarmupLog; readonly signature: string } & (
  | { readonly kind: 'tensors'; readonly tensors: TensorMap; readonly outputs: readonly string[] }
  | { readonly kind: 'examples'; readonly examples: readonly Uint8Array[] }
);

/** Field numbers of PredictionLog (tensorflow_serving/apis/prediction_log.proto). */
const logs: ReadonlyMap<number, WarmupLog | 'session-run' | 'predict-streamed'> = new Map([
  [2, 'classify'],
  [3, 'regress'],
  [4, 'multi-inference'],
  [5, 'session-run'],
  [6, 'predict'],
  [7, 'predict-streamed'],
] as const);

/**
 * The runs that a warm-up record, a serialized PredictionLog, asks for; one per task of a MultiInference.
 * @throws {NearfarError} `invalid-argument` when the record is damaged, `unsupported` for logs that TensorFlow Serving does not run either.
 */
export function decodeWarmupRecord(record: Uint8Array): WarmupRequest[] {
  try {
    return decodeLog(record);
  } catch (cause) {
    if (cause instanceof NearfarError) throw cause;
    throw new NearfarError('invalid-argument', 'Failed to parse warmup record', { cause });
  }
}

function decodeLog(record: Uint8Array): WarmupRequest[] {
  // Of a oneof the last one counts.
  const [number, calls] = [...fieldsOf(record)].filter(([field]) => logs.has(field)).at(-1) ?? [];
  const log = number === undefined ? undefined : logs.get(number);
  const request =
    fieldsOf(calls?.at(-1) ?? new Uint8Array())
      .get(1)
      ?.at(-1) ?? new Uint8Array();
  switch (log) {
    case 'predict':
      return [decodePredict(request)];
    case 'classify':
    case 'regress': {
      const fields = fieldsOf(request);
      return [examplesOf(log, fields.get(1)?.at(-1), fields.get(2)?.at(-1))];
    }
    case 'multi-inference': {
      const fields = fieldsOf(request);
      return (fields.get(1) ?? []).map((task) => examplesOf(log, fieldsOf(task).get(1)?.at(-1), fields.get(2)?.at(-1)));
    }
    default:
      throw new NearfarError('unsupported', `Unsupported log_type for warmup: ${log ?? 'none'}`);
  }
}

function decodePredict(request: Uint8Array): WarmupRequest {
  const { modelSpec, inputs, outputFilter } = fromBinary(PredictRequestSchema, request);
  const tensors = Object.entries(inputs).map(([name, proto]) => [name, decodeTensorProto(proto, name)] as const);
  const signature = modelSpec?.signatureName || defaultSignatureName;
  return { log: 'predict', signature, kind: 'tensors', tensors: Object.fromEntries(tensors), outputs: outputFilter };
}

function examplesOf(log: WarmupLog, modelSpec: Uint8Array | undefined, input: Uint8Array | undefined): WarmupRequest {
  const signature = (modelSpec && fromBinary(ModelSpecSchema, modelSpec).signatureName) || defaultSignatureName;
  return { log, signature, kind: 'examples', examples: input ? readExamples(input) : [] };
}

/** An Input: examples, maybe with a context whose features every example has that does not have its own. */
function readExamples(input: Uint8Array): Uint8Array[] {
  const fields = fieldsOf(input);
  const plain = (fields.get(1) ?? []).flatMap((list) => fieldsOf(list).get(1) ?? []);
  const withContext = (fields.get(2) ?? []).flatMap((list) => {
    const parts = fieldsOf(list);
    // Messages that are written one after another are one message, in which the later entry of a map counts.
    const context = parts.get(2) ?? [];
    return (parts.get(1) ?? []).map((example) => Uint8Array.from([...context, example].flatMap((bytes) => [...bytes])));
  });
  return [...plain, ...withContext];
}

/** The length-delimited fields of a message, by number, the one seen last behind. */
function fieldsOf(message: Uint8Array): ReadonlyMap<number, readonly Uint8Array[]> {
  const fields = new Map<number, Uint8Array[]>();
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type !== WireType.LengthDelimited) {
      reader.skip(type, number);
      continue;
    }
    const known = fields.get(number) ?? [];
    fields.delete(number);
    fields.set(number, [...known, reader.bytes()]);
  }
  return fields;
}

import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { createTensor, decodeTensorProto, NearfarError, readTfRecords, type TensorMap } from '../core/index.ts';
import { ModelSpecSchema } from '../core/protocol/gen/tensorflow_serving/apis/model_pb.ts';
import { PredictRequestSchema } from '../core/protocol/gen/tensorflow_serving/apis/predict_pb.ts';
import type { NamedSignature } from './signature.ts';
import { SIGNATURE } from './source.ts';

/** One recorded request: tensors by the names of the signature, or serialized tf.Examples for its only input. */
export type WarmupRequest = { readonly signature: string } & (
  | { readonly kind: 'tensors'; readonly tensors: TensorMap }
  | { readonly kind: 'examples'; readonly examples: readonly Uint8Array[] }
);

/** Of each signature, so many requests become golden examples. */
const MAX_PER_SIGNATURE = 3;

/**
 * The requests of warm-up records, which are PredictionLogs (tensorflow_serving/apis/prediction_log.proto): calls of Predict, Classify and
 * Regress. Others are left out.
 * @throws {NearfarError} `integrity-mismatch` when a checksum is wrong, `invalid-argument` when a record is damaged.
 */
export function readWarmup(bytes: Uint8Array): WarmupRequest[] {
  return readTfRecords(bytes).flatMap((record, index) => {
    try {
      return readLog(record);
    } catch (cause) {
      throw new NearfarError('invalid-argument', `warm-up record ${index} is no PredictionLog`, { cause, details: { record: index } });
    }
  });
}

function readLog(record: Uint8Array): WarmupRequest[] {
  const log = fieldsOf(record);
  const requests: WarmupRequest[] = [];
  for (const request of [...(log.get(2) ?? []), ...(log.get(3) ?? [])].flatMap((call) => fieldsOf(call).get(1) ?? [])) {
    const fields = fieldsOf(request);
    const examples = (fields.get(2) ?? []).flatMap(readExamples);
    requests.push({ signature: signatureOf(fields.get(1)?.at(-1)), kind: 'examples', examples });
  }
  for (const request of (log.get(6) ?? []).flatMap((call) => fieldsOf(call).get(1) ?? [])) {
    const { modelSpec, inputs } = fromBinary(PredictRequestSchema, request);
    const tensors = Object.entries(inputs).map(([name, proto]) => [name, decodeTensorProto(proto, name)] as const);
    requests.push({ signature: modelSpec?.signatureName || SIGNATURE, kind: 'tensors', tensors: Object.fromEntries(tensors) });
  }
  return requests;
}

function signatureOf(modelSpec: Uint8Array | undefined): string {
  return (modelSpec && fromBinary(ModelSpecSchema, modelSpec).signatureName) || SIGNATURE;
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

/** The length-delimited fields of a message, by number. */
function fieldsOf(message: Uint8Array): ReadonlyMap<number, readonly Uint8Array[]> {
  const fields = new Map<number, Uint8Array[]>();
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type !== WireType.LengthDelimited) reader.skip(type, number);
    else fields.set(number, [...(fields.get(number) ?? []), reader.bytes()]);
  }
  return fields;
}

/** The first recorded requests that a signature takes, by its (new) names. */
export function warmupInputs(requests: readonly WarmupRequest[], signature: string, { inputs }: NamedSignature): TensorMap[] {
  const own = requests.filter((request) => request.signature === signature);
  const taken = own.map((request) => toInputs(request, inputs)).filter((tensors) => tensors !== undefined);
  return taken.slice(0, MAX_PER_SIGNATURE);
}

/** @returns Undefined for a request that the signature would refuse. */
function toInputs(request: WarmupRequest, wanted: NamedSignature['inputs']): TensorMap | undefined {
  const [only] = wanted;
  if (request.kind === 'examples') {
    const { examples } = request;
    if (!only || wanted.length > 1 || only.dtype !== 'string' || examples.length === 0) return undefined;
    return { [only.name]: createTensor('string', [examples.length], [...examples]) };
  }
  const { tensors } = request;
  if (Object.keys(tensors).length !== wanted.length) return undefined;
  const renamed = wanted.flatMap(({ name, key, dtype }) => {
    const tensor = tensors[key];
    return tensor?.dtype === dtype ? [[name, tensor] as const] : [];
  });
  return renamed.length === wanted.length ? Object.fromEntries(renamed) : undefined;
}

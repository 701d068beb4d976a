import {
  decodeExamplesJson,
  decodeInferRequest,
  decodePredictJson,
  defaultSignatureName,
  encodeInferResponse,
  encodePredictJson,
  type InferBody,
  type InferRequest,
  type InferResponse,
  type JsonExamplesRequest,
  type JsonPredictRequest,
  NearfarError,
  type PredictFormat,
  type Signature,
  type TensorMap,
} from '../../core/index.ts';
import { encodeTaskInput } from './task-inputs.ts';

/** The inputs of each signature of a model. */
export type SignatureInputs = Readonly<Record<string, Pick<Signature, 'inputs'>>>;

/** Work on JSON that any thread can do: plain data in, plain data out. */
export interface JsonJobs {
  /** A request of TensorFlow Serving's `:predict`. */
  decodePredict: { request: { readonly body: Uint8Array; readonly signatures: SignatureInputs }; answer: JsonPredictRequest };
  /** A request of its `:classify` and `:regress`. */
  decodeExamples: { request: { readonly body: Uint8Array }; answer: JsonExamplesRequest };
  /** A request of the Open Inference Protocol; the signature is for a body of bytes alone. */
  decodeInfer: {
    request: { readonly body: Uint8Array; readonly headerLength: number | undefined; readonly signature: Signature | undefined };
    answer: InferRequest;
  };
  /** The input of a task. */
  encodeTask: { request: Parameters<typeof encodeTaskInput>[0]; answer: { readonly inputs: TensorMap } };
  encodePredict: {
    request: { readonly outputs: TensorMap; readonly format: PredictFormat };
    answer: { readonly body: Uint8Array<ArrayBuffer> };
  };
  /** `binary` names the outputs that go behind the JSON as bytes. */
  encodeInfer: { request: InferResponse & { readonly binary: readonly string[] }; answer: InferBody };
}

export type JsonJobKind = keyof JsonJobs;

/** A task has to be opened; the others wait for nothing. */
type Answered<K extends JsonJobKind> = K extends 'encodeTask' ? Promise<JsonJobs[K]['answer']> : JsonJobs[K]['answer'];

export const jsonJobs: { readonly [K in JsonJobKind]: (request: JsonJobs[K]['request']) => Answered<K> } = {
  decodePredict: ({ body, signatures }) => decodePredictJson(body, (asked) => signatureNamed(signatures, asked || defaultSignatureName)),
  decodeExamples: ({ body }) => decodeExamplesJson(body),
  decodeInfer: ({ body, headerLength, signature }) => decodeInferRequest(body, headerLength, signature),
  encodeTask: encodeTaskInput,
  encodePredict: ({ outputs, format }) => ({ body: new TextEncoder().encode(encodePredictJson(outputs, format)) }),
  encodeInfer: ({ binary, ...response }) => encodeInferResponse(response, (output) => binary.includes(output)),
};

function signatureNamed(signatures: SignatureInputs, name: string): Pick<Signature, 'inputs'> {
  const signature = Object.hasOwn(signatures, name) ? signatures[name] : undefined;
  if (signature) return signature;
  throw new NearfarError('invalid-argument', `Serving signature name: "${name}" not found in signature def`, {
    details: { signature: name },
  });
}

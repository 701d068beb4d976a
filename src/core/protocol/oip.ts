import { NearfarError } from '../errors.ts';
import type { Signature } from '../manifest/index.ts';
import { type AnyTensor, bytesPerElement, createTensor, dataFromBytes, elementCount, type TensorMap } from '../tensor/index.ts';
import { decodeJson } from './decode-json.ts';
import { type JsonDocument, readJson } from './json-reader.ts';
import { addDenseValues, createSink, denseShape, type ValueSink } from './json-tensor.ts';
import { toPlain } from './json-text.ts';
import { numericTensor } from './numeric-tensor.ts';
import { readBytesElements, writeBytesElements } from './oip-bytes.ts';
import { encodeTensorJson } from './oip-json.ts';
import { readUsualInfer } from './usual-json.ts';
import { dtypeOfInferenceDatatype, inferenceDatatypeOf } from './wire-dtypes.ts';

// The Open Inference Protocol over HTTP (KServe v2) with Triton's binary tensor extension: a JSON header, and behind it
// the bytes of the tensors that have a `binary_data_size`, in the order of the header. A bare body is JSON alone.

/** Name of the HTTP header that says how many bytes of the body are JSON. */
export const inferenceHeaderLengthName = 'inference-header-content-length';

export interface InferBody {
  readonly body: Uint8Array<ArrayBuffer>;
  /** Bytes of JSON before the binary tensors; undefined where there are none and the body is JSON alone. */
  readonly headerLength: number | undefined;
}

export interface RequestedOutput {
  readonly name: string;
  readonly isBinary: boolean;
  /** How many classes are wanted instead of the tensor; undefined for the tensor. */
  readonly classCount: number | undefined;
}

/** What the parameters of a request say to the server; what else they hold means nothing to it. */
export interface InferParameters {
  /** The signature meant, our own parameter `signature_name`; undefined for the default one. */
  readonly signature: string | undefined;
  /** How long the answer may take, of `timeout`, which is in microseconds; undefined for as long as the server allows. */
  readonly timeoutMs: number | undefined;
  /** Whether outputs that are not named are wanted in binary. */
  readonly isBinary: boolean;
}

export interface InferRequest extends InferParameters {
  readonly id: string | undefined;
  readonly inputs: TensorMap;
  /** Undefined where the request names none: all of them. */
  readonly outputs: readonly RequestedOutput[] | undefined;
}

export interface InferResponse {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly id?: string | undefined;
  readonly outputs: TensorMap;
}

/** A request with every tensor in binary, which asks for a binary answer. */
export function encodeInferRequest(request: {
  readonly id?: string | undefined;
  readonly signature?: string | undefined;
  readonly inputs: TensorMap;
  readonly outputs?: readonly string[] | undefined;
}): InferBody {
  const blobs: Uint8Array[] = [];
  const header = {
    ...(request.id !== undefined && { id: request.id }),
    parameters: { binary_data_output: true, ...(request.signature !== undefined && { signature_name: request.signature }) },
    inputs: Object.entries(request.inputs).map(([name, tensor]) => binaryTensorHeader(name, tensor, blobs)),
    ...(request.outputs && { outputs: request.outputs.map((name) => ({ name, parameters: { binary_data: true } })) }),
  };
  return joinBody(JSON.stringify(header), blobs);
}

/**
 * @param headerLength Of the HTTP header `Inference-Header-Content-Length`; undefined where it is not there.
 * @param signature Only needed where `headerLength` is 0: the body is then the bytes of its one input.
 * @throws {NearfarError} `invalid-argument`, `dtype-mismatch`, `shape-mismatch`, `unsupported` (shared memory).
 */
export function decodeInferRequest(body: Uint8Array, headerLength: number | undefined, signature?: Signature): InferRequest {
  if (headerLength === 0)
    return {
      ...decodeRawRequest(body, signature),
      ...parseInferParameters({ binary_data_output: true }),
      id: undefined,
      outputs: undefined,
    };
  const usual = headerLength === undefined ? readUsualInfer(body) : undefined;
  if (usual) {
    const { id, inputs, outputs } = usual;
    return {
      signature: undefined,
      timeoutMs: undefined,
      isBinary: false,
      id,
      inputs,
      outputs: outputs?.map((name) => ({ name, isBinary: false, classCount: undefined })),
    };
  }
  return decodeBody(body, headerLength, decodeJson, (document, blobs) => {
    const parameters = parseInferParameters(readParameters(document, 0));
    const outputs = document.member(0, 'outputs');
    return {
      ...parameters,
      id: readText(document, 'id'),
      inputs: decodeTensors(document, requiredList(document, 'inputs'), blobs),
      outputs: outputs === undefined ? undefined : decodeRequestedOutputs(document, outputs, parameters.isBinary),
    };
  });
}

/**
 * Reads the parameters of a request, of JSON or of messages.
 * @throws {NearfarError} `invalid-argument` for one that is known and has the wrong type.
 */
export function parseInferParameters(parameters: Readonly<Record<string, unknown>>): InferParameters {
  const timeout = optional(parameters, 'timeout', isCount);
  optional(parameters, 'priority', isCount);
  return {
    signature: optional(parameters, 'signature_name', isText),
    // Triton's 0 is no timeout.
    timeoutMs: timeout === undefined || Number(timeout) === 0 ? undefined : Number(timeout) / 1000,
    isBinary: optional(parameters, 'binary_data_output', isBoolean) ?? false,
  };
}

/**
 * What the parameters of a requested output say.
 * @throws {NearfarError} `invalid-argument`, `unsupported` for shared memory.
 */
export function parseRequestedOutput(
  name: string,
  parameters: Readonly<Record<string, unknown>>,
  isBinaryByDefault: boolean,
): RequestedOutput {
  if (parameters['shared_memory_region'] !== undefined) {
    throw new NearfarError('unsupported', `output '${name}': shared memory is not served`);
  }
  const classCount = Number(optional(parameters, 'classification', isCount) ?? 0);
  return {
    name,
    isBinary: optional(parameters, 'binary_data', isBoolean) ?? isBinaryByDefault,
    classCount: classCount > 0 ? classCount : undefined,
  };
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean';
const isCount = (value: unknown): value is number | bigint =>
  (typeof value === 'number' && Number.isInteger(value) && value >= 0) || (typeof value === 'bigint' && value >= 0n);

function optional<T>(parameters: Readonly<Record<string, unknown>>, name: string, is: (value: unknown) => value is T): T | undefined {
  const value = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
  if (value === undefined || is(value)) return value;
  throw invalid(`Unable to parse '${name}': ${typeof value === 'object' ? 'it is a list or an object' : `it is ${String(value)}`}`);
}

/** @param isBinary Which outputs go behind the header as bytes. */
export function encodeInferResponse(response: InferResponse, isBinary: (name: string) => boolean): InferBody {
  const blobs: Uint8Array[] = [];
  const outputs = Object.entries(response.outputs).map(([name, tensor]) =>
    isBinary(name) ? JSON.stringify(binaryTensorHeader(name, tensor, blobs)) : encodeTensorJson(name, tensor),
  );
  // Spelled out: JSON.stringify of an object made for it takes three times as long.
  const id = response.id === undefined ? '' : `"id":${JSON.stringify(response.id)},`;
  const head = `{${id}"model_name":${JSON.stringify(response.modelName)},"model_version":${JSON.stringify(response.modelVersion)}`;
  return joinBody(`${head},"outputs":[${outputs.join(',')}]}`, blobs);
}

/** @throws {NearfarError} as {@link decodeInferRequest}. */
export function decodeInferResponse(body: Uint8Array, headerLength: number | undefined): InferResponse {
  // Without what reads lists in one piece, which a browser would have to download for nothing: our answers are binary.
  const decodeOneByOne: typeof decodeJson = (bytes, decode) => decode(readJson(bytes));
  return decodeBody(body, headerLength, decodeOneByOne, (document, blobs) => ({
    modelName: readText(document, 'model_name') ?? '',
    modelVersion: readText(document, 'model_version') ?? '',
    id: readText(document, 'id'),
    outputs: decodeTensors(document, requiredList(document, 'outputs'), blobs),
  }));
}

function binaryTensorHeader(name: string, tensor: AnyTensor, blobs: Uint8Array[]): object {
  const bytes = tensorBytes(name, tensor);
  blobs.push(bytes);
  return { name, shape: tensor.shape, datatype: datatypeOf(name, tensor), parameters: { binary_data_size: bytes.length } };
}

/** A tensor as both binary forms of the protocol carry it: little-endian elements; strings each behind their length. */
export function tensorBytes(name: string, tensor: AnyTensor): Uint8Array {
  datatypeOf(name, tensor);
  if (tensor.dtype === 'string') return writeBytesElements(tensor.data);
  return new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
}

/**
 * The inverse of {@link tensorBytes}; without a copy where the alignment allows.
 * @throws {NearfarError} `invalid-argument` (unknown datatype), `shape-mismatch` (the bytes do not fill the shape).
 */
export function tensorFromBytes(name: string, datatype: string, shape: readonly number[], bytes: Uint8Array): AnyTensor {
  const dtype = dtypeOfInferenceDatatype(datatype);
  if (dtype === undefined) throw invalid(`tensor '${name}' has unknown datatype '${datatype}'`);
  if (dtype === 'string') return createTensor('string', shape, readBytesElements(name, bytes));
  const want = elementCount(shape) * bytesPerElement(dtype);
  if (bytes.length !== want) {
    throw new NearfarError('shape-mismatch', `tensor '${name}' of ${datatype} [${shape}] takes ${want} bytes, got ${bytes.length}`, {
      details: { name, datatype, shape: [...shape], want, got: bytes.length },
    });
  }
  return numericTensor(dtype, shape, dataFromBytes(dtype, bytes));
}

function datatypeOf(name: string, { dtype }: AnyTensor): string {
  const datatype = inferenceDatatypeOf(dtype);
  if (datatype === undefined) throw new NearfarError('unsupported', `tensor '${name}': the Open Inference Protocol has no ${dtype}`);
  return datatype;
}

const encoder = new TextEncoder();

function joinBody(json: string, blobs: readonly Uint8Array[]): InferBody {
  const header = encoder.encode(json);
  if (blobs.length === 0) return { body: header, headerLength: undefined };
  const body = new Uint8Array(blobs.reduce((bytes, blob) => bytes + blob.length, header.length));
  body.set(header);
  let at = header.length;
  for (const blob of blobs) {
    body.set(blob, at);
    at += blob.length;
  }
  return { body, headerLength: header.length };
}

/** Hands out the binary tensors behind the header, in order. */
type Blobs = (name: string, size: number) => Uint8Array;

function decodeBody<T>(
  body: Uint8Array,
  headerLength: number | undefined,
  decodeHeader: typeof decodeJson,
  decode: (document: JsonDocument, blobs: Blobs) => T,
): T {
  const length = headerLength ?? body.length;
  if (!(length <= body.length)) throw invalid(`Inference-Header-Content-Length ${length} is larger than the body of ${body.length} bytes`);
  return decodeHeader(body.subarray(0, length), (document) => {
    if (document.kind(0) !== 'object') throw invalid('the inference request is not a JSON object');
    let at = length;
    return decode(document, (name, size) => {
      if (at + size > body.length)
        throw invalid(`tensor '${name}' has binary_data_size ${size}, the body ends ${at + size - body.length} bytes before`);
      at += size;
      return body.subarray(at - size, at);
    });
  });
}

function decodeTensors(document: JsonDocument, list: number, blobs: Blobs): TensorMap {
  const tensors = new Map<string, AnyTensor>();
  for (const index of document.elements(list)) {
    const name = memberText(document, index, 'name');
    if (tensors.has(name)) throw invalid(`tensor '${name}' is given twice`);
    tensors.set(name, decodeTensor(document, index, name, blobs));
  }
  return Object.fromEntries(tensors);
}

function decodeTensor(document: JsonDocument, index: number, name: string, blobs: Blobs): AnyTensor {
  const datatype = memberText(document, index, 'datatype');
  const shape = memberShape(document, index, name);
  const parameters = readParameters(document, index);
  if (parameters['shared_memory_region'] !== undefined)
    throw new NearfarError('unsupported', `tensor '${name}': shared memory is not served`);
  const size = parameters['binary_data_size'];
  if (size !== undefined) {
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw invalid(`tensor '${name}' has binary_data_size ${size}`);
    return tensorFromBytes(name, datatype, shape, blobs(name, size));
  }
  const data = document.member(index, 'data');
  if (data === undefined) throw invalid(`tensor '${name}' has neither data nor binary_data_size`);
  return decodeJsonTensor(document, data, name, datatype, shape);
}

/** `data` may be nested by the shape or flat. */
function decodeJsonTensor(document: JsonDocument, data: number, name: string, datatype: string, shape: readonly number[]): AnyTensor {
  const dtype = dtypeOfInferenceDatatype(datatype);
  if (dtype === undefined) throw invalid(`tensor '${name}' has unknown datatype '${datatype}'`);
  if (dtype === 'float16' || dtype === 'bfloat16')
    throw invalid(`sending ${datatype} data via JSON is not supported. Please use the binary data format for input '${name}'`);
  const elements = elementCount(shape);
  if (!(elements <= document.length)) throw shapeError(name, shape, 'too few');
  const sink: ValueSink = createSink(dtype, elements);
  const found = denseShape(document, data);
  if (elementCount(found) !== elements) throw shapeError(name, shape, elementCount(found));
  addDenseValues(document, data, found, sink);
  return sink.tensor(shape);
}

function shapeError(name: string, shape: readonly number[], got: unknown): NearfarError {
  return new NearfarError('shape-mismatch', `tensor '${name}' of shape [${shape}] takes ${elementCount(shape)} values, got ${got}`, {
    details: { name, shape: [...shape], got },
  });
}

function decodeRawRequest(body: Uint8Array, signature: Signature | undefined): { inputs: TensorMap } {
  const [only, ...others] = Object.entries(signature?.inputs ?? {});
  if (!only || others.length > 0) throw invalid('a raw binary request needs a model with exactly one input');
  const [name, { dtype, shape }] = only;
  const datatype = inferenceDatatypeOf(dtype) ?? dtype;
  if (dtype === 'string')
    return {
      inputs: {
        [name]: createTensor(
          'string',
          shape.map((size) => Math.max(size, 1)),
          [body],
        ),
      },
    };
  const fixed = elementCount(shape.filter((size) => size !== -1)) * bytesPerElement(dtype);
  if (shape.filter((size) => size === -1).length > 1)
    throw invalid(`a raw binary request needs one open dimension at most, '${name}' is [${shape}]`);
  const open = body.length / fixed;
  return {
    inputs: {
      [name]: tensorFromBytes(
        name,
        datatype,
        shape.map((size) => (size === -1 ? Math.floor(open) : size)),
        body,
      ),
    },
  };
}

function decodeRequestedOutputs(document: JsonDocument, list: number, isBinaryByDefault: boolean): RequestedOutput[] | undefined {
  if (document.kind(list) !== 'array') throw invalid("'outputs' is not a list");
  if (document.size(list) === 0) return undefined;
  return Array.from(document.elements(list), (index) =>
    parseRequestedOutput(memberText(document, index, 'name'), readParameters(document, index), isBinaryByDefault),
  );
}

function requiredList(document: JsonDocument, name: string): number {
  const list = document.member(0, name);
  if (list === undefined || document.kind(list) !== 'array') throw invalid(`'${name}' is missing or not a list`);
  return list;
}

function readParameters(document: JsonDocument, index: number): Readonly<Record<string, unknown>> {
  const parameters = document.kind(index) === 'object' ? document.member(index, 'parameters') : undefined;
  if (parameters === undefined || document.kind(parameters) !== 'object') return {};
  return Object.fromEntries(Array.from(document.members(parameters), ([name, value]) => [name, toPlain(document, value)]));
}

function readText(document: JsonDocument, name: string): string | undefined {
  const index = document.member(0, name);
  if (index === undefined) return undefined;
  if (document.kind(index) !== 'string') throw invalid(`'${name}' is not a string`);
  return document.string(index);
}

function memberText(document: JsonDocument, index: number, name: string): string {
  const value = document.kind(index) === 'object' ? document.member(index, name) : undefined;
  if (value === undefined || document.kind(value) !== 'string') throw invalid(`a tensor has no string '${name}'`);
  return document.string(value);
}

function memberShape(document: JsonDocument, index: number, name: string): number[] {
  const list = document.member(index, 'shape');
  if (list === undefined || document.kind(list) !== 'array') throw invalid(`tensor '${name}' has no shape`);
  return Array.from(document.elements(list), (size) => {
    const value = document.number(size);
    if (document.kind(size) === 'integer' && value >= 0) return value;
    throw invalid(`tensor '${name}' has a dimension that is no whole number of at least 0`);
  });
}

function invalid(message: string): NearfarError {
  return new NearfarError('invalid-argument', message);
}

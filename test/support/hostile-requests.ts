import { request as httpRequest } from 'node:http';
import { gzipSync } from 'node:zlib';
import { create, type DescMessage, type DescMethodUnary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { expect } from 'vitest';
import {
  createTensor,
  encodeExample,
  encodeInferRequest,
  encodeTensorProto,
  errorStatuses,
  GRPCInferenceService,
  Health,
  ModelService,
  PredictionService,
} from '../../src/core/index.ts';
import { mutations } from './mutations.ts';

// Requests that a server answers, and what becomes of them when their bytes are changed: it may refuse them, with a typed error.

/** Longest that one answer may take on the busiest machine; it takes some milliseconds. */
const soonMs = 20_000;

interface RestRequest {
  readonly path: string;
  readonly body: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

const utf8 = (value: unknown) => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
const x = createTensor('float32', [3], new Float32Array([1, 2, 5]));
const strings = createTensor('string', [2], [utf8('a'), utf8('bc')]);
const int64s = createTensor('int64', [2], new BigInt64Array([1n, -2n]));
const example = encodeExample(new Map([['x', { kind: 'float', values: [3] }]]));

/** Good ones, for the models `half_plus_two` and `scorer` of the stand-ins. */
function restRequests(): readonly RestRequest[] {
  const model = '/v1/models/half_plus_two';
  const many = { x: [1.5, 2], s_bytes: [{ b64: 'YQ==' }, 'b'], n: [1, 7] };
  const rows = '{"signature_name": "many", "instances": [{"x": 1e3, "s_bytes": {"b64": "YQ=="}, "n": 9007199254740993}]}';
  const binary = encodeInferRequest({ inputs: { x } });
  const two = createTensor('float32', [2], new Float32Array([1, 2]));
  const binaryMany = encodeInferRequest({ signature: 'many', inputs: { x: two, s_bytes: strings, n: int64s } });
  const infer = '/v2/models/half_plus_two/infer';
  const inputs = [{ name: 'x', shape: [3], datatype: 'FP32', data: [1, 2, 5] }];
  return [
    { path: `${model}:predict`, body: utf8('{"instances": [1.0, 2, NaN, -Infinity]}') },
    { path: `${model}:predict`, body: utf8(rows) },
    { path: `${model}:predict`, body: utf8({ signature_name: 'many', inputs: many }) },
    { path: `${model}:predict`, body: new Uint8Array(gzipSync('{"instances": [1.0, 2]}')), headers: { 'content-encoding': 'gzip' } },
    { path: '/v1/models/scorer:classify', body: utf8({ examples: [{ x: 1.5, y: { b64: 'YQ==' }, z: [1, 2] }], context: { w: 'a' } }) },
    { path: '/v1/models/scorer:regress', body: utf8({ signature_name: 'regress', examples: [{ x: [1.5] }] }) },
    { path: infer, body: utf8({ id: '7', inputs, outputs: [{ name: 'y', parameters: { classification: 3 } }] }) },
    ...[binary, binaryMany].map(({ body, headerLength }) => ({
      path: infer,
      body,
      headers: { 'inference-header-content-length': String(headerLength) },
    })),
    { path: infer, body: new Uint8Array(12), headers: { 'inference-header-content-length': '0' } },
    { path: '/v2/repository/index', body: utf8({ ready: true }) },
  ];
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

function send(base: string, { path, body, headers = {} }: RestRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(base + path, { method: 'POST', headers: { ...headers, 'content-length': body.length }, timeout: soonMs });
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${soonMs} ms`)));
    sent.on('error', reject);
    sent.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk) => chunks.push(chunk)).on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    sent.end(body);
  });
}

/** Sends changed requests: each is answered, or refused with a typed error that is not ours. */
export async function fuzzRest(base: string, numRuns: number): Promise<void> {
  const requests = restRequests();
  for (const request of requests) expect(await send(base, request), request.path).toMatchObject({ status: 200 });
  const known = new Set<number>([...Object.values(errorStatuses).map(({ http }) => http), 413, 415]);
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...requests), mutations, async (request, mutate) => {
      const body = mutate(request.body);
      const answer = await send(base, { ...request, body });
      if (answer.status === 200) return;
      const error = JSON.parse(answer.body);
      expect(error, answer.body).toEqual({ error: expect.any(String), code: expect.any(String), details: expect.any(Object) });
      expect(answer.status, answer.body).not.toBe(500);
      expect(known, answer.body).toContain(answer.status);
    }),
    { numRuns },
  );
  for (const request of requests) expect(await send(base, request), request.path).toMatchObject({ status: 200 });
}

interface GrpcRequest {
  readonly path: string;
  readonly bytes: Uint8Array;
}

function grpcRequest<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  message: MessageInitShape<I>,
): GrpcRequest {
  return { path: `/${method.parent.typeName}/${method.name}`, bytes: toBinary(method.input, create(method.input, message)) };
}

function grpcRequests(): readonly GrpcRequest[] {
  const { predict, classify, regress, multiInference, getModelMetadata } = PredictionService.method;
  const modelSpec = { name: 'half_plus_two' };
  const scorer = { name: 'scorer' };
  const withExample = (bytes: Uint8Array, message: GrpcRequest): GrpcRequest => ({
    ...message,
    // Input.example_list.examples: an Example is a message, which is in the request as its bytes are.
    bytes: new Uint8Array([...message.bytes, ...nest(2, nest(1, nest(1, bytes)))]),
  });
  const fp32 = { name: 'x', datatype: 'FP32', shape: [3n] };
  return [
    grpcRequest(predict, { modelSpec, inputs: { x: encodeTensorProto(x) } }),
    grpcRequest(predict, { modelSpec, inputs: { x: encodeTensorProto(x, { asContent: true }) }, outputFilter: ['y'] }),
    grpcRequest(predict, {
      modelSpec: { ...modelSpec, signatureName: 'many' },
      inputs: {
        x: encodeTensorProto(createTensor('float32', [2], new Float32Array(2))),
        s_bytes: encodeTensorProto(strings),
        n: encodeTensorProto(int64s),
      },
    }),
    withExample(example, grpcRequest(classify, { modelSpec: scorer })),
    withExample(example, grpcRequest(regress, { modelSpec: { ...scorer, signatureName: 'regress' } })),
    withExample(
      example,
      grpcRequest(multiInference, {
        tasks: [{ modelSpec: { ...scorer, signatureName: 'regress' }, methodName: 'tensorflow/serving/regress' }],
      }),
    ),
    grpcRequest(getModelMetadata, { modelSpec, metadataField: ['signature_def'] }),
    grpcRequest(ModelService.method.getModelStatus, { modelSpec }),
    grpcRequest(GRPCInferenceService.method.modelInfer, {
      modelName: 'half_plus_two',
      inputs: [fp32],
      rawInputContents: [new Uint8Array(x.data.buffer.slice(0))],
    }),
    grpcRequest(GRPCInferenceService.method.modelInfer, {
      modelName: 'half_plus_two',
      inputs: [{ ...fp32, contents: { fp32Contents: [1, 2, 5] } }],
      outputs: [{ name: 'y' }],
    }),
    grpcRequest(GRPCInferenceService.method.modelMetadata, { name: 'half_plus_two' }),
    grpcRequest(GRPCInferenceService.method.repositoryIndex, { ready: true }),
    grpcRequest(Health.method.check, { service: 'half_plus_two' }),
  ];
}

/** A field that holds bytes. */
function nest(field: number, bytes: Uint8Array): Uint8Array {
  return new Uint8Array([(field << 3) | 2, bytes.length, ...bytes]);
}

function call(client: Client, { path, bytes }: GrpcRequest): Promise<{ readonly code: number; readonly details: string }> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      (value: Uint8Array) => Buffer.from(value),
      (value) => value,
      bytes,
      { deadline: Date.now() + soonMs },
      (error: ServiceError | null) => resolve({ code: error?.code ?? status.OK, details: error?.details ?? '' }),
    );
  });
}

/** The same over gRPC; what is no message at all is INTERNAL by gRPC's own convention. */
export async function fuzzGrpc(address: string, numRuns: number): Promise<void> {
  const client = new Client(address, credentials.createInsecure(), { 'grpc.enable_retries': 0 });
  const requests = grpcRequests();
  const known = new Set<number>(Object.values(errorStatuses).map(({ grpc }) => grpc));
  try {
    for (const request of requests) expect(await call(client, request), request.path).toMatchObject({ code: status.OK });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...requests), mutations, async (request, mutate) => {
        const { code, details } = await call(client, { ...request, bytes: mutate(request.bytes) });
        if (code === status.OK || (code === status.INTERNAL && details.startsWith('Error deserializing request'))) return;
        expect([status.UNKNOWN, status.INTERNAL, status.DEADLINE_EXCEEDED], `${request.path}: ${details}`).not.toContain(code);
        expect(known, `${request.path}: ${details}`).toContain(code);
      }),
      { numRuns },
    );
    for (const request of requests) expect(await call(client, request), request.path).toMatchObject({ code: status.OK });
  } finally {
    client.close();
  }
}

import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTensor, encodeTensorProto, GRPCInferenceService, PredictionService, tensorBytes } from '../../src/core/index.ts';
import { publish } from '../../src/publish/index.ts';
import { type RunningServer, type ServerOptions, startServer } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { mutations } from '../support/mutations.ts';
import { scalingModel } from '../support/onnx-writer.ts';

// Whole servers on real sockets: one answers a tiny model in the turn in which the request came, the others ask the engine's thread.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
const agent = new Agent({ keepAlive: true });
const opened: Asked[] = [];

interface Asked {
  readonly server: RunningServer;
  readonly client: Client;
}

beforeAll(async () => {
  folder = await openTempFolder();
  await writeFile(join(folder.path, 'scale.onnx'), scalingModel(2));
  await publish([join(folder.path, 'scale.onnx')], { name: 'scale', repository: join(folder.path, 'models') });
});

afterAll(async () => {
  agent.destroy();
  for (const { server, client } of opened) {
    client.close();
    await server.close();
  }
  await folder[Symbol.asyncDispose]();
});

/** A server that has seen 32 runs, none of which counts as slow where runs on the event loop are on. */
async function open(options: ServerOptions): Promise<Asked> {
  const server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    modelsRoot: join(folder.path, 'models'),
    cacheDir: join(folder.path, 'cache'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    logLevel: 'silent',
    lameDuckMs: 0,
    corsAllowedOrigins: ['*'],
    ...options,
  });
  const asked = { server, client: new Client(server.grpcAddress ?? '', credentials.createInsecure()) };
  opened.push(asked);
  await server.whenReady();
  const large = JSON.stringify({ instances: Array.from({ length: 300 }, () => [1, 2, 3]) });
  for (let run = 0; run < 32; run++)
    expect(await askRest(asked, { path: '/v1/models/scale:predict', body: large })).toMatchObject({ status: 200 });
  return asked;
}

interface RestQuestion {
  readonly path: string;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

interface RestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly timing: string | undefined;
  readonly body: string;
}

async function askRest({ server }: Asked, { path, body, headers = {} }: RestQuestion): Promise<RestAnswer> {
  const sent = request(`${server.restAddress}${path}`, {
    method: 'POST',
    agent,
    headers: { 'content-length': Buffer.byteLength(body), ...headers },
  });
  sent.end(body);
  const [response] = await once(sent, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const { date, 'server-timing': timing, ...same } = response.headers;
  expect(date).toBeDefined();
  return {
    status: response.statusCode,
    headers: same,
    timing: timing?.replace(/[1-9]\d*\.\d+|0\.\d*[1-9]\d*/g, 'some'),
    body: Buffer.concat(chunks).toString('latin1'),
  };
}

interface GrpcQuestion {
  readonly method: 'predict' | 'modelInfer';
  readonly message: Uint8Array;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number | undefined;
}

function askGrpc({ client }: Asked, { method, message, metadata = {}, deadlineMs }: GrpcQuestion): Promise<object> {
  const { parent, name } = method === 'predict' ? PredictionService.method.predict : GRPCInferenceService.method.modelInfer;
  const sent = new Metadata();
  for (const [key, value] of Object.entries(metadata)) sent.set(key, value);
  return new Promise((resolve) => {
    let answer: object = {};
    const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
    const same = (bytes: Buffer) => bytes;
    const call = client.makeUnaryRequest(
      `/${parent.typeName}/${name}`,
      same,
      same,
      Buffer.from(message),
      sent,
      options,
      (error: ServiceError | null, value) => {
        answer = error ? { code: error.code, details: error.details } : { value: value?.toString('hex') };
      },
    );
    call.on('status', ({ metadata: trailer }) =>
      setImmediate(() => resolve({ ...answer, trailer: { ...trailer.getMap(), date: undefined } })),
    );
  });
}

const values = fc.array(fc.oneof(fc.integer({ min: -9, max: 9 }), fc.float({ noNaN: true, noDefaultInfinity: true })), {
  minLength: 6,
  maxLength: 6,
});
const shapes = fc.constantFrom<number[]>([1, 3], [1, 3], [2, 3], [2, 3], [3], [2, 2], [0, 3]);
/** Of one message in four. */
const damage = fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: mutations });

const restHeaders = fc.constantFrom<Record<string, string>>(
  {},
  {},
  {},
  { 'content-type': 'application/json' },
  { 'nearfar-deadline-ms': '5000' },
  { 'nearfar-deadline-ms': 'soon' },
  { 'nearfar-model-digest': `sha256:${'0'.repeat(64)}` },
  { 'accept-encoding': 'gzip' },
);

const restQuestions: fc.Arbitrary<RestQuestion> = fc
  .tuple(
    values,
    shapes,
    restHeaders,
    damage,
    fc.constantFrom('rows', 'columns', 'named', 'signature', 'v2', 'v2-id', 'v2-parameters', 'v2-binary'),
    fc.constantFrom('scale', 'scale', 'scale', 'scale/versions/1', 'scale/versions/9', 'none'),
  )
  .map(([numbers, shape, headers, mutate, form, model]) => {
    const [rows = 0, columns] = shape;
    const nested =
      columns === undefined
        ? numbers.slice(0, rows)
        : Array.from({ length: rows }, (_, row) => numbers.slice(row * columns, (row + 1) * columns));
    const data = numbers.slice(
      0,
      shape.reduce((product, size) => product * size, 1),
    );
    const inputs = [{ name: 'x', shape, datatype: 'FP32', data }];
    const bodies = {
      rows: { instances: nested },
      columns: { inputs: { x: nested } },
      named: { instances: [{ x: nested }] },
      signature: { signature_name: 'serving_default', instances: nested },
      v2: { inputs, outputs: [{ name: 'y' }] },
      'v2-id': { id: 'ü7', inputs },
      'v2-parameters': { inputs, parameters: { timeout: 5_000_000 }, outputs: [{ name: 'y', parameters: { classification: 1 } }] },
      'v2-binary': { inputs, parameters: { binary_data_output: true } },
    };
    const body = new TextEncoder().encode(JSON.stringify(bodies[form as keyof typeof bodies]));
    const path = form.startsWith('v2') ? `/v2/models/${model}/infer` : `/v1/models/${model}:predict`;
    // A timeout of a few microseconds is met or not as it happens, wherever the model runs.
    return { path, body: mutate && form !== 'v2-parameters' ? mutate(body) : body, headers };
  });

const grpcQuestions: fc.Arbitrary<GrpcQuestion> = fc
  .tuple(
    values,
    shapes,
    damage,
    fc.constantFrom<'predict' | 'modelInfer'>('predict', 'modelInfer'),
    fc.constantFrom('scale', 'none'),
    fc.constantFrom<string[]>([], ['y'], ['y', 'y'], ['z']),
    fc.boolean(),
    fc.constantFrom(undefined, 5000),
  )
  .map(([numbers, shape, mutate, method, name, outputs, isContent, deadlineMs]) => {
    const tensor = createTensor(
      'float32',
      shape,
      Float32Array.from(
        numbers.slice(
          0,
          shape.reduce((product, size) => product * size, 1),
        ),
      ),
    );
    const { predict, modelInfer } = { predict: PredictionService.method.predict, modelInfer: GRPCInferenceService.method.modelInfer };
    const message =
      method === 'predict'
        ? toBinary(
            predict.input,
            create(predict.input, {
              modelSpec: { name },
              inputs: { x: encodeTensorProto(tensor, { asContent: isContent }) },
              outputFilter: outputs,
            }),
          )
        : toBinary(
            modelInfer.input,
            create(modelInfer.input, {
              modelName: name,
              id: isContent ? 'a' : '',
              inputs: [{ name: 'x', datatype: 'FP32', shape: shape.map(BigInt) }],
              outputs: outputs.map((output) => ({ name: output })),
              rawInputContents: [tensorBytes('x', tensor)],
            }),
          );
    return { method, message: mutate ? mutate(message) : message, deadlineMs, metadata: isContent ? {} : { traceparent: 'none' } };
  });

/** What is counted; times and buckets of times differ. */
async function countsOf({ server }: Asked): Promise<{ readonly lines: string[]; readonly statistics: unknown }> {
  const page = await server.metrics.registry.metrics();
  const lines = page.split('\n').filter((line) => /^(nearfar_\w*(_total|_count|in_flight)|:tensorflow\S*(_count|graph_runs))\b/.test(line));
  const response = await fetch(`${server.restAddress}/v2/models/scale/stats`);
  const statistics = JSON.stringify(await response.json(), (key, value) => (key === 'ns' || key === 'last_inference' ? undefined : value));
  return { lines: lines.sort(), statistics };
}

test('what is answered at once is answered as by the thread, byte for byte, and counted alike', async () => {
  const here = await open({ inlineRunsBelowMs: 1000 });
  const thread = await open({ inlineRunsBelowMs: 0 });
  let atOnce = 0;

  await fc.assert(
    fc.asyncProperty(restQuestions, grpcQuestions, async (rest, grpc) => {
      const { timing, ...answer } = await askRest(here, rest);
      const { timing: _, ...expected } = await askRest(thread, rest);
      if (timing?.startsWith('queue;dur=0.000')) atOnce++;

      expect(answer).toEqual(expected);
      expect(await askGrpc(here, grpc)).toEqual(await askGrpc(thread, grpc));
    }),
    { numRuns: 250 },
  );

  expect(atOnce).toBeGreaterThan(25);
  const [counted, expectedCounts] = [await countsOf(here), await countsOf(thread)];
  expect(counted).toEqual(expectedCounts);
  expect(counted.lines.length).toBeGreaterThan(20);
});

describe('waits as it has to', () => {
  const question = { path: '/v1/models/scale:predict', body: '{"instances":[[1,2,3]]}' };

  test('where requests are batched', async () => {
    const asked = await open({ inlineRunsBelowMs: 1000, batching: { kind: 'fixed', options: { ...batching } } });

    expect(await askRest(asked, question)).toMatchObject({ status: 200, headers: { 'nearfar-batch-size': '1' } });
  });

  test('where answers are kept', async () => {
    const asked = await open({ inlineRunsBelowMs: 1000, resultCacheBytes: 2 ** 20, resultCacheTtlMs: 60_000 });

    expect(await askRest(asked, question)).toMatchObject({ status: 200, headers: { 'nearfar-cache': 'miss' } });
    expect(await askRest(asked, question)).toMatchObject({ status: 200, headers: { 'nearfar-cache': 'hit' } });
  });
});

const batching = {
  maxBatchSize: 1000,
  batchTimeoutMicros: 0,
  maxEnqueuedBatches: 10,
  numBatchThreads: 1,
  allowedBatchSizes: [],
  padVariableLengthInputs: false,
  enableLargeBatchSplitting: false,
  maxExecutionBatchSize: 1000,
  threadPoolName: '',
};

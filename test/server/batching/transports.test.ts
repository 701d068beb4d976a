import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, type Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AnyTensor, createTensor, decodeTensorProto, encodeTensorProto, PredictionService } from '../../../src/core/index.ts';
import { defaultBatchingOptions } from '../../../src/server/batching/index.ts';
import { type RunningServer, type ServerOptions, startServer } from '../../../src/server/index.ts';
import { copyEveryday10 } from '../../support/everyday10.ts';
import { openTempFolder } from '../../support/model-folder.ts';

// Both transports of one server at once, with the real engine, against a server that does not batch.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let batching: RunningServer;
let plain: RunningServer;
let client: Client;

async function start(options: ServerOptions): Promise<RunningServer> {
  const server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    modelsRoot: join(folder.path, 'models'),
    cacheDir: join(folder.path, 'cache'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    logLevel: 'silent',
    ...options,
  });
  await server.whenReady();
  return server;
}

beforeAll(async () => {
  folder = await openTempFolder();
  await copyEveryday10(join(folder.path, 'models/everyday10'), '1');
  const options = { ...defaultBatchingOptions, maxBatchSize: 12, numBatchThreads: 2, maxEnqueuedBatches: 100, threadPoolName: 'pool' };
  batching = await start({ batching: { kind: 'fixed', options } });
  plain = await start({});
  client = new Client(batching.grpcAddress ?? '', credentials.createInsecure());
});

afterAll(async () => {
  client.close();
  await batching.close();
  await plain.close();
  await folder[Symbol.asyncDispose]();
});

/** Pictures of one colour each, which no two requests share. */
function picturesOf(index: number): AnyTensor {
  const rows = 1 + (index % 3);
  const colour = (row: number, channel: number) => ((index * 37 + row * 101 + channel * 59) % 256) / 255;
  const data = Float32Array.from({ length: rows * 32 * 32 * 3 }, (_, item) => colour(Math.floor(item / 3072), item % 3));
  return createTensor('float32', [rows, 32, 32, 3], data) as AnyTensor;
}

interface Served {
  readonly rows: readonly (readonly number[])[];
  readonly batchSize: number;
}

async function askRest(images: AnyTensor): Promise<Served> {
  const values = Array.from(images.data, Number);
  const nested = Array.from({ length: images.shape[0] ?? 0 }, (_, row) =>
    Array.from({ length: 32 }, (_, y) => Array.from({ length: 32 }, (_, x) => values.slice(((row * 32 + y) * 32 + x) * 3).slice(0, 3))),
  );
  const url = `${batching.restAddress}/v1/models/everyday10:predict`;
  const response = await fetch(url, { method: 'POST', body: JSON.stringify({ instances: nested }) });
  const { predictions } = (await response.json()) as { predictions: number[][] };
  return { rows: predictions, batchSize: Number(response.headers.get('nearfar-batch-size')) };
}

function askGrpc(images: AnyTensor): Promise<Served> {
  const { predict } = PredictionService.method;
  const inputs = { image: encodeTensorProto(images, { asContent: true }) };
  const message = create(predict.input, { modelSpec: { name: 'everyday10', signatureName: 'serving_default' }, inputs });
  return new Promise((resolve, reject) => {
    let rows: number[][] = [];
    const call = client.makeUnaryRequest(
      `/${predict.parent.typeName}/${predict.name}`,
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes) => fromBinary(predict.output, bytes),
      toBinary(predict.input, message),
      (error: ServiceError | null, answer) => {
        const output = answer?.outputs['probabilities'];
        if (error || !output) return reject(error ?? new Error('no output'));
        const { data } = decodeTensorProto(output, 'probabilities');
        rows = rowsOf(Array.from(data, Number));
      },
    );
    call.on('status', ({ metadata }: { metadata: Metadata }) =>
      resolve({ rows, batchSize: Number(metadata.get('nearfar-batch-size')[0]) }),
    );
  });
}

function rowsOf(values: readonly number[]): number[][] {
  return Array.from({ length: values.length / 10 }, (_, row) => values.slice(row * 10, row * 10 + 10));
}

async function expectedOf(images: AnyTensor): Promise<number[][]> {
  using handle = plain.servables.lend({ name: 'everyday10' });
  const { outputs } = await handle.run({ signature: 'serving_default', inputs: { image: images } }, {});
  return rowsOf(Array.from(outputs['probabilities']?.data ?? [], Number));
}

const differ = (a: readonly number[], b: readonly number[]) => Math.max(...a.map((value, index) => Math.abs(value - (b[index] ?? 0))));

test('batches fill from REST and gRPC, and no answer is mixed up', async () => {
  const indices = Array.from({ length: 60 }, (_, index) => index);
  const expected = await Promise.all(indices.map((index) => expectedOf(picturesOf(index))));

  const served = await Promise.all(indices.map((index) => (index % 2 ? askRest : askGrpc)(picturesOf(index))));

  for (const [index, { rows }] of served.entries()) {
    const own = expected[index] ?? [];
    expect(rows).toHaveLength(own.length);
    for (const [row, values] of rows.entries()) expect(differ(values, own[row] ?? [])).toBeLessThan(1e-4);
  }
  // A mixed-up answer would show: the right ones are far apart.
  const all = expected.flat();
  const closest = Math.min(...all.flatMap((a, index) => all.slice(index + 1).map((b) => differ(a, b))));
  expect(closest).toBeGreaterThan(1e-4);
  const sizes = served.map(({ batchSize }) => batchSize);
  expect(Math.max(...sizes)).toBeGreaterThan(3);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(12);
  const metrics = await batching.metrics.registry.metrics();
  const runs = Number(/batching_session:wrapped_run_count\{thread_pool_name="pool"\} (\d+)/.exec(metrics)?.[1]);
  expect(runs).toBeLessThan(60);
  expect(metrics).toContain('batching_session:queuing_latency_count{thread_pool_name="pool"} 60');
  expect(metrics).toContain('nearfar_batch_size_sum{model="everyday10",version="1",signature="serving_default"} 120');
});

test('how a model is batched can be read', async () => {
  await askGrpc(picturesOf(0));

  const { signatures } = await (await fetch(`${batching.restAddress}/nearfar/v1/batching`)).json();

  const limits = { batching: 'fixed', maxBatchSize: 12, batchTimeoutMicros: 0 };
  expect(signatures).toEqual([{ model: 'everyday10', version: '1', signature: 'serving_default', ...limits }]);
});

test('a client that goes leaves its batch, which answers the others', async () => {
  const url = `${batching.restAddress}/v2/models/everyday10/infer`;
  const images = picturesOf(0);
  const body = JSON.stringify({
    inputs: [{ name: 'image', datatype: 'FP32', shape: images.shape, data: Array.from(images.data, Number) }],
  });
  const clients = Array.from({ length: 20 }, () => new AbortController());

  const answers = clients.map(({ signal }) => fetch(url, { method: 'POST', body, signal }).then(({ status }) => status));
  for (const [index, gone] of clients.entries()) if (index % 2) gone.abort();
  const outcomes = await Promise.allSettled(answers);

  expect(outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : 'gone'))).toEqual(
    clients.map((_, index) => (index % 2 ? 'gone' : 200)),
  );
});

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTensor, encodeTensorProto, PredictionService } from '../../src/core/index.ts';
import { Admission } from '../../src/server/admission.ts';
import { type RunningServer, type ServerOptions, startServer } from '../../src/server/index.ts';
import { createGrpcServer, createRestServer } from '../../src/server/transports/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { noRedis, startRedis } from '../support/redis.ts';
import { until } from '../support/serving.ts';
import { tinyOnnx } from '../support/tiny-models.ts';
import {
  createSlowVersion,
  createStandInContext,
  createStandInFiles,
  createStandInStore,
  noLimits,
} from './transports/support/stand-in.ts';

// The whole server on real sockets and real engines: who gets whose answer, and who is refused.

let folder: Awaited<ReturnType<typeof openTempFolder>>;

beforeAll(async () => {
  folder = await openTempFolder();
});

afterAll(() => folder[Symbol.asyncDispose]());

async function start(options: ServerOptions = {}): Promise<RunningServer> {
  const server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    modelsRoot: join(folder.path, 'models'),
    cacheDir: join(folder.path, 'cache'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    maxEngineWorkers: 1,
    pollIntervalMs: 20,
    logLevel: 'silent',
    ...options,
  });
  await server.whenReady();
  return server;
}

/** A model of one operator over matrices of any size: `y = op(x)`. */
async function writeModel(op: string, name = 'tiny'): Promise<void> {
  const { variant, readFile } = tinyOnnx('float32', op, { rank: 2 });
  await mkdir(join(folder.path, 'models', name, '1'), { recursive: true });
  await writeFile(join(folder.path, 'models', name, '1/model.onnx'), await readFile(variant.entry));
}

/** The version that answers for a model; undefined between the removal of its folder and the first look at the next one. */
function availableDigest({ servables }: RunningServer, name: string): string | undefined {
  try {
    return servables.status({ name }).find(({ state }) => state === 'AVAILABLE')?.digest;
  } catch {
    return undefined;
  }
}

type Addresses = Pick<RunningServer, 'restAddress' | 'grpcAddress'>;

async function infer({ restAddress }: Pick<Addresses, 'restAddress'>, shape: number[], data: number[], name = 'tiny') {
  const response = await fetch(`${restAddress}/v2/models/${name}/infer`, {
    method: 'POST',
    body: JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape, data }] }),
  });
  const body = await response.json();
  return {
    status: response.status,
    headers: response.headers,
    cache: response.headers.get('nearfar-cache'),
    output: body.outputs?.[0],
    body,
  };
}

async function predictGrpc(
  { grpcAddress }: Pick<Addresses, 'grpcAddress'>,
  shape: number[],
  data: number[],
  name = 'tiny',
): Promise<{ values: number[]; trailer: Metadata }> {
  const client = new Client(grpcAddress ?? '', credentials.createInsecure());
  const { predict } = PredictionService.method;
  const x = encodeTensorProto(createTensor('float32', shape, Float32Array.from(data)));
  try {
    return await new Promise((resolve, reject) => {
      let values: number[] = [];
      const call = client.makeUnaryRequest<Uint8Array, number[]>(
        `/${predict.parent.typeName}/${predict.name}`,
        (bytes) => Buffer.from(bytes),
        (bytes) => fromBinary(predict.output, bytes).outputs['y']?.floatVal ?? [],
        toBinary(predict.input, create(predict.input, { modelSpec: { name }, inputs: { x } })),
        (error: ServiceError | null, value = []) => {
          if (error) reject(error);
          else values = value;
        },
      );
      call.on('status', ({ code, metadata }) => code === status.OK && resolve({ values, trailer: metadata }));
    });
  } finally {
    client.close();
  }
}

const metricsOf = async ({ restAddress }: RunningServer) => (await fetch(`${restAddress}/metrics`)).text();

describe('one server', () => {
  let server: RunningServer;

  beforeAll(async () => {
    await writeModel('Neg', 'tiny');
    await writeModel('Neg', 'fresh');
    await copyEveryday10(join(folder.path, 'models/everyday10'), '1');
    const fresh = { name: 'fresh', basePath: join(folder.path, 'models/fresh'), options: { resultCacheTtlMs: 0 } };
    server = await start({ models: [fresh], resultCacheBytes: 1e6, inputCacheBytes: 1e6 });
  });

  afterAll(() => server.close());

  test('answers over REST what was asked over gRPC, and never a matrix by the answer to another one', async () => {
    const first = await predictGrpc(server, [2, 3], [1, 2, 3, 4, 5, 6]);
    const again = await predictGrpc(server, [2, 3], [1, 2, 3, 4, 5, 6]);
    const wide = await infer(server, [2, 3], [1, 2, 3, 4, 5, 6]);
    const high = await infer(server, [3, 2], [1, 2, 3, 4, 5, 6]);
    const other = await infer(server, [2, 3], [1, 2, 3, 4, 5, 7]);

    expect([first, again].map(({ values, trailer }) => [values, trailer.get('nearfar-cache')])).toEqual([
      [[-1, -2, -3, -4, -5, -6], ['miss']],
      [[-1, -2, -3, -4, -5, -6], ['hit']],
    ]);
    expect([wide, high, other].map(({ cache, output }) => [cache, output.shape, output.data])).toEqual([
      ['hit', [2, 3], [-1, -2, -3, -4, -5, -6]],
      ['miss', [3, 2], [-1, -2, -3, -4, -5, -6]],
      ['miss', [2, 3], [-1, -2, -3, -4, -5, -7]],
    ]);
    const metrics = await metricsOf(server);
    expect(metrics).toContain('nearfar_cache_lookups_total{cache="result",model="tiny",outcome="hit"} 2');
    expect(metrics).toContain('nearfar_cache_lookups_total{cache="result",model="tiny",outcome="miss"} 3');
    expect(metrics).toMatch(/nearfar_cache_bytes\{cache="result"\} [1-9]/);
    expect(metrics).toContain(':tensorflow:serving:request_count{model_name="tiny",status="OK"} 5');
    // A hit is no run.
    const { model_stats: stats } = await (await fetch(`${server.restAddress}/v2/models/tiny/stats`)).json();
    expect(stats).toMatchObject([{ execution_count: 3, inference_stats: { success: { count: 5 }, cache_hit: { count: 2 } } }]);
  });

  test('keeps no answer of a model that says so', async () => {
    const answers = [];
    for (const name of ['tiny', 'tiny', 'fresh', 'fresh']) answers.push(await infer(server, [1, 1], [1], name));

    expect(answers.map(({ cache }) => cache)).toEqual(['miss', 'hit', null, null]);
  });

  test('decodes a picture once', async () => {
    const picture = (background: string) =>
      sharp({ create: { width: 80, height: 60, channels: 3, background } })
        .png()
        .toBuffer();
    const classify = async (body: Buffer) => {
      const url = `${server.restAddress}/nearfar/v1/models/everyday10/tasks/image-classification`;
      const response = await fetch(url, { method: 'POST', body: new Uint8Array(body), headers: { 'content-type': 'image/png' } });
      return (await response.json()).predictions;
    };
    const [red, blue] = [await picture('red'), await picture('blue')];

    const answers = [await classify(red), await classify(blue), await classify(red)];

    expect(answers[2]).toEqual(answers[0]);
    expect(answers[1]).not.toEqual(answers[0]);
    const metrics = await metricsOf(server);
    expect(metrics).toContain('nearfar_cache_lookups_total{cache="input",model="",outcome="hit"} 1');
    expect(metrics).toContain('nearfar_cache_lookups_total{cache="input",model="",outcome="miss"} 2');
  });

  test('gives no answer of what the version was before it was replaced in place', async () => {
    const before = await infer(server, [1, 1], [3], 'tiny');
    const digest = before.headers.get('nearfar-model-digest') ?? undefined;

    await rm(join(folder.path, 'models/tiny/1'), { recursive: true });
    await writeModel('Exp', 'tiny');
    await until(() => ![undefined, digest].includes(availableDigest(server, 'tiny')));
    const after = await infer(server, [1, 1], [3], 'tiny');

    expect([before.cache, before.output.data]).toEqual(['miss', [-3]]);
    expect(after.cache).toBe('miss');
    expect(after.output.data[0]).toBeCloseTo(Math.exp(3), 4);
  });
});

test.skipIf(noRedis !== undefined)('what is kept in Redis outlives the server', async () => {
  await using redis = await startRedis();
  const cache = {
    models: [{ name: 'fresh', basePath: join(folder.path, 'models/fresh') }],
    modelsRoot: undefined,
    resultCacheRedis: redis.url,
  };
  {
    await using server = await start(cache);
    // Redis is connected in the background.
    for (let answer = await infer(server, [1, 1], [5], 'fresh'); answer.cache !== 'hit'; )
      answer = await infer(server, [1, 1], [5], 'fresh');
  }
  await using server = await start(cache);

  let answer = await infer(server, [1, 2], [5, 5], 'fresh');
  while (answer.cache !== 'hit') answer = await infer(server, [1, 1], [5], 'fresh');

  expect(answer.output).toMatchObject({ shape: [1, 1], data: [-5] });
  expect(await metricsOf(server)).toMatch(/nearfar_requests_in_flight 0\n/);
});

/** Both transports in front of a version that answers when it is told to. */
async function openLimited(limits: Partial<ConstructorParameters<typeof Admission>[0]>, slow = createSlowVersion()) {
  const admission = new Admission({ ...noLimits, ...limits });
  const context = { ...createStandInContext(createStandInStore([slow])), admission };
  const metricsPage = { contentType: 'text/plain', metrics: async () => '' };
  const rest = createRestServer({ ...context, files: createStandInFiles({}), metricsPage, corsAllowedOrigins: [], timeoutMs: 30_000 });
  const grpc = createGrpcServer(context);
  const [restPort, grpcPort] = await Promise.all([rest, grpc].map((one) => one.listen({ host: '127.0.0.1', port: 0 })));
  const addresses = { restAddress: `http://127.0.0.1:${restPort?.port}`, grpcAddress: `127.0.0.1:${grpcPort?.port}` };
  return { slow, admission, addresses, rest, grpc, close: () => Promise.all([rest.close(), grpc.close()]) };
}

describe('limits', () => {
  test('a client over its rate is told when to come again, over REST and gRPC as one client', async () => {
    // So seldom that the test cannot wait it out.
    const { slow, addresses, close } = await openLimited({ rateLimitPerClient: 0.001 });
    slow.finish();

    const taken = await infer(addresses, [1], [1], 'slow');
    const refused = await infer(addresses, [1], [1], 'slow');
    const overGrpc = await predictGrpc(addresses, [1], [1], 'slow').catch((error: ServiceError) => error);
    await close();

    // No cache was asked for either.
    expect([taken.status, taken.cache]).toEqual([200, null]);
    expect([refused.status, refused.body]).toMatchObject([429, { code: 'rate-limited' }]);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(900);
    expect(overGrpc).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    const { metadata } = overGrpc as ServiceError;
    expect(Number(metadata.get('retry-after')[0])).toBeGreaterThan(900);
    expect(Number(metadata.get('grpc-retry-pushback-ms')[0])).toBeGreaterThan(900_000);
  });

  test('more than the server takes is refused at once as overloaded, and what was taken is answered', async () => {
    const { slow, admission, addresses, close } = await openLimited({ maxInFlight: 1 });
    const taken = infer(addresses, [1], [1], 'slow');
    await slow.started;

    const refused = await infer(addresses, [1], [1], 'slow');
    const overGrpc = await predictGrpc(addresses, [1], [1], 'slow').catch((error: ServiceError) => error);
    slow.finish();
    const answered = await taken;
    const next = await infer(addresses, [1], [1], 'slow');
    await close();

    expect([refused.status, refused.headers.get('retry-after'), refused.body]).toMatchObject([503, '1', { code: 'overloaded' }]);
    expect(overGrpc).toMatchObject({ code: status.UNAVAILABLE });
    expect((overGrpc as ServiceError).metadata.get('retry-after')).toEqual(['1']);
    expect([answered.status, next.status]).toEqual([200, 200]);
    expect(admission.inFlight).toBe(0);
  });

  test('a gRPC server that closes finishes what it took, and tells who comes back why it is refused', async () => {
    const { slow, admission, addresses, rest, grpc } = await openLimited({});
    const taken = predictGrpc(addresses, [1], [1], 'slow');
    await slow.started;

    const isDraining = new Promise<void>((resolve) => {
      const startDraining = admission.startDraining.bind(admission);
      admission.startDraining = () => {
        startDraining();
        resolve();
      };
    });
    const closing = grpc.close();
    await isDraining;
    const refused = await predictGrpc(addresses, [1], [1], 'slow').catch((error: ServiceError) => error);
    slow.finish();
    const answered = await taken;
    await closing;
    const late = await predictGrpc(addresses, [1], [1], 'slow').catch((error: ServiceError) => error);
    await rest.close();

    expect(refused).toMatchObject({ code: status.UNAVAILABLE, details: 'the server is shutting down' });
    expect((refused as ServiceError).metadata.get('retry-after')).toEqual(['1']);
    expect(answered.values).toHaveLength(1);
    expect(late).toMatchObject({ code: status.UNAVAILABLE, details: expect.stringContaining('ECONNREFUSED') });
  });

  test('a server that closes takes what was on its way, also when its machine is late', async () => {
    const { slow, addresses, close } = await openLimited({});
    slow.finish();

    const sent = Array.from({ length: 6 }, () => infer(addresses, [1], [1], 'slow'));
    const closing = close();
    // As on a machine with too much to do: nothing is read for longer than the server waits.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
    const answers = await Promise.all(sent);
    await closing;

    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 200, 200, 200]);
  });

  test('a server that closes finishes what it took, and tells others at once to come again', async () => {
    const slow = createSlowVersion();
    const context = { ...createStandInContext(createStandInStore([slow])), files: createStandInFiles({}) };
    const metricsPage = { contentType: 'text/plain', metrics: async () => '' };
    const rest = createRestServer({ ...context, metricsPage, corsAllowedOrigins: [], timeoutMs: 30_000 });
    const { port } = await rest.listen({ host: '127.0.0.1', port: 0 });
    const restAddress = `http://127.0.0.1:${port}`;
    const taken = infer({ restAddress }, [1], [1], 'slow');
    await slow.started;

    const closing = rest.close();
    const refused = await new Promise<Awaited<ReturnType<typeof infer>>>((resolve, reject) => {
      const { admission } = context;
      const startDraining = admission.startDraining.bind(admission);
      admission.startDraining = () => {
        startDraining();
        infer({ restAddress }, [1], [1], 'slow').then(resolve, reject);
      };
    });
    slow.finish();
    const answered = await taken;
    await closing;

    expect([refused.status, refused.body]).toMatchObject([503, { code: 'unavailable', error: 'the server is shutting down' }]);
    expect([refused.headers.get('retry-after'), refused.headers.get('connection')]).toEqual(['1', 'close']);
    expect(answered.status).toBe(200);
    await expect(infer({ restAddress }, [1], [1], 'slow')).rejects.toThrow();
  });
});

import { request as httpRequest } from 'node:http';
import { deflateSync, gunzipSync, inflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTensor, decodeInferResponse, encodeInferRequest } from '../../../src/core/index.ts';
import { createRestServer, type Transport } from '../../../src/server/transports/index.ts';
import {
  bright,
  createSlowVersion,
  createStandInContext,
  createStandInFiles,
  createStandInStore,
  half16,
  half123,
  half124,
} from './support/stand-in.ts';

const slow = createSlowVersion();
const store = createStandInStore([half123, half124, half16, bright, slow]);
const context = createStandInContext(store);
let transport: Transport;
let base: string;

const restContext = () => ({
  ...context,
  files: createStandInFiles({}),
  metricsPage: { contentType: 'text/plain', metrics: async () => '' },
  corsAllowedOrigins: [],
  timeoutMs: 30_000,
});

beforeAll(async () => {
  transport = createRestServer(restContext());
  const { port } = await transport.listen({ host: '127.0.0.1', port: 0 });
  base = `http://127.0.0.1:${port}`;
});

afterAll(async () => {
  slow.finish();
  await transport.close();
});

function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(base + path, { method: 'POST', body: body instanceof Uint8Array ? body : JSON.stringify(body), headers } as RequestInit);
}

const x = { name: 'x', shape: [3], datatype: 'FP32', data: [1, 2, 5] };
const image = { name: 'image', shape: [1, 2, 2, 3], datatype: 'FP32', data: Array(12).fill(0.25) };
const inferPath = '/v2/models/half_plus_two/infer';

describe('parameters', () => {
  test('timeout is a deadline in microseconds', async () => {
    const response = await post('/v2/models/slow/infer', { parameters: { timeout: 20_000 }, inputs: [x] });

    expect([response.status, (await response.json()).code]).toEqual([504, 'deadline-exceeded']);
    expect(await slow.aborted).toMatchObject({ code: 'deadline-exceeded' });
  });

  test('a timeout of 0 is none, priority is taken, and so is whatever else a client says', async () => {
    const parameters = { timeout: 0, priority: 2, mine: 'x', flag: true, number: 1.5, sequence_id: 7, sequence_start: true };

    const response = await post(inferPath, { id: 'a', parameters, inputs: [{ ...x, parameters: { mine: 1 } }] });

    expect(await response.json()).toMatchObject({ id: 'a', outputs: [{ name: 'y', data: [2.5, 3, 4.5] }] });
  });

  test.each([
    [{ timeout: -1 }, "Unable to parse 'timeout': it is -1"],
    [{ timeout: 'soon' }, "Unable to parse 'timeout': it is soon"],
    [{ priority: 1.5 }, "Unable to parse 'priority': it is 1.5"],
    [{ binary_data_output: 1 }, "Unable to parse 'binary_data_output': it is 1"],
    [{ signature_name: ['many'] }, "Unable to parse 'signature_name': it is a list or an object"],
  ])('%j is refused', async (parameters, error) => {
    const response = await post(inferPath, { parameters, inputs: [x] });

    expect([response.status, await response.json()]).toMatchObject([400, { error, code: 'invalid-argument' }]);
  });
});

describe('the classification extension', () => {
  const infer = async (outputs: object[]) => post('/v2/models/bright/infer', { inputs: [image], outputs });

  test('answers classes with the labels of the task', async () => {
    const response = await infer([{ name: 'scores', parameters: { classification: 2 } }]);

    expect((await response.json()).outputs).toEqual([
      { name: 'scores', datatype: 'BYTES', shape: [1, 2], data: ['0.750000:0:black', '0.250000:1:white'] },
    ]);
  });

  test('answers them in binary', async () => {
    const response = await infer([{ name: 'scores', parameters: { classification: 1, binary_data: true } }]);

    const { outputs } = decodeInferResponse(
      new Uint8Array(await response.arrayBuffer()),
      Number(response.headers.get('inference-header-content-length')),
    );
    expect(outputs['scores']).toMatchObject({ dtype: 'string', shape: [1, 1] });
    expect(new TextDecoder().decode(outputs['scores']?.data[0] as Uint8Array)).toBe('0.750000:0:black');
  });

  test('0 classes mean the tensor', async () => {
    const response = await infer([{ name: 'scores', parameters: { classification: 0 } }]);

    expect((await response.json()).outputs).toMatchObject([{ datatype: 'FP32', data: [0.75, 0.25] }]);
  });

  test('shared memory is refused by name', async () => {
    const response = await infer([{ name: 'scores', parameters: { shared_memory_region: 'r', shared_memory_byte_size: 8 } }]);

    expect([response.status, await response.json()]).toMatchObject([501, { error: "output 'scores': shared memory is not served" }]);
  });
});

test('FP16 goes in and comes out in binary, and not in JSON', async () => {
  const values = createTensor('float16', [3], Uint16Array.of(0x3c00, 0x7c00, 0x8000));
  const { body, headerLength } = encodeInferRequest({ inputs: { x: values } });
  const path = '/v2/models/half_precision/infer';

  const binary = await post(path, body, { 'inference-header-content-length': String(headerLength) });
  const inJson = await post(path, { inputs: [{ name: 'x', shape: [1], datatype: 'FP16', data: [1] }] });

  const answer = new Uint8Array(await binary.arrayBuffer());
  const { outputs } = decodeInferResponse(answer, Number(binary.headers.get('inference-header-content-length')));
  expect(outputs['y']).toEqual(values);
  expect([inJson.status, (await inJson.json()).error]).toEqual([400, expect.stringContaining('FP16')]);
});

describe('compression', () => {
  const asked = encodeInferRequest({ inputs: { x: createTensor('float32', [300], new Float32Array(300).fill(2)) } });
  const headers = { 'inference-header-content-length': String(asked.headerLength) };

  test('a deflated request is inflated', async () => {
    const response = await post(inferPath, new Uint8Array(deflateSync(asked.body)), { ...headers, 'content-encoding': 'deflate' });

    expect(response.status).toBe(200);
  });

  // fetch() sends an Accept-Encoding of its own and inflates what comes.
  const ask = (acceptEncoding: string) =>
    new Promise<{ encoding: string | undefined; body: Buffer; headerLength: number }>((resolve, reject) => {
      const outgoing = httpRequest(base + inferPath, { method: 'POST', headers: { ...headers, 'accept-encoding': acceptEncoding } });
      outgoing.on('error', reject);
      outgoing.on('response', async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk);
        resolve({
          encoding: response.headers['content-encoding'],
          body: Buffer.concat(chunks),
          headerLength: Number(response.headers['inference-header-content-length']),
        });
      });
      outgoing.end(asked.body);
    });

  test.each([
    ['gzip', gunzipSync],
    ['deflate', inflateSync],
  ] as const)('an answer is compressed for who asks for %s alone', async (encoding, unpack) => {
    const answer = await ask(encoding);

    const { outputs } = decodeInferResponse(new Uint8Array(unpack(answer.body)), answer.headerLength);
    expect(answer.encoding).toBe(encoding);
    expect(outputs['y']).toEqual(createTensor('float32', [300], new Float32Array(300).fill(3)));
  });

  test('nobody else gets it compressed', async () => {
    const answers = await Promise.all(['gzip, deflate', 'identity', 'br'].map(ask));

    expect(answers.map(({ encoding }) => encoding)).toEqual([undefined, undefined, undefined]);
  });
});

const get = async (path: string) => {
  const response = await fetch(base + path);
  return [response.status, await response.json()];
};

describe('statistics', () => {
  const stats = async (path: string) => (await (await fetch(base + path)).json()).model_stats;

  test('count requests, rows and runs of a version, by the size of their batches', async () => {
    const before = (await stats('/v2/models/bright/stats'))[0];
    const two = { ...image, shape: [2, 2, 2, 3], data: Array(24).fill(0.5) };
    await post('/v2/models/bright/infer', { inputs: [image] });
    await post('/v2/models/bright/infer', { inputs: [two] });
    await post('/v2/models/bright/infer', { inputs: [{ ...image, datatype: 'FP64' }] });

    const [after] = await stats('/v2/models/bright/versions/1/stats');

    expect(after).toMatchObject({ name: 'bright', version: '1', last_inference: 1_700_000_000_000 });
    expect(after.inference_count - before.inference_count).toBe(3);
    expect(after.execution_count - before.execution_count).toBe(2);
    expect(after.inference_stats.success.count - before.inference_stats.success.count).toBe(2);
    expect(after.inference_stats.fail).toEqual({ count: 0, ns: 0 });
    expect(after.inference_stats.compute_infer.ns - before.inference_stats.compute_infer.ns).toBe(2 * 2_250_000);
    expect(after.batch_stats.map((batch: { batch_size: number }) => batch.batch_size)).toEqual([1, 2]);
  });

  test('are there for all models, with nothing counted yet too', async () => {
    const all = await stats('/v2/models/stats');

    expect(all.map(({ name, version }: { name: string; version: string }) => `${name} ${version}`)).toEqual([
      'half_plus_two 123',
      'half_plus_two 124',
      'half_precision 1',
      'bright 1',
      'slow 1',
    ]);
    expect(await get('/v2/models/none/stats')).toMatchObject([404, { code: 'not-found' }]);
    expect(await get('/v2/models/bright/versions/9/stats')).toMatchObject([404, { code: 'not-found' }]);
  });
});

test('the configuration says what to send', async () => {
  const [status, config] = await get('/v2/models/bright/config');

  expect(status).toBe(200);
  expect(config).toMatchObject({
    name: 'bright',
    platform: 'tensorflow_savedmodel',
    backend: 'tensorflow',
    max_batch_size: 1000,
    input: [{ name: 'image', data_type: 'TYPE_FP32', format: 'FORMAT_NHWC', dims: [2, 2, 3] }],
    output: [{ name: 'scores', data_type: 'TYPE_FP32', dims: [2], label_filename: 'labels.txt' }],
    instance_group: [{ kind: 'KIND_CPU' }],
    parameters: { 'nearfar-backend': { string_value: 'tfjs-cpu' } },
  });
  expect((await get('/v2/models/half_plus_two/versions/123/config'))[1]).toMatchObject({ max_batch_size: 0, input: [{ dims: [-1] }] });
});

describe('the model repository', () => {
  test('has an index of all versions', async () => {
    const index = [
      { name: 'half_plus_two', version: '123', state: 'READY', reason: '' },
      { name: 'half_plus_two', version: '124', state: 'READY', reason: '' },
      { name: 'half_precision', version: '1', state: 'READY', reason: '' },
      { name: 'bright', version: '1', state: 'READY', reason: '' },
      { name: 'slow', version: '1', state: 'READY', reason: '' },
    ];

    const all = await post('/v2/repository/index', new Uint8Array());
    const ready = await post('/v2/repository/any/index', { ready: true });

    expect(await all.json()).toEqual(index);
    expect(await ready.json()).toEqual(index);
  });

  test('loads and unloads', async () => {
    const config = { backend: 'onnxruntime' };
    const parameters = { config: JSON.stringify(config), 'file:1/model.onnx': Buffer.from('abc').toString('base64') };

    const answers = [
      await post('/v2/repository/models/a/load', new Uint8Array()),
      await post('/v2/repository/models/b/load', { parameters }),
      await post('/v2/repository/models/a/unload', { parameters: { unload_dependents: true } }),
    ];

    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(context.changes).toEqual([
      { load: 'a', request: { config: undefined, files: new Map() } },
      { load: 'b', request: { config, files: new Map([['1/model.onnx', new Uint8Array(Buffer.from('abc'))]]) } },
      { unload: 'a' },
    ]);
  });

  test('changes only for those who may', async () => {
    const own = createRestServer({ ...restContext(), admin: { ...context.admin, access: 'elsewhere' } });
    const { port } = await own.listen({ host: '127.0.0.1', port: 0 });
    const there = `http://127.0.0.1:${port}/v2/repository`;

    const answers = await Promise.all(
      ['models/a/load', 'models/a/unload', 'index'].map((path) => fetch(`${there}/${path}`, { method: 'POST' })),
    );

    expect(answers.map(({ status }) => status)).toEqual([403, 403, 200]);
    await own.close();
  });

  test.each([
    [{ config: '{' }, /^the parameter 'config' is no JSON: /],
    [{ config: '[]' }, /^the parameter 'config' is no JSON object$/],
    [{ config: {} }, /^the parameter 'config' is not a string$/],
    [{ 'file:1/model.onnx': '*' }, /^the parameter 'file:1\/model.onnx' is no base64$/],
    [{ other: 1 }, /^unrecognized parameter 'other' of load/],
    [[], /^'parameters' is not a JSON object$/],
  ])('refuses to load by %j', async (parameters, error) => {
    const response = await post('/v2/repository/models/a/load', { parameters });

    expect([response.status, (await response.json()).error]).toEqual([400, expect.stringMatching(error)]);
  });
});

test.each([
  ['GET', '/v2/models/half_plus_two/infer', 'POST'],
  ['POST', '/v2/models/half_plus_two', 'GET'],
  ['PUT', '/v2/models/half_plus_two/ready', 'GET'],
  ['GET', '/v2/repository/index', 'POST'],
  ['DELETE', '/v2/health/live', 'GET'],
])('%s %s is 405', async (method, path, allowed) => {
  const response = await fetch(base + path, { method });

  expect([response.status, response.headers.get('allow'), await response.json()]).toMatchObject([
    405,
    allowed,
    { error: expect.any(String) },
  ]);
});

test('the server says what it has, and both names of ready', async () => {
  const extensions = [
    'binary_tensor_data',
    'classification',
    'model_configuration',
    'model_repository',
    'model_repository(unload_dependents)',
    'parameters',
    'statistics',
  ];

  expect(await get('/v2')).toEqual([200, { name: 'nearfar', version: '9.9.9', extensions }]);
  expect(await get('/v2/health/ready')).toEqual([200, { live: true, ready: true }]);
  store.isServing = false;
  expect(await get('/v2/health/ready')).toEqual([503, { live: false, ready: false }]);
  expect(await get('/v2/health/live')).toEqual([200, { live: true }]);
  store.isServing = true;
});

import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createTensor,
  decodeInferResponse,
  encodeInferRequest,
  NearfarError,
  type RunRequest,
  type Tensor,
} from '../../../src/core/index.ts';
import { Admission } from '../../../src/server/admission.ts';
import { BufferPool } from '../../../src/server/buffer-pool.ts';
import { createRestServer, type RestContext, type Transport } from '../../../src/server/transports/index.ts';
import { sharedData } from '../../support/shared-data.ts';
import {
  bright,
  createSlowVersion,
  createStandInContext,
  createStandInFiles,
  createStandInStore,
  half123,
  half124,
  labelsFile,
  noLimits,
  scorer,
  sha256,
} from './support/stand-in.ts';

const text = (value: string) => new TextEncoder().encode(value);
const weights = Uint8Array.from({ length: 1000 }, (_, index) => index % 251);
const versions = text(
  JSON.stringify({
    schemaVersion: 1,
    name: 'half_plus_two',
    versions: [half123, half124].map(({ version, digest }) => ({ version, digest })),
    labels: { stable: '123', canary: '124' },
  }),
);

let folder: string;
let transport: Transport;
let base: string;
const slow = createSlowVersion();
const store = createStandInStore([half123, half124, bright, scorer, slow]);
const context = createStandInContext(store);

async function start(overrides: Partial<RestContext> = {}): Promise<{ transport: Transport; base: string }> {
  const created = createRestServer({
    ...context,
    // A server that closes refuses what else comes.
    admission: new Admission(noLimits),
    files: createStandInFiles({
      'half_plus_two/versions.json': { bytes: versions },
      'half_plus_two/123/weights.bin': { bytes: weights, path: join(folder, 'weights.bin') },
      'half_plus_two/123/empty': { bytes: new Uint8Array(), path: join(folder, 'weights.bin') },
      'half_plus_two/123/gone': { bytes: weights, path: join(folder, 'nowhere') },
      'bright/1/labels.txt': { bytes: labelsFile },
    }),
    metricsPage: { contentType: 'text/plain; version=0.0.4', metrics: async () => 'up 1\n' },
    corsAllowedOrigins: ['https://app.example'],
    timeoutMs: 30_000,
    site: { root: join(folder, 'site'), headers: { 'content-security-policy': "default-src 'self'" } },
    ...overrides,
  });
  const { port } = await created.listen({ host: '127.0.0.1', port: 0 });
  return { transport: created, base: `http://127.0.0.1:${port}` };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nearfar-rest-'));
  await writeFile(join(folder, 'weights.bin'), weights);
  await mkdir(join(folder, 'site/assets'), { recursive: true });
  await writeFile(join(folder, 'site/index.html'), '<!doctype html>');
  await writeFile(join(folder, 'site/assets/kernel-abc123.wasm'), new Uint8Array([0, 97, 115, 109]));
  await writeFile(join(folder, 'secret.txt'), 'secret');
  ({ transport, base } = await start());
});

afterAll(async () => {
  await transport.close();
  await rm(folder, { recursive: true });
});

const post = (path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
  fetch(base + path, { method: 'POST', body, headers });

describe('TensorFlow Serving REST', () => {
  test('predicts by rows, in the layout of TensorFlow Serving, and says who answered', async () => {
    const response = await post('/v1/models/half_plus_two:predict', '{"instances": [1.0, 2.0, 5.0]}');

    expect(await response.text()).toBe('{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}');
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/json',
      'nearfar-model-version': '124',
      'nearfar-model-digest': half124.digest,
      'nearfar-backend': 'tfjs-cpu',
      'nearfar-variant': 'v',
    });
    expect(response.headers.get('server-timing')).toMatch(
      /^queue;dur=1\.500, preprocess;dur=[\d.]+, infer;dur=2\.250, postprocess;dur=[\d.]+$/,
    );
    expect(context.records.at(-1)).toMatchObject({
      model: 'half_plus_two',
      api: 'predict',
      entrypoint: 'REST',
      status: 'OK',
      servable: { version: '124', signature: 'serving_default', backend: 'tfjs-cpu', timing: { queueMs: 1.5, inferMs: 2.25 } },
    });
  });

  test.each([
    ['/v1/models/half_plus_two/versions/00000123:predict', '123'],
    ['/v1/models/half_plus_two/labels/canary:predict', '124'],
    ['/v1/models/half_plus_two/labels/stable:predict', '123'],
    ['/V1/Models/half%5Fplus_two/Versions/123:PREDICT', '123'],
  ])('answers %s from version %s', async (path, version) => {
    const response = await post(path, '{"inputs": [2]}');

    expect(await response.json()).toEqual({ outputs: [3] });
    expect(response.headers.get('nearfar-model-version')).toBe(version);
  });

  test('takes several inputs of other dtypes, NaN and int64 included', async () => {
    const response = await post(
      '/v1/models/half_plus_two:predict',
      '{"signature_name": "many", "instances": [{"x": NaN, "s_bytes": {"b64": "/w=="}, "n": 9007199254740993}]}',
    );

    expect(await response.text()).toBe(
      '{\n    "predictions": [\n        {\n            "y": NaN,\n            "s_bytes": {\n                "b64": "/w=="\n            },\n            "n": 9007199254740993\n        }\n    ]\n}',
    );
  });

  test('classifies examples, with and without labels, in the layout of TensorFlow Serving', async () => {
    const examples = [{ x: 2.0 }, { x: [5] }, { x: 0.25, other: ['a', { b64: 'AA==' }], none: [] }];

    const plain = await post('/v1/models/scorer:classify', JSON.stringify({ examples }));
    const labelled = await post('/V1/Models/scorer/Versions/7:Classify', JSON.stringify({ signature_name: 'labelled', examples }));

    expect([plain.status, plain.headers.get('content-type')]).toEqual([200, 'application/json']);
    expect(await plain.text()).toBe(
      '{\n    "results": [[["", 3.0], ["", -3.0]], [["", 4.5], ["", -4.5]], [["", 2.125], ["", -2.125]]\n    ]\n}',
    );
    expect((await labelled.json()).results[1]).toEqual([
      ['high 4.5', 4.5],
      ['low 4.5', -4.5],
    ]);
    expect(context.records.at(-1)).toMatchObject({ model: 'scorer', api: 'classify', entrypoint: 'REST', status: 'OK' });
  });

  test('regresses examples, those without a feature with that of their context', async () => {
    const body = '{"signature_name": "regress", "context": {"x": 2.0}, "examples": [{}, {"x": 5.0}, {"x": 1e300}, {"x": true}]}';

    const response = await post('/v1/models/scorer:regress', body);

    expect(await response.text()).toBe('{\n    "results": [3.0, 4.5, Infinity, 2.5]\n}');
  });

  test.each([
    ['classify', '{}', "When method is classify, key 'examples' is expected and was not found"],
    ['classify', '[]', 'JSON Value: [] Is not object'],
    ['classify', '', 'JSON Parse error: The document is empty'],
    ['classify', '{"examples": {}}', "Expecting 'examples' value to be an list/array"],
    ['classify', '{"examples": []}', "'examples' value is an empty array"],
    ['classify', '{"examples": [1]}', 'Example must be JSON object but got JSON Number'],
    ['classify', '{"examples": [{}], "context": [1]}', 'Example must be JSON object but got JSON Array'],
    ['classify', '{"examples": [{}], "signature_name": 1}', "'signature_name' key must be a string value."],
    ['classify', '{"examples": [{"x": [10, 10.0]}]}', 'Unexpected element type in feature: x expecting type: int64'],
    ['classify', '{"examples": [{"x": ["a", 1]}]}', 'Unexpected element type in feature: x expecting type: bytes'],
    ['classify', '{"examples": [{"x": null}]}', 'Feature: x has element with unexpected JSON type: Null'],
    ['classify', '{"examples": [{"x": [[1]]}]}', 'Feature: x has element with unexpected JSON type: Array'],
    ['classify', '{"examples": [{"x": {"y": 1}}]}', 'Feature: x has element with unexpected JSON type: Object'],
    ['classify', '{"examples": [{"x": {"b64": "?"}}]}', 'Unable to base64 decode'],
    ['classify', '{"examples": [{"x": 9223372036854775808}]}', 'Feature: x has uint64 element. Only int64 is supported.'],
    ['classify', '{"examples": [{}], "signature_name": "no"}', 'No signature was found with the name: no'],
    ['classify', '{"examples": [{}], "signature_name": "unfit"}', 'No classification inputs found in SignatureDef: its input is x'],
    ['classify', '{"examples": [{}], "signature_name": "regress"}', 'to contain at least one of "classes" or "scores"'],
    ['classify', '{"examples": [{}], "signature_name": "wrong"}', 'Expected Tensor shape: [batch_size num_classes] but got [1]'],
    ['regress', '{"examples": [{}], "signature_name": "labelled"}', 'Expected one output Tensor.'],
    ['regress', '{"examples": [{}]}', 'No regression outputs found in SignatureDef: its output is scores'],
    ['regress', '{"examples": [{}], "signature_name": "numbers"}', 'input "inputs" expects float32, got string'],
  ])(':%s refuses %s', async (method, body, message) => {
    const response = await post(`/v1/models/scorer:${method}`, body);

    expect(response.status).toBe(400);
    expect((await response.json()).error).toContain(message);
  });

  test('refuses a signature of another method where it is told to', async () => {
    const strict = await start({ checksSignatureMethod: true });

    const response = await fetch(`${strict.base}/v1/models/scorer:classify`, {
      method: 'POST',
      body: '{"examples": [{}], "signature_name": "labelled"}',
    });

    expect((await response.json()).error).toBe(
      'Expected classification signature method_name to be tensorflow/serving/classify. Was: tensorflow/serving/predict',
    );
    await strict.transport.close();
  });

  test('inflates a gzip body and refuses a broken or an unknown one', async () => {
    const gzip = { 'content-encoding': 'gzip' };

    const good = await post('/v1/models/half_plus_two:predict', new Uint8Array(gzipSync('{"instances": [4]}')), gzip);
    const broken = await post('/v1/models/half_plus_two:predict', '{"instances": [4]}', gzip);
    const unknown = await post('/v1/models/half_plus_two:predict', 'x', { 'content-encoding': 'br' });
    // Zlib's error comes when nobody reads any more: it must not end the process.
    const empty = await post('/v1/models/half_plus_two:predict', '', gzip);

    expect(await good.json()).toEqual({ predictions: [4] });
    expect([broken.status, unknown.status, empty.status]).toEqual([400, 415, 400]);
    expect(await unknown.json()).toMatchObject({ error: 'content-encoding br is not supported, use gzip or deflate' });
  });

  test.each([
    ['POST', '/v1/models/none:predict', '{"instances": [1]}', 404, 'Servable not found for request: Latest(none)'],
    [
      'POST',
      '/v1/models/half_plus_two/versions/5:predict',
      '{"instances": [1]}',
      404,
      'Servable not found for request: Specific(half_plus_two, 5)',
    ],
    ['POST', '/v1/models/half_plus_two/labels/x:predict', '{"instances": [1]}', 400, 'Unrecognized servable version label: x'],
    [
      'POST',
      '/v1/models/half_plus_two/versions/9223372036854775808:predict',
      '{}',
      400,
      'Failed to convert version: 9223372036854775808 to numeric.',
    ],
    [
      'POST',
      '/v1/models/half_plus_two/versions/1/labels/a:predict',
      '{}',
      400,
      'Malformed request: POST /v1/models/half_plus_two/versions/1/labels/a:predict',
    ],
    ['POST', '/v1/models/half_plus_two', '{}', 400, 'Malformed request: POST /v1/models/half_plus_two'],
    ['PUT', '/v1/models/half_plus_two', '{}', 400, 'Malformed request: PUT /v1/models/half_plus_two'],
    ['GET', '/v1/models/half_plus_two:predict', undefined, 400, 'Malformed request: GET /v1/models/half_plus_two:predict'],
    ['GET', '/v1/models', undefined, 400, 'Missing model name in request.'],
    ['GET', '/v1/models/none', undefined, 404, 'Could not find any versions of model none'],
    ['POST', '/v1/models/half_plus_two:predict', '', 400, 'JSON Parse error: The document is empty'],
    [
      'POST',
      '/v1/models/half_plus_two:predict',
      '{"instances": [1',
      400,
      'JSON Parse error: Missing a comma or ] after an array element. at offset: 16',
    ],
    [
      'POST',
      '/v1/models/half_plus_two:predict',
      '{"signature_name": "no", "instances": [1]}',
      400,
      'Serving signature name: "no" not found in signature def',
    ],
    ['OPTIONS', '/v1/models/half_plus_two', undefined, 400, 'Malformed request: OPTIONS /v1/models/half_plus_two'],
  ])('%s %s %s is %i with the text of TensorFlow Serving', async (method, path, body, code, error) => {
    const response = await fetch(base + path, { method, ...(body !== undefined && { body }) });

    expect([response.status, await response.json()]).toMatchObject([
      code,
      { error, code: expect.any(String), details: expect.any(Object) },
    ]);
    expect(response.headers.get('content-type')).toBe('application/json');
  });

  test('says the state of all versions, newest first, or of one', async () => {
    const state = (version: string) => ({ version, state: 'AVAILABLE', status: { error_code: 'OK', error_message: '' } });

    expect(await (await fetch(`${base}/v1/models/half_plus_two`)).json()).toEqual({ model_version_status: [state('124'), state('123')] });
    expect(await (await fetch(`${base}/v1/models/half_plus_two/versions/123`)).json()).toEqual({ model_version_status: [state('123')] });
  });

  test('says the signatures as TensorFlow Serving does', async () => {
    const response = await fetch(`${base}/v1/models/half_plus_two/labels/stable/metadata`);

    const { model_spec: spec, metadata } = await response.json();
    expect(spec).toEqual({ name: 'half_plus_two', signature_name: '', version: '123' });
    const info = (name: string) => ({
      dtype: 'DT_FLOAT',
      tensor_shape: { dim: [{ size: '-1', name: '' }], unknown_rank: false },
      name,
    });
    expect(metadata.signature_def.signature_def.serving_default).toEqual({
      inputs: { x: info('x') },
      outputs: { y: info('y') },
      method_name: 'tensorflow/serving/predict',
      defaults: {},
    });
  });

  const theirs = sharedData('tfs-testdata/half_plus_two_model_metadata.json');
  test.runIf(theirs)('its metadata has the keys of a real answer of theirs', async () => {
    const real = JSON.parse(await readFile(theirs!, 'utf8'));
    const ours = await (await fetch(`${base}/v1/models/half_plus_two/metadata`)).json();

    const signatureOf = (answer: typeof real) => answer.metadata.signature_def.signature_def.serving_default;
    expect(Object.keys(ours)).toEqual(Object.keys(real));
    expect(Object.keys(signatureOf(ours)).sort()).toEqual(Object.keys(signatureOf(real)).sort());
    expect(Object.keys(signatureOf(ours).inputs.x).sort()).toEqual(Object.keys(signatureOf(real).inputs.x).sort());
  });
});

describe('what every prediction obeys', () => {
  test('another digest than the wanted one is 409 version-mismatch', async () => {
    const pinned = await post('/v1/models/half_plus_two:predict', '{"instances": [1]}', { 'nearfar-model-digest': half124.digest });
    const other = await post('/v1/models/half_plus_two:predict', '{"instances": [1]}', { 'nearfar-model-digest': half123.digest });

    expect(pinned.status).toBe(200);
    expect([other.status, await other.json()]).toMatchObject([409, { code: 'version-mismatch', details: { got: half124.digest } }]);
  });

  test('a deadline ends the answer while the version stays lent until its run has ended', async () => {
    const response = await post('/v1/models/slow:predict', '{"instances": [1]}', { 'nearfar-deadline-ms': '30' });

    expect([response.status, await response.json()]).toMatchObject([504, { code: 'deadline-exceeded' }]);
    expect(await slow.aborted).toMatchObject({ code: 'deadline-exceeded' });
    expect(store.lent).toBe(1);
    slow.finish();
    await expect.poll(() => store.lent).toBe(0);
    expect(context.records.at(-1)).toMatchObject({ model: 'slow', status: 'DEADLINE_EXCEEDED' });
  });

  test('a deadline that is no number is refused', async () => {
    const response = await post('/v1/models/half_plus_two:predict', '{"instances": [1]}', { 'nearfar-deadline-ms': 'soon' });

    expect(response.status).toBe(400);
  });

  test('a client that goes away aborts the signal', async () => {
    const gone = createSlowVersion();
    const own = createStandInContext(createStandInStore([gone]));
    const server = await start({ ...own });
    const client = new AbortController();

    const asking = fetch(`${server.base}/v1/models/slow:predict`, { method: 'POST', body: '{"instances": [1]}', signal: client.signal });
    asking.catch(() => undefined);
    await gone.started;
    client.abort();

    expect(await gone.aborted).toMatchObject({ code: 'cancelled' });
    gone.finish();
    await server.transport.close();
    expect(own.records).toMatchObject([{ model: 'slow', status: 'CANCELLED' }]);
  });

  test('close() lets what is in flight finish', async () => {
    const last = createSlowVersion();
    const server = await start({ ...createStandInContext(createStandInStore([last])) });

    const asking = fetch(`${server.base}/v1/models/slow:predict`, { method: 'POST', body: '{"instances": [2]}' });
    await last.started;
    const closing = server.transport.close();
    last.finish();

    expect(await (await asking).json()).toEqual({ predictions: [3] });
    await closing;
    await expect(fetch(`${server.base}/healthz`)).rejects.toThrow();
  });

  test('cut() ends the connection of a client that never finishes sending', async () => {
    const server = await start();
    const headers = { 'content-length': '1000' };
    const half = httpRequest(`${server.base}/v1/models/half_plus_two:predict`, { method: 'POST', headers });
    half.write('{');
    const ended = once(half, 'error');
    await once(half, 'socket');
    await fetch(`${server.base}/healthz`);

    const closing = server.transport.close();
    server.transport.cut();

    await closing;
    expect(await ended).toMatchObject([{ code: 'ECONNRESET' }]);
  });

  test('a request that does not arrive in time is cut with 408', async () => {
    const server = await start({ requestTimeoutMs: 100 });
    const headers = { 'content-length': '1000' };
    const half = httpRequest(`${server.base}/v1/models/half_plus_two:predict`, { method: 'POST', headers });
    const answered = once(half, 'response');
    half.on('error', () => {});
    half.write('{');

    const [response] = await answered;

    expect(response.statusCode).toBe(408);
    half.destroy();
    await server.transport.close();
  });

  test('an error of our own making is 500 and keeps its text in the log', async () => {
    const broken = { ...half123, run: () => Promise.reject(new TypeError('a secret path')) };
    const own = createStandInContext(createStandInStore([broken]));
    const server = await start({ ...own });

    const response = await fetch(`${server.base}/v1/models/half_plus_two:predict`, { method: 'POST', body: '{"instances": [2]}' });

    expect([response.status, await response.json()]).toEqual([500, { error: 'internal error', code: 'internal', details: {} }]);
    expect(own.errors).toHaveLength(1);
    await server.transport.close();
  });

  test('a body over the limit is 413', async () => {
    const server = await start({ bodyLimitBytes: 10 });

    const plain = await fetch(`${server.base}/v1/models/half_plus_two:predict`, { method: 'POST', body: '{"instances": [2]}' });
    const zipped = await fetch(`${server.base}/v1/models/half_plus_two:predict`, {
      method: 'POST',
      body: new Uint8Array(gzipSync(new Uint8Array(1000))),
      headers: { 'content-encoding': 'gzip' },
    });

    expect([plain.status, zipped.status]).toEqual([413, 413]);
    await server.transport.close();
  });
});

describe('JSON over its limit', () => {
  test('is 413, packed or not, on both protocols; bytes of tensors may be more', async () => {
    const server = await start({ jsonLimitBytes: 200 });
    const send = (path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
      fetch(server.base + path, { method: 'POST', body, headers });
    const predictPath = '/v1/models/half_plus_two:predict';
    const inferPath = '/v2/models/half_plus_two/infer';
    const long = JSON.stringify({ instances: Array(200).fill(2) });
    const inputs = [{ name: 'x', shape: [200], datatype: 'FP32', data: Array(200).fill(2) }];
    const binary = encodeInferRequest({ inputs: { x: createTensor('float32', [200], new Float32Array(200)) } });

    const refused = await Promise.all([
      send(predictPath, long),
      send(predictPath, new Uint8Array(gzipSync(long)), { 'content-encoding': 'gzip' }),
      send(inferPath, JSON.stringify({ inputs })),
      send(inferPath, JSON.stringify({ inputs }), { 'inference-header-content-length': '1000' }),
    ]);
    const taken = await Promise.all([
      send(predictPath, '{"instances": [2]}'),
      send(inferPath, binary.body, { 'inference-header-content-length': String(binary.headerLength) }),
      send(inferPath, new Uint8Array(800), { 'inference-header-content-length': '0' }),
    ]);

    expect(refused.map(({ status }) => status)).toEqual([413, 413, 413, 413]);
    expect(await Promise.all(refused.map(async (response) => (await response.json()).error))).toEqual(
      Array(4).fill('Request body is too large'),
    );
    expect(taken.map(({ status }) => status)).toEqual([200, 200, 200]);
    await server.transport.close();
  });

  test('is more than 32 MiB unless the server is told otherwise', async () => {
    const response = await post('/v1/models/half_plus_two:predict', new Uint8Array(32 * 2 ** 20 + 1));

    expect(response.status).toBe(413);
  });
});

describe('Open Inference Protocol REST', () => {
  const x = createTensor('float32', [3], new Float32Array([1, 2, 5]));

  test('answers JSON with JSON', async () => {
    const body = JSON.stringify({ id: '7', inputs: [{ name: 'x', shape: [3], datatype: 'FP32', data: [1, 2, 5] }] });

    const response = await post('/v2/models/half_plus_two/versions/123/infer', body);

    expect(await response.json()).toEqual({
      id: '7',
      model_name: 'half_plus_two',
      model_version: '123',
      outputs: [{ name: 'y', datatype: 'FP32', shape: [3], data: [2.5, 3, 4.5] }],
    });
  });

  test('answers binary with binary', async () => {
    const { body, headerLength } = encodeInferRequest({ inputs: { x } });

    const response = await post('/v2/models/half_plus_two/infer', body, { 'inference-header-content-length': String(headerLength) });
    const answerLength = Number(response.headers.get('inference-header-content-length'));

    expect(decodeInferResponse(new Uint8Array(await response.arrayBuffer()), answerLength)).toMatchObject({
      modelVersion: '124',
      outputs: { y: createTensor('float32', [3], new Float32Array([2.5, 3, 4.5])) },
    });
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
  });

  describe('of large tensors in binary', () => {
    const path = '/v2/models/half_plus_two/infer';
    const large = (first: number) =>
      createTensor(
        'float32',
        [150_000],
        Float32Array.from({ length: 150_000 }, (_, index) => first + index),
      );
    const answerOf = async (response: Response) => {
      const { outputs } = decodeInferResponse(
        new Uint8Array(await response.arrayBuffer()),
        Number(response.headers.get('inference-header-content-length')),
      );
      return outputs['y'];
    };
    const expected = (first: number) =>
      createTensor(
        'float32',
        [150_000],
        large(first).data.map((value) => value / 2 + 2),
      );

    test('collects them where their elements may lie and in memory that may move, whatever length the JSON has', async () => {
      const buffers = new BufferPool();
      const seen: { isLent: boolean; isApart: boolean }[] = [];
      const watched = {
        ...half123,
        run: (request: RunRequest) => {
          const { data } = request.inputs['x'] as Tensor<'float32'>;
          seen.push({ isLent: buffers.isLent(data.buffer), isApart: data.byteLength < data.buffer.byteLength });
          return half123.run(request, { signal: undefined });
        },
      };
      const server = await start({ buffers, servables: createStandInStore([watched]) });

      for (let length = 0; length < 9; length++) {
        const { body, headerLength } = encodeInferRequest({ id: 'x'.repeat(length), inputs: { x: large(length) } });
        const headers = { 'inference-header-content-length': String(headerLength) };
        const response = await fetch(server.base + path, { method: 'POST', body, headers });
        expect(await answerOf(response)).toEqual(expected(length));
      }

      expect(seen).toEqual(Array(9).fill({ isLent: true, isApart: true }));
      await server.transport.close();
    });

    test('answers eight at once with their own', async () => {
      const answers = await Promise.all(
        Array.from({ length: 8 }, async (_, index) => {
          const { body, headerLength } = encodeInferRequest({ inputs: { x: large(index) } });
          return answerOf(await post(path, body, { 'inference-header-content-length': String(headerLength) }));
        }),
      );

      expect(answers).toEqual(answers.map((_, index) => expected(index)));
    });

    test('takes a body of unknown length, and a packed one', async () => {
      const { body, headerLength } = encodeInferRequest({ inputs: { x: large(1) } });
      const headers = { 'inference-header-content-length': String(headerLength) };
      const half = body.length >> 1;
      const stream = new ReadableStream({
        start: (controller) => {
          controller.enqueue(body.slice(0, half));
          controller.enqueue(body.slice(half));
          controller.close();
        },
      });

      const chunked = await fetch(base + path, { method: 'POST', headers, body: stream, duplex: 'half' } as RequestInit);
      const packed = await post(path, new Uint8Array(gzipSync(body)), { ...headers, 'content-encoding': 'gzip' });

      expect([await answerOf(chunked), await answerOf(packed)]).toEqual([expected(1), expected(1)]);
    });

    test('refuses what is over the limit, promised, sent or packed, and a JSON header that is no length', async () => {
      const server = await start({ bodyLimitBytes: 1000 });
      const send = (body: NonNullable<RequestInit['body']>, headers: Record<string, string> = {}) =>
        fetch(server.base + path, {
          method: 'POST',
          body,
          headers: { 'inference-header-content-length': '0', ...headers },
          duplex: 'half',
        } as RequestInit);

      const refused = await Promise.all([
        send(new Uint8Array(1001)),
        send(new Blob([new Uint8Array(1001)]).stream()),
        send(new Uint8Array(gzipSync(new Uint8Array(1001))), { 'content-encoding': 'gzip' }),
        send(new Uint8Array(8), { 'inference-header-content-length': 'all' }),
        send(new Uint8Array(8), { 'content-encoding': 'gzip' }),
      ]);
      const taken = await send(new Uint8Array(1000));

      expect(refused.map(({ status }) => status)).toEqual([413, 413, 413, 400, 400]);
      expect(taken.status).toBe(200);
      await server.transport.close();
    });

    test('forgets a body that is cut off, and goes on', async () => {
      const records = context.records.length;
      const { body, headerLength } = encodeInferRequest({ inputs: { x: large(1) } });
      const headers = { 'inference-header-content-length': String(headerLength), 'content-length': body.length };
      const outgoing = httpRequest(base + path, { method: 'POST', headers });
      outgoing.on('error', () => {});
      await new Promise((resolve) => outgoing.write(body.subarray(0, 300_000), resolve));
      outgoing.destroy();

      const response = await post(path, body, { 'inference-header-content-length': String(headerLength) });

      expect(await answerOf(response)).toEqual(expected(1));
      expect(context.records.length).toBe(records + 1);
    });
  });

  test('takes a raw body, and says which outputs come in binary', async () => {
    const raw = new Uint8Array(new Float32Array([1, 2, 5]).buffer);
    const asked = JSON.stringify({
      inputs: [{ name: 'x', shape: [1], datatype: 'FP32', data: [2] }],
      outputs: [{ name: 'y', parameters: { binary_data: true } }],
    });

    const fromRaw = await post('/v2/models/half_plus_two/infer', raw, { 'inference-header-content-length': '0' });
    const binary = await post('/v2/models/half_plus_two/infer', asked);

    expect(fromRaw.status).toBe(200);
    expect(binary.headers.get('inference-header-content-length')).toMatch(/^\d+$/);
  });

  test.each([
    ['{"inputs": [{"name": "z", "shape": [1], "datatype": "FP32", "data": [2]}]}', 'invalid-argument'],
    ['{"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [2]}]}', 'dtype-mismatch'],
    ['{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [2]}], "outputs": [{"name": "z"}]}', 'invalid-argument'],
    ['{"parameters": {"signature_name": "constructor"}, "inputs": []}', 'invalid-argument'],
  ])('refuses %s', async (body, code) => {
    const response = await post('/v2/models/half_plus_two/infer', body);

    expect([response.status, (await response.json()).code]).toEqual([400, code]);
  });

  test('tells of the server and its models', async () => {
    const get = async (path: string) => (await fetch(base + path)).json();

    expect(await get('/v2/models/half_plus_two')).toEqual({
      name: 'half_plus_two',
      versions: ['123', '124'],
      platform: 'tensorflow_savedmodel',
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1] }],
      outputs: [{ name: 'y', datatype: 'FP32', shape: [-1] }],
    });
    expect(await get('/v2/models/half_plus_two/versions/stable/ready')).toEqual({ name: 'half_plus_two', ready: true });
    expect((await fetch(`${base}/v2/models/none/ready`)).status).toBe(404);
  });
});

describe('the repository for browsers', () => {
  const path = '/models/half_plus_two/123/weights.bin';

  test('sends a file for ever and to everyone', async () => {
    const response = await fetch(base + path, { headers: { origin: 'https://elsewhere.example' } });

    expect(new Uint8Array(await response.arrayBuffer())).toEqual(weights);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      etag: `"${sha256(weights)}"`,
      'cache-control': 'public, max-age=31536000, immutable',
      'accept-ranges': 'bytes',
      'content-length': '1000',
      'content-type': 'application/octet-stream',
      'access-control-allow-origin': '*',
    });
    expect(response.headers.get('access-control-expose-headers')).toContain('etag');
  });

  test.each([
    ['bytes=0-9', 0, 10],
    ['bytes=990-', 990, 1000],
    ['bytes=-5', 995, 1000],
    ['bytes=10-5000', 10, 1000],
  ])('sends the range %s', async (range, start, end) => {
    const response = await fetch(base + path, { headers: { range } });

    expect(response.status).toBe(206);
    expect(response.headers.get('content-range')).toBe(`bytes ${start}-${end - 1}/1000`);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(weights.slice(start, end));
  });

  test.each(['bytes=5-2', 'bytes=0-1,5-6', 'lines=1-2', 'bytes=-'])('sends all for the range %s', async (range) => {
    expect((await fetch(base + path, { headers: { range } })).status).toBe(200);
  });

  test('refuses a range behind the end', async () => {
    const response = await fetch(base + path, { headers: { range: 'bytes=1000-' } });

    expect([response.status, response.headers.get('content-range')]).toEqual([416, 'bytes */1000']);
  });

  test('honours If-Range and If-None-Match', async () => {
    const etag = `"${sha256(weights)}"`;
    const get = (headers: Record<string, string>) => fetch(base + path, { headers });

    expect((await get({ range: 'bytes=0-9', 'if-range': etag })).status).toBe(206);
    expect((await get({ range: 'bytes=0-9', 'if-range': '"other"' })).status).toBe(200);
    const cached = await get({ 'if-none-match': `"x", W/${etag}` });
    expect([cached.status, await cached.text(), cached.headers.get('etag')]).toEqual([304, '', etag]);
  });

  test('answers HEAD with the headers of GET', async () => {
    const response = await fetch(base + path, { method: 'HEAD' });

    expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([200, '1000', '']);
  });

  test('asks to check versions.json each time', async () => {
    const response = await fetch(`${base}/models/half_plus_two/versions.json`);

    expect(response.headers.get('cache-control')).toBe('no-cache');
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(await response.json()).toMatchObject({ labels: { stable: '123' } });
  });

  test('lets nobody keep an error, whether the file is wrong or gone', async () => {
    const refusal = new NearfarError('integrity-mismatch', 'weights.bin is not what the manifest says');
    const server = await start({ files: { find: () => Promise.reject(refusal) } });

    const answers = await Promise.all([server.base + path, `${base}/models/half_plus_two/123/gone`].map((url) => fetch(url)));

    expect(answers.map(({ status, headers }) => [status, headers.get('cache-control'), headers.get('etag')])).toEqual([
      [500, 'no-store', null],
      [404, 'no-store', null],
    ]);
    expect(await answers[0]?.json()).toMatchObject({ code: 'integrity-mismatch' });
    await server.transport.close();
  });

  test('sends an empty file, and 404 for one that is not or no longer there', async () => {
    expect((await fetch(`${base}/models/half_plus_two/123/empty`)).headers.get('content-length')).toBe('0');
    expect((await fetch(`${base}/models/half_plus_two/123/gone`)).status).toBe(404);
    expect((await fetch(`${base}/models/none`)).status).toBe(404);
  });
});

describe('our own API', () => {
  test('lists models with versions, states, labels and digests', async () => {
    const { models } = await (await fetch(`${base}/nearfar/v1/models`)).json();

    expect(models[0]).toEqual({
      name: 'half_plus_two',
      labels: { stable: '123', canary: '124' },
      published: [],
      versions: [
        { version: '124', state: 'AVAILABLE', digest: half124.digest, labels: ['canary'], backend: 'tfjs-cpu', variant: 'v', tasks: [] },
        { version: '123', state: 'AVAILABLE', digest: half123.digest, labels: ['stable'], backend: 'tfjs-cpu', variant: 'v', tasks: [] },
      ],
    });
  });

  const task = '/tasks/image-classification';
  const facts = { model_name: 'bright', model_version: '1', digest: bright.digest, backend: 'tfjs-cpu', variant: 'v' };

  test('classifies cropped pixels', async () => {
    const response = await post(`/nearfar/v1/models/bright/versions/1${task}?topK=1`, new Uint8Array(12).fill(255), {
      'content-type': 'application/octet-stream',
      'nearfar-image-shape': '2,2,3',
    });

    expect(await response.json()).toEqual({ ...facts, predictions: [{ label: 'white', index: 1, score: 1 }] });
    expect(response.headers.get('nearfar-model-digest')).toBe(bright.digest);
  });

  test('drops the picture of a client that has gone', async () => {
    const client = new AbortController();
    let drop: (reason: unknown) => void = () => {};
    const dropped = new Promise<unknown>((resolve) => {
      drop = resolve;
    });
    const own = await start({
      prepareImage: (_bytes, _input, { signal } = {}) => {
        signal?.addEventListener('abort', () => drop(signal.reason));
        client.abort();
        const image = { width: 2, height: 2, data: new Uint8Array(12) };
        return dropped.then(() => ({ image, picture: image }));
      },
    });

    const asking = fetch(`${own.base}/nearfar/v1/models/bright${task}`, { method: 'POST', body: 'x', signal: client.signal });

    await expect(asking).rejects.toMatchObject({ name: 'AbortError' });
    expect(await dropped).toMatchObject({ code: 'cancelled' });
    await own.transport.close();
  });

  test.each(['jpeg', 'png', 'webp'] as const)('classifies a %s picture', async (format) => {
    const picture = await sharp({ create: { width: 8, height: 6, channels: 3, background: '#000' } })
      .toFormat(format)
      .toBuffer();

    const response = await post(`/nearfar/v1/models/bright${task}`, new Uint8Array(picture), { 'content-type': `image/${format}` });

    expect(await response.json()).toEqual({
      ...facts,
      predictions: [
        { label: 'black', index: 0, score: 1 },
        { label: 'white', index: 1, score: 0 },
      ],
    });
  });

  test.each([
    [`/nearfar/v1/models/bright${task}`, 'x', {}, 400, 'invalid-argument'],
    [`/nearfar/v1/models/bright${task}?topK=0`, 'x', {}, 400, 'invalid-argument'],
    [`/nearfar/v1/models/bright${task}`, 'x', { 'nearfar-image-shape': '2,2,4' }, 400, 'invalid-argument'],
    [`/nearfar/v1/models/bright${task}`, 'x', { 'nearfar-image-shape': '2,2,3' }, 400, 'shape-mismatch'],
    [`/nearfar/v1/models/half_plus_two${task}`, 'x', {}, 501, 'unsupported'],
    [`/nearfar/v1/models/bright/versions/x${task}`, 'x', {}, 400, 'invalid-argument'],
    [`/nearfar/v1/models/bright/labels/x${task}`, 'x', {}, 400, 'invalid-argument'],
  ])('refuses %s', async (path, body, headers, status, code) => {
    const response = await post(path, body, headers as Record<string, string>);

    expect([response.status, (await response.json()).code]).toEqual([status, code]);
  });
});

describe('requests that need nothing of fastify', () => {
  /** Status, headers as they were sent and body; times are left out. */
  const exchange = (address: string, path: string, body: string, headers: Record<string, string>) =>
    new Promise<{ status: number | undefined; headers: string[]; body: string }>((resolve, reject) => {
      const request = httpRequest(address + path, { method: 'POST', headers: { 'content-length': Buffer.byteLength(body), ...headers } });
      request.on('error', reject);
      request.on('response', async (response) => {
        const { statusCode: status, rawHeaders } = response;
        const sent = rawHeaders.map((value, index) => (/^(date|server-timing)$/i.test(rawHeaders[index - 1] ?? '') ? '' : value));
        resolve({ status, headers: sent, body: (await response.toArray()).join('') });
      });
      request.end(body);
    });
  const predictions: [string, string, string, Record<string, string>][] = [
    ['predict', '/v1/models/half_plus_two:predict', '{"instances": [1, 2]}', { 'content-type': 'application/json' }],
    ['predict of a version', '/v1/models/half_plus_two/versions/0123:predict', '{"instances": [1, 2]}', {}],
    ['infer', '/v2/models/half_plus_two/infer', '{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}', {}],
    ['a packed answer', '/v2/models/half_plus_two/versions/124/infer', '{"inputs": []}', { 'accept-encoding': 'gzip' }],
    ['no JSON', '/v1/models/half_plus_two:predict', '{', {}],
    ['no such model', '/v1/models/nothing:predict', '{"instances": [1]}', {}],
    ['no such version', '/v2/models/half_plus_two/versions/5/infer', '{"inputs": []}', {}],
    ['another digest', '/v1/models/half_plus_two:predict', '{"instances": [1]}', { 'nearfar-model-digest': 'sha256:0' }],
    ['no deadline', '/v1/models/half_plus_two:predict', '{"instances": [1]}', { 'nearfar-deadline-ms': 'soon' }],
  ];

  test.each([{ origins: [] }, { origins: ['*'] }, { origins: ['https://app.example'] }])(
    'are answered as fastify answers them, with CORS for $origins',
    async ({ origins }) => {
      const own = await start({ corsAllowedOrigins: origins });

      for (const [what, path, body, headers] of predictions) {
        const direct = await exchange(own.base, path, body, headers);
        const throughFastify = await exchange(own.base, `${path}?`, body, headers);

        expect(direct, what).toEqual(throughFastify);
      }
      await own.transport.close();
    },
  );

  test('end their connection while the server closes', async () => {
    const own = await start({ lameDuckMs: 60_000 });
    void own.transport.drain();

    const answer = await exchange(own.base, '/v1/models/half_plus_two:predict', '{"instances": [1]}', {});

    expect(answer).toMatchObject({ status: 200, headers: expect.arrayContaining(['connection', 'close']) });
    own.transport.cut();
  });
});

describe('health, metrics, pages and CORS', () => {
  test('tells whether it lives and whether it can answer', async () => {
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
    expect((await fetch(`${base}/readyz`)).status).toBe(200);
    store.isServing = false;
    expect((await fetch(`${base}/readyz`)).status).toBe(503);
    expect((await fetch(`${base}/v2/health/ready`)).status).toBe(503);
    store.isServing = true;
  });

  test('serves the metrics under both names', async () => {
    for (const path of ['/metrics', '/monitoring/prometheus/metrics']) {
      const response = await fetch(base + path);
      expect([response.headers.get('content-type'), await response.text()]).toEqual(['text/plain; version=0.0.4', 'up 1\n']);
    }
  });

  test('serves the pages with their headers, and nothing outside of their folder', async () => {
    const page = await fetch(`${base}/`);
    const wasm = await fetch(`${base}/assets/kernel-abc123.wasm`);

    expect(Object.fromEntries(page.headers)).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-cache',
      'content-security-policy': "default-src 'self'",
    });
    expect(Object.fromEntries(wasm.headers)).toMatchObject({
      'content-type': 'application/wasm',
      'cache-control': 'public, max-age=31536000, immutable',
    });
    expect((await fetch(`${base}/`, { headers: { 'if-none-match': page.headers.get('etag') ?? '' } })).status).toBe(304);
    for (const path of [
      '/../secret.txt',
      '/%2e%2e/secret.txt',
      '/..%2fsecret.txt',
      '/assets/..%5c..%5csecret.txt',
      '//etc/passwd',
      '/assets',
    ]) {
      expect([path, await rawStatus(path)]).toEqual([path, 404]);
    }
  });

  test('lets the allowed origins predict, keeps the preflight, and no others', async () => {
    const preflight = (origin: string, path = '/v1/models/half_plus_two:predict') =>
      fetch(base + path, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'nearfar-model-digest' },
      });

    const allowed = await preflight('https://app.example');
    const other = await preflight('https://evil.example');
    const model = await preflight('https://evil.example', '/models/half_plus_two/versions.json');

    expect(Object.fromEntries(allowed.headers)).toMatchObject({
      'access-control-allow-origin': 'https://app.example',
      'access-control-allow-headers': 'nearfar-model-digest',
      'access-control-max-age': '86400',
    });
    expect(allowed.status).toBe(200);
    expect(other.headers.get('access-control-allow-origin')).toBeNull();
    expect(other.status).toBe(200);
    expect(model.headers.get('access-control-allow-origin')).toBe('*');
    const failed = await post('/v1/models/none:predict', '{}', { origin: 'https://app.example' });
    expect(failed.headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect(failed.headers.get('access-control-expose-headers')).toContain('nearfar-model-digest');
    const ofNoPage = await post('/v1/models/none:predict', '{}');
    expect(ofNoPage.headers.get('access-control-allow-origin')).toBeNull();
    expect(ofNoPage.headers.get('vary')).toBe('Origin');
  });

  test('answers OPTIONS of any page with 200 as TensorFlow Serving does, also without CORS', async () => {
    const closed = await start({ corsAllowedOrigins: [] });
    const ask = (address: string) =>
      fetch(`${address}/v1/models/half_plus_two`, { method: 'OPTIONS', headers: { origin: 'https://evil.example' } });

    const answers = [await ask(base), await ask(closed.base)];

    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(answers.map(({ headers }) => headers.get('access-control-allow-origin'))).toEqual([null, null]);
    await closed.transport.close();
  });

  test('answers a path that cannot be read like any other error', async () => {
    const response = await fetch(`${base}/models/%zz`);

    expect([response.status, await response.json()]).toEqual([
      400,
      { error: "'/models/%zz' is not a valid url component", code: 'invalid-argument', details: {} },
    ]);
  });
});

/** Status of a path that fetch would tidy up first. */
function rawStatus(path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest(base, { path }, (response) => resolve(response.resume().statusCode));
    asked.on('error', reject).end();
  });
}

describe('what no handler sees', () => {
  /** Everything that the server says to these bytes, until it ends the connection. */
  async function raw(bytes: string): Promise<{ status: number; error: unknown }> {
    const socket = connect(Number(new URL(base).port), '127.0.0.1');
    socket.write(bytes);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk);
    const answer = Buffer.concat(chunks).toString();
    const [, status, body] = /^HTTP\/1\.1 (\d+) .*?(\{.*\})/s.exec(answer) ?? [];
    return { status: Number(status), error: JSON.parse(body ?? '{}').error };
  }

  test.each([
    ['GARBAGE\r\n\r\n', 400, /^the request is no HTTP: /],
    ['GET / HTTP/1.1\r\nConnection: close\r\n\r\n', 400, /no Host header/],
    ['POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1e3\r\n\r\n', 400, /Content-Length/],
    [`GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(70_000)}\r\n\r\n`, 431, /Header Fields Too Large/],
    ['GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n', 417, /miracles/],
    ['POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n', 413, /too large/],
    ['POST /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', 405, /use GET/],
    ['DELETE /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 405, /use GET/],
  ])('is refused in JSON: %s', async (bytes, status, error) => {
    expect(await raw(bytes)).toEqual({ status, error: expect.stringMatching(error) });
  });
});

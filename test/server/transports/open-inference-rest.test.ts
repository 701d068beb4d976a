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
  half123,
  half124,
} from './support/stand-in.ts';

const slow = createSlowVersion();
const store = createStandInStore([half123, half124, bright, slow]);
const context = createStandInContext(store);
let transport: Transport;
let base: string;

beforeAll(async () => {
  transport = createRestServer({
    ...context,
    files: createStandInFiles({}),
    metricsPage: { contentType: 'text/plain', metrics: async () => '' },
    corsAllowedOrigins: [],
    timeoutMs: 30_000,
  });
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

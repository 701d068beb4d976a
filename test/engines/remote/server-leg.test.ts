import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTensor, type ServerTarget, type VariantSource } from '../../../src/core/index.ts';
import { classifyOnServer, isReadyOnServer, openRemoteEngine, predictOnServer } from '../../../src/engines/index.ts';
import { createRestServer, type Transport } from '../../../src/server/transports/index.ts';
import {
  bright,
  createSlowVersion,
  createStandInContext,
  createStandInFiles,
  createStandInStore,
  half123,
  half124,
  labelsFile,
  type StandInVersion,
} from '../../server/transports/support/stand-in.ts';

const slow = createSlowVersion();
const store = createStandInStore([half123, half124, bright, slow]);
const nowhere = 'http://127.0.0.1:9';
let transport: Transport;
let far: string;

beforeAll(async () => {
  transport = createRestServer({
    ...createStandInContext(store),
    files: createStandInFiles({ 'bright/1/labels.txt': { bytes: labelsFile } }),
    metricsPage: { contentType: 'text/plain', metrics: async () => '' },
    corsAllowedOrigins: [],
    timeoutMs: 30_000,
  });
  far = `http://127.0.0.1:${(await transport.listen({ host: '127.0.0.1', port: 0 })).port}`;
});

afterAll(async () => {
  slow.finish();
  await transport.close();
});

function targetOf({ name, version, digest, manifest }: StandInVersion, ...servers: string[]): ServerTarget {
  return { servers: servers.length > 0 ? servers : [far], name, pin: { version, digest }, manifest };
}

const x = createTensor('float32', [3], new Float32Array([1, 2, 5]));
const call = { callId: 1, signature: 'serving_default', inputs: { x } };
const image = { width: 2, height: 2, data: new Uint8Array(12).fill(255) };

async function withServer<T>(answer: Parameters<typeof createServer>[1], use: (base: string) => Promise<T>): Promise<T> {
  const server: Server = createServer(answer ?? (() => undefined));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

describe('predictOnServer', () => {
  test('answers from the pinned version, with its backend and timing', async () => {
    const answer = await predictOnServer(targetOf(half123), call, { fetch });

    expect(answer).toMatchObject({
      pin: { version: '123', digest: half123.digest },
      backend: 'tfjs-cpu',
      variant: 'v',
      answer: { outputs: { y: createTensor('float32', [3], new Float32Array([2.5, 3, 4.5])) }, timing: { queueMs: 1.5, inferMs: 2.25 } },
    });
  });

  test('runs another signature and sends strings and int64 whole', async () => {
    const inputs = {
      x,
      s_bytes: createTensor('string', [2], [new Uint8Array([0, 255]), new Uint8Array()]),
      n: createTensor('int64', [1], new BigInt64Array([2n ** 63n - 1n])),
    };

    const { answer } = await predictOnServer(
      targetOf(half123),
      { ...call, signature: 'many', inputs, outputs: ['n', 's_bytes'] },
      { fetch },
    );

    expect(answer.outputs).toEqual({ n: inputs.n, s_bytes: inputs.s_bytes });
  });

  test('the server refuses another digest', async () => {
    const wrong = { ...targetOf(half123), pin: { version: '123', digest: half124.digest } };

    await expect(predictOnServer(wrong, call, { fetch })).rejects.toMatchObject({
      code: 'version-mismatch',
      details: { got: half123.digest },
    });
  });

  test.each([
    ['another digest', { 'nearfar-model-version': '123', 'nearfar-model-digest': half124.digest }],
    ['no digest', {}],
  ])('refuses an answer from %s, whatever sent it', async (_, headers) => {
    const answering = withServer(
      (_request, response) => response.writeHead(200, headers).end('{"outputs": []}'),
      (base) => predictOnServer(targetOf(half123, base), call, { fetch }),
    );

    await expect(answering).rejects.toMatchObject({ code: 'version-mismatch' });
  });

  test('rebuilds the error of the server', async () => {
    const wrong = { ...call, inputs: { x: createTensor('int32', [1], new Int32Array([1])) } };

    await expect(predictOnServer(targetOf(half123), wrong, { fetch })).rejects.toMatchObject({
      name: 'NearfarError',
      code: 'dtype-mismatch',
      details: { name: 'x', want: 'float32', got: 'int32', status: 400 },
    });
  });

  test.each([
    [502, 'unavailable'],
    [429, 'rate-limited'],
    [500, 'internal'],
  ])('names the error of a proxy by its status %i', async (status, code) => {
    const answering = withServer(
      (_, response) => response.writeHead(status).end('<html>'),
      (base) => predictOnServer(targetOf(half123, base), call, { fetch }),
    );

    await expect(answering).rejects.toMatchObject({ code });
  });

  test('tries the next server when one cannot be reached, is full or breaks off', async () => {
    const full = JSON.stringify({ error: 'queue full', code: 'overloaded', details: {} });

    const answer = await withServer(
      (request, response) => {
        if (request.url?.startsWith('/broken')) response.writeHead(200, { 'content-length': '100' }).write('x', () => response.destroy());
        else response.writeHead(503).end(full);
      },
      (base) => predictOnServer(targetOf(half123, nowhere, base, `${base}/broken/`, far), call, { fetch }),
    );

    expect(answer.pin.version).toBe('123');
  });

  test('is a network error when no server can be reached', async () => {
    await expect(predictOnServer(targetOf(half123, nowhere, nowhere), call, { fetch })).rejects.toMatchObject({ code: 'network' });
    await expect(predictOnServer({ ...targetOf(half123), servers: [] }, call, { fetch })).rejects.toMatchObject({ code: 'network' });
  });

  test('is an internal error when the answer cannot be read', async () => {
    const headers = { 'nearfar-model-version': '123', 'nearfar-model-digest': half123.digest };

    const answering = withServer(
      (_, response) => response.writeHead(200, headers).end('{"outputs": 1}'),
      (base) => predictOnServer(targetOf(half123, base), call, { fetch }),
    );

    await expect(answering).rejects.toMatchObject({ code: 'internal' });
  });

  test('rejects with the reason of an abort and reaches the server with it', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');

    const asking = predictOnServer(targetOf(slow), { ...call }, { fetch, signal: controller.signal });
    await slow.started;
    controller.abort(reason);

    await expect(asking).rejects.toBe(reason);
    expect(await slow.aborted).toMatchObject({ code: 'cancelled' });
  });

  test('carries the deadline to the server', async () => {
    const own = createSlowVersion();
    const server = createRestServer({
      ...createStandInContext(createStandInStore([own])),
      files: createStandInFiles({}),
      metricsPage: { contentType: 'text/plain', metrics: async () => '' },
      corsAllowedOrigins: [],
      timeoutMs: 30_000,
    });
    const base = `http://127.0.0.1:${(await server.listen({ host: '127.0.0.1', port: 0 })).port}`;

    await expect(predictOnServer(targetOf(own, base), { ...call, deadlineMs: 20 }, { fetch })).rejects.toMatchObject({
      code: 'deadline-exceeded',
    });
    own.finish();
    await server.close();
  });
});

test('classifyOnServer sends cropped pixels and gets classes', async () => {
  const answer = await classifyOnServer(targetOf(bright), { callId: 1, image, topK: 1 }, { fetch });

  expect(answer).toMatchObject({ answer: { predictions: [{ label: 'white', index: 1, score: 1 }] }, pin: { digest: bright.digest } });
});

test('isReadyOnServer says whether exactly this version is there', async () => {
  expect(await isReadyOnServer(targetOf(half123), { fetch })).toBe(true);
  expect(await isReadyOnServer({ ...targetOf(half123), pin: { version: '5', digest: half123.digest } }, { fetch })).toBe(false);
  await expect(isReadyOnServer({ ...targetOf(half123), pin: { version: '123', digest: half124.digest } }, { fetch })).rejects.toMatchObject(
    {
      code: 'version-mismatch',
    },
  );
  await expect(isReadyOnServer(targetOf(half123, nowhere), { fetch })).rejects.toMatchObject({ code: 'network' });
});

test.each([
  [401, 'unauthenticated'],
  [403, 'permission-denied'],
  [500, 'internal'],
])('isReadyOnServer tells a refusal by status %i from a version that is not there', async (status, code) => {
  const asking = withServer(
    (_, response) => response.writeHead(status).end(),
    (base) => isReadyOnServer(targetOf(half123, base), { fetch }),
  );

  await expect(asking).rejects.toMatchObject({ code });
});

test.each([404, 503])('isReadyOnServer is false where a server answers %i', async (status) => {
  const asking = withServer(
    (_, response) => response.writeHead(status).end(),
    (base) => isReadyOnServer(targetOf(half123, base), { fetch }),
  );

  await expect(asking).resolves.toBe(false);
});

describe('openRemoteEngine', () => {
  const open = (pin = { version: '123', digest: half123.digest }) => openRemoteEngine({ servers: [far], pin, fetch });
  const source: VariantSource = {
    manifest: half123.manifest,
    variant: half123.manifest.variants[0]!,
    readFile: async () => new Uint8Array(),
  };

  test('runs by the port of every engine', async () => {
    await using engine = open();
    const loaded = await engine.load(source);

    expect(await loaded.run({ signature: 'serving_default', inputs: { x } })).toEqual({
      y: createTensor('float32', [3], new Float32Array([2.5, 3, 4.5])),
    });
    expect(engine).toMatchObject({ backend: 'remote', device: { kind: 'server' } });
    expect(engine.memory().variants).toBe(1);
    await loaded[Symbol.asyncDispose]();
    await loaded[Symbol.asyncDispose]();
    expect(engine.memory().variants).toBe(0);
    await expect(loaded.run({ signature: 'serving_default', inputs: { x } })).rejects.toMatchObject({ code: 'failed-precondition' });
  });

  test('sends an input of another layout in that of the signature', async () => {
    await using engine = open();
    const loaded = await engine.load(source);
    const nchw = createTensor('float32', [1, 3, 1, 2], new Float32Array([0, 10, 2, 12, 4, 14]));

    const { y } = await loaded.run({ signature: 'serving_default', inputs: { x: nchw }, layouts: { x: 'NCHW' } });

    // Each value is halved, plus 2.
    expect(y).toEqual(createTensor('float32', [1, 1, 2, 3], new Float32Array([2, 3, 4, 7, 8, 9])));
  });

  test('checks a request before it leaves the device', async () => {
    await using engine = open();
    const loaded = await engine.load(source);

    await expect(loaded.run({ signature: 'none', inputs: { x } })).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(loaded.run({ signature: 'serving_default', inputs: {} })).rejects.toMatchObject({ code: 'invalid-argument' });
  });

  test('does not load a version that no server has, or has with another digest', async () => {
    await using none = open({ version: '5', digest: half123.digest });
    await using other = open({ version: '123', digest: half124.digest });

    await expect(none.load(source)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(other.load(source)).rejects.toMatchObject({ code: 'version-mismatch' });
  });
});

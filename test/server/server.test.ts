import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type AnyTensor, createTensor, encodeTensorProto, PredictionService } from '../../src/core/index.ts';
import { type RunningServer, type ServerOptions, startServer } from '../../src/server/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { freePort } from '../support/free-port.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { golden, until } from '../support/serving.ts';

// The whole server on real sockets, in this process and as the command.

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const image = golden.inputs['image']!;
const row = Array.from(image.data.slice(0, 32 * 32 * 3), Number);
const body = JSON.stringify({
  instances: [
    Array.from({ length: 32 }, (_, y) => Array.from({ length: 32 }, (_, x) => row.slice((y * 32 + x) * 3, (y * 32 + x + 1) * 3))),
  ],
});
const expected = Array.from(golden.outputs['probabilities']!.data.slice(0, 10), Number);

let folder: Awaited<ReturnType<typeof openTempFolder>>;

beforeEach(async () => {
  folder = await openTempFolder();
});

afterEach(() => folder[Symbol.asyncDispose]());

function start(options: ServerOptions = {}): Promise<RunningServer> {
  return startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    modelsRoot: join(folder.path, 'models'),
    cacheDir: join(folder.path, 'cache'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    pollIntervalMs: 20,
    logLevel: 'silent',
    ...options,
  });
}

/** One prediction over HTTP; connections are kept as the agent keeps them. */
async function predict(
  address: string,
  agent?: Agent,
): Promise<{ status: number; version: string | undefined; predictions: number[] | undefined }> {
  const sent = request(`${address}/v1/models/everyday10:predict`, { method: 'POST', ...(agent && { agent }) });
  sent.end(body);
  const [response] = await once(sent, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const { predictions } = JSON.parse(Buffer.concat(chunks).toString());
  return { status: response.statusCode, version: response.headers['nearfar-model-version'], predictions: predictions?.[0] };
}

function expectRight(predictions: number[] | undefined): void {
  expect(predictions).toHaveLength(10);
  for (const [index, right] of expected.entries()) expect(predictions?.[index]).toBeCloseTo(right, 4);
}

describe('startServer', () => {
  test('answers a client pinned to its digest, and refuses one pinned to another on every route', async () => {
    await copyEveryday10(join(folder.path, 'models/everyday10'), '1');
    await using server = await start();
    await server.whenReady();
    const { digest } = await (await fetch(`${server.restAddress}/nearfar/v1/models`)).json().then(({ models }) => models[0].versions[0]);
    const pixels = new Uint8Array(32 * 32 * 3);
    const shape = { 'content-type': 'application/octet-stream', 'nearfar-image-shape': '32,32,3' };
    const tensor = { name: 'image', datatype: 'FP32', shape: [1, 32, 32, 3], data: row };
    const calls: [string, RequestInit][] = [
      ['/v1/models/everyday10:predict', { method: 'POST', body }],
      ['/v2/models/everyday10/infer', { method: 'POST', body: JSON.stringify({ inputs: [tensor] }) }],
      ['/v2/models/everyday10/versions/1/ready', {}],
      ['/nearfar/v1/models/everyday10/tasks/image-classification', { method: 'POST', body: pixels, headers: shape }],
    ];
    const other = `sha256:${'0'.repeat(64)}`;
    const ask = ([path, init]: [string, RequestInit], pinned: string) =>
      fetch(`${server.restAddress}${path}`, { ...init, headers: { ...init.headers, 'nearfar-model-digest': pinned } });

    for (const call of calls) {
      const right = await ask(call, digest);
      const wrong = await ask(call, other);

      expect([right.status, right.headers.get('nearfar-model-digest')], call[0]).toEqual([200, digest]);
      expect([wrong.status, await wrong.json()], call[0]).toMatchObject([409, { code: 'version-mismatch', details: { got: digest } }]);
    }
  });

  test('answers over REST with the version and digest, and shows ready, metrics and the repository', async () => {
    await copyEveryday10(join(folder.path, 'models/everyday10'), '1');
    await using server = await start();
    const before = await fetch(`${server.restAddress}/readyz`);
    await server.whenReady();

    const answer = await predict(server.restAddress!);
    const [ready, metrics, manifest] = await Promise.all(
      ['/readyz', '/metrics', '/models/everyday10/1/manifest.json'].map((path) => fetch(`${server.restAddress}${path}`)),
    );

    expect(before.status).toBe(503);
    expect(answer).toMatchObject({ status: 200, version: '1' });
    expectRight(answer.predictions);
    expect(ready?.status).toBe(200);
    expect(await metrics?.text()).toContain(':tensorflow:serving:request_count{model_name="everyday10",status="OK"} 1');
    using handle = server.servables.lend({ name: 'everyday10' });
    expect(manifest?.headers.get('etag')).toBe(`"${handle.digest}"`);
  });

  test('swaps versions under clients that never pause: no request fails', async () => {
    const modelFolder = join(folder.path, 'models/everyday10');
    await copyEveryday10(modelFolder, '1');
    await using server = await start();
    await server.whenReady();
    const agent = new Agent({ keepAlive: true });
    const answers = new Map<string, number>();
    let isDone = false;
    const clients = Array.from({ length: 3 }, async () => {
      while (!isDone) {
        const { status, version, predictions } = await predict(server.restAddress!, agent);
        expectRight(predictions);
        answers.set(`${status} ${version}`, (answers.get(`${status} ${version}`) ?? 0) + 1);
      }
    });

    await copyEveryday10(modelFolder, '2');
    await until(() => (answers.get('200 2') ?? 0) > 10);
    isDone = true;
    await Promise.all(clients);
    agent.destroy();

    expect([...answers.keys()].sort()).toEqual(['200 1', '200 2']);
  });

  test('closes without failing a request that it took', async () => {
    await copyEveryday10(join(folder.path, 'models/everyday10'), '1');
    const server = await start();
    await server.whenReady();
    const agent = new Agent({ keepAlive: true });
    const address = server.restAddress!;
    await predict(address, agent);

    const running = Array.from({ length: 6 }, () => predict(address, agent));
    const closing = server.close();
    const isReadyWhileClosing = server.servables.isReady();
    const late = await predict(address);
    const answers = await Promise.all(running);
    await closing;
    agent.destroy();

    expect(isReadyWhileClosing).toBe(false);
    for (const { status } of [...answers, late]) expect(status).toBe(200);
    await expect(predict(address)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('imports a plain TensorFlow Serving directory and publishes it with a manifest', async () => {
    await mkdir(join(folder.path, 'models/plain/00000007'), { recursive: true });
    await cp(new URL('../../models/everyday10/1/onnx/model.onnx', import.meta.url), join(folder.path, 'models/plain/00000007/model.onnx'));
    await using server = await start();
    await server.whenReady();

    const versions = await (await fetch(`${server.restAddress}/models/plain/versions.json`)).json();
    using handle = server.servables.lend({ name: 'plain' });
    const { outputs } = await handle.run({ signature: 'serving_default', inputs: structuredClone(golden.inputs) }, {});

    expect(versions).toEqual({ schemaVersion: 1, name: 'plain', versions: [{ version: '7', digest: handle.digest }], labels: {} });
    expect(handle.version).toBe('7');
    expect(Array.from(outputs['probabilities']!.data.slice(0, 3), Number)[0]).toBeCloseTo(expected[0]!, 4);
  });

  test('answers what comes before its models are loaded when they are; until then no model is said to be missing', async () => {
    await copyEveryday10(join(folder.path, 'models/everyday10'), '1');
    await using server = await start({
      modelsRoot: undefined,
      models: [{ name: 'everyday10', basePath: join(folder.path, 'models/everyday10') }],
    });
    const predictMissing = async () => {
      const response = await fetch(`${server.restAddress}/v1/models/missing:predict`, { method: 'POST', body: '{"instances": [1]}' });
      return { status: response.status, error: ((await response.json()) as { error: string }).error };
    };

    const [early, missing] = await Promise.all([predict(server.restAddress!), predictMissing()]);
    await server.whenReady();

    expect(early.status).toBe(200);
    expectRight(early.predictions);
    expect(missing).toEqual({ status: 503, error: 'the server is starting: its models are not loaded yet' });
    expect(await predictMissing()).toEqual({ status: 404, error: 'Servable not found for request: Latest(missing)' });
  });

  test('drops what waits for the engine when its client hangs up, cancels or has no more time', async () => {
    await copyEveryday10(join(folder.path, 'models/everyday10'), '1');
    await using server = await start();
    await server.whenReady();
    const rows = 1000;
    using handle = server.servables.lend({ name: 'everyday10' });
    let isBusy = true;
    const long = Array.from({ length: 3 }, () => {
      const inputs = { image: createTensor('float32', [rows, 32, 32, 3], new Float32Array(rows * 3072)) as AnyTensor };
      return handle.run({ signature: 'serving_default', inputs }, {});
    });
    const busy = Promise.all(long).then(() => {
      isBusy = false;
    });
    const inFlight = async () => Number(/nearfar_requests_in_flight (\d+)/.exec(await server.metrics.registry.metrics())?.[1]);
    const { predict: method } = PredictionService.method;
    const message = create(method.input, {
      modelSpec: { name: 'everyday10' },
      inputs: { image: encodeTensorProto(createTensor('float32', [1, 32, 32, 3], new Float32Array(3072))) },
    });
    const client = new Client(server.grpcAddress!, credentials.createInsecure());
    const codes: (number | undefined)[] = [];
    const call = (options: { deadline?: number }) =>
      client.makeUnaryRequest(
        `/${method.parent.typeName}/${method.name}`,
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes) => bytes,
        toBinary(method.input, message),
        options,
        (error) => codes.push(error?.code),
      );
    const agent = new Agent();

    const gone = predict(server.restAddress!, agent).catch(() => 'gone');
    const cancelled = call({});
    call({ deadline: Date.now() + 100 });
    await vi.waitUntil(async () => (await inFlight()) >= 2, { interval: 1 });
    agent.destroy();
    cancelled.cancel();
    await vi.waitUntil(async () => codes.length === 2 && (await inFlight()) === 0, { interval: 1, timeout: 10_000 });

    expect(isBusy).toBe(true);
    expect(codes.sort()).toEqual([status.CANCELLED, status.DEADLINE_EXCEEDED]);
    expect(await gone).toBe('gone');
    await busy;
    client.close();
  });

  test('refuses a port that is taken', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const address = taken.address();
    const restPort = typeof address === 'object' && address ? address.port : 0;

    await expect(start({ restPort })).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('EADDRINUSE') });

    taken.close();
  });
});

describe('nearfar serve', () => {
  const running: ChildProcess[] = [];

  afterEach(() => {
    for (const child of running.splice(0)) child.kill('SIGKILL');
  });

  /** Runs the built command; ports that other tests cannot have are asked of the system. */
  function run(command: string, ...args: string[]) {
    const child = spawn(process.execPath, [cli, command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    running.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const exit = once(child, 'close').then(([code]) => code);
    const nextLine = async () => (await lines.next()).value as string;
    let stderr = '';
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    return { child, nextLine, exit, stderr: () => stderr };
  }

  test('prints its addresses, serves, shows its status and ends with 0 on SIGTERM', async () => {
    await copyEveryday10(join(folder.path, 'models/everyday10'), '1');
    const [rest, grpc] = [await freePort(), await freePort()];
    const serve = run(
      'serve',
      '--json',
      '--host=127.0.0.1',
      `--models=${folder.path}/models`,
      `--rest_api_port=${rest}`,
      `--port=${grpc}`,
      '--backend=onnx-cpu',
      '--no_such_flag=1',
    );
    const addresses = JSON.parse(await serve.nextLine());
    const ready = JSON.parse(await serve.nextLine());

    const answer = await predict(addresses.rest);
    const status = run('status', '--url', addresses.rest);
    const header = await status.nextLine();
    const line = await status.nextLine();
    serve.child.kill('SIGTERM');

    expect(addresses).toEqual({ rest: `http://127.0.0.1:${rest}`, grpc: `127.0.0.1:${grpc}` });
    expect(ready).toEqual({ ready: ['everyday10'] });
    expectRight(answer.predictions);
    expect(header.split(/\s+/)).toEqual(['MODEL', 'VERSION', 'STATE', 'LABELS', 'BACKEND', 'DIGEST', 'ERROR']);
    expect(line).toMatch(/^everyday10 +1 +AVAILABLE +onnx-cpu +sha256:/);
    expect(await status.exit).toBe(0);
    expect(await serve.exit).toBe(0);
    expect(serve.stderr()).toContain('unknown flag --no_such_flag is ignored');
  });

  test.each([
    [['--models=/nowhere', '--use_alts_credentials'], /--use_alts_credentials=true cannot be honoured/],
    [['--models=/nowhere', '--ssl_config_file=/ssl'], /--ssl_config_file: cannot read \/ssl: ENOENT/],
    [['--model_name=m'], /--model_name needs --model_base_path/],
    [[], /nothing to serve/],
  ])('ends with 1 and the reason: %j', async (flags, reason) => {
    const serve = run('serve', ...flags);

    expect(await serve.exit).toBe(1);
    expect(serve.stderr()).toMatch(reason);
  });

  test('ends with 1 when its port is taken', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const address = taken.address();
    const port = typeof address === 'object' && address ? address.port : 0;

    const serve = run('serve', `--models=${folder.path}`, '--host=127.0.0.1', `--rest_api_port=${port}`, '--port=0');

    expect(await serve.exit).toBe(1);
    expect(serve.stderr()).toContain('EADDRINUSE');
    taken.close();
  });

  test('status ends with 1 when no server answers', async () => {
    const status = run('status', '--url', `http://127.0.0.1:${await freePort()}`);

    expect(await status.exit).toBe(1);
    expect(status.stderr()).toMatch(/no server answers at http:\/\/127.0.0.1:\d+: .*ECONNREFUSED.*\(network\)/);
  });
});

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  ReloadConfigRequestSchema,
  ReloadConfigResponseSchema,
} from '../../src/core/protocol/gen/tensorflow_serving/apis/model_management_pb.ts';
import { type RunningServer, type ServerOptions, startServer } from '../../src/server/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { freePort } from '../support/free-port.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { until } from '../support/serving.ts';

// Real models in real engines, changed while the server runs.

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

let folder: Awaited<ReturnType<typeof openTempFolder>>;
const servers: RunningServer[] = [];

beforeAll(async () => {
  folder = await openTempFolder();
  for (const model of ['a', 'b', 'c']) await copyVersion(model, '1');
});

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

afterAll(() => folder[Symbol.asyncDispose]());

const at = (...path: string[]) => join(folder.path, ...path);

/** Under a name that is no version first, so that it is there at once. */
async function copyVersion(model: string, version: string): Promise<void> {
  await copyEveryday10(at(`.${model}`), version);
  await mkdir(at(model), { recursive: true });
  await rename(at(`.${model}`, version), at(model, version));
}

async function start(options: ServerOptions): Promise<RunningServer> {
  const server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    backends: ['onnx-cpu'],
    engineThreads: 1,
    pollIntervalMs: 20,
    firstLoadRetryMs: 50,
    cacheDir: at('cache'),
    logLevel: 'silent',
    gracePeriodMs: 2000,
    ...options,
  });
  servers.push(server);
  await server.whenReady();
  return server;
}

type Config = MessageInitShape<typeof ReloadConfigRequestSchema>;

const model = (name: string, more: object = {}) => ({ name, basePath: at(name), modelPlatform: 'tensorflow', ...more });
const list = (...config: object[]): Config => ({ config: { config: { case: 'modelConfigList', value: { config } } } });

/** HandleReloadConfigRequest as any client sends it. */
async function reload(address: string | undefined, request: Config, deadlineMs = 30_000) {
  const client = new Client(address!, credentials.createInsecure());
  try {
    return await new Promise<ReturnType<typeof fromBinary<typeof ReloadConfigResponseSchema>>>((resolve, reject) =>
      client.makeUnaryRequest(
        '/tensorflow.serving.ModelService/HandleReloadConfigRequest',
        (message: Uint8Array) => Buffer.from(message),
        (bytes) => fromBinary(ReloadConfigResponseSchema, bytes),
        toBinary(ReloadConfigRequestSchema, create(ReloadConfigRequestSchema, request)),
        { deadline: Date.now() + deadlineMs },
        (error: ServiceError | null, answer) => (error ? reject(error) : resolve(answer!)),
      ),
    );
  } finally {
    client.close();
  }
}

const states = (server: RunningServer, name: string) => {
  try {
    return Object.fromEntries(server.servables.status({ name }).map(({ version, state }) => [version, state]));
  } catch {
    return undefined;
  }
};

describe('HandleReloadConfigRequest', () => {
  test('supersedes the whole config and answers when new models are available, with the increase of metrics', async () => {
    const server = await start({ models: [{ name: 'a', basePath: at('a') }] });

    const { status, metric } = await reload(server.grpcAddress, {
      ...list(model('b'), model('c')),
      metricNames: ['/tensorflow/cc/saved_model/load_attempt_count', 'no_such_metric'],
    });

    expect(status?.errorCode).toBe(0);
    expect(server.servables.names()).toEqual(['b', 'c']);
    expect([states(server, 'b'), states(server, 'c')]).toEqual([{ '1': 'AVAILABLE' }, { '1': 'AVAILABLE' }]);
    expect(metric.map(({ name, valueIncrease }) => [name, valueIncrease.value])).toEqual([
      ['/tensorflow/cc/saved_model/load_attempt_count', 2n],
      ['no_such_metric', 0n],
    ]);
    expect(() => server.servables.lend({ name: 'a' })).toThrow('Servable not found for request: Latest(a)');
  });

  test.each([
    ['a model twice', () => list(model('b'), model('b')), 3, /Illegal to list model b multiple times/],
    [
      'another platform',
      () => list(model('a', { modelPlatform: 'onnx' })),
      3,
      /Illegal to change a model's platform. For model a platform was tensorflow/,
    ],
    ['an unknown platform', () => list(model('b', { modelPlatform: 'caffe' })), 3, /Model b requests unsupported platform caffe/],
    [
      'a label of a version that is nowhere',
      () => list(model('b', { versionLabels: { stable: 7n } })),
      9,
      /Request to assign label to version 7 of model b/,
    ],
    ['no list', () => ({}), 3, /Only ModelConfigList is currently supported/],
  ] as const)('with %s changes nothing', async (_, request, code, details) => {
    const server = await start({ models: [{ name: 'a', basePath: at('a') }] });

    await expect(reload(server.grpcAddress, request())).rejects.toMatchObject({ code, details: expect.stringMatching(details) });

    expect(server.servables.names()).toEqual(['a']);
    expect(states(server, 'a')).toEqual({ '1': 'AVAILABLE' });
  });

  test('with a folder that is not there answers at once, and loads the others', async () => {
    const server = await start({ models: [{ name: 'a', basePath: at('a') }] });

    const reloading = reload(server.grpcAddress, list(model('a'), model('nowhere'), model('b')));

    await expect(reloading).rejects.toMatchObject({
      code: 2, // UNKNOWN, as in TensorFlow Serving
      details: expect.stringMatching(/1 servable\(s\) did not become available: .*Could not find base path .*nowhere for servable nowhere/),
    });
    expect([states(server, 'a'), states(server, 'b')]).toEqual([{ '1': 'AVAILABLE' }, { '1': 'AVAILABLE' }]);
    await copyVersion('nowhere', '1');
    await until(() => states(server, 'nowhere')?.['1'] === 'AVAILABLE');
  });

  test('takes labels of versions that load by the same config, and moves none before its version is available', async () => {
    await copyVersion('labelled', '1');
    const server = await start({ models: [{ name: 'a', basePath: at('a') }] });
    await copyVersion('labelled', '2');

    await reload(server.grpcAddress, list(model('labelled', { versionLabels: { stable: 1n, canary: 2n } })));
    const answering = ['stable', 'canary'].map((label) => {
      using handle = server.servables.lend({ name: 'labelled', label });
      return handle.version;
    });
    await mkdir(at('labelled/3'));
    const isMoved = reload(server.grpcAddress, list(model('labelled', { versionLabels: { stable: 3n } })));
    await isMoved;
    await until(() => states(server, 'labelled')?.['3'] === 'START');

    expect(answering).toEqual(['1', '2']);
    expect(server.servables.labels('labelled')).toEqual({ stable: '1' });
    await rm(at('labelled'), { recursive: true });
  });

  test('is taken from this machine alone, or at an address of its own', async () => {
    const server = await start({
      models: [{ name: 'a', basePath: at('a') }],
      adminAddress: { host: '127.0.0.1', port: 0 },
    });

    await expect(reload(server.grpcAddress, list(model('b')))).rejects.toMatchObject({ code: 7 });
    await reload(server.adminAddress, list(model('b')));
    const listed = await fetch(`http://${server.adminAddress}/nearfar/v1/config`);

    expect(server.servables.names()).toEqual(['b']);
    expect(await listed.json()).toMatchObject({
      model_config_list: { config: [{ name: 'b', base_path: at('b'), model_platform: 'tensorflow' }] },
    });
  });
});

describe('/nearfar/v1', () => {
  async function call(server: RunningServer, method: string, path: string, body?: object | string, headers: Record<string, string> = {}) {
    const answer = await fetch(`${server.restAddress}/nearfar/v1/${path}`, {
      method,
      headers,
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
  }

  test('adds, reads back, changes and removes one model at a time', async () => {
    await copyVersion('b', '2');
    const server = await start({ models: [{ name: 'a', basePath: at('a') }] });

    const added = await call(server, 'PUT', 'models/b', {
      base_path: at('b'),
      model_version_policy: { all: {} },
      nearfar: { transition: 'RESOURCE_PRESERVING' },
    });
    const loaded = states(server, 'b');
    const labelled = await call(server, 'PUT', 'models/b/labels/stable', { version: 1 });
    const config = await call(server, 'GET', 'models/b/config');
    const unloaded = await call(server, 'DELETE', 'models/b/versions/2');
    await until(() => states(server, 'b')?.['2'] === 'END');
    const reloaded = await call(server, 'PUT', 'models/b/versions/2');
    const everything = await call(server, 'GET', 'config');
    const unlabelled = await call(server, 'DELETE', 'models/b/labels/stable');
    const removed = await call(server, 'DELETE', 'models/b');

    expect(added.status).toBe(200);
    expect(loaded).toEqual({ '1': 'AVAILABLE', '2': 'AVAILABLE' });
    expect(labelled.body).toMatchObject({ version_labels: { stable: '1' } });
    expect(config.body).toEqual({
      name: 'b',
      base_path: at('b'),
      model_platform: 'tensorflow',
      model_version_policy: { all: {} },
      version_labels: { stable: '1' },
      nearfar: { transition: 'RESOURCE_PRESERVING' },
    });
    expect([unloaded.status, reloaded.status, unlabelled.status, removed.status]).toEqual([204, 200, 204, 204]);
    expect(everything.body.model_config_list.config.map(({ name }: { name: string }) => name)).toEqual(['a', 'b']);
    expect(server.servables.names()).toEqual(['a']);
    await rm(at('b/2'), { recursive: true });
  });

  test('is what loads and unloads models by the Open Inference Protocol', async () => {
    const server = await start({ models: ['a', 'c'].map((name) => ({ name, basePath: at(name) })) });
    const post = (path: string) => fetch(`${server.restAddress}/v2/repository/models/${path}`, { method: 'POST' });

    const unloaded = await post('c/unload');
    await until(() => states(server, 'c')?.['1'] === 'END');
    const isReadyWithout = server.servables.isReady();
    const loaded = await post('c/load');

    expect([unloaded.status, loaded.status, isReadyWithout]).toEqual([200, 200, true]);
    expect(states(server, 'c')).toEqual({ '1': 'AVAILABLE' });
    expect((await post('none/load')).status).toBe(404);
  });

  test('answers wrong calls as JSON and changes nothing', async () => {
    const server = await start({ models: [{ name: 'a', basePath: at('a') }] });
    const origin = { origin: 'https://elsewhere.example' };

    const answers = await Promise.all([
      call(server, 'PUT', 'models/new', '{"base_path":'),
      call(server, 'PUT', 'models/new', { base_path: 'relative' }),
      call(server, 'PUT', 'models/new', { base_path: '/no/such/folder' }),
      call(server, 'PUT', 'models/new', { nosuch: 1 }),
      call(server, 'PUT', 'models/a', { name: 'b', base_path: at('a') }),
      call(server, 'PUT', 'models/a/labels/stable', { version: 9 }),
      call(server, 'PUT', 'models/a/labels/stable', { version: true }),
      call(server, 'PUT', 'models/a/versions/9'),
      call(server, 'DELETE', 'models/a/versions/9'),
      call(server, 'DELETE', 'models/none'),
      call(server, 'DELETE', 'models/a', undefined, origin),
      call(server, 'DELETE', 'models/a', undefined, { 'x-forwarded-for': '192.0.2.1' }),
    ]);

    expect(answers.map(({ status, body }) => [status, body.code])).toEqual([
      [400, 'invalid-argument'],
      [400, 'invalid-argument'],
      [404, 'not-found'],
      [400, 'invalid-argument'],
      [400, 'invalid-argument'],
      [400, 'failed-precondition'],
      [400, 'invalid-argument'],
      [404, 'not-found'],
      [404, 'not-found'],
      [404, 'not-found'],
      [403, 'permission-denied'],
      [403, 'permission-denied'],
    ]);
    expect(states(server, 'a')).toEqual({ '1': 'AVAILABLE' });
    expect(server.servables.names()).toEqual(['a']);
  });
});

describe('nearfar serve --model_config_file', () => {
  const running: ChildProcess[] = [];

  afterEach(() => {
    for (const child of running.splice(0)) child.kill('SIGKILL');
  });

  function serve(...args: string[]) {
    const child = spawn(process.execPath, [cli, 'serve', '--host=127.0.0.1', `--cache_dir=${at('cache')}`, '--backend=onnx-cpu', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    let stderr = '';
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    return {
      child,
      exit: once(child, 'close').then(([code]) => code),
      nextLine: async () => JSON.parse((await lines.next()).value as string),
      stderr: () => stderr,
    };
  }

  const text = (...names: string[]) =>
    `model_config_list { ${names.map((name) => `config { name: "${name}" base_path: "${at(name)}" model_platform: "onnx" }`).join('\n')} }`;

  async function namesAt(address: string): Promise<string[]> {
    const { models } = await (await fetch(`${address}/nearfar/v1/models`)).json();
    return models
      .filter(({ versions }: { versions: { state: string }[] }) => versions.some(({ state }) => state === 'AVAILABLE'))
      .map(({ name }: { name: string }) => name);
  }

  async function untilNames(address: string, names: string[]): Promise<void> {
    for (;;) {
      if (JSON.stringify(await namesAt(address)) === JSON.stringify(names)) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  test('is read again when it changes and on SIGHUP; one that is wrong changes nothing', async () => {
    const file = at('models.config');
    await writeFile(file, text('a'));
    const server = serve(
      `--model_config_file=${file}`,
      '--model_config_file_poll_wait_seconds=1',
      `--rest_api_port=${await freePort()}`,
      '--port=0',
      '--json',
    );
    const { rest } = await server.nextLine();
    const ready = await server.nextLine();

    await writeFile(file, 'model_config_list { config { nmae: "b" } }');
    server.child.kill('SIGHUP');
    await until(() => server.stderr().includes('1:34: Message type'));
    const afterAMistake = await namesAt(rest);
    await writeFile(file, text('a', 'b'));
    await untilNames(rest, ['a', 'b']);

    expect(ready).toEqual({ ready: ['a'] });
    expect(afterAMistake).toEqual(['a']);
    server.child.kill('SIGTERM');
    expect(await server.exit).toBe(0);
  });

  test('serves on when whoever reads what it prints and logs goes away', async () => {
    const file = at('models.config');
    await writeFile(file, text('a'));
    const server = serve(`--model_config_file=${file}`, `--rest_api_port=${await freePort()}`, '--port=0', '--access_log', '--json');
    const { rest } = await server.nextLine();
    await server.nextLine();

    server.child.stdout.destroy();
    server.child.stderr.destroy();
    const names = [await namesAt(rest), await namesAt(rest)];
    server.child.kill('SIGTERM');

    expect(names).toEqual([['a'], ['a']]);
    expect(await server.exit).toBe(0);
  });

  test.each([
    ['improperly formatted file', 'Error parsing text-format tensorflow.serving.ModelServerConfig'],
    ['model_config_list { config { name: "x" base_path: "/x" model_platform: "x" } }', 'Model x requests unsupported platform x'],
    [
      'model_config_list { config { name: "x" base_path: "/x" model_platform: "onnx" version_labels { key: "s" value: 1 } } }',
      'Request to assign label to version 1 of model x',
    ],
  ])('that is wrong ends the start: %s', async (content, message) => {
    const file = at('wrong.config');
    await writeFile(file, content);

    const server = serve(`--model_config_file=${file}`, `--rest_api_port=${await freePort()}`, '--port=0');

    expect(await server.exit).toBe(1);
    expect(server.stderr()).toContain(message);
  });
});

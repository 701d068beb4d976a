import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';

// Models that are loaded, unloaded and replaced by request: a real server and real engines.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;

beforeAll(async () => {
  folder = await openTempFolder();
  for (const [name, versions] of Object.entries({ twice: { 1: 2 }, many: { 1: 2, 2: 3, 3: 4 } })) {
    for (const [version, factor] of Object.entries(versions)) await addVersion(name, version, factor);
  }
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: join(folder.path, 'models'),
    cacheDir: join(folder.path, 'cache'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    pollIntervalMs: 20,
    firstLoadRetryMs: 20,
    maxLoadRetryMs: 40,
    logLevel: 'silent',
  });
  await server.whenReady();
});

afterAll(async () => {
  await server.close();
  await folder[Symbol.asyncDispose]();
});

async function addVersion(name: string, version: string, factor: number): Promise<void> {
  const directory = join(folder.path, 'models', name, version);
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, 'model.onnx'), scalingModel(factor, ['n', 'm']));
}

async function post(path: string, body: object = {}): Promise<{ status: number; error: string | undefined; body: object }> {
  const response = await fetch(`${server.restAddress}/v2/${path}`, { method: 'POST', body: JSON.stringify(body) });
  const answer = await response.json();
  return { status: response.status, error: answer.error, body: answer };
}

const load = (name: string, parameters?: object) => post(`repository/models/${name}/load`, parameters && { parameters });
const unload = (name: string) => post(`repository/models/${name}/unload`);
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const scaledBy = (factor: number) => base64(scalingModel(factor, ['n', 'm']));

/** What the model makes of 1, by its version; the status where it does not answer. */
async function answerOf(name: string): Promise<string | number> {
  const { status, body } = await post(`models/${name}/infer`, { inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 1], data: [1] }] });
  const { model_version: version, outputs } = body as { model_version: string; outputs: { data: number[] }[] };
  return status === 200 ? `${version}: ${outputs[0]?.data[0]}` : status;
}

async function loadedFolders(): Promise<number> {
  return (await readdir(join(folder.path, 'cache/loaded')).catch(() => [])).length;
}

test('a model is unloaded, which leaves the server ready, and loaded again', async () => {
  const states = async () =>
    ((await post('repository/index')).body as { name: string; state: string; reason: string }[]).filter(({ name }) => name === 'twice');

  expect([await answerOf('twice'), (await unload('twice')).status]).toEqual(['1: 2', 200]);
  expect([await answerOf('twice'), (await fetch(`${server.restAddress}/v2/health/ready`)).status]).toEqual([404, 200]);
  expect(await states()).toEqual([{ name: 'twice', version: '1', state: 'UNAVAILABLE', reason: 'unloaded' }]);
  expect((await unload('twice')).status).toBe(200);
  expect([(await load('twice')).status, await answerOf('twice')]).toEqual([200, '1: 2']);
  expect(await states()).toMatchObject([{ state: 'READY' }]);
});

test('loading a model that is loaded finds what is new', async () => {
  await addVersion('twice', '2', 5);

  expect([(await load('twice')).status, await answerOf('twice')]).toEqual([200, '2: 5']);
});

test('the version policy of a config holds until the next load', async () => {
  const versions = async () => (await (await fetch(`${server.restAddress}/v2/models/many`)).json()).versions;
  const config = (policy: object) => ({ config: JSON.stringify({ name: 'many', version_policy: policy }) });

  expect(await versions()).toEqual(['3']);
  await load('many', config({ specific: { versions: [1, 2] } }));
  await expect.poll(versions).toEqual(['1', '2']);
  await load('many', config({ all: {} }));
  await expect.poll(versions).toEqual(['1', '2', '3']);
  await load('many');
  await expect.poll(versions).toEqual(['3']);
});

describe('files of a request', () => {
  test('are served in place of those of the repository, until the next load', async () => {
    expect((await load('many', { config: '{}', 'file:3/model.onnx': scaledBy(30) })).status).toBe(200);
    expect([await answerOf('many'), await loadedFolders()]).toEqual(['3: 30', 1]);

    expect((await load('many')).status).toBe(200);
    await expect.poll(() => answerOf('many')).toBe('3: 4');
    expect(await loadedFolders()).toBe(0);
  });

  test('are given up when the model is unloaded', async () => {
    await load('many', { config: '{}', 'file:3/model.onnx': scaledBy(30) });

    expect([(await unload('many')).status, await answerOf('many'), await loadedFolders()]).toEqual([200, 404, 0]);
    expect([(await load('many')).status, await answerOf('many')]).toEqual([200, '3: 4']);
  });

  test('that cannot be loaded change nothing, and the reason is said', async () => {
    const refused = await load('many', { config: '{}', 'file:3/model.onnx': base64(new TextEncoder().encode('no model')) });

    expect([refused.status, refused.error]).toEqual([
      503,
      expect.stringMatching(/^failed to load 'many', no version is available: version 3: /),
    ]);
    expect([await answerOf('many'), await loadedFolders()]).toEqual(['3: 4', 0]);
  });

  test('make a model that the repository does not have, which is gone when it is unloaded', async () => {
    expect((await load('made', { config: '{}', 'file:1/model.onnx': scaledBy(7) })).status).toBe(200);
    expect(await answerOf('made')).toBe('1: 7');

    expect((await unload('made')).status).toBe(200);
    expect([await answerOf('made'), (await unload('made')).status, await loadedFolders()]).toEqual([404, 404, 0]);
    expect((await load('made')).error).toBe("failed to load 'made', failed to poll from model repository");
  });

  test.each(['model.onnx', '0/model.onnx', 'a/model.onnx', '1/../../x', '1//x', '1/', '../1/x', '1/a\\b'])(
    'may not be %s',
    async (path) => {
      const refused = await load('twice', { config: '{}', [`file:${path}`]: scaledBy(7) });

      expect([refused.status, refused.error]).toEqual([400, expect.stringContaining(`'file:${path}' expects file:<version>/<name>`)]);
    },
  );
});

test.each([
  [{ 'file:1/model.onnx': scaledBy(7) }, 400, "failed to load 'twice': files are given, and 'config' is not"],
  [{ config: '{"name": "other"}' }, 400, "failed to load 'twice': its config is of 'other'"],
  [{ config: '{"ensemble_scheduling": {}}' }, 501, 'ensemble_scheduling'],
])('%j is refused', async (parameters, status, error) => {
  expect(await load('twice', parameters)).toMatchObject({ status, error: expect.stringContaining(error) });
});

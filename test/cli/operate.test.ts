import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { freePort } from '../support/free-port.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';

// The commands that ask and change a running server, each as a process of its own.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;

beforeAll(async () => {
  await build();
  folder = await openTempFolder();
  for (const version of ['1', '2', '3']) await copyEveryday10(join(folder.path, 'm'), version);
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    backends: ['onnx-cpu'],
    engineThreads: 1,
    cacheDir: join(folder.path, 'cache'),
    historyFile: join(folder.path, 'history.sqlite'),
    logLevel: 'silent',
    models: [{ name: 'm', basePath: join(folder.path, 'm'), policy: { kind: 'specific', versions: ['1', '2'] }, labels: { stable: '1' } }],
  });
  await server.whenReady();
});

afterAll(async () => {
  await server?.close();
  await folder?.[Symbol.asyncDispose]();
});

function nearfar(...args: string[]) {
  return runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), ...args]);
}
const ask = (...args: string[]) => nearfar(...args, '--url', server.restAddress ?? '');
async function json(...args: string[]) {
  const { stdout, status } = await ask(...args, '--json');
  return { status, ...JSON.parse(stdout) };
}
const stable = () => server.servables.labels('m')['stable'];

describe('a label', () => {
  test('is moved, rolled back, and the history says by whom', async () => {
    const moved = await ask('label', 'm', 'stable', '2');
    const after = stable();
    const back = await ask('rollback', 'm');
    const rolledBack = stable();
    const { entries } = await json('history', 'm', '--limit', '2');
    const table = await ask('history');

    expect([moved.status, moved.stdout, after]).toEqual([0, 'm: stable is version 2\n', '2']);
    expect([back.status, back.stdout, rolledBack]).toEqual([0, 'm: stable is version 1\n', '1']);
    expect(entries).toMatchObject([
      { who: '127.0.0.1', way: 'REST', from: { version_labels: { stable: '2' } }, to: { version_labels: { stable: '1' } } },
      { from: { version_labels: { stable: '1' } }, to: { version_labels: { stable: '2' } } },
    ]);
    expect(table.stdout.split('\n')[0]).toMatch(/^ID +AT +WHO +ACTION +MODEL +VERSION +OUTCOME +CHANGE$/);
    expect(table.stdout).toContain('127.0.0.1 (REST)');
  });

  test('without another version before is not rolled back, with the reason', async () => {
    const { status, stderr } = await ask('rollback', 'm', 'canary');

    expect([status, stderr]).toEqual([1, 'nearfar: label canary of model m had no other version before (failed-precondition)\n']);
  });

  test('is taken away', async () => {
    await ask('label', 'm', 'canary', '2');
    const named = server.servables.labels('m')['canary'];
    const { status, stdout } = await ask('label', 'm', 'canary');

    expect([named, status, stdout]).toEqual(['2', 0, 'm: no label canary\n']);
    expect(server.servables.labels('m')).not.toHaveProperty('canary');
  });
});

test('versions are loaded and unloaded, and the configuration shows it', async () => {
  const loaded = await ask('load', 'm', '3');
  const during = server.servables.status({ name: 'm', version: '3' })[0]?.state;
  const { models } = await json('models');
  const unloaded = await ask('unload', 'm', '3');
  const table = await ask('models');

  expect([loaded.status, loaded.stdout, during]).toEqual([0, 'm: version 3 is loaded\n', 'AVAILABLE']);
  expect(models).toMatchObject([{ name: 'm', model_version_policy: { specific: { versions: expect.arrayContaining(['1', '2', '3']) } } }]);
  expect(unloaded.status).toBe(0);
  expect(table.stdout).toMatch(/^MODEL +POLICY +LABELS +FOLDER\nm +specific +: +versions.*stable=1/);
});

test('what cannot be done ends with status 1 and the reason, with --json as JSON', async () => {
  const missing = await json('load', 'm', '9');
  const unknown = await ask('label', 'nothing', 'stable', '1');
  const nobody = await nearfar('history', '--url', `http://127.0.0.1:${await freePort()}`);

  expect(missing).toMatchObject({ status: 1, error: { code: 'not-found', message: 'Could not find version 9 of model m' } });
  expect([unknown.status, unknown.stderr]).toEqual([1, 'nearfar: Could not find any versions of model nothing (not-found)\n']);
  expect([nobody.status, nobody.stderr]).toEqual([
    1,
    expect.stringMatching(/^nearfar: no server answers at .*ECONNREFUSED.* \(network\)\n$/),
  ]);
});

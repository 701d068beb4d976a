import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { digestOf, encodeVersions, labelOfClient } from '../../src/core/index.ts';
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

test('drift and feedback are shown, and say why there is none', async () => {
  const drift = await ask('drift', 'm');
  const baseline = await ask('drift', 'baseline', 'm', '1');
  const feedback = await ask('feedback', 'm');
  const none = await json('drift', 'none');

  expect([drift.status, drift.stdout]).toEqual([0, 'no answers of m were looked at (--drift_monitor is 0)\n']);
  expect([baseline.status, baseline.stderr]).toEqual([1, expect.stringContaining('(failed-precondition)')]);
  expect([feedback.status, feedback.stdout]).toEqual([0, 'no feedback about m, which takes none (--feedback)\n']);
  expect(none).toMatchObject({ status: 1, error: { code: 'not-found' } });
});

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
    const { entries } = await json('history', 'm', '--limit', '1');

    expect([status, stderr]).toEqual([1, 'nearfar: label canary of model m had no other version before (failed-precondition)\n']);
    expect(entries).toMatchObject([{ outcome: 'failed', message: 'label canary of model m had no other version before' }]);
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

describe('shares of clients', () => {
  const folderOf = () => join(folder.path, 'everyday10');
  const predict = async (client: string) => {
    const instances = [Array.from({ length: 32 }, () => Array.from({ length: 32 }, () => [0, 0, 0]))];
    const answer = await fetch(`${server.restAddress}/v1/models/everyday10:predict`, {
      method: 'POST',
      headers: { 'nearfar-client-id': client },
      body: JSON.stringify({ instances }),
    });
    return answer.headers.get('nearfar-model-version');
  };

  test('are written to versions.json, which browsers read, and followed by requests that name no version', async () => {
    for (const version of ['1', '2']) await copyEveryday10(folderOf(), version);
    const versions = await Promise.all(
      ['1', '2'].map(async (version) => ({
        version,
        digest: await digestOf(new Uint8Array(await readFile(join(folderOf(), version, 'manifest.json')))),
      })),
    );
    const labels = { stable: '1', canary: '2' };
    await writeFile(join(folderOf(), 'versions.json'), encodeVersions({ schemaVersion: 1, name: 'everyday10', versions, labels }));
    await fetch(`${server.restAddress}/nearfar/v1/models/everyday10`, { method: 'PUT', body: JSON.stringify({ base_path: folderOf() }) });
    const clients = Array.from({ length: 40 }, (_, index) => `client ${index}`);
    const askAll = () => Promise.all(clients.map(predict));

    const set = await ask('traffic', 'everyday10', 'stable=60', 'canary=40');
    await expect.poll(() => server.servables.traffic('everyday10')).toEqual({ stable: 60, canary: 40 });
    const [first, second] = [await askAll(), await askAll()];
    const published = await fetch(`${server.restAddress}/models/everyday10/versions.json`).then((answer) => answer.json());
    const shown = await ask('traffic', 'everyday10');
    const startedAt = performance.now();
    const none = await ask('traffic', 'everyday10', '--none');
    const after = await askAll();
    const rollbackMs = performance.now() - startedAt;

    expect([set.status, set.stdout]).toEqual([0, 'everyday10: canary 40 %, stable 60 %\n']);
    expect(shown.stdout).toBe(set.stdout);
    expect(new Set(first)).toEqual(new Set(['1', '2']));
    expect(second).toEqual(first);
    expect(first).toEqual(clients.map((client) => labels[labelOfClient(published.traffic, 'everyday10', client) as 'stable']));
    expect([none.status, none.stdout]).toEqual([0, 'everyday10: all clients get the same version\n']);
    // As in the browser.
    expect(new Set(after)).toEqual(new Set(['1']));
    // With 40 answers and the start of a process; the change itself is at once.
    expect(rollbackMs).toBeLessThan(20_000);
    const { entries } = await json('history', 'everyday10', '--limit', '2');
    expect(entries.map(({ from, to }: { from: object; to: object }) => [from, to])).toEqual([
      [{ traffic: { stable: 60, canary: 40 } }, { traffic: {} }],
      [{ traffic: {} }, { traffic: { stable: 60, canary: 40 } }],
    ]);
  });

  test('of unknown labels, above the whole, or of a model that was not published, are refused and change nothing', async () => {
    const wrong = await Promise.all([
      ask('traffic', 'everyday10', 'nightly=10'),
      ask('traffic', 'everyday10', 'stable=90', 'canary=20'),
      ask('traffic', 'everyday10', 'canary'),
      ask('traffic', 'everyday10', 'canary=5=6'),
      ask('traffic', 'everyday10', 'stable=100', '--none'),
      ask('traffic', 'm', 'stable=100'),
    ]);
    const list = await fetch(`${server.restAddress}/nearfar/v1/models/everyday10/traffic`, { method: 'PUT', body: '[]' });

    expect(wrong.map(({ status }) => status)).toEqual([1, 1, 1, 1, 1, 1]);
    expect(list.status).toBe(400);
    expect(wrong.map(({ stderr }) => stderr)).toEqual([
      expect.stringContaining('has no label nightly'),
      expect.stringContaining('110 %'),
      expect.stringContaining('expected label=percent'),
      expect.stringContaining('canary=5=6'),
      expect.stringContaining('not both'),
      expect.stringContaining('has no versions.json'),
    ]);
    expect(server.servables.traffic('everyday10')).toBeUndefined();
  });
});

test('a label that is published is moved and rolled back in versions.json, and what others write there is in the history too', async () => {
  const published = async () => {
    const { labels } = await fetch(`${server.restAddress}/models/everyday10/versions.json`).then((answer) => answer.json());
    return labels.stable;
  };
  const named = () => server.servables.labels('everyday10')['stable'];
  await ask('label', 'everyday10', 'stable', '2');
  const moved = [named(), await published()];
  const back = await ask('rollback', 'everyday10');
  const rolledBack = [named(), await published()];
  await ask('rollback', 'everyday10');
  const again = [named(), await published()];
  const { entries } = await json('history', 'everyday10', '--limit', '5');
  const path = join(folder.path, 'everyday10', 'versions.json');
  await writeFile(path, (await readFile(path, 'utf8')).replace('"stable": "2"', '"stable": "1"'));
  await expect.poll(named, { timeout: 20_000 }).toBe('1');
  const latest = async () => (await json('history', 'everyday10', '--limit', '5')).entries;
  const written = {
    way: 'versions.json',
    who: path,
    from: { labels: { stable: '2', canary: '2' } },
    to: { labels: { stable: '1', canary: '2' } },
  };
  await expect.poll(latest, { timeout: 20_000 }).toContainEqual(expect.objectContaining(written));
  const taken = await ask('label', 'everyday10', 'canary');
  await ask('label', 'everyday10', 'canary', '2');
  const missing = await ask('label', 'everyday10', 'stable', '7');

  expect([moved, rolledBack, again]).toEqual([
    ['2', '2'],
    ['1', '1'],
    ['2', '2'],
  ]);
  const lastChange = entries.find(({ way }: { way: string }) => way === 'REST');
  expect(lastChange).toMatchObject({ who: '127.0.0.1', from: { labels: { stable: '1' } }, to: { labels: { stable: '2' } } });
  expect([taken.status, missing.status, missing.stderr]).toEqual([0, 1, expect.stringContaining('version 7 of model everyday10')]);
  expect((await latest())[0]).toMatchObject({ outcome: 'failed', to: { labels: { stable: '7' } } });
  expect([back.status, back.stdout]).toEqual([0, 'everyday10: stable is version 1\n']);
});

test('a version runs in the shadow, and a rollout is tried, begun, shown and ended', async () => {
  const shadow = await ask('shadow', 'everyday10', 'canary', '--share', '20');
  const dry = await ask('rollout', 'dry-run', 'everyday10', '--steps', '5,100', '--minutes', '60', '--min-agreement', '0.9');
  const idle = await ask('rollout', 'status', 'everyday10');
  const begun = await ask('rollout', 'start', 'everyday10', '--steps', '5,100', '--minutes', '60');
  const shared = server.servables.traffic('everyday10');
  const shown = await json('rollout', 'status', 'everyday10');
  const aborted = await ask('rollout', 'abort', 'everyday10');
  const off = await ask('shadow', 'everyday10', '--off');
  const wrong = await ask('rollout', 'start', 'everyday10', '--label', 'nightly');

  expect([shadow.status, shadow.stdout]).toEqual([
    0,
    expect.stringMatching(/^everyday10: version 2 beside version 1, 20 % of the requests\n0 compared/),
  ]);
  expect(dry.stdout).toMatch(/^1\. canary 5 %, stable 95 %; after 60 minutes and 100 requests the next step\n2\. .*is stable\nnow: wait, /);
  expect(idle.stdout).toBe('everyday10: there was no rollout\n');
  expect([begun.status, begun.stdout]).toEqual([
    0,
    expect.stringMatching(/^everyday10: canary, version 2, step 1 of 2: version 2 at 5 % waits/),
  ]);
  expect(shared).toEqual({ canary: 5, stable: 95 });
  expect(shown).toMatchObject({ rollout: { state: 'running', step: 0 }, measured: { candidate: { requests: 0 } } });
  expect([aborted.status, aborted.stdout]).toEqual([0, expect.stringContaining('aborted: version 2 is taken back by')]);
  expect(server.servables.traffic('everyday10')).toBeUndefined();
  expect([off.status, off.stdout]).toEqual([0, 'everyday10: no shadow runs\n']);
  expect([wrong.status, wrong.stderr]).toEqual([1, expect.stringContaining('versions.json has no label nightly')]);
});

test('what cannot be done ends with status 1 and the reason, with --json as JSON', async () => {
  const missing = await json('load', 'm', '9');
  const unknown = await ask('label', 'nothing', 'stable', '1');
  const noUrl = await nearfar('models', '--url', 'localhost:8501');
  const nobody = await nearfar('history', '--url', `http://127.0.0.1:${await freePort()}`);

  expect(missing).toMatchObject({ status: 1, error: { code: 'not-found', message: 'Could not find version 9 of model m' } });
  expect([unknown.status, unknown.stderr]).toEqual([1, 'nearfar: Could not find any versions of model nothing (not-found)\n']);
  expect([noUrl.status, noUrl.stderr]).toEqual([1, expect.stringContaining('got localhost:8501 (invalid-argument)')]);
  expect([nobody.status, nobody.stderr]).toEqual([
    1,
    expect.stringMatching(/^nearfar: no server answers at .*ECONNREFUSED.* \(network\)\n$/),
  ]);
});

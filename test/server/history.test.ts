import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  type Change,
  createMemoryHistory,
  type HistoryEntry,
  modelChanges,
  openSqliteHistory,
  recordingRefusals,
} from '../../src/server/history/index.ts';
import { openDatabase } from '../../src/server/history/sqlite.ts';
import { type RunningServer, type ServerOptions, startServer } from '../../src/server/index.ts';
import { createLog } from '../../src/server/log.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { change, historyContract } from '../support/history-contract.ts';
import { openTempFolder } from '../support/model-folder.ts';

let folder: Awaited<ReturnType<typeof openTempFolder>>;
const log = createLog('silent');
const at = (...path: string[]) => join(folder.path, ...path);

beforeAll(async () => {
  folder = await openTempFolder();
});

afterAll(() => folder[Symbol.asyncDispose]());

historyContract('in SQLite', () => openSqliteHistory({ file: at(`${Math.random()}`, 'history.sqlite'), server: 'one', log }));
historyContract('in memory', () => createMemoryHistory({ server: 'one' }));

test('only settings that differ are changes, in whatever order they are named', () => {
  const before = new Map([['m', { base_path: '/m', version_labels: { stable: '1', canary: '2' } }]]);
  const reordered = new Map([['m', { version_labels: { canary: '2', stable: '1' }, base_path: '/m' }]]);
  const moved = new Map([['m', { base_path: '/m', version_labels: { stable: '2', canary: '2' } }]]);
  const by = { who: 'server', way: 'server' } as const;

  expect(modelChanges(before, reordered, by)).toEqual([]);
  expect(modelChanges(before, moved, by)).toEqual([
    {
      ...by,
      action: 'change',
      model: 'm',
      folder: '/m',
      from: { version_labels: { stable: '1', canary: '2' } },
      to: { version_labels: { stable: '2', canary: '2' } },
      outcome: 'done',
    },
  ]);
});

describe('the file', () => {
  test('is opened again with what it had, by two servers at once', async () => {
    const file = at('twice', 'history.sqlite');
    await using history = openSqliteHistory({ file, server: 'one', log });
    await history.record(change('a', '1'));
    await using one = openSqliteHistory({ file, server: 'one', log });
    await using two = openSqliteHistory({ file, server: 'two', log });
    await two.record(change('a', '2'));

    expect((await one.list()).map(({ server, version }) => [server, version])).toEqual([
      ['two', '2'],
      ['one', '1'],
    ]);
  });

  test('that another server has locked holds up no event loop, and gets every entry once it is free', async () => {
    const file = at('locked', 'history.sqlite');
    await using history = openSqliteHistory({ file, server: 'one', log });
    const other = openDatabase(file);
    other.exec('BEGIN IMMEDIATE');

    let isWritten = false;
    const writing = history.record(change('a', '1'), change('a', '2')).then(() => {
      isWritten = true;
    });
    // A write that waited for the lock inside SQLite would be given up, and lost, before the first of these turns.
    for (let turn = 0; turn < 50; turn++) await setTimeout(2);
    const before = [isWritten, (await history.list()).length];
    other.exec('COMMIT');
    other.close();
    await writing;

    expect(before).toEqual([false, 0]);
    expect((await history.list()).map(({ version }) => version)).toEqual(['2', '1']);
  });

  test('of the first layout is brought to the present one with what it had', async () => {
    const file = at('first', 'history.sqlite');
    await mkdir(at('first'));
    const database = openDatabase(file);
    database.exec(`CREATE TABLE changes (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, server TEXT NOT NULL, who TEXT NOT NULL,
      way TEXT NOT NULL, action TEXT NOT NULL, model TEXT NOT NULL, version TEXT, before TEXT, after TEXT, outcome TEXT NOT NULL, message TEXT);
      INSERT INTO changes (at, server, who, way, action, model, version, outcome)
      VALUES ('2026-01-01T00:00:00.000Z', 'one', 'someone', 'carrier pigeon', 'sing', 'a', '1', 'half done');
      PRAGMA user_version = 1`);
    database.close();

    await using history = openSqliteHistory({ file, server: 'one', log });
    await history.record({ ...change('a', '2'), folder: '/a' });

    // Ways, actions and outcomes of another nearfar are told as they are.
    expect(await history.list()).toMatchObject([
      { version: '2', folder: '/a' },
      { version: '1', way: 'carrier pigeon', action: 'sing', outcome: 'half done' },
    ]);
  });

  test('takes no change of what is written', async () => {
    const file = at('append', 'history.sqlite');
    await using history = openSqliteHistory({ file, server: 'one', log });
    await history.record(change('a', '1'));
    const database = openDatabase(file);

    expect(() => database.exec("UPDATE changes SET who = 'nobody'")).toThrow('append-only');
    expect(() => database.exec('DELETE FROM changes')).toThrow('append-only');
    database.close();
    expect(await history.list()).toHaveLength(1);
  });

  test('of a later layout is refused, as it is', async () => {
    const file = at('later', 'history.sqlite');
    await openSqliteHistory({ file, server: 'one', log })[Symbol.asyncDispose]();
    const database = openDatabase(file);
    database.exec('PRAGMA user_version = 99');
    database.close();

    expect(() => openSqliteHistory({ file, server: 'one', log })).toThrow(
      expect.objectContaining({ code: 'unsupported', details: expect.objectContaining({ got: 99 }) }),
    );
  });

  test('that is no database is refused', async () => {
    const file = at('text.sqlite');
    await writeFile(file, 'this is no database, but a text that is long enough to be taken for one '.repeat(100));

    expect(() => openSqliteHistory({ file, server: 'one', log })).toThrow(expect.objectContaining({ code: 'unavailable' }));
  });

  test('has every entry that was written when its writer was killed', async () => {
    const file = at('killed', 'history.sqlite');
    const writer = spawn(process.execPath, [fileURLToPath(new URL('../support/write-history.mjs', import.meta.url)), file]);
    let last = 0;
    const lines = createInterface({ input: writer.stdout });
    lines.on('line', (line) => {
      last = Number(line);
      if (last === 20) writer.kill('SIGKILL');
    });
    await Promise.all([once(writer, 'exit'), once(lines, 'close')]);

    await using history = openSqliteHistory({ file, server: 'reader', log });
    const written = (await history.list({ limit: 1_000 })).map(({ version }) => Number(version));
    await history.record(change('a', '1'));

    expect(last).toBeGreaterThanOrEqual(20);
    expect(written.slice(-last)).toEqual(Array.from({ length: last }, (_, index) => last - index));
    expect(await history.list({ limit: 1 })).toMatchObject([{ server: 'reader' }]);
  });
});

test('of a flood of refused calls some are written in each minute, and how many were not', async () => {
  await using history = createMemoryHistory({ server: 'one' });
  let now = 0;
  const refusals = recordingRefusals(history, () => now);
  const refusal = { who: '10.0.0.1', way: 'REST', call: 'PUT /nearfar/v1/config', message: 'no' } as const;
  for (let count = 0; count < 1_000; count++) refusals.record(refusal);
  now = 60_000;
  refusals.record({ ...refusal, message: 'x'.repeat(10_000) });

  await history.record(change('b', '1'));
  const [, ...entries] = await history.list({ limit: 1_000 });

  expect(entries).toHaveLength(21);
  expect(entries[0]).toMatchObject({ action: 'refuse', outcome: 'failed', to: { call: refusal.call, passedOver: 980 } });
  expect(entries[0]?.message).toHaveLength(501);
});

describe('a server', () => {
  const servers: RunningServer[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
  });

  async function start(options: ServerOptions, isReadySoon = true): Promise<RunningServer> {
    const server = await startServer({
      host: '127.0.0.1',
      restPort: 0,
      grpcPort: 'off',
      backends: ['onnx-cpu'],
      engineThreads: 1,
      pollIntervalMs: 20,
      firstLoadRetryMs: 20,
      maxLoadRetryMs: 20,
      cacheDir: at('cache'),
      logLevel: 'silent',
      ...options,
    });
    servers.push(server);
    if (isReadySoon) await server.whenReady();
    return server;
  }

  async function read(server: RunningServer, query = '') {
    const answer = await fetch(`${server.restAddress}/nearfar/v1/history${query}`);
    return { status: answer.status, body: await answer.json() };
  }

  test('writes down what was changed, by whom, from what, to what, and what came of it, and knows it after a restart', async () => {
    await copyEveryday10(at('models', 'm'), '1');
    await copyEveryday10(at('models', 'm'), '2');
    const historyFile = at('server', 'history.sqlite');
    const options = { historyFile, models: [{ name: 'm', basePath: at('models', 'm'), policy: { kind: 'all' } as const }] };
    const first = await start(options);
    const put = (path: string, body: object) =>
      fetch(`${first.restAddress}/nearfar/v1/models/m/${path}`, { method: 'PUT', body: JSON.stringify(body) });

    expect((await put('labels/stable', { version: 1 })).status).toBe(200);
    expect((await put('labels/stable', { version: 2 })).status).toBe(200);
    expect((await put('labels/stable', { version: 3 })).status).toBe(400);
    expect((await fetch(`${first.restAddress}/nearfar/v1/models/m/versions/1`, { method: 'DELETE' })).status).toBe(204);
    const newest = async () => (await read(first, '?model=m&limit=1')).body.entries[0];
    await expect.poll(newest, { timeout: 20_000 }).toMatchObject({ action: 'unload', version: '1' });
    await first.close();
    servers.splice(0);
    const second = await start(options);
    await expect
      .poll(() => second.servables.status({ name: 'm' }).every(({ state }) => state === 'AVAILABLE'), { timeout: 20_000 })
      .toBe(true);
    const { body } = await read(second, '?model=m');

    const byClient = body.entries.filter(({ way }: Change) => way === 'REST').reverse();
    expect(byClient).toMatchObject([
      { who: '127.0.0.1', action: 'change', outcome: 'done', to: { version_labels: { stable: '1' } } },
      { from: { version_labels: { stable: '1' } }, to: { version_labels: { stable: '2' } }, outcome: 'done' },
      { action: 'change', outcome: 'failed', message: expect.stringContaining('version 3 of model m') },
      { to: { model_version_policy: { specific: { versions: ['2'] } } }, outcome: 'done' },
    ]);
    const byServer = body.entries.filter(({ way }: Change) => way === 'server').reverse();
    const loaded = byServer.filter(({ action }: Change) => action === 'load');
    expect(loaded.map(({ version }: Change) => version).sort()).toEqual(['1', '1', '2', '2']);
    expect(loaded[0].to).toMatchObject({ backend: 'onnx-cpu', digest: expect.stringMatching(/^sha256:/) });
    expect(byServer.filter(({ action }: Change) => action === 'unload').map(({ version }: Change) => version)).toContain('1');
  });

  test('writes down once that a version cannot be loaded, however often it is tried', async () => {
    await copyEveryday10(at('unfit', 'm'), '1');
    const server = await start({ models: [{ name: 'm', basePath: at('unfit', 'm') }], backends: ['onnx-cuda'] }, false);
    await expect.poll(() => server.servables.status({ name: 'm' })[0]?.errorMessage, { timeout: 10_000 }).toMatch(/attempt [3-9]/);

    const { body } = await read(server, '?model=m');

    expect(body.entries).toMatchObject([{ action: 'load', model: 'm', version: '1', outcome: 'failed', way: 'server' }]);
    expect(body.entries[0].message).toContain('onnx-cuda');
  });

  test('writes down anew that a version cannot be loaded when its model was taken away and comes back', async () => {
    await copyEveryday10(at('back', 'm'), '1');
    const models = [{ name: 'm', basePath: at('back', 'm') }];
    const server = await start({ models, backends: ['onnx-cuda'], maxLoadRetries: 0 }, false);
    const model = `${server.restAddress}/nearfar/v1/models/m`;
    await expect.poll(() => server.servables.status({ name: 'm' })[0]?.errorMessage, { timeout: 10_000 }).toMatch(/onnx-cuda/);

    expect((await fetch(model, { method: 'DELETE' })).status).toBe(204);
    expect((await fetch(model, { method: 'PUT', body: JSON.stringify({ base_path: at('back', 'm') }) })).status).toBe(503);

    const { body } = await read(server, '?model=m');
    expect(body.entries.reverse().map(({ action, outcome }: Change) => [action, outcome])).toEqual([
      ['load', 'failed'],
      ['remove', 'done'],
      ['add', 'done'],
      ['load', 'failed'],
    ]);
  });

  test('writes down its starts and stops, what cannot be loaded as it is found, and calls that it does not take', async () => {
    const folder = at('found', 'm');
    await copyEveryday10(folder, '1');
    const historyFile = at('found', 'history.sqlite');
    const options = { historyFile, models: [{ name: 'm', basePath: folder }], adminAddress: { host: '127.0.0.1', port: 0 } };
    const first = await start(options);
    const ask = (address: string | undefined, body: string) =>
      fetch(`${address}/nearfar/v1/models/m/traffic`, { method: 'PUT', body }).then(({ status }) => status);
    const refused = [await ask(first.restAddress, '{}'), await ask(`http://${first.adminAddress}`, 'no JSON')];
    await mkdir(join(folder, '2'));
    await writeFile(join(folder, '2', 'saved_model.pb'), 'no graph');
    await mkdir(join(folder, '3'));
    await writeFile(join(folder, '3', 'manifest.json'), '{"schemaVersion": 1}');
    const failedImports = () =>
      first.servables.status({ name: 'm' }).filter(({ errorMessage }) => /attempt [2-9]|not valid/.test(errorMessage));
    await expect.poll(() => failedImports().length, { timeout: 20_000 }).toBe(2);
    await first.close();
    servers.splice(0);
    const second = await start(options);

    const admin = `http://${second.adminAddress}/nearfar/v1/history?limit=1000`;
    const { entries } = await fetch(admin).then((answer) => answer.json());
    const [started, ...older] = entries.filter(({ action }: HistoryEntry) => action === 'start' || action === 'stop');
    expect(refused).toEqual([403, 400]);
    expect([started, ...older].map(({ action }: HistoryEntry) => action)).toEqual(['start', 'stop', 'start']);
    expect(started.to).toMatchObject({ rest: expect.stringMatching(/^127\.0\.0\.1:\d+$/) });
    const found = entries
      .filter((entry: HistoryEntry) => entry.model === 'm' && entry.outcome === 'failed' && entry.id < started.id)
      .reverse();
    expect(found).toMatchObject([
      {
        action: 'refuse',
        who: '127.0.0.1',
        to: { call: 'PUT /nearfar/v1/models/m/traffic' },
        message: expect.stringContaining('admin_address'),
      },
      { action: 'refuse', message: expect.stringContaining('JSON') },
      ...['2', '3'].map(() => ({ action: 'load', folder, version: expect.stringMatching(/^[23]$/), to: { code: expect.any(String) } })),
    ]);
  });

  test('refuses a query that is none, and callers who may not change anything', async () => {
    await copyEveryday10(at('plain', 'm'), '1');
    const server = await start({ models: [{ name: 'm', basePath: at('plain', 'm') }], adminAddress: { host: '127.0.0.1', port: 0 } });

    expect(await read(server)).toMatchObject({ status: 403 });
    const answer = await fetch(`http://${server.adminAddress}/nearfar/v1/history?limit=0`);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: expect.stringContaining('limit') });
  });
});

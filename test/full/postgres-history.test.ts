import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type HistoryEntry, openPostgresHistory } from '../../src/server/history/index.ts';
import { startServer } from '../../src/server/index.ts';
import { createLog } from '../../src/server/log.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { change, historyContract } from '../support/history-contract.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { noPostgres, type PostgresServer, startPostgres } from '../support/postgres.ts';

// A real PostgreSQL of Debian's, in a temporary folder.

const log = createLog('silent');

describe.skipIf(noPostgres !== undefined)(`PostgreSQL${noPostgres === undefined ? '' : ` (skipped: ${noPostgres})`}`, () => {
  let postgres: PostgresServer;
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres?.[Symbol.asyncDispose]());

  let databases = 0;
  async function query(text: string, url = postgres.url): Promise<readonly Record<string, unknown>[]> {
    const { Client } = createRequire(import.meta.url)('pg');
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end();
    }
  }
  async function freshUrl(): Promise<string> {
    const name = `history_${++databases}`;
    await query(`CREATE DATABASE ${name}`);
    return postgres.url.replace(/postgres$/, name);
  }

  historyContract('in PostgreSQL', async () => openPostgresHistory({ url: await freshUrl(), server: 'one', log }));

  test('servers that open it at once make its layout once, and read each other', async () => {
    const url = await freshUrl();

    const histories = await Promise.all(['a', 'b', 'c', 'd'].map((server) => openPostgresHistory({ url, server, log })));
    await Promise.all(histories.map((history, index) => history.record(change('m', String(index + 1)))));
    const read = await Promise.all(histories.map((history) => history.list()));
    for (const history of histories) await history[Symbol.asyncDispose]();

    for (const entries of read) expect(entries.map(({ server }) => server).sort()).toEqual(['a', 'b', 'c', 'd']);
  });

  test('takes no change of what is written, and of a later layout is refused', async () => {
    const url = await freshUrl();
    await using history = await openPostgresHistory({ url, server: 'one', log });
    await history.record(change('m', '1'));

    await expect(query("UPDATE nearfar_changes SET who = 'nobody'", url)).rejects.toThrow('append-only');
    await expect(query('DELETE FROM nearfar_changes', url)).rejects.toThrow('append-only');
    await expect(query('TRUNCATE nearfar_changes', url)).rejects.toThrow('append-only');
    await query('UPDATE nearfar_history_layout SET layout = 99', url);
    await expect(openPostgresHistory({ url, server: 'two', log })).rejects.toMatchObject({ code: 'unsupported', details: { got: 99 } });
  });

  test('has every entry that was recorded when it crashed, and gets those that came meanwhile once it is back', async () => {
    await using history = await openPostgresHistory({ url: await freshUrl(), server: 'one', log, patienceMs: 60_000 });
    await history.record(change('m', '1'), change('m', '2'));

    await postgres.crash();
    const writing = history.record(change('m', '3'));
    await postgres.start();
    await writing;

    expect((await history.list()).map(({ version }) => version)).toEqual(['3', '2', '1']);
  });

  test('that does not answer is an error without the password of its URL', async () => {
    const opening = openPostgresHistory({ url: 'postgres://nearfar:geheim@127.0.0.1:1/none', server: 'one', log });

    await expect(opening).rejects.toMatchObject({ code: 'unavailable', message: expect.not.stringContaining('geheim') });
  });

  test('is what a server writes down, and reads after a restart', async () => {
    await using folder = await openTempFolder();
    await copyEveryday10(join(folder.path, 'm'), '1');
    const historyUrl = await freshUrl();
    const start = () =>
      startServer({
        host: '127.0.0.1',
        restPort: 0,
        grpcPort: 'off',
        backends: ['onnx-cpu'],
        engineThreads: 1,
        logLevel: 'silent',
        cacheDir: join(folder.path, 'cache'),
        models: [{ name: 'm', basePath: join(folder.path, 'm') }],
        historyUrl,
      });
    {
      await using first = await start();
      await first.whenReady();
      const body = JSON.stringify({ version: 1 });
      const { status } = await fetch(`${first.restAddress}/nearfar/v1/models/m/labels/stable`, { method: 'PUT', body });
      expect(status).toBe(200);
    }
    await using second = await start();

    const { entries } = await fetch(`${second.restAddress}/nearfar/v1/history`).then((answer) => answer.json());
    expect(
      entries
        .reverse()
        .map(({ action, outcome }: HistoryEntry) => `${action} ${outcome}`)
        .slice(0, 4),
    ).toEqual(['start done', 'load done', 'change done', 'stop done']);
  });
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { freePort } from '../support/free-port.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';

// `nearfar logs`, a process of its own, beside a real server.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;
let port: number;

function start(): Promise<RunningServer> {
  return startServer({
    host: '127.0.0.1',
    restPort: port,
    grpcPort: 'off',
    backends: ['onnx-cuda', 'onnx-cpu'],
    engineThreads: 1,
    maxLoadRetries: 0,
    lameDuckMs: 1,
    cacheDir: join(folder.path, 'cache'),
    historyFile: join(folder.path, 'history.sqlite'),
    logLevel: 'silent',
    models: [
      { name: 'm', basePath: join(folder.path, 'm'), policy: { kind: 'all' }, labels: { stable: '1' } },
      { name: 'broken', basePath: join(folder.path, 'broken') },
    ],
  });
}

beforeAll(async () => {
  await build();
  folder = await openTempFolder();
  port = await freePort();
  for (const version of ['1', '2']) await copyEveryday10(join(folder.path, 'm'), version);
  // An answer that nothing gives: it fails to load.
  await copyEveryday10(join(folder.path, 'broken'), '1', (manifest) => {
    for (const variant of manifest['variants'] as { tolerance: object }[]) variant.tolerance = { absolute: -1, relative: 0 };
  });
  server = await start();
});

afterAll(async () => {
  await server?.close();
  await folder?.[Symbol.asyncDispose]();
});

const cli = join(repositoryRoot, 'dist/cli/main.js');
const url = () => `http://127.0.0.1:${port}`;
const nearfar = (...args: string[]) => runCommand(process.execPath, [cli, ...args, '--url', url()]);
const setLabel = (version: number) =>
  fetch(`${url()}/nearfar/v1/models/m/labels/canary`, { method: 'PUT', body: JSON.stringify({ version }) }).then(({ status }) => status);

/** The lines of a `nearfar logs --follow`. */
function follow(...args: string[]) {
  const child = spawn(process.execPath, [cli, 'logs', '--follow', '--json', '--url', url(), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    // biome-ignore lint/suspicious/noExplicitAny: a line is a failure or an entry
    next: async (isMeant: (line: any) => boolean): Promise<any> => {
      for (;;) {
        const { value, done } = await lines.next();
        if (done) throw new Error('the lines ended');
        const line = JSON.parse(value);
        if (isMeant(line)) return line;
      }
    },
  };
}

test('failures and changes are told in their order, of all models or of one', async () => {
  await expect.poll(() => server.servables.status({ name: 'broken' })[0]?.state, { timeout: 20_000 }).toBe('END');
  await expect
    .poll(() => server.servables.status({ name: 'm' }).every(({ state }) => state === 'AVAILABLE'), { timeout: 20_000 })
    .toBe(true);
  expect(await setLabel(1)).toBe(200);
  // A stranger's, refused: what it writes would clear the terminal.
  const strange = await fetch(`${url()}/nearfar/v1/models/%1b%5b2J`, { method: 'DELETE', headers: { 'x-forwarded-for': '192.0.2.1' } });
  const text = await nearfar('logs');
  const ofOne = await nearfar('logs', 'broken', '--json');
  const few = await nearfar('logs', '--limit', '2', '--json');

  expect([text.status, text.stderr]).toEqual([0, '']);
  expect([strange.status, text.stdout.includes('\u001b'), text.stdout.includes('\\u001b[2J')]).toEqual([403, false, true]);
  expect(text.stdout).toMatch(/^\S+Z {2}failure {2}broken@1 {2}load {2}load-failed: .*$/m);
  expect(text.stdout).toMatch(/^\S+Z {2}change done {2}m {2}127\.0\.0\.1 \(REST\) {2}.*canary.*$/m);
  const times = text.stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' ')[0]);
  expect(times).toEqual([...times].sort());
  const { lines } = JSON.parse(ofOne.stdout);
  expect(lines.map(({ event }: { event: string }) => event)).toEqual(expect.arrayContaining(['failure', 'history']));
  expect(new Set(lines.map(({ model }: { model: string }) => model))).toEqual(new Set(['broken']));
  expect(JSON.parse(few.stdout).lines).toHaveLength(2);
});

test('--follow goes on with what comes, over a restart of the server, and ends well with Ctrl+C', async () => {
  const { child, next } = follow('m');
  await next(({ action }) => action === 'load');
  await setLabel(2);
  const moved = await next(({ event, to }) => event === 'history' && to?.version_labels?.canary === '2');
  await server.close();
  server = await start();
  await expect
    .poll(() => server.servables.status({ name: 'm' }).every(({ state }) => state === 'AVAILABLE'), { timeout: 20_000 })
    .toBe(true);
  const missed = await next(({ id, action }) => action === 'load' && id > moved.id);
  const exit = once(child, 'exit');
  child.kill('SIGINT');

  expect(missed).toMatchObject({ model: 'm', outcome: 'done' });
  expect(await exit).toEqual([0, null]);
});

test('a server that is not there is told at once', async () => {
  const nobody = `http://127.0.0.1:${await freePort()}`;
  const { status, stderr } = await runCommand(process.execPath, [cli, 'logs', '--follow', '--url', nobody]);

  expect([status, stderr]).toEqual([1, expect.stringMatching(/^nearfar: no server answers at .* \(network\)\n$/)]);
});

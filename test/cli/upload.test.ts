import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { digestOf } from '../../src/core/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';
import { Processes, type ServerProcess } from '../support/server-process.ts';
import { sharedData } from '../support/shared-data.ts';

// `nearfar upload`, a process of its own, to `nearfar serve`, another one.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let processes: Processes;
let server: ServerProcess;
const at = (...path: string[]) => join(folder.path, ...path);

beforeAll(async () => {
  await build();
  folder = await openTempFolder();
  for (const version of ['1', '2', '3']) await copyEveryday10(at('source'), version);
  await mkdir(at('models'));
  processes = new Processes();
  server = await processes.serve(at('models'), [`--cache_dir=${at('cache')}`, '--backend=onnx-cpu,tfjs-wasm']);
});

afterAll(async () => {
  await processes?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

const nearfar = (...args: string[]) => runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), ...args]);
const upload = (from: string, ...args: string[]) => nearfar('upload', from, '--url', `http://127.0.0.1:${server.rest}`, ...args);
const versionsOf = async (name: string) => JSON.parse(await readFile(at('models', name, 'versions.json'), 'utf8'));
const stateOf = async (name: string, version: string) => {
  const answer = await fetch(`http://127.0.0.1:${server.rest}/nearfar/v1/models/${name}/versions/${version}`);
  return (await answer.json()).state;
};

/** A way to the server on which the first so many bytes pass; what `onCut` does comes then, and after it everything passes; without it nothing. */
async function openCut(bytes: number, onCut?: () => Promise<void>) {
  let left = bytes;
  let cutting: Promise<void> | undefined;
  const sockets = new Set<Socket>();
  const relay = createServer(async (client) => {
    sockets.add(client);
    client.on('error', () => undefined).on('close', () => sockets.delete(client));
    await cutting;
    const target = connect(server.rest, '127.0.0.1');
    sockets.add(target);
    target.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.on('close', () => target.destroy());
    client.on('data', (chunk: Buffer) => {
      if (cutting) return void target.write(chunk);
      target.write(chunk.subarray(0, Math.max(left, 0)));
      left -= chunk.length;
      if (left > 0) return;
      cutting = onCut?.() ?? Promise.resolve();
      if (!onCut) relay.close();
      for (const socket of sockets) socket.destroy();
    });
    target.pipe(client);
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const address = relay.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    wasCut: () => cutting !== undefined,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      relay.close();
    },
  };
}

test('a published version is sent, published under its label, and served', async () => {
  const first = await upload(at('source/1'), '--name', 'everyday10');
  const second = await upload(at('source/2'), '--name', 'everyday10', '--label', 'canary', '--json');
  const again = await upload(at('source/2'), '--name', 'everyday10', '--json');
  const digest = await digestOf(new Uint8Array(await readFile(at('source/2/manifest.json'))));

  expect([first.status, first.stderr]).toEqual([0, '']);
  expect(first.stdout).toMatch(/^everyday10 version 1 sha256:[0-9a-f]{64}\n {2}\d+ bytes in \d+ files\n$/);
  expect(JSON.parse(second.stdout)).toMatchObject({ model: 'everyday10', version: '2', digest });
  expect(await versionsOf('everyday10')).toMatchObject({
    versions: [{ version: '1' }, { version: '2', digest }],
    labels: { stable: '1', canary: '2' },
  });
  expect([again.status, JSON.parse(again.stdout).error.code]).toEqual([1, 'already-exists']);
  await expect.poll(() => stateOf('everyday10', '2'), { timeout: 20_000 }).toBe('AVAILABLE');
});

test('one whose server is killed in the middle of a file goes on at its byte once that is back, by itself', async () => {
  const { child } = server;
  using cut = await openCut(700_000, async () => {
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
    await server.restart();
  });
  const sent = await nearfar('upload', at('source/3'), '--name', 'everyday10', '--url', cut.url, '--json');

  expect(cut.wasCut()).toBe(true);
  expect(sent.stderr).toBe('');
  expect(JSON.parse(sent.stdout)).toMatchObject({ model: 'everyday10', version: '3' });
  const names = await readdir(at('source/3'), { recursive: true, withFileTypes: true });
  for (const entry of names.filter((name) => name.isFile())) {
    const path = join(entry.parentPath, entry.name).slice(at('source/3').length + 1);
    const [sentFile, came] = await Promise.all([readFile(at('source/3', path)), readFile(at('models/everyday10/3', path))]);
    expect([path, came.equals(sentFile)]).toEqual([path, true]);
  }
  expect((await readdir(at('models/everyday10'))).filter((name) => name.startsWith('.'))).toEqual([]);
});

test('one that gave up goes on with the same command', async () => {
  const plain = at('plain');
  await mkdir(plain);
  const [onnx] = (await readdir(at('source/1'), { recursive: true })).filter((path) => path.endsWith('.onnx'));
  await cp(at('source/1', onnx ?? ''), join(plain, 'model.onnx'));
  await symlink(join(plain, 'model.onnx'), join(plain, 'also.onnx.bak'));
  await writeFile(join(plain, '.DS_Store'), 'not sent');
  using cut = await openCut(300_000);
  const first = await nearfar('upload', plain, '--name', 'plain', '--url', cut.url, '--retries', '1');
  const waiting = await fetch(`http://127.0.0.1:${server.rest}/nearfar/v1/models/plain/uploads`).then((answer) => answer.json());
  const second = await upload(plain, '--name', 'plain', '--json');

  expect([first.status, first.stderr]).toEqual([1, expect.stringContaining('(network)')]);
  expect(waiting.uploads).toMatchObject([{ version: '1', missing: [{ path: 'also.onnx.bak' }, { path: 'model.onnx', offset: 0 }] }]);
  expect(waiting.uploads[0].missing[0].offset).toBeGreaterThan(100_000);
  expect(JSON.parse(second.stdout)).toMatchObject({ model: 'plain', version: '1' });
  expect((await readdir(at('models/plain/1'))).sort()).toEqual(['also.onnx.bak', 'model.onnx']);
  await expect.poll(() => stateOf('plain', '1'), { timeout: 30_000 }).toBe('AVAILABLE');
});

test.skipIf(!sharedData('tfs-testdata'))('a SavedModel folder is sent, imported and answers', async () => {
  const found = sharedData('tfs-testdata/saved_model_half_plus_two_cpu/00000123') ?? '';
  const sent = await upload(found, '--name', 'half', '--version', '7');

  expect([sent.status, sent.stdout.split('\n')[0]]).toEqual([0, 'half version 7']);
  await expect.poll(() => stateOf('half', '7'), { timeout: 30_000 }).toBe('AVAILABLE');
  const answer = await fetch(`http://127.0.0.1:${server.rest}/v1/models/half:predict`, {
    method: 'POST',
    body: '{"instances": [1, 2, 5]}',
  });
  expect(await answer.json()).toEqual({ predictions: [2.5, 3, 4.5] });
});

test('what is no version ends with the reason', async () => {
  await mkdir(at('empty'));
  const wrong = await Promise.all([
    upload(at('nothing'), '--name', 'm'),
    upload(at('empty'), '--name', 'm'),
    upload(at('models/everyday10'), '--name', 'm'),
    upload(at('source/1'), '--name', 'everyday10', '--version', '9'),
    upload(at('source/1'), '--name', 'a/b'),
    nearfar('upload', at('source/1'), '--name', 'm', '--url', 'http://127.0.0.1:1', '--retries', '1'),
  ]);

  expect(wrong.map(({ status }) => status)).toEqual([1, 1, 1, 1, 1, 1]);
  expect(wrong.map(({ stderr }) => stderr)).toEqual([
    expect.stringContaining('(not-found)'),
    expect.stringContaining('has no files'),
    expect.stringContaining('name one of its folders'),
    expect.stringContaining('--version is 9'),
    expect.stringContaining('is no model name'),
    expect.stringContaining('no server answers'),
  ]);
});

import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { type CommandResult, repositoryRoot, runCommand } from '../support/packed.ts';

beforeAll(async () => {
  await build();
});

function demo(...args: string[]): Promise<CommandResult> {
  return runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), 'demo', ...args]);
}

function moduleUrl(source: string): string {
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

/** A port that somebody else listens on. */
async function takePort(): Promise<{ readonly port: string } & Disposable> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address ? String(address.port) : '';
  return { port, [Symbol.dispose]: () => void server.close() };
}

test('--once prints the addresses and one prediction, nothing else, and ends well', async () => {
  const { status, stdout, stderr } = await demo('--once', '--http-port', '0', '--grpc-port', '0');

  expect(status).toBe(0);
  expect(stdout).toMatch(/page and REST {2}http:\/\/127\.0\.0\.1:\d+/);
  expect(stdout).toMatch(/the server says of samples\/ship\.png:\n {2}ship /);
  expect(stdout).not.toContain('Ctrl+C');
  // No word of the GPU drivers that were looked for and not found.
  expect(stderr).toBe('');
});

test('says once that onnxruntime-node is not installed, how to get it, and what answers instead', async () => {
  const hook = `export const resolve = (name, context, next) => {
    if (name === 'onnxruntime-node') throw Object.assign(new Error('not installed'), { code: 'ERR_MODULE_NOT_FOUND' });
    return next(name, context);
  }`;
  const preload = `import { register } from 'node:module'; register(${JSON.stringify(moduleUrl(hook))});`;
  const main = join(repositoryRoot, 'dist/cli/main.js');
  const ports = ['--http-port', '0', '--grpc-port', '0'];

  // Worker threads inherit --import, and with it the absence.
  const { status, stdout, stderr } = await runCommand(process.execPath, ['--import', moduleUrl(preload), main, 'demo', '--once', ...ports]);

  expect(status, stderr).toBe(0);
  expect(stdout).toContain('tfjs-');
  const lines = stderr.split('\n').filter((line) => line.startsWith('{'));
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    level: 40,
    missingPackage: 'onnxruntime-node',
    msg: expect.stringMatching(/^tfjs-.* answers instead: .*ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node/),
  });
});

const freePorts = ['--http-port', '0', '--grpc-port', '0'];

test('any repository will do: the first model that classifies pictures predicts, or the one that is named', async () => {
  await using folder = await openTempFolder();
  await copyEveryday10(join(folder.path, 'a-tensors'), '1', withoutTask('a-tensors'));
  await copyEveryday10(join(folder.path, 'b-pictures'), '1', (manifest) => Object.assign(manifest, { name: 'b-pictures' }));
  await copyEveryday10(join(folder.path, 'c-pictures'), '1', (manifest) => Object.assign(manifest, { name: 'c-pictures' }));

  const first = await demo('--once', '--json', ...freePorts, '--models', folder.path);
  const named = await demo('--once', '--json', ...freePorts, '--models', folder.path, '--model', 'c-pictures');
  const unknown = await demo('--once', ...freePorts, '--models', folder.path, '--model', 'none');

  expect(JSON.parse(first.stdout), first.stderr).toMatchObject({
    answer: { model_name: 'b-pictures', predictions: [{ label: 'ship' }, {}, {}] },
  });
  expect(JSON.parse(named.stdout), named.stderr).toMatchObject({ answer: { model_name: 'c-pictures' } });
  expect(unknown).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('(not-found)') });
});

test('a repository without a model that classifies pictures is served, with a note in place of the prediction', async () => {
  await using folder = await openTempFolder();
  await copyEveryday10(join(folder.path, 'tensors'), '1', withoutTask('tensors'));

  const { status, stdout, stderr } = await demo('--once', ...freePorts, '--models', folder.path);

  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(/page and REST[\s\S]*no model here classifies pictures/);
});

function withoutTask(name: string): (manifest: Record<string, unknown>) => void {
  return (manifest) => {
    manifest['name'] = name;
    delete manifest['tasks'];
  };
}

test.each([
  ['--http-port', '--grpc-port'],
  ['--grpc-port', '--http-port'],
])('a taken %s ends it with 1 and says which', async (taken, free) => {
  using other = await takePort();

  const { status, stdout, stderr } = await demo(taken, other.port, free, '0');

  expect(status).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(
    new RegExp(`nearfar: cannot listen on 127\\.0\\.0\\.1.*${other.port}.*EADDRINUSE.*; ${taken} takes another port \\(unavailable\\)\\n$`),
  );
});

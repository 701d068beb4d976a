import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { openTempFolder } from '../support/model-folder.ts';
import { initializer, node, onnxModel, valueInfo } from '../support/onnx-writer.ts';
import { repositoryRoot } from '../support/packed.ts';
import { examples } from './examples.ts';

// The curl commands of README and docs as a reader would paste them, but for the port.

const hasCurl = spawnSync('curl', ['--version']).status === 0 && spawnSync('sh', ['-c', 'true']).status === 0;
if (!hasCurl) console.warn('skipping the curl examples: curl or sh is not here');

const documentedAddress = 'http://localhost:8501';
const commands = examples('sh', 'bash', 'shell').flatMap(({ name, code }) =>
  code
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((command) => command.startsWith('curl '))
    .map((command) => [command, name] as const),
);

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: { readonly address: string; stop(): Promise<void> } | undefined;
beforeAll(async () => {
  await build();
  folder = await openTempFolder();
  const models = join(folder.path, 'models');
  await cp(join(repositoryRoot, 'models/everyday10'), join(models, 'everyday10'), { recursive: true });
  await mkdir(join(models, 'half_plus_two/123'), { recursive: true });
  await writeFile(join(models, 'half_plus_two/123/model.onnx'), halfPlusTwo());
  const photo = await sharp(join(repositoryRoot, 'demo/samples/ship.svg')).resize(320, 320).jpeg().toBuffer();
  for (const name of commands.flatMap(([command]) => /@([\w.-]+\.jpg)/.exec(command)?.[1] ?? [])) {
    await writeFile(join(folder.path, name), photo);
  }
  if (hasCurl) server = await startServer(models);
});
afterAll(async () => {
  await server?.stop();
  await folder?.[Symbol.asyncDispose]();
});

/** TensorFlow Serving's own first example: y = x / 2 + 2. */
function halfPlusTwo(): Uint8Array {
  const scalar = (name: string, value: number) => initializer(name, 1, [1], new Uint8Array(Float32Array.of(value).buffer));
  return onnxModel([
    [1, node('Mul', ['x', 'half'], ['halved'])],
    [1, node('Add', ['halved', 'two'], ['y'])],
    [5, scalar('half', 0.5)],
    [5, scalar('two', 2)],
    [11, valueInfo('x', 1, ['n'])],
    [12, valueInfo('y', 1, ['n'])],
  ]);
}

/** The demo on free ports; it prints its addresses once every model answers. */
async function startServer(models: string) {
  const args = ['dist/cli/main.js', 'demo', '--http-port', '0', '--grpc-port', '0', '--models', models];
  const child = spawn(process.execPath, args, { cwd: repositoryRoot, stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface(child.stdout)) {
    const address = /http:\/\/\S+/.exec(line)?.[0];
    if (address === undefined) continue;
    const stop = async () => {
      child.kill();
      await once(child, 'exit');
    };
    return { address, stop };
  }
  throw new Error('the demo ended without an address');
}

test('there are curl examples, all of them for the address that is documented', () => {
  expect(commands.length).toBeGreaterThanOrEqual(4);
  expect(commands.filter(([command]) => !command.includes(documentedAddress))).toEqual([]);
});

test.skipIf(!hasCurl).each(commands)('%s (%s)', async (command) => {
  const answer = join(folder.path, 'answer.json');
  const own = command.replace(/^curl /, `curl --silent --show-error --output '${answer}' --write-out '%{http_code}' `);

  const { stdout, stderr } = spawnSync('sh', ['-c', own.replaceAll(documentedAddress, server?.address ?? '')], {
    cwd: folder.path,
    encoding: 'utf8',
  });

  const text = await readFile(answer, 'utf8');
  expect({ status: stdout, stderr }, text).toEqual({ status: '200', stderr: '' });
  if (command.includes('image-classification')) expect(JSON.parse(text).predictions[0]).toMatchObject({ label: 'ship' });
  if (command.includes('[1.0, 2.0, 5.0]')) expect(JSON.parse(text)).toEqual({ predictions: [2.5, 3, 4.5] });
});

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { digestOf, parseLockFile, parseManifest, parseVersions } from '../../src/core/index.ts';
import { describeFlags } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { scalingModel } from '../support/onnx-writer.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';

beforeAll(async () => {
  await build();
});

const models = join(repositoryRoot, 'models');
const everyday10 = join(models, 'everyday10/1');

test('publish in two processes gives the same digest, that of manifest.json', async () => {
  await using folder = await openTempFolder();
  await writeFile(join(folder.path, 'a.onnx'), scalingModel(2));
  const publishTo = (out: string) =>
    nearfar('publish', join(folder.path, 'a.onnx'), '--name', 'scale', '--out', join(folder.path, out), '--json');

  const [first, second] = [await publishTo('one'), await publishTo('two')];

  const bytes = new Uint8Array(await readFile(join(folder.path, 'one/scale/1/manifest.json')));
  expect(first.status).toBe(0);
  expect(JSON.parse(first.stdout).pin).toEqual({ version: '1', digest: await digestOf(bytes) });
  expect(JSON.parse(second.stdout).pin).toEqual(JSON.parse(first.stdout).pin);
});

test('two processes that publish at once get a number each', async () => {
  await using folder = await openTempFolder();
  await writeFile(join(folder.path, 'a.onnx'), scalingModel(2));

  const results = await Promise.all(
    [1, 2].map(() => nearfar('publish', join(folder.path, 'a.onnx'), '--name', 'scale', '--out', join(folder.path, 'models'), '--json')),
  );

  const pins = results.map(({ stdout }) => JSON.parse(stdout).pin);
  expect(pins.map(({ version }) => version).sort()).toEqual(['1', '2']);
  const { versions } = parseVersions(new Uint8Array(await readFile(join(folder.path, 'models/scale/versions.json'))));
  expect(versions).toEqual(expect.arrayContaining(pins));
});

test('publish takes the task, bindings and names from its options', async () => {
  await using folder = await openTempFolder();

  const { status, stderr } = await nearfar(
    ...[
      'publish',
      join(everyday10, 'tfjs'),
      join(everyday10, 'onnx/model.onnx'),
      '--name',
      'things',
      '--version',
      '3',
      '--out',
      folder.path,
    ],
    ...['--rename', 'probabilities=scores', '--rename', 'image:0=photo', '--bind', 'scores=probabilities', '--tolerance', '1e-3,1e-2'],
    ...['--task', 'image-classification', '--labels', join(everyday10, 'labels.txt'), '--activation', 'none'],
    ...[
      '--shorter-side',
      '40',
      '--crop',
      '32',
      '--scale',
      '1/255',
      '--mean',
      '0,0,0',
      '--std',
      '1',
      '--label',
      'canary',
      '--license',
      'Apache-2.0',
    ],
  );

  expect(stderr).toBe('');
  expect(status).toBe(0);
  const manifest = parseManifest(new Uint8Array(await readFile(join(folder.path, 'things/3/manifest.json'))));
  expect(manifest.signatures['serving_default']).toMatchObject({ inputs: { photo: {} }, outputs: { scores: {} } });
  expect(manifest.tasks?.['image-classification']).toMatchObject({ input: { resize: { shorterSide: 40 }, crop: [32, 32] } });
  expect(manifest.variants[0]?.tolerance).toEqual({ absolute: 1e-3, relative: 1e-2 });
});

describe('errors', () => {
  test('with --json an error is one object on standard output and exit status 1', async () => {
    const { status, stdout, stderr } = await nearfar('publish', 'nothing.onnx', '--name', 'm', '--out', 'nowhere', '--json');

    expect(status).toBe(1);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'not-found', details: { path: 'nothing.onnx' } } });
  });

  test('wrong usage is an error of the same form', async () => {
    for (const args of [
      ['publish', 'x', '--json'],
      ['lock', '--json'],
      ['verify', 'm', '--models', 'x', '--no-such', '--json'],
      ['nonsense', '--json'],
    ]) {
      const { status, stdout } = await nearfar(...args);
      expect(status, args.join(' ')).toBe(1);
      expect(JSON.parse(stdout), args.join(' ')).toMatchObject({ error: { code: 'invalid-argument', message: expect.any(String) } });
    }
  });

  test('without --json it is one line on standard error that ends with the code', async () => {
    const { status, stdout, stderr } = await nearfar('verify', 'nothing', '--models', models);

    expect(status).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^nearfar: .* \(not-found\)\n$/);
  });

  test('options of a task without the task are named', async () => {
    const { stderr } = await nearfar('publish', everyday10, '--name', 'm', '--out', 'nowhere', '--crop', '32');

    expect(stderr).toContain('--task image-classification');
  });
});

test('lock writes the lock file', async () => {
  await using folder = await openTempFolder();
  const out = join(folder.path, 'nearfar.lock.json');

  const { status } = await nearfar('lock', 'everyday10@1', '--models', models, '--out', out);

  expect(status).toBe(0);
  const lock = parseLockFile(new Uint8Array(await readFile(out)));
  expect(lock.models['everyday10']?.digest).toBe(await digestOf(new Uint8Array(await readFile(join(everyday10, 'manifest.json')))));
});

test('inspect and verify describe the built-in model', async () => {
  const inspected = await nearfar('inspect', 'everyday10@stable', '--models', models, '--json');
  const verified = await nearfar('verify', 'everyday10', '--models', models, '--json');

  expect(JSON.parse(inspected.stdout)).toMatchObject({ kind: 'version', name: 'everyday10', tasks: ['image-classification'] });
  expect(JSON.parse(verified.stdout)).toMatchObject({ versions: [{ name: 'everyday10', files: 8 }], strays: [] });
});

test('every command has help', async () => {
  const { stdout } = await nearfar('--help');
  const names = [...stdout.matchAll(/^ {2}(\w+) /gm)].flatMap(([, name]) => (name === undefined || name === 'help' ? [] : [name]));

  expect(names).toEqual(expect.arrayContaining(['publish', 'convert', 'inspect', 'verify', 'diff', 'lock', 'config']));
  for (const name of names) expect((await nearfar(name, '--help')).stdout, name).toContain(`Usage: nearfar ${name}`);
});

test('the help of serve has every flag, with what it does', async () => {
  const { stdout } = await nearfar('serve', '--help');

  const told = stdout.replace(/\s+/g, ' ');
  expect(describeFlags().filter(({ name, flag }) => !told.includes(`--${name}`) || !told.includes(flag.help))).toEqual([]);
});

function nearfar(...args: string[]) {
  return runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), ...args]);
}

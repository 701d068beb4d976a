import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { digestOf } from '../../src/core/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';
import { noise } from '../support/small-repository.ts';

beforeAll(async () => {
  await build();
});

const savedModel = join(repositoryRoot, 'test/fixtures/savedmodel/parse_example');
const everyday10 = join(repositoryRoot, 'models/everyday10/1');

test('two processes give a SavedModel the same digest, and so does a third that imports its directory with the same options', async () => {
  await using folder = await openTempFolder();
  const publishTo = (out: string) => nearfar('publish', savedModel, '--name', 'parse', '--out', join(folder.path, out), '--json');

  const [first, second] = await Promise.all([publishTo('one'), publishTo('two')]);

  const published = JSON.parse(first.stdout);
  expect(published).toMatchObject({ name: 'parse', version: '1', variants: [{ id: 'tfjs-float32', agreement: null }] });
  expect(JSON.parse(second.stdout).digest).toBe(published.digest);
  const manifest = new Uint8Array(await readFile(join(folder.path, 'two/parse/1/manifest.json')));
  expect(await digestOf(manifest)).toBe(published.digest);
  // A server imports in another process again, and keeps no original.
  const bare = await nearfar('publish', savedModel, '--name', 'parse', '--out', join(folder.path, 'bare'), '--no-original', '--json');
  const door = join(repositoryRoot, 'dist/publish/index.js');
  const program = `import { importDirectory } from ${JSON.stringify(door)};
    console.log(JSON.stringify(await importDirectory(process.argv[1], process.argv[2], { name: 'parse', version: '1' })));`;
  const importTo = (out: string) =>
    runCommand(process.execPath, ['--input-type=module', '-e', program, '--', savedModel, join(folder.path, out)]);
  const [third, fourth] = await Promise.all([importTo('three'), importTo('four')]);
  expect(JSON.parse(third.stdout)).toEqual(JSON.parse(fourth.stdout));
  const imported = JSON.parse(await readFile(join(folder.path, 'three/manifest.json'), 'utf8'));
  const { provenance, ...rest } = JSON.parse(bare.stdout).manifest;
  expect(imported).toEqual({ ...rest, provenance: { ...provenance, options: {} } });
});

describe('options', () => {
  test('choose formats, precisions, passes and samples, and --json tells the agreement of each variant', async () => {
    await using folder = await openTempFolder();
    const pictures = await writePictures(join(folder.path, 'pictures'));

    const { status, stdout, stderr } = await nearfar(
      ...['publish', join(everyday10, 'tfjs'), '--name', 'things', '--out', join(folder.path, 'out'), '--json'],
      ...['--task', 'image-classification', '--labels', join(everyday10, 'labels.txt')],
      ...['--variants', 'float32,uint8', '--formats', 'tfjs', '--optimize', 'none', '--samples', pictures, '--min-agreement', '0.3'],
    );

    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { variants, manifest, measures } = JSON.parse(stdout);
    expect(variants).toMatchObject([
      { id: 'tfjs-float32', precision: 'float32', agreement: null },
      { id: 'tfjs-uint8', precision: 'uint8', agreement: { reference: 'tfjs-float32', examples: 2 + 2 } },
    ]);
    expect(variants[1].agreement.top1).toBe(measures[0].top1);
    expect(manifest.provenance.options).toMatchObject({
      precisions: ['float32', 'uint8'],
      formats: ['tfjs-graph'],
      optimize: 'none',
      minAgreement: 0.3,
    });
    expect(manifest.provenance.options.samples).toHaveLength(2);
  });

  test('--task-spec describes a task, with the files beside it, and options win over it', async () => {
    await using folder = await openTempFolder();
    const spec = { output: { name: 'nothing', activation: 'none', labels: 'things.txt', pooling: 'none', normalise: true } };
    await writeFile(join(folder.path, 'spec.json'), JSON.stringify(spec));
    await writeFile(join(folder.path, 'things.txt'), await readFile(join(everyday10, 'labels.txt')));

    const { status, stdout } = await nearfar(
      ...['publish', join(everyday10, 'tfjs'), '--name', 'things', '--out', join(folder.path, 'out'), '--json', '--formats', 'tfjs'],
      ...['--task', 'embeddings', '--task-spec', join(folder.path, 'spec.json'), '--output', 'probabilities'],
    );

    expect(status).toBe(0);
    const { manifest } = JSON.parse(stdout);
    expect(manifest.tasks).toMatchObject({
      embeddings: { input: { name: 'image', crop: [32, 32] }, output: { name: 'probabilities', labels: 'things.txt' } },
    });
    expect(manifest.files).toHaveProperty(['things.txt']);
  });

  test('--prune says what it did in words', async () => {
    await using folder = await openTempFolder();

    const { status, stdout } = await nearfar(
      ...['publish', join(everyday10, 'tfjs'), '--name', 'things', '--out', join(folder.path, 'out')],
      ...['--formats', 'tfjs', '--prune', '0.3'],
    );

    expect(status).toBe(0);
    expect(stdout).toMatch(/pruned: 30\.0 % zeros, off by .*same best class in/);
    expect(stdout).toMatch(/tfjs-float32: \d+ bytes compressed before, \d+ after/);
    expect(stdout).toMatch(/right on tfjs-wasm within .*, [\d.]+ ms/);
  });

  test.each([
    ['a precision that is none', ['--variants', 'float32,int3'], 'expected float32, float16'],
    ['a format that is none', ['--formats', 'tflite'], 'expected tfjs, onnx'],
    ['samples that are not there', ['--samples', join(everyday10, 'nothing')], 'no picture at'],
    ['a folder without pictures', ['--samples', join(everyday10, 'tfjs')], 'holds no pictures'],
    ['a file that is no picture', ['--samples', join(everyday10, 'labels.txt')], 'labels.txt: expected a JPEG'],
    ['a share that is none', ['--prune', '1.5'], 'share to prune'],
    ['labels with --task none', ['--task', 'none', '--labels', 'x'], 'belong to a task'],
    ['a task that is none', ['--task', 'object-tracking'], 'Allowed choices are image-classification, object-detection'],
    ['a crop for another task', ['--task', 'embeddings', '--crop', '32'], 'crop belong to image-classification'],
    ['an output for boxes', ['--task', 'object-detection', '--output', 'probabilities'], 'detection names its tensors'],
    ['a task without its fields', ['--task', 'object-detection'], 'tasks.object-detection.output.boxFormat'],
    ['a spec that is no JSON', ['--task-spec', join(everyday10, 'labels.txt')], 'is not JSON'],
  ])('%s ends with an error object and a status of its own', async (_, args, message) => {
    await using folder = await openTempFolder();

    const { status, stdout } = await nearfar(
      ...['publish', join(everyday10, 'tfjs'), '--name', 'm', '--out', join(folder.path, 'out'), '--json', ...args],
    );

    expect(status).toBeGreaterThanOrEqual(1);
    expect(status).toBeLessThanOrEqual(127);
    const { error } = JSON.parse(stdout);
    expect(error).toMatchObject({ code: expect.any(String), details: expect.any(Object) });
    expect(error.message).toContain(message);
  });
});

async function writePictures(folder: string): Promise<string> {
  await mkdir(folder);
  for (const seed of [1, 2]) {
    const picture = sharp(noise(60 * 50 * 3, seed), { raw: { width: 60, height: 50, channels: 3 } });
    await writeFile(join(folder, `${seed}.png`), await picture.png().toBuffer());
  }
  await writeFile(join(folder, 'notes.txt'), 'no picture');
  return folder;
}

function nearfar(...args: string[]) {
  return runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), ...args]);
}

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { printAnswer } from '../../src/cli/predict.ts';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';
import { drawSquares, squares, writePictureModel, writeTaskModels } from '../support/task-models.ts';

// `nearfar predict` as a process of its own against a real server.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;
let photo: string;

beforeAll(async () => {
  await build();
  folder = await openTempFolder();
  await writeTaskModels(join(folder.path, 'models'));
  await writePictureModel(join(folder.path, 'models'));
  photo = join(folder.path, 'squares.png');
  await writeFile(photo, await drawSquares());
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: join(folder.path, 'models'),
    backends: ['tfjs-wasm', 'onnx-cpu'],
    engineThreads: 1,
    maxEngineWorkers: 1,
    historyFile: '',
    logLevel: 'silent',
  });
  await server.whenReady();
});

afterAll(async () => {
  await server?.close();
  await folder?.[Symbol.asyncDispose]();
});

async function predict(...args: string[]) {
  const command = [join(repositoryRoot, 'dist/cli/main.js'), 'predict', ...args, '--url', server.restAddress ?? ''];
  const { status, stdout, stderr } = await runCommand(process.execPath, command);
  return { status, lines: stdout.trimEnd().split('\n'), stdout, stderr };
}

test('classifies a text', async () => {
  const { lines, status } = await predict('pets', '--text', 'A photo of a CAT.', '--top-k', '1');

  expect(status).toBe(0);
  expect(lines).toEqual([`  cat  100.0 %  ${'█'.repeat(30)}`, expect.stringContaining('pets version 1, tfjs-wasm, sha256:')]);
});

test('gives the numbers of a row, which may come from a file', async () => {
  const row = join(folder.path, 'row.json');
  await writeFile(row, '{"age": 55}');

  const inline = await predict('ages@1', '--task', 'tabular-regression', '--input', '{"age": 55}');
  const fromFile = await predict('ages', '--task', 'tabular-regression', '--input', `@${row}`, '--json');

  expect(inline.lines[0]).toBe('  157');
  expect(JSON.parse(fromFile.stdout)).toMatchObject({ model_name: 'ages', output: [157] });
});

test('shows the objects of a picture with their boxes', async () => {
  const { lines } = await predict('colours', '--image', photo, '--task', 'object-detection', '--max-detections', '1');

  expect(lines.slice(0, 2).map((line) => line.trim().split(/\s+/))).toEqual([
    ['OBJECT', 'SCORE', 'X', 'Y', 'WIDTH', 'HEIGHT'],
    ['green', expect.stringMatching(/^87\.[89]$/), '%', '8', '8', '16', '16'],
  ]);
});

test('shows the shares of a mask, and keeps it as PNG', async () => {
  const out = join(folder.path, 'mask.png');

  const { lines } = await predict('colours', '--image', photo, '--task', 'image-segmentation', '--out', out);

  expect(lines[0]).toMatch(/^ {2}red +43\.8 % +█{13}$/);
  expect(await sharp(await readFile(out)).metadata()).toMatchObject({ format: 'png', width: squares.width, height: squares.height });
});

test('asks :predict where no task is named', async () => {
  const { stdout } = await predict('ages', '--input', '{"inputs": [[1.5]]}');

  expect(JSON.parse(stdout)).toEqual({ outputs: [[1.5]] });
});

test.each([
  ['no input', ['colours'], 'expected one of --image, --text and --input, got none of them (invalid-argument)'],
  ['a task that the model has not', ['pets', '--input', '{}', '--task', 'embeddings'], 'its tasks: text-classification (unsupported)'],
  ['a picture to keep where there is none', ['pets', '--text', 'cat', '--out', 'x.png'], 'and the answer has none (invalid-argument)'],
  ['a file that is not there', ['colours', '--image', 'missing.png'], 'missing.png cannot be read'],
])('refuses %s', async (_, args, message) => {
  const { status, stderr } = await predict(...args);

  expect(status).toBe(1);
  expect(stderr).toContain(message);
});

test('prints logits, which are no shares of 1, without a bar or with a whole one', () => {
  const answer = { model_name: 'm', model_version: '1', digest: 'sha256:0', backend: 'onnx-cpu', variant: 'v' };
  const predictions = [
    { label: 'cat', index: 0, score: 7.5 },
    { label: 'dog', index: 1, score: -2.25 },
    { label: '\u001b[2J', index: 2, score: -3 },
  ];

  const [cat, dog, odd] = printAnswer({ ...answer, predictions }).split('\n');

  expect(cat).toBe(`  cat        750.0 %  ${'█'.repeat(30)}`);
  expect(dog).toBe('  dog        -225.0 %  ');
  expect(odd).toContain('\\u001b[2J');
});

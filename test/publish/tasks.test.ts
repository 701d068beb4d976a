import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { VariantSource } from '../../src/core/index.ts';
import { type DeclaredTasks, publish } from '../../src/publish/index.ts';
import { startServer } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { catsAndDogs, colours, drawSquares, squares, tokenizer } from '../support/task-models.ts';
import { tinyOnnx } from '../support/tiny-models.ts';

// Tasks that are declared when a model is published, and what a server answers then.

const bytes = (text: string) => new TextEncoder().encode(text);
const ofColours: DeclaredTasks = {
  specs: {
    'object-detection': {
      input: { resize: { letterbox: [16, 16], fill: 0, align: 'centre' } },
      output: {
        boxFormat: 'yxyx',
        coordinates: 'relative',
        activation: 'none',
        suppression: { iouThreshold: 0.1, across: 'class' },
        scoreThreshold: 0.5,
        maxDetections: 10,
        labels: 'colours.txt',
        tensors: { boxes: 'boxes', scores: 'scores' },
      },
    },
    'image-segmentation': { output: { name: 'channels', labels: 'colours.txt' } },
    'image-to-image': { output: { name: 'negative', size: 'picture' } },
    embeddings: { output: { name: 'mean', pooling: 'none', normalise: true } },
  },
  files: new Map([['colours.txt', bytes('red\ngreen\nblue\n')]]),
};
const ofTexts = {
  specs: {
    'text-classification': {
      input: { tokenizer: 'tokenizer.json' },
      output: { activation: 'softmax', labels: 'labels.txt' },
    },
  },
  files: new Map([
    ['tokenizer.json', tokenizer],
    ['labels.txt', bytes('cat\ndog\n')],
  ]),
} satisfies DeclaredTasks;

async function writeSource(folder: string, { variant, readFile }: VariantSource): Promise<string> {
  await mkdir(folder);
  for (const path of variant.files) await writeFile(join(folder, path), await readFile(path));
  return folder;
}

test('what a task leaves out follows the model, and a server answers it', async () => {
  await using folder = await openTempFolder();
  const repository = join(folder.path, 'models');
  const picturesFrom = await writeSource(join(folder.path, 'colours'), colours());
  const textsFrom = await writeSource(join(folder.path, 'pets'), catsAndDogs());
  const rowsFrom = await writeSource(join(folder.path, 'ages'), tinyOnnx('float32', 'Identity', { rank: 2 }));
  const columns = [{ name: 'age', transform: { kind: 'standard', mean: 40, std: 10 } }];
  const ofRows = { specs: { 'tabular-regression': { input: { columns }, output: { scale: 100, offset: 7 } } }, files: new Map() };

  const { manifest } = await publish([picturesFrom], { name: 'colours', repository, tasks: ofColours, formats: ['onnx'] });
  await publish([textsFrom], { name: 'pets', repository, tasks: ofTexts, formats: ['onnx'] });
  await publish([rowsFrom], { name: 'ages', repository, tasks: ofRows });
  await using server = await serve(repository);
  const found = await ask(server.url, 'colours/tasks/object-detection', await drawSquares());
  const segmented = await ask(server.url, 'colours/tasks/image-segmentation', await drawSquares());
  const text = await ask(server.url, 'pets/tasks/text-classification?topK=1', '"Dog!"');
  const row = await ask(server.url, 'ages/tasks/tabular-regression', '{"age":55}');

  expect(manifest.tasks).toMatchObject({
    'object-detection': { signature: 'serving_default', input: { name: 'image', layout: 'NHWC', scale: 1 / 255, std: [1, 1, 1] } },
    'image-segmentation': { input: { resize: { size: [16, 16], filter: 'bilinear', antialias: true } }, output: { layout: 'NHWC' } },
    'image-to-image': { output: { scale: 1 / 255, mean: [0, 0, 0] } },
    embeddings: { input: { crop: [16, 16] } },
  });
  expect(manifest.provenance).toMatchObject({ options: { tasks: Object.keys(ofColours.specs) } });
  expect(found).toEqual(squares.detections.map((detection) => ({ ...detection, score: expect.closeTo(detection.score, 2) })));
  expect(segmented).toMatchObject({ segments: [{ label: 'red' }, { label: 'green' }, { label: 'blue' }] });
  expect(text).toMatchObject([{ label: 'dog' }]);
  expect(row).toEqual([157]);
});

const detection = ofColours.specs['object-detection'] as { input: object; output: object };
const text = ofTexts.specs['text-classification'];

test.each([
  ['a task that is none', { specs: { 'object-tracking': {} } }, 'nearfar has no task object-tracking; its tasks: image-classification, '],
  ['no object', { specs: { embeddings: 7 } }, 'tasks.embeddings is an object, got 7'],
  [
    'a field that is left out',
    { specs: { 'object-detection': { ...detection, output: { ...detection.output, boxFormat: undefined } } } },
    'tasks.object-detection.output.boxFormat: Invalid key: Expected "boxFormat" but received undefined',
  ],
  [
    'a field of a wrong kind',
    { specs: { 'object-detection': { ...detection, output: { ...detection.output, maxDetections: 'many' } } } },
    'output.maxDetections: Invalid type: Expected number but received "many"',
  ],
  ['an output that is none', { specs: { 'image-segmentation': { output: { name: 'masks' } } } }, 'names outputs masks; the model has: '],
  [
    'an output of another rank',
    { specs: { 'image-segmentation': { output: { name: 'mean' } } } },
    'model output "mean" is expected of rank 4, got [1,3]',
  ],
  [
    'a file that is not given',
    { specs: { 'object-detection': detection }, files: new Map() },
    'reads colours.txt, which is not given; given: none',
  ],
  [
    'a model of pictures for a task of sounds',
    { specs: { 'audio-classification': { input: { sampleRate: 8000 }, output: { name: 'mean', activation: 'none' } } } },
    'input "image" is declared as [-1,16,16,3], which 1 of [8000] do not fit',
  ],
  ['an own file by the name of the version', { specs: {}, files: new Map([['report.json', bytes('')]]) }, 'has a file report.json already'],
])('%s is refused, and nothing is published', async (_, tasks, message) => {
  await using folder = await openTempFolder();
  const source = await writeSource(join(folder.path, 'colours'), colours());

  const publishing = publish([source], {
    name: 'colours',
    repository: join(folder.path, 'models'),
    tasks: { ...ofColours, ...tasks },
    formats: ['tfjs-graph'],
  });

  await expect(publishing).rejects.toMatchObject({ message: expect.stringContaining(message) });
});

test('a tokenizer or labels that do not fit are refused', async () => {
  await using folder = await openTempFolder();
  const source = await writeSource(join(folder.path, 'pets'), catsAndDogs());
  const publishing = (files: Record<string, Uint8Array<ArrayBuffer>>) => {
    const tasks = { specs: { 'text-classification': text }, files: new Map([...ofTexts.files, ...Object.entries(files)]) };
    return publish([source], { name: 'pets', repository: join(folder.path, 'models'), tasks, formats: ['tfjs-graph'] });
  };

  await expect(publishing({ 'tokenizer.json': bytes('{}') })).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('the tokenizer is none'),
  });
  await expect(publishing({ 'labels.txt': bytes('cat\ndog\nbird\n') })).rejects.toMatchObject({
    code: 'shape-mismatch',
    message: expect.stringContaining('2 classes, there are 3 labels'),
  });
});

async function serve(modelsRoot: string) {
  const server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot,
    backends: ['onnx-cpu', 'onnx-wasm'],
    engineThreads: 1,
    maxEngineWorkers: 1,
    logLevel: 'silent',
  });
  await server.whenReady();
  return { url: `${server.restAddress}/nearfar/v1/models`, [Symbol.asyncDispose]: () => server.close() };
}

async function ask(url: string, path: string, body: string | Buffer): Promise<unknown> {
  const response = await fetch(`${url}/${path}`, { method: 'POST', body: typeof body === 'string' ? body : new Uint8Array(body) });
  return (await response.json()).output;
}

import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { drawSquares, squares, writePictureModel, writeTaskModels } from '../support/task-models.ts';

// Tasks through the whole server: real sockets, files and engines.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;

let digests: { pets: string; ages: string };
let colours: string;

beforeAll(async () => {
  folder = await openTempFolder();
  digests = await writeTaskModels(folder.path);
  colours = await writePictureModel(folder.path);
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    modelsRoot: folder.path,
    backends: ['tfjs-wasm', 'onnx-cpu'],
    engineThreads: 1,
    maxEngineWorkers: 1,
    logLevel: 'silent',
  });
  await server.whenReady();
});

afterAll(async () => {
  await server.close();
  await folder[Symbol.asyncDispose]();
});

async function ask(path: string, input: unknown, headers: Record<string, string> = {}) {
  const url = `${server.restAddress}/nearfar/v1/models/${path}`;
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(input), headers });
  return { status: response.status, answer: await response.json() };
}

test.each([
  ['A photo of a CAT.', 'cat', 0],
  ['Dog!', 'dog', 1],
])('classifies a text on tfjs: %s', async (text, label, index) => {
  const { status, answer } = await ask('pets/versions/1/tasks/text-classification?topK=1', text);

  expect(status).toBe(200);
  const score = expect.closeTo(1 / (1 + Math.exp(-9)), 5);
  expect(answer).toMatchObject({ digest: digests.pets, backend: 'tfjs-wasm', output: [{ label, index, score }] });
});

test('gives the numbers of a row on ONNX Runtime, and refuses a client that is pinned to another digest', async () => {
  const row = { age: 55 };
  const pinned = await ask('ages/tasks/tabular-regression', row, { 'nearfar-model-digest': digests.ages });
  const other = await ask('ages/tasks/tabular-regression', row, { 'nearfar-model-digest': digests.pets });

  expect(pinned).toMatchObject({ status: 200, answer: { digest: digests.ages, backend: 'onnx-cpu', output: [157] } });
  expect(other).toMatchObject({ status: 409, answer: { code: 'version-mismatch' } });
});

async function askAbout(task: string, headers: Record<string, string> = {}) {
  const url = `${server.restAddress}/nearfar/v1/models/colours/tasks/${task}`;
  const response = await fetch(url, { method: 'POST', body: new Uint8Array(await drawSquares()), headers });
  return { response, body: Buffer.from(await response.arrayBuffer()) };
}

test('finds the objects of a picture, with their boxes in its own pixels', async () => {
  const { response, body } = await askAbout('object-detection?maxDetections=2');

  expect(response.status).toBe(200);
  const { digest, output } = JSON.parse(body.toString());
  expect(digest).toBe(colours);
  expect(output).toEqual(squares.detections.map((found) => ({ ...found, score: expect.closeTo(found.score, 2) })));
});

test('gives a picture as PNG in JSON, alone, or as pixels behind JSON', async () => {
  const json = JSON.parse((await askAbout('image-segmentation')).body.toString());
  const alone = await askAbout('image-to-image', { accept: 'image/png' });
  const pixels = await askAbout('image-segmentation', { accept: 'application/octet-stream' });

  const { mask, segments } = json.output;
  const jsonBytes = Number(pixels.response.headers.get('inference-header-content-length'));
  const head = JSON.parse(pixels.body.subarray(0, jsonBytes).toString());
  const grey = await sharp(Buffer.from(mask.png, 'base64')).toColourspace('b-w').raw().toBuffer();
  const negative = await sharp(alone.body).raw().toBuffer({ resolveWithObject: true });
  expect(segments).toEqual(squares.segments);
  expect(head).toMatchObject({ digest: colours, output: { mask: { width: squares.width, height: squares.height, bits: 8 }, segments } });
  expect(pixels.response.headers.get('content-encoding')).toBe('gzip');
  expect(pixels.body.subarray(jsonBytes)).toEqual(grey);
  expect(alone.response.headers.get('content-type')).toBe('image/png');
  expect(negative.info).toMatchObject({ width: squares.width, height: squares.height, channels: 3 });
  const pixelAt = (x: number, y: number) => [...negative.data.subarray((y * squares.width + x) * 3, (y * squares.width + x) * 3 + 3)];
  expect([pixelAt(0, 0), pixelAt(16, 16), pixelAt(48, 16)]).toEqual([
    [255, 255, 255],
    [255, 0, 255],
    [255, 255, 0],
  ]);
});

test('makes a vector of a picture', async () => {
  const { body } = await askAbout('embeddings');

  const { output } = JSON.parse(body.toString());
  expect(output).toEqual(squares.vector.map((value) => expect.closeTo(value, 6)));
});

test.each([
  ['object-detection?threshold=much', {}, 400, /threshold=: expected a number, got "much"/],
  ['object-detection?threshold=1&threshold=2', {}, 400, /threshold=: .* got Array/],
  ['object-detection', { 'nearfar-image-shape': '2,2,3' }, 400, /takes pictures of 16x16 RGB pixels, got 2x2/],
  [
    'object-detection',
    { 'nearfar-image-shape': '16,16,3', 'nearfar-picture-size': '0,4' },
    400,
    /nearfar-picture-size is height,width, got 0,4/,
  ],
  [
    'image-segmentation',
    { 'nearfar-image-shape': '16,16,3', 'nearfar-picture-size': '99999,99999' },
    400,
    /an image may have 100000000 pixels, got 99999x99999/,
  ],
  ['text-classification', {}, 501, /has no task text-classification; its tasks: image-classification, /],
])('says what is wrong about a picture: %s %o', async (task, headers, status, error) => {
  const { response, body } = await askAbout(task, headers);

  expect(response.status).toBe(status);
  expect(JSON.parse(body.toString()).error).toMatch(error);
});

import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { writeTaskModels } from '../support/task-models.ts';

// Tasks through the whole server: real sockets, files and engines.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;

let digests: { pets: string; ages: string };

beforeAll(async () => {
  folder = await openTempFolder();
  digests = await writeTaskModels(folder.path);
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

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startServer } from '../../src/server/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { serveFaulty } from '../support/fault-server.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { publishedVersions } from '../support/serving.ts';

// A repository behind HTTP in short; with everything that can go wrong it is in test/full/stores.test.ts.

test('models of a web server are served, and go over to the version that their label names', async () => {
  await using folder = await openTempFolder();
  const model = join(folder.path, 'origin/everyday10');
  for (const version of ['1', '2']) await copyEveryday10(model, version);
  const versions = await publishedVersions(model, ['1', '2']);
  const list = async (stable: string) =>
    writeFile(join(model, 'versions.json'), JSON.stringify({ schemaVersion: 1, name: 'everyday10', versions, labels: { stable } }));
  await list('1');
  await writeFile(join(folder.path, 'origin/models.json'), JSON.stringify({ models: ['everyday10'] }));
  await using store = await serveFaulty(join(folder.path, 'origin'), { answersUnchanged: true });
  await using server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: store.origin,
    cacheDir: join(folder.path, 'cache'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    pollIntervalMs: 20,
    storePollMs: 20,
    historyFile: '',
    logLevel: 'silent',
  });
  await server.whenReady();
  const photo = {
    method: 'POST',
    body: new Uint8Array(32 * 32 * 3),
    headers: { 'content-type': 'application/octet-stream', 'nearfar-image-shape': '32,32,3' },
  };
  const answering = async () =>
    (await fetch(`${server.restAddress}/nearfar/v1/models/everyday10/tasks/image-classification`, photo)).headers.get(
      'nearfar-model-version',
    );

  const before = await answering();
  await list('2');
  await expect.poll(answering, { interval: 20, timeout: 30_000 }).toBe('2');

  expect(before).toBe('1');
  expect((await fetch(`${server.restAddress}/models/everyday10/2/manifest.json`)).status).toBe(200);
});

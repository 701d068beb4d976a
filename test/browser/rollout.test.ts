import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeVersions } from '../../src/core/index.ts';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { publishedVersions } from '../support/serving.ts';

// Labels and shares that a server changes, followed by a real browser and by the server itself.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;
let browser: TestBrowser;

beforeAll(async () => {
  folder = await openTempFolder();
  const model = join(folder.path, 'models', 'everyday10');
  for (const version of ['1', '2']) await copyEveryday10(model, version);
  const versions = await publishedVersions(model, ['1', '2']);
  await writeFile(
    join(model, 'versions.json'),
    encodeVersions({ schemaVersion: 1, name: 'everyday10', versions, labels: { stable: '1', canary: '2' } }),
  );
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: join(folder.path, 'models'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    cacheDir: join(folder.path, 'cache'),
    historyFile: join(folder.path, 'history.sqlite'),
    corsAllowedOrigins: ['*'],
    logLevel: 'silent',
  });
  await server.whenReady();
  browser = await launchBrowser({ gpu: false });
});
afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await server?.close();
  await folder?.[Symbol.asyncDispose]();
});

async function change(method: string, path: string, body?: object): Promise<number> {
  const answer = await fetch(`${server.restAddress}/nearfar/v1/models/everyday10/${path}`, {
    method,
    ...(body && { body: JSON.stringify(body) }),
  });
  return answer.status;
}

/** The version that answers a client of TensorFlow Serving that names none. */
async function askServer(): Promise<string | null> {
  const row = Array.from({ length: 32 }, () => [0, 0, 0]);
  const instances = [Array.from({ length: 32 }, () => row)];
  const answer = await fetch(`${server.restAddress}/v1/models/everyday10:predict`, { method: 'POST', body: JSON.stringify({ instances }) });
  await answer.arrayBuffer();
  return answer.headers.get('nearfar-model-version');
}

test('a label, a rollback and a share are followed by the server within two seconds, and by the browser at its next opening, on both legs', async () => {
  await using tab = await openTestPage(browser, {});
  const open = (mode: 'only-on-device' | 'only-server') =>
    tab.page.evaluate(
      async ([url, mode]) => {
        const client = window.nearfar.createClient({ models: `${url}/models`, server: url, backends: ['tfjs-wasm'] });
        try {
          const model = await client.open('everyday10', { mode });
          const { run } = await model.classify(new ImageData(32, 32));
          return run.version;
        } finally {
          await client.close();
        }
      },
      [server.restAddress ?? '', mode] as const,
    );
  const versions = async () => [await askServer(), await open('only-on-device'), await open('only-server')];

  const before = await versions();
  expect(await change('PUT', 'labels/stable', { version: 2 })).toBe(200);
  const moved = await versions();
  const startedAt = performance.now();
  expect(await change('POST', 'labels/stable/rollback')).toBe(200);
  const answered = await askServer();
  const tookMs = performance.now() - startedAt;
  const rolledBack = await versions();
  expect(await change('PUT', 'traffic', { canary: 100 })).toBe(200);
  const shared = await versions();
  expect(await change('PUT', 'traffic', {})).toBe(200);
  const none = await versions();

  expect(before).toEqual(['1', '1', '1']);
  expect(moved).toEqual(['2', '2', '2']);
  expect(answered).toBe('1');
  expect(tookMs).toBeLessThan(2_000);
  expect(rolledBack).toEqual(['1', '1', '1']);
  expect(shared).toEqual(['2', '2', '2']);
  expect(none).toEqual(['1', '1', '1']);
});

import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { writeTaskModels } from '../support/task-models.ts';
import { type FarServer, openFarServer } from './far-server.ts';

// Tasks through the public entry, with real workers, engines and a real server: both legs give the same answer from the same digest.

let browser: TestBrowser;
let far: FarServer;
let folder: Awaited<ReturnType<typeof openTempFolder>>;
let digests: { pets: string; ages: string };

beforeAll(async () => {
  folder = await openTempFolder();
  digests = await writeTaskModels(folder.path);
  [browser, far] = await Promise.all([launchBrowser(), openFarServer(folder.path, ['tfjs-wasm', 'onnx-cpu'])]);
});
afterAll(async () => {
  await browser[Symbol.asyncDispose]();
  await far[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

test.each(['only-on-device', 'only-server'] as const)('classifies a text and answers a row: %s', async (mode) => {
  await using opened = await openTestPage(browser, { mounts: { '/models/': folder.path } });

  const { text, row, missing, wrong } = await opened.page.evaluate(
    async ({ mode, server }) => {
      const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm', 'onnx-wasm'] });
      const codeOf = (call: Promise<unknown>) => call.then(String, ({ code }: { code: string }) => code);
      const pets = await client.open('pets', { mode });
      const ages = await client.open('ages', { mode });
      const text = await pets.run('text-classification', 'A photo of a CAT.', { topK: 1 });
      const row = await ages.run('tabular-regression', { age: 55 });
      const missing = await codeOf(pets.run('tabular-regression', { age: 55 }));
      const wrong = await codeOf(ages.run('tabular-regression', { height: 2 }));
      await client.close();
      return { text, row, missing, wrong };
    },
    { mode, server: far.url },
  );

  const leg = mode === 'only-server' ? 'server' : 'on-device';
  expect(text.output).toEqual([{ label: 'cat', index: 0, score: expect.closeTo(1 / (1 + Math.exp(-9)), 5) }]);
  expect(text.run).toMatchObject({ leg, engine: 'tfjs', digest: digests.pets });
  expect(row.output).toEqual([157]);
  expect(row.run).toMatchObject({ leg, engine: 'onnx', digest: digests.ages });
  expect({ missing, wrong }).toEqual({ missing: 'unsupported', wrong: 'invalid-argument' });
});

test('a text is classified on the device where the server is cut', async () => {
  await using opened = await openTestPage(browser, { mounts: { '/models/': folder.path } });

  const { output, run } = await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
    const model = await client.open('pets', { mode: 'prefer-server' });
    model.faults.cutServer(true);
    const answer = await model.run('text-classification', 'Dog!', { topK: 1 });
    await client.close();
    return answer;
  }, far.url);

  expect(output).toMatchObject([{ label: 'dog' }]);
  expect(run).toMatchObject({ leg: 'on-device', fallback: { code: 'network' } });
});

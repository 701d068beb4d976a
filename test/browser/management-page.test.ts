import { join } from 'node:path';
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { launchBrowser, type TestBrowser } from '../support/browser.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;
let browser: TestBrowser;

beforeAll(async () => {
  folder = await openTempFolder();
  const models = join(folder.path, 'models');
  await copyEveryday10(join(models, 'everyday10'), '1');
  [browser, server] = await Promise.all([
    launchBrowser({ gpu: false }),
    startServer({
      modelsRoot: models,
      cacheDir: join(folder.path, 'cache'),
      host: '127.0.0.1',
      restPort: 0,
      grpcPort: 'off',
      backends: ['onnx-cpu'],
      engineThreads: 1,
      pollIntervalMs: 20,
      logLevel: 'silent',
    }),
  ]);
  await server.whenReady();
});

afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await server?.close();
  await folder?.[Symbol.asyncDispose]();
});

test('the page lists the models with their states and labels, and says that it is live', async () => {
  await using view = await openView('');

  await view.page.getByRole('link', { name: 'everyday10' }).waitFor();

  expect(await view.page.getByRole('main').innerText()).toMatch(/1 of 1 version available\s+everyday10\s+1\s+available\s+onnx-cpu/);
  expect(await view.page.locator('.connection').innerText()).toBe('live');
  expect(await violations(view.page)).toEqual([]);
  expect(view.problems).toEqual([]);
});

async function openView(address: string) {
  const page = await browser.newPage();
  const problems: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(error.stack ?? error.message));
  await page.goto(`${server.restAddress}/ui/${address}`);
  return { page, problems, [Symbol.asyncDispose]: () => page.close() };
}

/** What axe finds wrong for those who see, hear or move otherwise. */
async function violations(page: Page): Promise<unknown[]> {
  // In the debugger's world, where the page's policy does not hold.
  return page.evaluate(
    `${axe.source}; axe.run().then(({ violations }) => violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html }) => html) })))`,
  );
}

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { launchBrowser, type TestBrowser } from '../support/browser.ts';
import { breakGolden, copyEveryday10 } from '../support/everyday10.ts';
import { freePort } from '../support/free-port.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { publishedVersions } from '../support/serving.ts';
import { pictureCases, publishTrainedModels, tableCases } from '../support/trained-models.ts';

const ship = fileURLToPath(new URL('../../dist/demo/samples/ship.png', import.meta.url));

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let models: string;
let server: RunningServer;
let browser: TestBrowser;

beforeAll(async () => {
  folder = await openTempFolder();
  models = join(folder.path, 'models');
  const everyday10 = join(models, 'everyday10');
  for (const version of ['1', '2', '3']) await copyEveryday10(everyday10, version);
  const list = {
    schemaVersion: 1,
    name: 'everyday10',
    versions: await publishedVersions(everyday10, ['1', '2', '3']),
    labels: { stable: '1', canary: '2' },
  };
  await writeFile(join(everyday10, 'versions.json'), JSON.stringify(list));
  await publishTrainedModels(models);
  browser = await launchBrowser({ gpu: false });
  server = await openServer(0);
});

afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await server?.close();
  await folder?.[Symbol.asyncDispose]();
});

test('the page lists the models with their states and labels, and says that it is live', async () => {
  await using view = await openView('');

  await view.page.getByRole('link', { name: 'everyday10' }).waitFor();

  expect(await view.page.getByRole('main').innerText()).toMatch(
    /everyday10\s+3\s+available\s+onnx-cpu\s+2\s+available\s+canary\s+onnx-cpu\s+1\s+available\s+stable/,
  );
  expect(await view.page.locator('.connection').innerText()).toBe('live');
  expect(await violations(view.page)).toEqual([]);
  expect(view.problems).toEqual([]);
});

test('a version is promoted and rolled back with the keyboard alone, and the history says so', async () => {
  await using view = await openView('#/models/everyday10');
  const { page } = view;
  const promote = page.getByRole('button', { name: 'Promote version 2' });
  await promote.focus();

  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Promote version 2' }).waitFor();
  expect(await violations(page)).toEqual([]);
  await page.getByRole('button', { name: 'Move stable here' }).focus();
  await page.keyboard.press('Enter');

  await page.getByRole('status').getByText('stable of everyday10 is version 2 now').waitFor();
  expect(await labelsOf('everyday10')).toMatchObject({ stable: '2' });
  await page.getByRole('button', { name: 'Roll back stable' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Roll back', exact: true }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('status').getByText('stable of everyday10 was rolled back').waitFor();
  expect(await labelsOf('everyday10')).toMatchObject({ stable: '1' });
  await page
    .getByRole('listitem')
    .filter({ hasText: /stable\s+2 → 1/ })
    .first()
    .waitFor();
  expect(view.problems).toEqual([]);
});

test('Escape leaves a dialog and changes nothing, and the focus goes back to the button', async () => {
  await using view = await openView('#/models/everyday10');
  const { page } = view;
  const unload = page.getByRole('button', { name: 'Unload version 3' });
  await unload.click();
  await page.getByRole('dialog', { name: 'Unload version 3' }).waitFor();

  await page.keyboard.press('Escape');

  await page.getByRole('dialog').waitFor({ state: 'detached' });
  expect(await unload.evaluate((button) => button === document.activeElement)).toBe(true);
  expect(await page.getByRole('row', { name: /Version 3/ }).innerText()).toContain('available');
});

test('a version that a label names cannot be unloaded, and the dialog says why', async () => {
  await using view = await openView('#/models/everyday10');
  const { page } = view;

  await page.getByRole('button', { name: 'Unload version 2' }).click();

  expect(await page.getByRole('dialog').innerText()).toContain('canary names this version');
  expect(await page.getByRole('button', { name: 'Unload', exact: true }).isDisabled()).toBe(true);
});

test('shares of clients are changed, and more than all of them cannot be sent', async () => {
  await using view = await openView('#/models/everyday10');
  const { page } = view;
  await page.getByRole('button', { name: 'Change shares' }).click();
  await page.getByRole('spinbutton', { name: 'Percent of stable' }).fill('95');
  await page.getByRole('spinbutton', { name: 'Percent of canary' }).fill('10');
  expect(await page.getByRole('button', { name: 'Share out' }).isDisabled()).toBe(true);

  await page.getByRole('spinbutton', { name: 'Percent of stable' }).fill('90');
  await page.getByRole('button', { name: 'Share out' }).click();

  await page.getByText('90 % stable').waitFor();
  expect(JSON.parse(await readFile(join(models, 'everyday10/versions.json'), 'utf8')).traffic).toEqual({ stable: 90, canary: 10 });
});

test('what another client unloads and loads is seen as it happens', async () => {
  await using view = await openView('#/models/everyday10');
  const { page } = view;
  const row = page.getByRole('row', { name: /^(Version )?3\b/ });
  await row.getByText('available').waitFor();
  const address = `${server.restAddress}/nearfar/v1/models/everyday10/versions/3`;

  expect((await fetch(address, { method: 'DELETE' })).status).toBe(204);
  await row.getByText('available').waitFor({ state: 'detached' });
  await row.getByText('not loaded').waitFor();
  await page.getByRole('button', { name: 'Load version 3' }).press('Enter');
  await page.getByRole('button', { name: 'Load', exact: true }).click();

  await row.getByText('available').waitFor();
  expect(await fetch(address).then((answer) => answer.json())).toMatchObject({ state: 'AVAILABLE' });
});

test('a photo is classified by the form of the task', async () => {
  await using view = await openView('#/models/everyday10/try');
  const { page } = view;
  await page.getByLabel('Picture', { exact: true }).setInputFiles(ship);

  await page.getByRole('button', { name: 'Ask', exact: true }).click();

  const first = page.getByRole('list', { name: 'Classes' }).getByRole('listitem').first();
  expect(await first.innerText()).toMatch(/^ship/);
  expect(await violations(page)).toEqual([]);
  expect(view.problems).toEqual([]);
});

test('objects are drawn over their picture, as many as Python found', async () => {
  const shapes = pictureCases().find(({ output }) => output.length > 1)!;
  await using view = await openView('#/models/shapes/try');
  await view.page.getByLabel('Picture', { exact: true }).setInputFiles({ name: shapes.name, mimeType: 'image/png', buffer: shapes.png });

  await view.page.getByRole('button', { name: 'Ask', exact: true }).click();

  await view.page.getByRole('img', { name: `${shapes.output.length} found in the picture` }).waitFor();
  expect(await view.page.getByRole('list', { name: 'Classes' }).getByRole('listitem').count()).toBe(shapes.output.length);
});

test('a row of a table is entered column by column, and a cell that is no number is told before anything is sent', async () => {
  const [row] = tableCases('diabetes');
  await using view = await openView('#/models/diabetes/try');
  const { page } = view;
  for (const [column, value] of Object.entries(row!.input))
    await page.getByRole('textbox', { name: column, exact: true }).fill(String(value));

  await page.getByRole('button', { name: 'Ask', exact: true }).click();

  const text = await page.getByRole('textbox', { name: 'Values of output' }).inputValue();
  expect(Number(text)).toBeCloseTo(row!.output[0]!, 0);
});

test('a tensor that does not fit its signature is told with the place of the first wrong value', async () => {
  await using view = await openView('#/models/everyday10/try');
  const { page } = view;
  await page.getByRole('combobox', { name: 'Ask' }).selectOption('signature serving_default');
  await page.getByRole('textbox', { name: /^image/ }).fill('[[[1, 2], [3]]]');

  await page.getByRole('button', { name: 'Ask', exact: true }).click();

  await page.getByRole('alert').getByText('shape-mismatch').waitFor();
  expect(await page.getByRole('textbox', { name: /^image/ }).getAttribute('aria-invalid')).toBe('true');
});

test('two versions answer the same golden example, and their largest difference is told', async () => {
  await using view = await openView('#/models/everyday10/compare?a=1&b=2');
  const { page } = view;
  await page.getByRole('combobox', { name: 'Ask' }).selectOption('signature serving_default');
  await page.getByRole('button', { name: 'Golden example 1' }).click();
  await page.getByText('golden example 1:').waitFor();

  await page.getByRole('button', { name: 'Ask both' }).click();

  await page.getByRole('heading', { name: 'The answers are the same' }).waitFor();
  expect(await page.getByRole('region', { name: 'Version 1' }).innerText()).toContain('[1, 10]');
  expect(await page.getByRole('region', { name: 'Version 2' }).innerText()).toContain('version 2 on onnx-cpu');
});

test('a version that cannot be loaded is listed among the failures as it happens', async () => {
  await using view = await openView('#/failures');
  const { page } = view;
  await page.locator('.connection[data-state="live"]').waitFor();

  await copyEveryday10(join(models, 'broken'), '1', breakGolden);

  await page.getByText('load-failed').first().waitFor();
  expect(await page.getByRole('listitem').filter({ hasText: 'load-failed' }).first().innerText()).toContain(
    'golden example 0 is not reproduced',
  );
  expect(await violations(page)).toEqual([]);
  // The servers of other tests wait until all models are ready.
  await rm(join(models, 'broken'), { recursive: true });
});

test('what the fleet reports is shown by version and device', async () => {
  const report = { model: 'everyday10', version: '1', device: 'mobile', leg: 'on-device', backend: 'tfjs-webgpu', totalMs: 12 };
  const reports = [report, report, { ...report, leg: 'server', backend: 'onnx-cpu', fallback: 'device-lost', totalMs: 40 }];
  await fetch(`${server.restAddress}/nearfar/v1/reports`, { method: 'POST', body: JSON.stringify({ reports }) });
  await using view = await openView('#/fleet');

  const row = view.page.getByRole('row', { name: /everyday10 1/ });
  await row.waitFor();

  expect(await row.innerText()).toMatch(/mobile\s+3\s+66\.7 % near/);
  await view.page.getByText('device-lost').waitFor();
  expect(await violations(view.page)).toEqual([]);
});

test('a change that the server refuses is told with its code, and the page shows what is so', async () => {
  await using view = await openView('#/models/everyday10');
  const { page } = view;
  // As through a proxy, for which the server cannot know who asks.
  await page.setExtraHTTPHeaders({ 'x-forwarded-for': '192.0.2.7' });
  await page.getByRole('button', { name: 'Roll back stable' }).click();
  await page.getByRole('button', { name: 'Roll back', exact: true }).click();

  await page.getByRole('dialog').getByText('permission-denied').waitFor();

  expect(await page.getByRole('dialog').innerText()).toContain('--admin_address');
  expect(await labelsOf('everyday10')).toMatchObject({ stable: '1' });
});

test('a version is uploaded from its folder, and what comes of it is seen', async () => {
  await using view = await openView('#/upload?model=uploaded');
  const { page } = view;
  const from = join(folder.path, 'to-upload');
  await copyEveryday10(from, '4', (manifest) => {
    manifest['name'] = 'uploaded';
  });
  await page.getByLabel('Folder', { exact: true }).setInputFiles(join(from, '4'));

  await page.getByRole('button', { name: 'Upload', exact: true }).click();

  await page.getByText('Version 4 of uploaded is published.', { exact: false }).first().waitFor();
  await page.getByRole('link', { name: 'See it load' }).click();
  await page.getByRole('row', { name: /4 .*available/ }).waitFor();
  expect(await violations(page)).toEqual([]);
  expect(view.problems).toEqual([]);
});

test('a server that is lost is told with the time since when, and the page comes back by itself', async () => {
  const port = await freePort();
  const first = await openServer(port);
  await using view = await openView('', first);
  const { page } = view;
  await page.locator('.connection[data-state="live"]').waitFor();

  await first.close();
  await page.getByText(/Disconnected since \d/).waitFor();
  expect(await page.getByRole('link', { name: 'everyday10' }).isVisible()).toBe(true);
  await using _second = await openServer(port);

  await page.locator('.connection[data-state="live"]').waitFor();
  expect(await page.getByText(/Disconnected since/).count()).toBe(0);
});

test('every view fits a phone and a desk, dark and light, and shows something', async () => {
  const pictures = join(folder.path, 'pictures');
  await mkdir(pictures);
  await using view = await openView('');
  const { page } = view;
  const views = [
    '',
    '#/models/everyday10',
    '#/models/everyday10/versions/1',
    '#/models/wine/try',
    '#/upload',
    '#/history',
    '#/failures',
    '#/fleet',
  ];
  for (const [width, height] of [
    [360, 740],
    [1280, 860],
  ] as const) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      for (const [index, address] of views.entries()) {
        await page.goto(`${server.restAddress}/ui/${address}`);
        await page.locator('h1').waitFor();
        await expect.poll(() => page.locator('.waiting').count()).toBe(0);
        expect(
          await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth),
          `${address} at ${width}`,
        ).toBeLessThanOrEqual(0);
        const path = join(pictures, `${index}-${width}-${colorScheme}.png`);
        const { channels } = await sharp(await page.screenshot({ path })).stats();
        const lightness = channels.slice(0, 3).map(({ mean }) => mean);
        expect(Math.max(...channels.map(({ stdev }) => stdev)), `${address} is not blank`).toBeGreaterThan(4);
        expect(Math.min(...lightness) > 128, `${address} is ${colorScheme}`).toBe(colorScheme === 'light');
      }
    }
  }
});

function openServer(restPort: number): Promise<RunningServer> {
  return startServer({
    modelsRoot: models,
    cacheDir: join(folder.path, 'cache'),
    host: '127.0.0.1',
    restPort,
    grpcPort: 'off',
    backends: ['onnx-cpu'],
    engineThreads: 1,
    pollIntervalMs: 20,
    logLevel: 'silent',
  }).then(async (started) => {
    await started.whenReady();
    return started;
  });
}

async function labelsOf(name: string): Promise<unknown> {
  const { models: all } = (await (await fetch(`${server.restAddress}/nearfar/v1/models`)).json()) as {
    models: { name: string; labels: object }[];
  };
  return all.find((model) => model.name === name)?.labels;
}

async function openView(address: string, { restAddress } = server) {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  const problems: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(error.stack ?? error.message));
  await page.goto(`${restAddress}/ui/${address}`);
  return { page, problems, [Symbol.asyncDispose]: () => page.close() };
}

/** What axe finds wrong for those who see, hear or move otherwise. */
async function violations(page: Page): Promise<unknown> {
  // In the debugger's world, where the page's policy does not hold.
  return page.evaluate(
    `${axe.source}; axe.run().then(({ violations }) => violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html }) => html) })))`,
  );
}

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { drawModel } from '../../src/publish/index.ts';
import { launchBrowser, type TestBrowser } from '../support/browser.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot } from '../support/packed.ts';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser({ gpu: false });
});
afterAll(() => browser[Symbol.asyncDispose]());

test('the drawing of a model works from a file alone: no request, no error', async () => {
  await using drawing = await openDrawing(join(repositoryRoot, 'models/everyday10/1'));

  expect(await drawing.page.textContent('h1')).toBe('everyday10 version 1');
  expect(await drawing.page.locator('svg.graph:not([hidden]) .node').count()).toBeGreaterThan(15);
  expect(drawing.requests).toEqual([drawing.url]);
  expect(drawing.errors).toEqual([]);
});

test('a click on a node shows its shapes and weights, a click beside it nothing', async () => {
  await using drawing = await openDrawing(join(repositoryRoot, 'models/everyday10/1'));
  const { page } = drawing;

  await page.locator('.node.k-convolution').first().click();
  const told = await page.textContent('#node');
  await page.mouse.click(8, 400);

  expect(told).toContain('float32 [?, 32, 32, 24]');
  expect(told).toContain('weight 1');
  expect(await page.textContent('#node')).toContain('Choose a node');
});

test('keys go along the lines, zoom and leave; the search finds operators', async () => {
  await using drawing = await openDrawing(join(repositoryRoot, 'models/everyday10/1'));
  const { page } = drawing;
  const label = () => page.textContent('#node h3');
  const scale = () =>
    page
      .locator('svg.graph:not([hidden]) .view')
      .evaluate((view) => Number(/scale\((.*)\)/.exec(view.getAttribute('transform') ?? '')?.[1]));

  await page.focus('.node[tabindex="0"]');
  await page.keyboard.press('ArrowDown');
  const second = await label();
  await page.keyboard.press('ArrowUp');
  const first = await label();
  const before = await scale();
  await page.keyboard.press('+');
  const after = await scale();
  await page.keyboard.press('Escape');
  await page.fill('#search', 'softmax');
  await page.keyboard.press('Enter');

  expect([first, second]).toEqual(['image', 'Sub']);
  expect(after).toBeGreaterThan(before);
  expect(await page.textContent('#found')).toBe('1 found');
  expect(await label()).toBe('Softmax');
  expect(drawing.errors).toEqual([]);
});

test('dragging and the wheel move the view', async () => {
  await using drawing = await openDrawing(join(repositoryRoot, 'models/everyday10/1'));
  const { page } = drawing;
  const transform = () => page.locator('svg.graph:not([hidden]) .view').getAttribute('transform');

  const start = await transform();
  await page.mouse.move(100, 300);
  await page.mouse.down();
  await page.mouse.move(160, 380, { steps: 4 });
  await page.mouse.up();
  const dragged = await transform();
  await page.mouse.wheel(0, -300);
  await page.waitForFunction((was) => document.querySelector('svg.graph:not([hidden]) .view')?.getAttribute('transform') !== was, dragged);

  expect(dragged).not.toBe(start);
});

test('functions of the model are drawn too, and on a narrow dark screen nothing sticks out', async () => {
  await using drawing = await openDrawing(join(repositoryRoot, 'test/fixtures/savedmodel/loops'), { width: 360, height: 700 });
  const { page } = drawing;

  const [, name] = await page.locator('#graphs option').allTextContents();
  await page.selectOption('#graphs', name!);

  expect(await page.locator('svg.graph:not([hidden])').getAttribute('aria-label')).toContain(`Function ${name}`);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBe(0);
  expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe('rgb(16, 21, 28)');
  expect(drawing.errors).toEqual([]);
});

interface Drawing extends AsyncDisposable {
  readonly page: Page;
  readonly url: string;
  readonly requests: string[];
  readonly errors: string[];
}

/** @param narrow A small dark screen instead of a large light one. */
async function openDrawing(model: string, narrow?: { width: number; height: number }): Promise<Drawing> {
  const folder = await openTempFolder();
  const file = join(folder.path, 'graph.html');
  await writeFile(file, await drawModel(model));
  const page = await browser.newPage();
  const [requests, errors]: [string[], string[]] = [[], []];
  page.on('request', (request) => requests.push(request.url()));
  page.on('console', (message) => errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.emulateMedia({ colorScheme: narrow ? 'dark' : 'light' });
  await page.setViewportSize(narrow ?? { width: 1200, height: 800 });
  const url = pathToFileURL(file).href;
  await page.goto(url);
  await page.waitForFunction(() => document.documentElement.dataset['ready'] === 'true');
  return {
    page,
    url,
    requests,
    errors,
    async [Symbol.asyncDispose]() {
      await page.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { pageMounts } from './far-server.ts';

const mounts = await pageMounts();
let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser[Symbol.asyncDispose]());

test('useModel opens once under StrictMode, follows its options, reports errors and closes with its component', async () => {
  await using opened = await openTestPage(browser, { mounts, entry: 'test/browser/pages/react.ts' });
  const { page, logs } = opened;
  const output = page.locator('output');

  await output.getByText('open everyday10').waitFor();
  const first = await output.evaluate((element) => ({ ...element.dataset }));
  const workersOpen = page.workers().length;
  await page.evaluate(() => window.show('nothing'));
  await output.getByText('error').waitFor();
  const failed = await output.textContent();
  await page.evaluate(() => window.show('everyday10', { version: '1' }));
  await output.getByText('open everyday10').waitFor();
  await page.evaluate(() => window.unmount());
  await expect.poll(() => page.workers().length).toBe(0);

  expect(first).toEqual({ phase: 'ready', loaded: '1' });
  // One for the device, one for photos.
  expect(workersOpen).toBe(2);
  expect(failed).toMatch(/^error (not-found|network)$/);
  expect(logs.filter((line) => !/Failed to load resource|React DevTools/.test(line))).toEqual([]);
});

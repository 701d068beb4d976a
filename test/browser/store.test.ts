import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser, type TestPage } from '../support/browser.ts';
import { storeContract } from '../support/store-contract.ts';

let browser: TestBrowser;
let tab: TestPage;
beforeAll(async () => {
  browser = await launchBrowser({ gpu: false });
  tab = await openTestPage(browser, { entry: 'test/browser/pages/worker/main.ts' });
});
afterAll(async () => {
  await tab?.[Symbol.asyncDispose]();
  await browser?.[Symbol.asyncDispose]();
});

describe('a store in IndexedDB', () => {
  test.each(Object.keys(storeContract))('%s', (name) => tab.page.evaluate((each) => window.workers.runStoreCase(each), name));

  test('lets a later nearfar upgrade the database, and then refuses to write to it', async () => {
    expect(await tab.page.evaluate(() => window.workers.upgradeUnderStore('upgraded'))).toBe('unavailable');
  });

  test('gives way to memory, with the reason, where a later nearfar wrote the database', async () => {
    const { kind, refusal } = await tab.page.evaluate(() => window.workers.storeKind('upgraded'));

    expect(kind).toBe('memory');
    expect(refusal).toMatchObject({ code: 'unavailable' });
  });

  test('is downloaded for by a tab alone, when the one whose turn it is says nothing for long', async () => {
    const { heard, stopped } = await tab.page.evaluate(() => window.workers.waitForSilentTab(100));

    expect(heard).toEqual([[['chunk', 7]]]);
    expect(stopped).toBe('enough');
  });

  test('is opened where it can be', async () => {
    expect(await tab.page.evaluate(() => window.workers.storeKind('fresh'))).toEqual({ kind: 'indexeddb', refusal: undefined });
  });
});

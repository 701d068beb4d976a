import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import type { TestBrowser } from './browser.ts';

/** What the test apps show of an answer. */
export interface AppAnswer {
  readonly predictions: readonly { readonly label: string; readonly score: number }[];
  readonly run: {
    readonly leg: string;
    readonly engine: string;
    readonly backend: string;
    readonly model: string;
    readonly version: string;
    readonly cache?: string;
  };
}

/** Opens the app as a visitor would and reads what it shows. */
export async function classifyInApp(browser: TestBrowser, url: string, backend: string): Promise<AppAnswer> {
  const page = await browser.newPage();
  const logs: string[] = [];
  page.on('console', (message) => logs.push(message.text()));
  page.on('pageerror', (error) => logs.push(error.message));
  try {
    const options = { backends: [backend], allowSoftwareAdapter: true };
    await page.goto(`${url}?options=${encodeURIComponent(JSON.stringify(options))}`);
    return await readAnswer(page, logs);
  } finally {
    await page.close();
  }
}

/** @param logs Console of the page, shown where it gives no answer. */
export async function readAnswer(page: Page, logs: readonly string[]): Promise<AppAnswer> {
  await page.waitForSelector('html[data-state]', { state: 'attached', timeout: 120_000 }).catch((cause) => {
    throw new Error(`the app gave no answer:\n${logs.join('\n')}`, { cause });
  });
  const shown = await page.textContent('#answer');
  expect(await page.getAttribute('html', 'data-state'), `${shown}\n${logs.join('\n')}`).toBe('answered');
  return JSON.parse(shown ?? '') as AppAnswer;
}

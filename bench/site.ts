import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import sharp from 'sharp';
import type { TestBrowser } from '../test/support/browser.ts';
import { type ServerOptions, serveStatic } from '../test/support/static-server.ts';
import { buildTestPage } from '../test/support/test-page.ts';
import type { BenchModel } from './models.ts';

const sample = fileURLToPath(new URL('../demo/samples/frog.svg', import.meta.url));

/** A page of the benches on an origin of its own, with the model's repository and a photo beside it. */
export interface Site extends AsyncDisposable {
  readonly origin: string;
}

/**
 * @param entry Module of the page, in bench/pages.
 * @param options More of the server; its mounts come beside those of the model and the photo.
 */
export async function openSite(
  entry: string,
  { repository }: Pick<BenchModel, 'repository'>,
  { mounts, ...options }: ServerOptions = {},
): Promise<Site> {
  const [folder, photo] = await Promise.all([buildTestPage(`bench/pages/${entry}`), drawPhoto()]);
  return serveStatic(folder, {
    ...options,
    mounts: {
      '/models/': repository,
      '/photo.jpg': (_, response) => void response.writeHead(200, { 'content-type': 'image/jpeg' }).end(photo),
      ...mounts,
    },
  });
}

/** A JPEG of 640x480, as a user would pick one. */
function drawPhoto(): Promise<Buffer> {
  return sharp(sample).resize(640, 480, { fit: 'cover' }).flatten({ background: '#ffffff' }).jpeg({ quality: 88 }).toBuffer();
}

/**
 * Opens a page anew and gives what its module left in `window.result`.
 * @param task Handed over in the address, so that the page begins without waiting for anybody.
 */
export async function runPage<Result>(browser: TestBrowser, origin: string, task: object): Promise<Result> {
  const page = await browser.newPage();
  try {
    await page.goto(`${origin}/?${encodeURIComponent(JSON.stringify(task))}`);
    return await resultOf<Result>(page);
  } finally {
    await page.close();
  }
}

/** Opens a page and keeps it, for calls of what its module put on `window`. */
export async function openPage(browser: TestBrowser, origin: string): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`${origin}/`);
  await page.waitForFunction(() => document.documentElement.dataset['ready'] === 'true');
  return page;
}

async function resultOf<Result>(page: Page): Promise<Result> {
  await page.waitForFunction(() => 'result' in window, undefined, { timeout: 60_000 });
  return page.evaluate(() => (window as unknown as { result: Promise<Result> }).result);
}

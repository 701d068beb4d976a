import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BackendId } from '../../src/core/index.ts';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import type {} from '../support/page-engines/main.ts';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser[Symbol.asyncDispose]());

const options = {
  entry: 'test/support/page-engines/main.ts',
  mounts: { '/models/': fileURLToPath(new URL('../../models', import.meta.url)) },
};

const backends: readonly BackendId[] = ['tfjs-wasm', 'tfjs-webgpu', 'onnx-wasm', 'onnx-webgpu'];

test.each(backends)('%s reproduces the golden examples in Chromium and gives its memory back', async (backend) => {
  await using opened = await openTestPage(browser, options);

  const report = await opened.page.evaluate((id) => window.tryEngine(id), backend);

  expect(report.backend).toBe(backend);
  expect(report.largestDifference).toBeLessThan(1e-4);
  expect(report.isDistinct).toBe(true);
  expect(report.memoryLeft).toEqual({ tensors: 0, bytes: 0, variants: 0 });
  if (backend.endsWith('webgpu')) {
    expect(report.device.isFallbackAdapter).toBe(true);
    expect(report.loss).toMatchObject({ code: 'device-lost', reason: expect.any(String) });
    expect(report.loss?.reopenedDifference).toBeLessThan(1e-4);
  }
});

test('a page that runs one engine loads no code of the other', async () => {
  await using opened = await openTestPage(browser, options);

  await opened.page.evaluate(() => window.tryEngine('tfjs-wasm'));

  expect(opened.server.requests.map(({ url }) => url).filter((url) => /ort|onnx/.test(url))).toEqual([]);
});

test('software adapters and providers a browser has not are refused with the reason', async () => {
  await using opened = await openTestPage(browser, options);

  const refusals = await opened.page.evaluate(() => Promise.all([window.refusal('tfjs-webgpu'), window.refusal('onnx-cuda')]));

  expect(refusals[0]).toMatch(/^device-unfit: .*software/);
  expect(refusals[1]).toMatch(/^unsupported: .*cuda/);
});

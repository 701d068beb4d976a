import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import type {} from '../support/page-kernels/main.ts';

let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser[Symbol.asyncDispose]());

const options = { entry: 'test/support/page-kernels/main.ts' };

test.each(['tfjs-wasm', 'tfjs-webgpu'] as const)('%s answers every kernel case as the reference does in Chromium', async (backend) => {
  await using opened = await openTestPage(browser, options);

  const report = await opened.page.evaluate((id) => window.checkKernels(id), backend);

  expect(report).toEqual({ backend, unexpected: [], stale: [], memory: { tensors: 0, bytes: 0, variants: 0 } });
});

test.each(['tfjs-cpu', 'tfjs-wasm', 'tfjs-webgpu'] as const)(
  'a text model runs on %s in Chromium, its strings on the CPU',
  async (backend) => {
    await using opened = await openTestPage(browser, options);

    const { scores, clean, expected, memory } = await opened.page.evaluate((id) => window.classifyText(id), backend);

    expect(clean).toEqual(['the cat the dog', 'unseen', '']);
    for (const [index, score] of scores.entries()) expect(score).toBeCloseTo(expected[index]!, 5);
    expect(memory).toEqual({ tensors: 0, bytes: 0, variants: 0 });
  },
);

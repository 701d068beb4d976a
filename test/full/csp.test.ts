import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { repositoryRoot } from '../support/packed.ts';

// What docs/content-security-policy.md promises, with the header on every answer: the page's and the workers'.
const withWasm = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src data:";
const withoutWasm = withWasm.replace(" 'wasm-unsafe-eval'", '');
const trusted = "; require-trusted-types-for 'script'; trusted-types app";
const trustedPage = 'test/browser/pages/trusted/main.ts';
const mounts = { '/models/': join(repositoryRoot, 'models') };

const backends = [
  ['tfjs-wasm', withWasm],
  ['onnx-wasm', withWasm],
  ['tfjs-webgpu', withoutWasm],
  ['onnx-webgpu', withWasm],
] as const;
type Backend = (typeof backends)[number][0];

let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser[Symbol.asyncDispose]());

test.each(backends)(
  '%s runs under a policy with Trusted Types, its workers made by the policy of the application',
  async (backend, csp) => {
    await using opened = await openTestPage(browser, { entry: trustedPage, csp: csp + trusted, mounts });

    const answer = await classifyWhite(opened.page, backend, 'own worker');

    expect(answer).toEqual({ backend, classes: 10 });
    expect(opened.logs).toEqual([]);
  },
);

describe('without Trusted Types', () => {
  test.each(['tfjs-wasm', 'tfjs-webgpu'] as const)('%s runs in the worker of the package', async (backend) => {
    await using opened = await openTestPage(browser, { csp: backend === 'tfjs-webgpu' ? withoutWasm : withWasm, mounts });

    const answer = await classifyWhite(opened.page, backend);

    expect(answer).toEqual({ backend, classes: 10 });
    expect(opened.logs).toEqual([]);
  });

  test('a wasm backend is refused, with its reason, where the policy forbids wasm', async () => {
    await using opened = await openTestPage(browser, { csp: withoutWasm, mounts });

    const answer = await classifyWhite(opened.page, 'tfjs-wasm');

    expect(answer).toMatchObject({ message: expect.stringContaining('tfjs-wasm') });
  });
});

test('the worker of the package is refused, with the reason, where only trusted URLs start workers', async () => {
  await using opened = await openTestPage(browser, { entry: trustedPage, csp: withWasm + trusted, mounts });

  const answer = await classifyWhite(opened.page, 'tfjs-wasm');

  expect(answer).toMatchObject({ message: expect.stringContaining('TrustedScriptURL') });
});

/** Opens the built-in model on one backend in the page and classifies a white picture. */
function classifyWhite(page: Page, backend: Backend, worker: 'own worker' | 'packaged worker' = 'packaged worker') {
  return page.evaluate(
    async ([backend, worker]) => {
      const own = worker === 'own worker' ? { worker: () => window.startTrustedWorker() } : {};
      const client = window.nearfar.createClient({ models: '/models', backends: [backend], allowSoftwareAdapter: true, ...own });
      try {
        const model = await client.open('everyday10', { mode: 'only-on-device' });
        const { predictions, run } = await model.classify(new ImageData(64, 64), { topK: 10 });
        return { backend: `${run.engine}-${run.backend}`, classes: predictions.length };
      } catch (error) {
        return { message: String(error) };
      } finally {
        await client.close();
      }
    },
    [backend, worker] as const,
  );
}

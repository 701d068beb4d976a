import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { repositoryRoot } from '../support/packed.ts';

// What docs/bundlers.md promises about Content-Security-Policy.
const withWasm = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src data:";
const withoutWasm = withWasm.replace(" 'wasm-unsafe-eval'", '');

let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser[Symbol.asyncDispose]());

test.each([
  ['tfjs-wasm', withWasm],
  ['onnx-wasm', withWasm],
  ['tfjs-webgpu', withoutWasm],
] as const)('%s runs under the policy that the documentation names', async (backend, csp) => {
  await using opened = await openTestPage(browser, { csp, mounts: { '/models/': join(repositoryRoot, 'models') } });

  const answer = await opened.page.evaluate(classifyWhite, backend);

  expect(answer).toEqual({ backend, classes: 10 });
});

test('a wasm backend is refused, with its reason, where the policy forbids wasm', async () => {
  await using opened = await openTestPage(browser, { csp: withoutWasm, mounts: { '/models/': join(repositoryRoot, 'models') } });

  const answer = await opened.page.evaluate(classifyWhite, 'tfjs-wasm' as const);

  expect(answer).toMatchObject({ message: expect.stringContaining('tfjs-wasm') });
});

/** Runs in the page: opens the built-in model on one backend and classifies a white picture. */
async function classifyWhite(backend: 'tfjs-wasm' | 'onnx-wasm' | 'tfjs-webgpu') {
  const client = window.nearfar.createClient({ models: '/models', backends: [backend], allowSoftwareAdapter: true });
  try {
    const model = await client.open('everyday10', { mode: 'only-on-device' });
    const { predictions, run } = await model.classify(new ImageData(64, 64), { topK: 10 });
    return { backend: `${run.engine}-${run.backend}`, classes: predictions.length };
  } catch (error) {
    return { message: String(error) };
  } finally {
    await client.close();
  }
}

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BackendId } from '../../src/core/index.ts';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { outerProduct, outerProductOnnx } from '../support/outer-product.ts';
import { publishSource } from '../support/task-models.ts';
import { type FarServer, openFarServer } from './far-server.ts';

// Calls that need more memory than there is: WebAssembly has little in this browser, by a flag of V8, and the server has more.

let browser: TestBrowser;
let far: FarServer;
let folder: Awaited<ReturnType<typeof openTempFolder>>;

beforeAll(async () => {
  folder = await openTempFolder();
  await publishSource(folder.path, 'tfjs', outerProduct());
  await publishSource(folder.path, 'onnx', outerProductOnnx());
  [browser, far] = await Promise.all([
    launchBrowser({ args: ['--js-flags=--wasm-max-mem-pages=8192'] }),
    openFarServer(folder.path, ['tfjs-wasm', 'onnx-cpu']),
  ]);
});
afterAll(async () => {
  await browser[Symbol.asyncDispose]();
  await far[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** Calls with vectors of ones of these lengths, one after the other. */
async function ask(backend: BackendId, lengths: readonly number[], mode: 'only-on-device' | 'prefer-on-device' = 'only-on-device') {
  await using opened = await openTestPage(browser, { mounts: { '/models/': folder.path } });
  return await opened.page.evaluate(
    async ({ backend, lengths, mode, server }) => {
      const client = window.nearfar.createClient({ models: '/models', server, backends: [backend], allowSoftwareAdapter: true });
      const model = await client.open(backend.slice(0, 4), { mode });
      if (model.info.leg !== 'on-device') await new Promise((ready) => model.addEventListener('switch', ready, { once: true }));
      const answers = [];
      for (const length of lengths) {
        const x = { dtype: 'float32' as const, shape: [length], data: new Float32Array(length).fill(1) };
        answers.push(
          await model.predict({ x }).then(
            ({ outputs, run }) => ({ y: Number(outputs['y']!.data[0]), leg: run.leg, fallback: run.fallback?.code }),
            ({ code }: { code: string }) => ({ code }),
          ),
        );
      }
      await client.close();
      return answers;
    },
    { backend, lengths, mode, server: far.url },
  );
}

test.each([
  ['tfjs-wasm', 9_000],
  ['onnx-wasm', 9_000],
  ['tfjs-webgpu', 40_000],
  ['onnx-webgpu', 40_000],
] as const)('%s refuses what it has no memory for, and answers the next call', async (backend, length) => {
  const answers = await ask(backend, [3, length, 4]);

  expect(answers).toEqual([{ y: -9, leg: 'on-device' }, { code: 'out-of-memory' }, { y: -16, leg: 'on-device' }]);
});

test('what the device has no memory for is answered by the server in the same call', async () => {
  const [small, large] = await ask('tfjs-wasm', [3, 9_000], 'prefer-on-device');

  expect(small).toEqual({ y: -9, leg: 'on-device' });
  // float32 counts no further by ones.
  expect(large).toEqual({ y: expect.toSatisfy((y: number) => y <= -(2 ** 24)), leg: 'server', fallback: 'out-of-memory' });
});

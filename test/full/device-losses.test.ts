import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { createDenseRepository, denseWidth } from '../support/dense-model.ts';
import { loseAgainAndAgain } from '../support/loss-cycles.ts';

// What many losses of the GPU leave behind, counted. WebGPU is SwiftShader, whose devices are destroyed as a driver's reset does.

let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser[Symbol.asyncDispose]());

test('50 losses under a call: each is answered, and devices, buffers and workers are what they were after the first', async () => {
  await using repository = await createDenseRepository();
  await using opened = await openTestPage(browser, { mounts: { '/models/': repository.folder } });
  const inputs = { x: { shape: [1, denseWidth], values: Array(denseWidth).fill(1) } };

  const cycles = await loseAgainAndAgain(opened, { name: repository.name, backend: 'tfjs-webgpu', times: 50, inputs });

  expect(cycles).toHaveLength(50);
  const [first] = cycles;
  for (const { runs, ...counts } of cycles) {
    expect(runs.map(({ backend }) => backend)).toEqual(['webgpu', 'webgpu']);
    expect(counts).toEqual({ values: first?.values, devices: 1, workers: 1, buffers: first?.buffers });
  }
});

test('a model of many layers on either engine comes back from 3 losses with the same numbers', async () => {
  const models = fileURLToPath(new URL('../../models', import.meta.url));
  const inputs = { image: { shape: [1, 32, 32, 3], values: Array.from({ length: 3072 }, (_, index) => (index % 256) / 255) } };
  for (const backend of ['tfjs-webgpu', 'onnx-webgpu'] as const) {
    await using opened = await openTestPage(browser, { mounts: { '/models/': models } });

    const cycles = await loseAgainAndAgain(opened, { name: 'everyday10', backend, times: 3, inputs });

    for (const { values, devices, workers } of cycles) {
      expect({ values, devices, workers }).toEqual({ values: cycles[0]?.values, devices: 1, workers: 2 });
    }
  }
});

test('50 losses in the device worker: its models, tensors and bytes are what they were', async () => {
  await using repository = await createDenseRepository();
  const entry = 'test/browser/pages/worker/main.ts';
  await using tab = await openTestPage(browser, { entry, mounts: { '/models/': repository.folder } });

  const seen = await tab.page.evaluate(
    async ({ origin, name }) => {
      const request = {
        name,
        repositories: [`${origin}/models`],
        choice: {},
        backends: ['tfjs-webgpu' as const],
        allowSoftwareAdapter: true,
        cacheBudgetBytes: 1e9,
      };
      const stats = [];
      let lost: number | undefined;
      for (let cycle = 0; cycle <= 50; cycle += 1) {
        const { value: model, error } = await window.workers.open(request);
        if (!model) throw new Error(error?.message);
        if (lost !== undefined) await window.workers.close(lost);
        stats.push(await window.workers.stats());
        await window.workers.loseDevice(model.handle);
        lost = model.handle;
      }
      if (lost !== undefined) await window.workers.close(lost);
      return { stats, after: await window.workers.stats() };
    },
    { origin: tab.server.origin, name: repository.name },
  );

  expect(seen.stats).toHaveLength(51);
  for (const each of seen.stats) expect(each).toEqual({ ...seen.stats[0], models: 1 });
  expect(seen.after).toEqual({ models: 0, tensors: 0, bytes: 0 });
});

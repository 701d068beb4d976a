import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compareOutputs } from '../../src/core/index.ts';
import { launchBrowser, openTestPage } from '../support/browser.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';
import { golden, goldenTolerance, openServingBench, predict, type ServingBench, statesOf, until } from '../support/serving.ts';

// Long runs over the life of versions: what is lost and what is left behind after many of them.

let bench: ServingBench;
beforeEach(async () => {
  bench = await openServingBench();
});
afterEach(() => bench[Symbol.asyncDispose]());

test('30 swaps under 8 callers fail no request, answer from loaded versions only, and give their memory back', async () => {
  const swaps = 30;
  await copyEveryday10(bench.modelFolder, '1');
  const serving = bench.open();
  await serving.whenReady();
  const memory: number[] = [];
  let current = 1;
  let answers = 0;
  let isDone = false;
  const callers = Array.from({ length: 8 }, async () => {
    while (!isDone) {
      const before = current;
      const { version, outputs } = await predict(serving);
      expect(Number(version)).toBeGreaterThanOrEqual(before);
      expect(compareOutputs(golden.outputs, outputs, goldenTolerance).isWithin).toBe(true);
      answers += 1;
    }
  });

  for (let version = 2; version <= swaps + 1; version += 1) {
    await copyEveryday10(bench.modelFolder, String(version));
    await until(() => statesOf(serving)[version] === 'AVAILABLE' && !Object.values(statesOf(serving)).includes('UNLOADING'));
    current = version;
    memory.push(process.memoryUsage().rss);
  }
  isDone = true;
  await Promise.all(callers);

  expect(answers).toBeGreaterThan(swaps);
  // The first swaps warm the allocators up; from then on memory stays where it is, with room for the noise of two cores.
  expect(median(memory.slice(-5)) / median(memory.slice(8, 13))).toBeLessThan(1.15);
});

test.each(['onnx-cpu', 'tfjs-wasm'])(
  '1,000 times loaded, asked and unloaded on %s, memory is within a tenth of where it was after 50',
  async (backend) => {
    const script = join(repositoryRoot, 'test/support/load-rounds.mjs');

    const { status, stdout } = await runCommand(process.execPath, [script, join(repositoryRoot, 'models/everyday10/1'), backend, '1000']);

    expect(status).toBe(0);
    const memory: number[] = JSON.parse(stdout);
    expect(memory).toHaveLength(1000);
    expect(median(memory.slice(-50)) / median(memory.slice(25, 75))).toBeLessThan(1.1);
  },
);

test('200 times opened, used and closed in Chromium: models, tensors and bytes of the worker are back where they began', async () => {
  await using browser = await launchBrowser();
  const models = fileURLToPath(new URL('../../models', import.meta.url));
  await using tab = await openTestPage(browser, { entry: 'test/browser/pages/worker/main.ts', mounts: { '/models/': models } });

  const seen = await tab.page.evaluate(async (origin) => {
    const request = {
      name: 'everyday10',
      repositories: [`${origin}/models`],
      choice: {},
      backends: ['tfjs-wasm' as const],
      allowSoftwareAdapter: false,
      cacheBudgetBytes: 2 ** 29,
    };
    let during: unknown;
    for (let round = 0; round < 200; round += 1) {
      const { value: model, error } = await window.workers.open(request);
      if (!model) throw new Error(error?.message);
      during = await window.workers.stats();
      await window.workers.close(model.handle);
    }
    return { during, after: await window.workers.stats() };
  }, tab.server.origin);

  expect(seen.during).toMatchObject({ models: 1 });
  expect(seen.after).toEqual({ models: 0, tensors: 0, bytes: 0 });
});

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

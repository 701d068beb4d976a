import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compareOutputs, decodeInferResponse, encodeInferRequest, inferenceHeaderLengthName } from '../../src/core/index.ts';
import { startServer } from '../../src/server/index.ts';
import { launchBrowser, openTestPage } from '../support/browser.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';
import { golden, goldenTolerance, openServingBench, type ServingBench, until } from '../support/serving.ts';

// Long runs over the life of versions: what is lost and what is left behind after many of them.

let bench: ServingBench;
beforeEach(async () => {
  bench = await openServingBench();
});
afterEach(() => bench[Symbol.asyncDispose]());

test('50 swaps under 64 callers over HTTP fail no request, answer from loaded versions only, and give their memory back', async () => {
  const swaps = 50;
  await copyEveryday10(bench.modelFolder, '1');
  await using server = await startServer({
    modelsRoot: join(bench.folder, 'models'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    pollIntervalMs: 50,
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    logLevel: 'silent',
  });
  await server.whenReady();
  const states = () =>
    Object.fromEntries(server.servables.status({ name: 'everyday10' }).map(({ version, state }) => [version, state])) as Record<
      string,
      string
    >;
  const { body, headerLength } = encodeInferRequest({ inputs: golden.inputs });
  const ask = async () => {
    const headers = { 'content-type': 'application/octet-stream', [inferenceHeaderLengthName]: String(headerLength) };
    const response = await fetch(`${server.restAddress}/v2/models/everyday10/infer`, { method: 'POST', headers, body });
    const answer = new Uint8Array(await response.arrayBuffer());
    if (response.status !== 200) throw new Error(`${response.status}: ${new TextDecoder().decode(answer)}`);
    return decodeInferResponse(answer, Number(response.headers.get(inferenceHeaderLengthName)));
  };
  const memory: number[] = [];
  let oldest = 1;
  let answers = 0;
  let isDone = false;
  const callers = Array.from({ length: 64 }, async () => {
    while (!isDone) {
      const loaded = oldest;
      const { modelVersion, outputs } = await ask();
      // Older ones had ended when it was sent; newer ones may have come since.
      expect(Number(modelVersion)).toBeGreaterThanOrEqual(loaded);
      expect(compareOutputs(golden.outputs, outputs, goldenTolerance).isWithin).toBe(true);
      answers += 1;
    }
  });

  for (let version = 2; version <= swaps + 1; version += 1) {
    await copyEveryday10(bench.modelFolder, String(version));
    await until(() => states()[version] === 'AVAILABLE' && !Object.values(states()).includes('UNLOADING'));
    oldest = version;
    await rm(join(bench.modelFolder, String(version - 1)), { recursive: true });
    memory.push(process.memoryUsage().rss);
  }
  isDone = true;
  await Promise.all(callers);

  expect(answers).toBeGreaterThan(64 * swaps);
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

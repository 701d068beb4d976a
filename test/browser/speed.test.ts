import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { createDenseRepository, denseWidth } from '../support/dense-model.ts';

// What the device leg does to be fast, on real engines in real workers.

let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser[Symbol.asyncDispose]());

describe('a burst of calls', () => {
  /** Asks for rows one after the other, then for all at once, until some of them shared a run or a few times. */
  async function askInBursts(backend: 'tfjs-webgpu' | 'tfjs-wasm', mixesRows: boolean) {
    await using repository = await createDenseRepository({ mixesRows });
    await using opened = await openTestPage(browser, { mounts: { '/models/': repository.folder } });
    return await opened.page.evaluate(
      async ({ name, backend, width }) => {
        const client = window.nearfar.createClient({ models: '/models', backends: [backend], allowSoftwareAdapter: true });
        const model = await client.open(name, { mode: 'only-on-device' });
        const rows = Array.from({ length: 33 }, (_, row) =>
          Float32Array.from({ length: width }, (_, column) => Math.sin(row * width + column)),
        );
        const ask = async (data: Float32Array<ArrayBuffer>) => {
          const { outputs, run } = await model.predict({ x: { dtype: 'float32', shape: [1, width], data } });
          return { y: [...(outputs['y']?.data ?? [])].map(Number), batchSize: run.timing.batchSize ?? 1 };
        };
        const alone = [];
        for (const row of rows) alone.push(await ask(row));
        const bursts: Awaited<ReturnType<typeof ask>>[][] = [];
        while (bursts.length < 6 && !bursts.flat().some(({ batchSize }) => batchSize > 1)) bursts.push(await Promise.all(rows.map(ask)));
        await client.close();
        return { alone, bursts };
      },
      { name: repository.name, backend, width: denseWidth },
    );
  }

  test.each(['tfjs-webgpu', 'tfjs-wasm'] as const)('on %s shares runs, and each gets the answer that it gets alone', async (backend) => {
    const { alone, bursts } = await askInBursts(backend, false);

    expect(Math.max(...bursts.flat().map(({ batchSize }) => batchSize))).toBeGreaterThan(1);
    for (const burst of bursts) {
      for (const [row, { y }] of burst.entries()) {
        for (const [column, value] of y.entries()) expect(value).toBeCloseTo(alone[row]?.y[column] ?? Number.NaN, 5);
      }
    }
  });

  test('of a model whose rows depend on one another shares none', async () => {
    const { alone, bursts } = await askInBursts('tfjs-wasm', true);

    expect(bursts.flat().map(({ batchSize }) => batchSize)).toEqual(Array(6 * 33).fill(1));
    expect(bursts.flat().map(({ y }) => y)).toEqual(
      Array(6)
        .fill(alone.map(({ y }) => y))
        .flat(),
    );
  });
});

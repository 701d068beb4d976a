import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { createDenseRepository, denseWidth } from '../support/dense-model.ts';
import { createFaultyRepository } from '../support/fault-server.ts';
import { stepsWithLongTasks, watchLongTasks } from '../support/long-tasks.ts';
import { models, openFarServer, pageMounts } from './far-server.ts';

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
    let { alone, bursts } = await askInBursts(backend, false);
    const sizes = () => bursts.flat().map(({ batchSize }) => batchSize);
    // Sharing is a matter of measured time, which a busy machine upsets.
    for (let visit = 1; visit < 5 && Math.max(...sizes()) === 1; visit += 1) ({ alone, bursts } = await askInBursts(backend, false));

    expect(Math.max(...sizes())).toBeGreaterThan(1);
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

describe('inputs that are given away', () => {
  /** An open model on the page, and a row that is asked about with and without giving it away. */
  async function openModelPage(options: { server?: string; hangTimeoutMs?: number }) {
    const opened = await openTestPage(browser, { mounts: await pageMounts() });
    await opened.page.evaluate(async ({ server, hangTimeoutMs }) => {
      const client = window.nearfar.createClient({
        models: '/models',
        server,
        hangTimeoutMs,
        backends: ['tfjs-wasm'],
      });
      const model = await client.open('everyday10', { mode: server ? 'prefer-on-device' : 'only-on-device' });
      while (model.info.leg !== 'on-device') await new Promise((resolve) => model.addEventListener('switch', resolve, { once: true }));
      const pixels = () => Float32Array.from({ length: 32 * 32 * 3 }, (_, index) => (Math.sin(index / 50) + 1) / 2);
      const ask = async (data: Float32Array<ArrayBuffer>, transfer: boolean) => {
        const image = { dtype: 'float32', shape: [1, 32, 32, 3], data } as const;
        const asking = model.predict({ image }, { transfer });
        const bytesLeft = data.byteLength;
        if (!transfer) data.fill(0);
        const { outputs, run } = await asking;
        const scores = [...(outputs['probabilities']?.data ?? [])].map(Number);
        return { bytesLeft, scores, leg: run.leg, fallback: run.fallback?.code };
      };
      Object.assign(window, { client, model, pixels, ask });
    }, options);
    return opened;
  }
  interface ModelPage {
    client: import('nearfar').Client;
    model: import('nearfar').Model;
    pixels: () => Float32Array<ArrayBuffer>;
    ask: (
      data: Float32Array<ArrayBuffer>,
      transfer: boolean,
    ) => Promise<{ bytesLeft: number; scores: number[]; leg: string; fallback: string | undefined }>;
  }

  test('are empty from the call on and give the same answer; those of a copied call stay, and may change', async () => {
    await using opened = await openModelPage({});

    const seen = await opened.page.evaluate(async () => {
      const { ask, pixels, client, model } = window as unknown as ModelPage;
      const copied = await ask(pixels(), false);
      const given = await ask(pixels(), true);
      const memory = new Float32Array(new WebAssembly.Memory({ initial: 1 }).buffer, 0, 32 * 32 * 3);
      const code = await ask(memory, true).catch((error) => error.code);
      const bitmap = await createImageBitmap(new ImageData(40, 40));
      const frame = new VideoFrame(bitmap, { timestamp: 0 });
      const data = new ImageData(40, 40);
      for (const photo of [bitmap, frame, data]) await model.classify(photo, { transfer: true });
      await client.close();
      return { copied, given, code, left: [bitmap.width, frame.codedWidth, data.data.length] };
    });

    const bytes = 32 * 32 * 3 * 4;
    expect(seen.copied).toMatchObject({ bytesLeft: bytes, leg: 'on-device' });
    expect(seen.given).toEqual({ ...seen.copied, bytesLeft: 0 });
    expect(seen.code).toBe('invalid-argument');
    expect(seen.left).toEqual([0, 0, 0]);
  });

  test.each([true, false])('or copied (given: %s) reach the server as they were when the device worker hangs', async (transfer) => {
    await using far = await openFarServer();
    await using opened = await openModelPage({ server: far.url, hangTimeoutMs: 1_000 });

    const seen = await opened.page.evaluate(async (transfer) => {
      const { ask, pixels, client, model } = window as unknown as ModelPage;
      const near = await ask(pixels(), false);
      model.faults.hangDevice(60_000);
      const far = await ask(pixels(), transfer);
      await client.close();
      return { near, far };
    }, transfer);

    expect(seen.far).toMatchObject({ leg: 'server', fallback: 'device-lost' });
    for (const [index, score] of seen.far.scores.entries()) expect(score).toBeCloseTo(seen.near.scores[index] ?? Number.NaN, 4);
  });

  test('come back from a GPU that was lost under the call, which is run again', async () => {
    await using repository = await createDenseRepository();
    await using opened = await openTestPage(browser, { mounts: { '/models/': repository.folder } });

    const seen = await opened.page.evaluate(
      async ({ name, width }) => {
        const client = window.nearfar.createClient({ models: '/models', backends: ['tfjs-webgpu'], allowSoftwareAdapter: true });
        const model = await client.open(name, { mode: 'only-on-device' });
        const ask = async () => {
          const x = { dtype: 'float32', shape: [1, width], data: new Float32Array(width).fill(1) } as const;
          const { outputs, run } = await model.predict({ x }, { transfer: true });
          return { bytesLeft: x.data.byteLength, y: [...(outputs['y']?.data ?? [])], fallback: run.fallback?.code };
        };
        const before = await ask();
        const losing = model.faults.loseDevice();
        const after = await ask();
        await losing;
        await client.close();
        return { before, after };
      },
      { name: repository.name, width: denseWidth },
    );

    expect(seen.before).toMatchObject({ bytesLeft: 0, fallback: undefined });
    expect(seen.after).toEqual({ ...seen.before, fallback: 'device-lost' });
  });

  test('are gone with a device worker that ends, where nobody else could be asked: the error says so', async () => {
    await using opened = await openModelPage({ hangTimeoutMs: 1_000 });

    const error = await opened.page.evaluate(async () => {
      const { ask, pixels, client, model } = window as unknown as ModelPage;
      model.faults.hangDevice(60_000);
      const error = await ask(pixels(), true).catch(({ code, message }) => ({ code, message }));
      await client.close();
      return error;
    });

    expect(error).toMatchObject({ code: 'unavailable', message: expect.stringMatching(/no sign of life.*option transfer/) });
  });
});

test('no task of the page takes more than 50 ms while a model is downloaded, compiled and asked about photos of every kind', async () => {
  const seen: string[][] = [];

  const long = await stepsWithLongTasks(async () => {
    const visit = await watchLongTasks(browser, { mounts: await pageMounts() }, 'everyday10', 'tfjs-wasm');
    seen.push(visit.steps);
    return visit;
  });

  expect(long).toEqual([]);
  const steps = ['start', 'download', 'compile', 'ready', 'blob', 'file', 'image', 'canvas', 'video', 'frame', 'bitmap', 'data', 'close'];
  expect(seen[0]?.filter((step) => steps.includes(step))).toEqual(steps);
});

test.each(['tfjs-wasm', 'onnx-wasm'] as const)('the engine of %s is fetched while the weights are on their way', async (backend) => {
  const repository = createFaultyRepository(models, '/models/');
  await using opened = await openTestPage(browser, { mounts: { ...(await pageMounts()), '/models/': repository.handler } });
  const isFetched = () => opened.server.requests.some(({ url }) => /\/assets\/.*\.wasm$/.test(url));
  const fetched = expect.poll(isFetched, { timeout: 30_000 }).toBe(true);
  // Were the weights waited for first, this would wait for ever.
  repository.fail((path) => (/weights\.bin$|\.onnx$/.test(path) ? { until: fetched } : undefined));

  const phases = await opened.page.evaluate(async (backend) => {
    const client = window.nearfar.createClient({ models: '/models', backends: [backend] });
    const phases: string[] = [];
    client.addEventListener('phase', ({ detail }) => phases.push(detail.phase));
    await client.open('everyday10', { mode: 'only-on-device' });
    await client.close();
    return phases;
  }, backend);

  await fetched;
  expect(phases).toEqual(['download', 'verify', 'compile', 'warm-up', 'ready']);
});

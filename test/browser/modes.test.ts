import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { createFaultyRepository } from '../support/fault-server.ts';
import { type FarServer, models, openFarServer, pageMounts } from './far-server.ts';

// The four modes, with a real server on another origin. The device runs wasm: which backend it is does not matter here.

const mounts = await pageMounts();
let browser: TestBrowser;
let far: FarServer;
beforeAll(async () => {
  [browser, far] = await Promise.all([launchBrowser(), openFarServer()]);
});
afterAll(async () => {
  await browser[Symbol.asyncDispose]();
  await far[Symbol.asyncDispose]();
});

test('prefer-on-device: the server answers while the model downloads, then the device, with no call dropped and the same answer', async () => {
  await using own = await launchBrowser();
  const repository = createFaultyRepository(models, '/models/');
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  repository.fail((path) => (path.endsWith('weights.bin') ? { until: held } : undefined));
  await using opened = await openTestPage(own, { mounts: { ...mounts, '/models/': repository.handler } });
  const { page } = opened;

  const during = await page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
    const downloading = new Promise<void>((resolve) => {
      client.addEventListener('phase', ({ detail }) => detail.phase === 'download' && resolve());
    });
    const model = await client.open('everyday10');
    const events: string[] = [];
    model.addEventListener('switch', ({ detail }) => events.push(`${detail.from} to ${detail.to}`));
    const first = await model.classify('/photos/boat.png');
    // The server may be quicker than the device is at starting its engine, which comes before the download.
    await downloading;
    const state = (await client.availability('everyday10')).state;
    Object.assign(window, { client, model, events });
    return { first, state };
  }, far.url);
  release();
  const after = await page.evaluate(async () => {
    const { client, model, events } = window as unknown as Window & {
      client: import('nearfar').Client;
      model: import('nearfar').Model;
      events: string[];
    };
    const legs: string[] = [];
    let last = await model.classify('/photos/boat.png');
    while (last.run.leg === 'server') {
      legs.push(last.run.leg);
      last = await model.classify('/photos/boat.png');
    }
    await client.close();
    return { last, legs, events };
  });

  expect(during.first.run).toMatchObject({ leg: 'server', engine: 'onnx', backend: 'cpu' });
  expect(during.first.run.fallback).toMatchObject({ from: 'on-device', code: 'unavailable' });
  expect(during.state).toBe('downloading');
  expect(after.last.run).toMatchObject({ leg: 'on-device', engine: 'tfjs', backend: 'wasm', digest: during.first.run.digest });
  expect(after.last.run).not.toHaveProperty('fallback');
  expect(after.events).toEqual(['server to on-device']);
  expectSameAnswer(after.last.predictions, during.first.predictions);
});

test('only-on-device: the server hears nothing', async () => {
  await using opened = await openTestPage(browser, { mounts });
  const before = far.paths.length;

  const run = await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
    const model = await client.open('everyday10', { mode: 'only-on-device' });
    const { run } = await model.classify('/photos/boat.png');
    await client.close();
    return run;
  }, far.url);

  expect(run.leg).toBe('on-device');
  expect(far.paths).toHaveLength(before);
});

test('only-server: no device worker and no weights', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const answer = await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server });
    const model = await client.open('everyday10', { mode: 'only-server' });
    const answer = await model.classify('/photos/boat.png');
    Object.assign(window, { client });
    return answer;
  }, far.url);

  expect(answer.run).toMatchObject({ leg: 'server', engine: 'onnx', backend: 'cpu', version: '1' });
  expect(answer.run).not.toHaveProperty('fallback');
  expect(answer.predictions).toHaveLength(5);
  expect(opened.page.workers()).toHaveLength(1);
  expect(opened.server.requests.filter(({ url }) => url.includes('weights.bin'))).toEqual([]);
});

test('prefer-server: the server answers, the device stands by, and both agree', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const [first, second] = await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
    const model = await client.open('everyday10', { mode: 'prefer-server' });
    const first = await model.classify('/photos/boat.png');
    model.faults.cutServer(true);
    const second = await model.classify('/photos/boat.png');
    await client.close();
    return [first, second] as const;
  }, far.url);

  expect(first.run).toMatchObject({ leg: 'server' });
  expect(first.run).not.toHaveProperty('fallback');
  expect(second.run).toMatchObject({ leg: 'on-device', fallback: { from: 'server', code: 'network' } });
  expectSameAnswer(second.predictions, first.predictions);
});

test('tensors give the same outputs near and far', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const [near, distant] = await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
    const outputs: number[][] = [];
    for (const mode of ['only-on-device', 'only-server'] as const) {
      const model = await client.open('everyday10', { mode });
      const data = Float32Array.from({ length: 2 * 32 * 32 * 3 }, (_, index) => (index % 97) / 97);
      const answer = await model.predict({ image: { dtype: 'float32', shape: [2, 32, 32, 3], data } });
      const output = answer.outputs['probabilities'];
      if (output?.dtype === 'float32') outputs.push([...output.data]);
    }
    await client.close();
    return outputs;
  }, far.url);

  expect(near).toHaveLength(20);
  for (const [index, value] of (near ?? []).entries()) expect(value).toBeCloseTo(distant?.[index] ?? Number.NaN, 3);
});

/** Same classes in the same order where they differ by more than the tolerance, scores within 1e-3. */
function expectSameAnswer(got: readonly { label: string; score: number }[], want: readonly { label: string; score: number }[]) {
  expect(got[0]?.label).toBe(want[0]?.label);
  const scores = new Map(want.map(({ label, score }) => [label, score]));
  for (const { label, score } of got) expect(Math.abs(score - (scores.get(label) ?? score))).toBeLessThan(1e-3);
}

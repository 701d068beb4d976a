import type { Request } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { type FarServer, openFarServer, pageMounts } from './far-server.ts';
import type {} from './pages/reporter/main.ts';

// What is told about calls, and to whom: nothing to anyone, unless the application makes a reporter.

const mounts = await pageMounts();
let browser: TestBrowser;
let far: FarServer;
let requests: Request[] = [];
beforeAll(async () => {
  [browser, far] = await Promise.all([launchBrowser(), openFarServer()]);
  browser.context.on('request', (request) => requests.push(request));
});
afterAll(async () => {
  await browser[Symbol.asyncDispose]();
  await far[Symbol.asyncDispose]();
});

interface OpenPage {
  client: import('nearfar').Client;
  model: import('nearfar').Model;
  photo: Blob;
  runs: import('nearfar').RunReport[];
}

test('every report of a call goes to the application and nowhere else; a reporter sends summaries of them, and only those', async () => {
  await using opened = await openTestPage(browser, { mounts, entry: 'test/browser/pages/reporter/main.ts' });
  const { page } = opened;
  await page.evaluate(async () => {
    const client = window.nearfar.createClient({ models: '/models', backends: ['tfjs-wasm'] });
    const runs: unknown[] = [];
    client.addEventListener('run', ({ detail }) => runs.push(detail.run));
    const photo = await (await fetch('/photos/boat.png')).blob();
    const model = await client.open('everyday10');
    await model.classify(photo);
    Object.assign(window, { open: { client, model, photo, runs } });
  });
  requests = [];

  const told = await page.evaluate(async () => {
    const { model, photo, runs } = (window as unknown as { open: OpenPage }).open;
    for (let call = 0; call < 3; call += 1) await model.classify(photo);
    return runs.length;
  });
  const unasked = requests.map((request) => request.url());
  const sent = page.waitForRequest(/nearfar\/v1\/reports/);
  await page.evaluate(async (url) => {
    const { client, model, photo } = (window as unknown as { open: OpenPage }).open;
    const reporter = window.reporter.createReporter(client, { url, sampleRate: 1 });
    for (let call = 0; call < 5; call += 1) await model.classify(photo);
    await reporter.close();
    await reporter.close();
    await model.classify(photo);
    await client.close();
  }, far.url);
  const body = JSON.parse((await sent).postData() ?? '');
  const { rows } = await (await fetch(`${far.url}/nearfar/v1/reports`)).json();

  expect(told).toBe(4);
  expect(unasked).toEqual([]);
  expect(body.reports).toHaveLength(5);
  for (const report of body.reports) {
    expect(Object.keys(report).sort()).toEqual(['backend', 'device', 'leg', 'model', 'totalMs', 'version']);
    expect(report).toMatchObject({ model: 'everyday10', version: '1', device: 'desktop', leg: 'on-device', backend: 'tfjs-wasm' });
  }
  expect(rows).toMatchObject([{ model: 'everyday10', version: '1', device: 'desktop', runs: 5, nearShare: 1 }]);
  expect(requests.filter((request) => request.method() === 'POST')).toHaveLength(1);
});

test('a page that goes leaves its reports behind as a beacon; a sample of none sends none', async () => {
  await using opened = await openTestPage(browser, { mounts, entry: 'test/browser/pages/reporter/main.ts' });
  const { page } = opened;
  const [row] = (await (await fetch(`${far.url}/nearfar/v1/reports`)).json()).rows;
  const before = row?.runs ?? 0;
  await page.evaluate(async (url) => {
    const client = window.nearfar.createClient({ models: '/models', server: url });
    window.reporter.createReporter(client, { url, sampleRate: 0 });
    window.reporter.createReporter(client, { url, sampleRate: 1 });
    const model = await client.open('everyday10', { mode: 'only-server' });
    await model.classify('/photos/boat.png');
  }, far.url);

  await page.goto('about:blank');

  // The browser shows no request of a page that is gone: the server tells.
  await expect
    .poll(async () => (await (await fetch(`${far.url}/nearfar/v1/reports`)).json()).rows)
    .toMatchObject([{ runs: before + 1, latencyMs: { server: { p50: expect.any(Number) } } }]);
});

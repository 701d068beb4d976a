import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { type FarServer, openFarServer, pageMounts } from './far-server.ts';

// What breaks under a call, in a real browser, and who answers then.

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

test('a GPU that is lost: the server answers and says why, then the device is back', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const seen = await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, allowSoftwareAdapter: true });
    const model = await client.open('everyday10');
    const events: string[] = [];
    const onDevice = () =>
      new Promise<void>((resolve) => {
        const check = () => model.info.leg === 'on-device' && resolve();
        model.addEventListener('switch', check);
        check();
      });
    await onDevice();
    for (const type of ['device-lost', 'fallback', 'switch'] as const) {
      model.addEventListener(type, ({ detail }) => events.push(`${type}: ${detail.reason}`));
    }
    const before = await model.classify('/photos/boat.png');
    const calls = [model.classify('/photos/boat.png'), model.classify('/photos/boat.png')];
    await model.faults.loseDevice();
    calls.push(model.classify('/photos/boat.png'));
    const during = await Promise.all(calls);
    await onDevice();
    const after = await model.classify('/photos/boat.png');
    await client.close();
    return { before, during, after, events };
  }, far.url);

  const label = seen.before.predictions[0]?.label;
  expect(seen.before.run).toMatchObject({ leg: 'on-device', backend: 'webgpu' });
  expect(seen.during.map(({ predictions }) => predictions[0]?.label)).toEqual([label, label, label]);
  expect(seen.during.at(-1)?.run).toMatchObject({ leg: 'server', fallback: { from: 'on-device', code: 'device-lost' } });
  expect(seen.after.run).toMatchObject({ leg: 'on-device', backend: 'webgpu', cache: 'hit' });
  expect(seen.events.filter((event) => event.startsWith('device-lost'))).toHaveLength(1);
  expect(seen.events.filter((event) => event.startsWith('switch'))).toHaveLength(2);
});

test('a device worker that hangs is terminated; the media worker lives and gets the answer from the server', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const seen = await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'], hangTimeoutMs: 1_000 });
    const model = await client.open('everyday10');
    while (model.info.leg === 'server') await new Promise((resolve) => model.addEventListener('switch', resolve, { once: true }));
    model.faults.hangDevice(3_600_000);
    const startedAt = performance.now();
    const during = await model.classify('/photos/boat.png');
    const waitedMs = performance.now() - startedAt;
    const isNear = (leg: string) => leg === 'on-device';
    while (!isNear(model.info.leg)) await new Promise((resolve) => model.addEventListener('switch', resolve, { once: true }));
    const after = await model.classify('/photos/boat.png');
    await client.close();
    return { during, after, waitedMs };
  }, far.url);

  expect(seen.during.run).toMatchObject({ leg: 'server', fallback: { from: 'on-device', code: 'device-lost' } });
  expect(seen.during.run.fallback?.message).toMatch(/no sign of life/);
  expect(seen.waitedMs).toBeGreaterThan(900);
  expect(seen.after.run).toMatchObject({ leg: 'on-device', backend: 'wasm' });
  // Chromium ends a worker's running script two seconds after terminate().
  await expect.poll(() => opened.page.workers().length, { timeout: 10_000 }).toBe(0);
});

test('a device worker that hangs leaves half of the deadline to the server', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const run = await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
    const model = await client.open('everyday10');
    while (model.info.leg === 'server') await new Promise((resolve) => model.addEventListener('switch', resolve, { once: true }));
    model.faults.hangDevice(60_000);
    const { run } = await model.classify('/photos/boat.png', { deadlineMs: 4_000 });
    // Not client.close(): it would wait for the worker that hangs.
    return run;
  }, far.url);

  expect(run).toMatchObject({ leg: 'server', fallback: { from: 'on-device', code: 'deadline-exceeded' } });
  expect(run.timing.totalMs).toBeLessThan(4_000);
});

test('without a server, calls under which the GPU is lost are answered once it is back', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const seen = await opened.page.evaluate(async () => {
    const client = window.nearfar.createClient({ models: '/models', allowSoftwareAdapter: true, backends: ['tfjs-webgpu'] });
    const model = await client.open('everyday10');
    let losses = 0;
    model.addEventListener('device-lost', () => {
      losses += 1;
    });
    const calls = Array.from({ length: 4 }, () => model.classify('/photos/boat.png', { topK: 1 }));
    await calls[0];
    await model.faults.loseDevice();
    calls.push(model.classify('/photos/boat.png', { topK: 1 }));
    const answers = await Promise.all(calls);
    await client.close();
    return { losses, answers };
  });

  const [first] = seen.answers;
  expect(seen.losses).toBe(1);
  expect(seen.answers).toHaveLength(5);
  for (const { predictions, run } of seen.answers) {
    expect(predictions[0]?.label).toBe(first?.predictions[0]?.label);
    expect(run).toMatchObject({ leg: 'on-device', backend: 'webgpu' });
    expect(run.fallback?.code ?? 'device-lost').toBe('device-lost');
  }
});

test('a server that cannot be reached is answered for by the device', async () => {
  await using cut = await openFarServer();
  await using opened = await openTestPage(browser, { mounts });
  await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
    Object.assign(window, { client, model: await client.open('everyday10', { mode: 'prefer-server' }) });
  }, cut.url);

  await cut.goOffline();
  const run = await opened.page.evaluate(async () => {
    const { model, client } = window as unknown as { model: import('nearfar').Model; client: import('nearfar').Client };
    const { run } = await model.classify('/photos/boat.png');
    await client.close();
    return run;
  });

  expect(run).toMatchObject({ leg: 'on-device', fallback: { from: 'server', code: 'network' } });
});

test('an answer from another digest is refused and never returned', async () => {
  await using mixed = await openFarServer();
  await using opened = await openTestPage(browser, { mounts });
  await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
    Object.assign(window, { client, only: await client.open('everyday10', { mode: 'only-server' }) });
    Object.assign(window, { either: await client.open('everyday10', { mode: 'prefer-server' }) });
  }, mixed.url);

  mixed.overwrite({ 'nearfar-model-digest': `sha256:${'0'.repeat(64)}` });
  const seen = await opened.page.evaluate(async () => {
    const { client, only, either } = window as unknown as Record<'only' | 'either', import('nearfar').Model> & {
      client: import('nearfar').Client;
    };
    const code = await only.classify('/photos/boat.png').catch((error) => error.code);
    const { run } = await either.classify('/photos/boat.png');
    await client.close();
    return { code, run };
  });

  expect(seen.code).toBe('version-mismatch');
  expect(seen.run).toMatchObject({ leg: 'on-device', fallback: { from: 'server', code: 'version-mismatch' } });
});

test('a lock that the repository does not agree with is refused', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const codes = await opened.page.evaluate(async (server) => {
    const lock = { lockfileVersion: 1, models: { everyday10: { version: '1', digest: `sha256:${'1'.repeat(64)}` } } };
    const codes: string[] = [];
    for (const mode of ['only-on-device', 'only-server'] as const) {
      const client = window.nearfar.createClient({ models: '/models', server, lock, backends: ['tfjs-wasm'] });
      codes.push(await client.open('everyday10', { mode }).catch((error) => error.code));
      await client.close();
    }
    return codes;
  }, far.url);

  for (const code of codes) expect(code).toMatch(/version-mismatch|integrity-mismatch/);
});

test('an abort of a call stops it on the server leg and rejects with the reason', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const isReason = await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server });
    const model = await client.open('everyday10', { mode: 'only-server' });
    const abort = new AbortController();
    const reason = new Error('the user left');
    const call = model.classify('/photos/boat.png', { signal: abort.signal });
    abort.abort(reason);
    const caught = await call.catch((error) => error);
    await client.close();
    return caught === reason;
  }, far.url);

  expect(isReason).toBe(true);
});

test('the page sees no error that nobody caught', async () => {
  await using opened = await openTestPage(browser, { mounts });

  await opened.page.evaluate(async (server) => {
    const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
    const abort = new AbortController();
    const opening = client.open('everyday10', { signal: abort.signal }).catch(() => {});
    abort.abort();
    await opening;
    const model = await client.open('everyday10');
    await Promise.all([model.close(), client.close()]);
  }, far.url);

  expect(opened.logs.filter((line) => line.startsWith('uncaught'))).toEqual([]);
});

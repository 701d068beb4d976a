import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { type FarServer, openFarServer, pageMounts } from './far-server.ts';

// Who answers, and why: several servers, a hedged call, a page that crashed, a user who saves data.

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

const predictionsAt = ({ paths }: FarServer) => paths.filter((path) => path.includes('/tasks/')).length;

test('three servers share the calls; one that is gone is left out after three failures, and one with another digest never answers', async () => {
  await using second = await openFarServer();
  await using third = await openFarServer();
  await using opened = await openTestPage(browser, { mounts });
  const before = predictionsAt(far);
  await opened.page.evaluate(
    async (server) => {
      const client = window.nearfar.createClient({ models: '/models', server });
      const model = await client.open('everyday10', { mode: 'only-server' });
      const photo = await (await fetch('/photos/boat.png')).blob();
      const retries: string[] = [];
      model.addEventListener('retry', ({ detail }) => retries.push(`${detail.code} ${detail.url}`));
      const classify = async (count: number) => {
        retries.length = 0;
        const answers = await Promise.all(Array.from({ length: count }, () => model.classify(photo)));
        return { digests: answers.map(({ run }) => run.digest), retries: [...retries], want: model.info.digest };
      };
      Object.assign(window, { classify, client });
    },
    [far.url, second.url, third.url],
  );
  const classify = (count: number) =>
    opened.page.evaluate(
      (count) =>
        (window as unknown as { classify: (count: number) => Promise<{ digests: string[]; retries: string[]; want: string }> }).classify(
          count,
        ),
      count,
    );

  const spread = await classify(30);
  const counts = [predictionsAt(far) - before, predictionsAt(second), predictionsAt(third)];
  await second.goOffline();
  const failing = [];
  for (let call = 0; call < 20; call += 1) failing.push(await classify(1));
  third.overwrite({ 'nearfar-model-digest': `sha256:${'0'.repeat(64)}` });
  const mixed = [];
  for (let call = 0; call < 10; call += 1) mixed.push(await classify(1));

  // Thirty at once over three, each call to the less busy of two.
  for (const count of counts) expect(count).toBeGreaterThanOrEqual(8);
  expect(spread.retries).toEqual([]);
  const lost = failing.flatMap(({ retries }) => retries);
  expect(lost).toEqual(Array.from({ length: 3 }, () => `network ${second.url}`));
  const refused = mixed.flatMap(({ retries }) => retries).filter((retry) => !retry.startsWith('network'));
  expect(refused).toEqual([`version-mismatch ${third.url}`]);
  for (const { digests, want } of [spread, ...failing, ...mixed]) expect(new Set(digests)).toEqual(new Set([want]));
});

test('a server that is slow is hedged on the device, and its request is given up; a device that hangs is hedged on the server', async () => {
  await using slow = await openFarServer();
  await using opened = await openTestPage(browser, { mounts });
  await opened.page.evaluate(
    async ({ slow, well }) => {
      const open = async (server: string, mode: 'prefer-server' | 'prefer-on-device') => {
        const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'], hedgeAfterMs: 50 });
        const ready = new Promise<void>((resolve) => {
          client.addEventListener('phase', ({ detail }) => detail.phase === 'ready' && resolve());
        });
        const model = await client.open('everyday10', { mode });
        await ready;
        return { client, model };
      };
      Object.assign(window, { far: await open(slow, 'prefer-server'), near: await open(well, 'prefer-on-device') });
    },
    { slow: slow.url, well: far.url },
  );

  const givenUp = slow.holdPredictions();
  const [onDevice, onServer] = await opened.page.evaluate(async () => {
    const { far, near } = window as unknown as Record<'far' | 'near', { client: import('nearfar').Client; model: import('nearfar').Model }>;
    const onDevice = await far.model.classify('/photos/boat.png');
    near.model.faults.hangDevice(1_000);
    const onServer = await near.model.classify('/photos/boat.png');
    await Promise.all([far.client.close(), near.client.close()]);
    return [onDevice.run, onServer.run];
  });
  await givenUp;

  expect(onDevice).toMatchObject({ leg: 'on-device', hedgedOn: 'on-device', fallback: { from: 'server', code: 'deadline-exceeded' } });
  expect(onServer).toMatchObject({ leg: 'server', hedgedOn: 'server', fallback: { from: 'on-device', code: 'deadline-exceeded' } });
});

/** Opens the model on the device with the server behind it and waits until it answers, near or not at all. */
const visit = (
  page: import('playwright-core').Page,
  options: { server?: string; mode?: import('nearfar').Mode; downloadOn?: 'any' } = {},
) =>
  page.evaluate(
    async ({ server = '', mode = 'prefer-on-device', downloadOn }) => {
      const client = window.nearfar.createClient({ models: '/models', server: server || [], backends: ['tfjs-wasm'], downloadOn });
      const events: string[] = [];
      client.addEventListener('fallback', ({ detail }) => events.push(`${detail.from}: ${detail.code}`));
      const availability = await client.availability('everyday10', { mode });
      const model = await client.open('everyday10', { mode });
      // The device may still be opening; a reason that passes by itself is not the one to see.
      let { run } = await model.classify('/photos/boat.png');
      while (run.fallback?.code === 'unavailable') ({ run } = await model.classify('/photos/boat.png'));
      await client.close();
      return { run, events, availability };
    },
    { server: far.url, ...options },
  );

test('a page that crashed while it loaded the model is answered by the server on the next visit; one that was reloaded is not', async () => {
  await using own = await launchBrowser();
  await using opened = await openTestPage(own, { mounts });
  const { page } = opened;
  /** Begins to load and stops in the middle of it, as the code that runs the golden examples never comes. */
  const loadHalf = async (on: import('playwright-core').Page) => {
    const halfway = on.waitForRequest(/run-golden/);
    await own.context.route(/run-golden/, () => {}, { times: 1 });
    await on.evaluate(async (server) => {
      const client = window.nearfar.createClient({ models: '/models', server, backends: ['tfjs-wasm'] });
      await client.open('everyday10');
    }, far.url);
    await halfway;
  };

  await loadHalf(page);
  await opened.reload();
  const afterReload = await visit(page);
  // The verdict is known from here on, and the examples are not run again.
  await page.evaluate(() => window.nearfar.createClient({ models: '/models' }).cache.clear('everyday10'));
  await loadHalf(page);
  const crashed = page.waitForEvent('crash');
  const cdp = await own.context.newCDPSession(page);
  cdp.send('Page.crash').catch(() => {});
  await crashed;
  const next = await own.newPage();
  await next.goto(opened.url);
  const afterCrash = await visit(next);
  const alone = await visit(next, { mode: 'only-on-device' }).catch((error: Error) => error.message);

  expect(afterReload.run).toMatchObject({ leg: 'on-device', backend: 'wasm' });
  expect(afterCrash.run).toMatchObject({ leg: 'server', fallback: { from: 'on-device', code: 'device-crashed' } });
  expect(afterCrash.events).toContain('on-device: device-crashed');
  expect(alone).toMatch(/died while the model was loaded on tfjs-wasm/);
});

test('a user who saves data is answered by the server without a download, unless the application or the mode asks for one', async () => {
  await using own = await launchBrowser();
  await using opened = await openTestPage(own, { mounts });
  const { page } = opened;
  const cdp = await own.context.newCDPSession(page);
  await cdp.send('Emulation.setDataSaverOverride' as 'Emulation.setAutoDarkModeOverride', { dataSaverEnabled: true } as object);
  const weights = () => opened.server.requests.filter(({ url }) => url.includes('weights.bin')).length;

  const saving = await visit(page);
  const none = weights();
  const asked = await visit(page, { mode: 'only-on-device' });
  const cached = await visit(page);
  await page.evaluate(() => window.nearfar.createClient({ models: '/models' }).cache.clear('everyday10'));
  const overridden = await visit(page, { downloadOn: 'any' });

  expect(saving.run).toMatchObject({ leg: 'server', fallback: { from: 'on-device', code: 'download-deferred' } });
  expect(saving.events).toContain('on-device: download-deferred');
  expect(saving.availability).toMatchObject({
    state: 'downloadable',
    reason: { code: 'download-deferred', message: expect.stringMatching(/save data/) },
  });
  expect(none).toBe(0);
  expect(asked.run).toMatchObject({ leg: 'on-device', cache: 'miss' });
  expect(cached.run).toMatchObject({ leg: 'on-device', cache: 'hit' });
  expect(cached.availability).toMatchObject({ state: 'available' });
  expect(overridden.run).toMatchObject({ leg: 'on-device', cache: 'miss' });
});

import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchBrowser, openTestPage, type TestBrowser } from '../support/browser.ts';
import { serveStatic } from '../support/static-server.ts';
import { models, pageMounts } from './far-server.ts';

// The public entry on the built-in model, in a real browser with real workers, IndexedDB and WebGPU in software.

const mounts = await pageMounts();

let browser: TestBrowser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser[Symbol.asyncDispose]());

test('classifies a photo on the device, from a verified cache the second time, and reports how', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const [first, second] = await opened.page.evaluate(async () => {
    const answers = [];
    for (let visit = 0; visit < 2; visit += 1) {
      const client = window.nearfar.createClient({ models: '/models', allowSoftwareAdapter: true });
      const model = await client.open('everyday10', { mode: 'only-on-device' });
      const { predictions, run } = await model.classify('/photos/boat.png', { topK: 3 });
      answers.push({ predictions, run, info: { ...model.info, manifest: undefined } });
      await client.close();
    }
    return answers;
  });

  expect(first?.predictions).toHaveLength(3);
  expect(first?.info.labels).toHaveLength(10);
  expect(first?.run).toMatchObject({
    model: 'everyday10',
    version: '1',
    leg: 'on-device',
    engine: 'tfjs',
    backend: 'webgpu',
    cache: 'miss',
  });
  expect(first?.run).not.toHaveProperty('fallback');
  expect(second?.run).toMatchObject({ cache: 'hit', digest: first?.run.digest });
  expect(second?.predictions).toEqual(first?.predictions);
});

test('opens and answers a second time while the repository is offline, by the lock, with no request to it', async () => {
  await using own = await launchBrowser();
  await using repository = await serveStatic(models, { headers: { 'access-control-allow-origin': '*' } });
  await using opened = await openTestPage(own, { mounts });
  const digest = await opened.page.evaluate(async (models) => {
    const client = window.nearfar.createClient({ models, backends: ['tfjs-wasm'] });
    const model = await client.open('everyday10');
    await client.close();
    return model.info.digest;
  }, repository.origin);
  const before = repository.requests.length;
  await repository.goOffline();

  const run = await opened.page.evaluate(
    async ({ models, digest }) => {
      const lock = { lockfileVersion: 1, models: { everyday10: { version: '1', digest } } };
      const client = window.nearfar.createClient({ models, lock, backends: ['tfjs-wasm'] });
      const model = await client.open('everyday10');
      const { run } = await model.classify(new ImageData(new Uint8ClampedArray(32 * 32 * 4).fill(200), 32, 32));
      await client.close();
      return run;
    },
    { models: repository.origin, digest },
  );

  expect(before).toBeGreaterThan(2);
  expect(repository.requests).toHaveLength(before);
  expect(run).toMatchObject({ digest, leg: 'on-device', cache: 'hit' });
});

test('every kind of photo gives the same best class, and stays usable', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const results = await opened.page.evaluate(async () => {
    const client = window.nearfar.createClient({ models: '/models', backends: ['tfjs-wasm'] });
    const model = await client.open('everyday10', { mode: 'only-on-device' });
    const blob = await (await fetch('/photos/boat.png')).blob();
    const image = new Image();
    image.src = '/photos/boat.png';
    await image.decode();
    const { naturalWidth: width, naturalHeight: height } = image;
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context?.drawImage(image, 0, 0);
    const offscreen = new OffscreenCanvas(width, height);
    offscreen.getContext('2d')?.drawImage(image, 0, 0);
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'image');
    svg.setAttribute('href', '/photos/boat.png');
    svg.setAttribute('width', String(width));
    svg.setAttribute('height', String(height));
    const root = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    root.append(svg);
    document.body.append(root);
    await new Promise((loaded) => svg.addEventListener('load', loaded, { once: true }));
    const frame = new VideoFrame(canvas, { timestamp: 0 });
    const video = document.createElement('video');
    video.muted = true;
    video.srcObject = canvas.captureStream(10);
    context?.drawImage(image, 0, 0);
    await video.play();
    const bitmap = await createImageBitmap(blob);
    const pixels = context?.getImageData(0, 0, width, height);
    if (!pixels) throw new Error('no pixels');
    const iframe = document.createElement('iframe');
    document.body.append(iframe);
    const foreign = iframe.contentDocument?.createElement('canvas');
    if (!foreign) throw new Error('no iframe');
    Object.assign(foreign, { width, height });
    foreign.getContext('2d')?.drawImage(image, 0, 0);
    const photos = {
      blob,
      file: new File([blob], 'boat.png'),
      'relative URL': '/photos/boat.png',
      URL: new URL('/photos/boat.png', location.href),
      'blob URL': URL.createObjectURL(blob),
      'data URL': canvas.toDataURL('image/png'),
      image,
      canvas,
      offscreen,
      svg,
      frame,
      video,
      bitmap,
      pixels,
      foreign,
    };
    const found: Record<string, { label: string | undefined; score: number }> = {};
    for (const round of ['', ' again']) {
      for (const [kind, photo] of Object.entries(photos)) {
        const { predictions } = await model.classify(photo, { topK: 1 });
        found[kind + round] = { label: predictions[0]?.label, score: predictions[0]?.score ?? Number.NaN };
      }
    }
    frame.close();
    await client.close();
    return found;
  });

  const want = results['blob'];
  expect(Object.keys(results)).toHaveLength(30);
  for (const [kind, { label, score }] of Object.entries(results)) {
    expect(label, kind).toBe(want?.label);
    // A video's frames went through YUV.
    expect(Math.abs(score - (want?.score ?? 0)), kind).toBeLessThan(/video/.test(kind) ? 0.1 : 1e-3);
  }
});

test('photos that cannot be read are refused with the reason', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const codes = await opened.page.evaluate(async () => {
    const client = window.nearfar.createClient({ models: '/models', backends: ['tfjs-wasm'] });
    const model = await client.open('everyday10', { mode: 'only-on-device' });
    const closed = await createImageBitmap(new ImageData(2, 2));
    closed.close();
    const drawn = new OffscreenCanvas(2, 2);
    drawn.getContext('2d')?.fillRect(0, 0, 2, 2);
    const frame = new VideoFrame(drawn, { timestamp: 0 });
    frame.close();
    const broken = new Image();
    broken.src = '/photos/none.png';
    const photos = {
      closed,
      frame,
      broken,
      video: document.createElement('video'),
      canvas: Object.assign(document.createElement('canvas'), { width: 0 }),
      text: new Blob(['no picture']),
      url: 'http://',
    };
    const found: Record<string, string> = {};
    for (const [kind, photo] of Object.entries(photos)) {
      found[kind] = await model.classify(photo).then(
        () => 'answered',
        (error) => error.code,
      );
    }
    await client.close();
    return found;
  });

  const want = 'invalid-argument';
  expect(codes).toEqual({ closed: want, frame: want, broken: want, video: want, canvas: want, text: want, url: want });
});

test('an abort stops the download and rejects with the reason; the next opening goes on from there', async () => {
  await using own = await launchBrowser();
  await using opened = await openTestPage(own, { mounts });

  const { isReason, cache } = await opened.page.evaluate(async () => {
    const client = window.nearfar.createClient({ models: '/models', backends: ['tfjs-wasm'] });
    const abort = new AbortController();
    const reason = new Error('the user left');
    const aborted = await client
      .open('everyday10', {
        mode: 'only-on-device',
        signal: abort.signal,
        monitor: (monitor) => monitor.addEventListener('downloadprogress', () => abort.abort(reason)),
      })
      .catch((error) => error);
    const model = await client.open('everyday10', { mode: 'only-on-device' });
    const { run } = await model.classify('/photos/boat.png');
    await client.close();
    return { isReason: aborted === reason, cache: run.cache };
  });

  expect(isReason).toBe(true);
  expect(['partial', 'hit', 'miss']).toContain(cache);
});

test('availability turns from downloadable to available, and the cache can be seen, verified and cleared', async () => {
  await using own = await launchBrowser();
  await using opened = await openTestPage(own, { mounts });

  const seen = await opened.page.evaluate(async () => {
    const client = window.nearfar.createClient({ models: '/models', backends: ['tfjs-wasm'] });
    const before = await client.availability('everyday10');
    const model = await client.open('everyday10');
    await model.close();
    const after = await client.availability('everyday10');
    const report = await client.cache.report();
    const verified = await client.cache.verify();
    await client.cache.clear('everyday10');
    const cleared = await client.cache.report();
    const missing = await client.availability('nothing');
    await client.close();
    return { before, after, report, verified, cleared, missing };
  });

  expect(seen.before).toMatchObject({ state: 'downloadable', details: { version: '1', cachedBytes: 0 } });
  // The probe stops waiting after 140 ms; a busy machine may run its timer late.
  expect(seen.before.details.profile?.probeMs).toBeLessThan(500);
  expect(seen.after.state).toBe('available');
  expect(seen.report.versions).toMatchObject([{ name: 'everyday10', version: '1', isComplete: true }]);
  expect(seen.verified).toMatchObject({ corrupt: [] });
  expect(seen.cleared.versions).toEqual([]);
  expect(seen.missing).toMatchObject({ state: 'unavailable', reason: { code: expect.stringMatching(/not-found|network/) } });
});

test('without a GPU the model runs on wasm and says why', async () => {
  await using plain = await launchBrowser({ gpu: false });
  await using opened = await openTestPage(plain, { mounts });

  const run = await opened.page.evaluate(async () => {
    const client = window.nearfar.createClient({ models: '/models' });
    const model = await client.open('everyday10');
    const { run } = await model.classify('/photos/boat.png');
    await client.close();
    return run;
  });

  expect(run).toMatchObject({ engine: 'tfjs', backend: 'wasm', fallback: { from: 'tfjs-webgpu', code: 'device-unfit' } });
});

test('a software GPU is not used unless the application allows it', async () => {
  await using opened = await openTestPage(browser, { mounts });

  const code = await opened.page.evaluate(async () => {
    const client = window.nearfar.createClient({ models: '/models', backends: ['tfjs-webgpu'] });
    const code = await client.open('everyday10').catch((error) => `${error.code}: ${error.message}`);
    await client.close();
    return code;
  });

  expect(code).toBe('device-unfit: everyday10 cannot run on this device: tfjs-webgpu: the only GPU adapter is a software adapter');
});

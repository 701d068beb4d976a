import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type BackendId,
  compareOutputs,
  createTensor,
  decodeSafetensors,
  digestOf,
  encodeManifest,
  encodeVersions,
  type LockFile,
  type Manifest,
  type OpenRequest,
  parseManifest,
  type WorkerEvent,
} from '../../src/core/index.ts';
import { launchBrowser, openTestPage, type TestBrowser, type TestPage } from '../support/browser.ts';
import { createFaultyRepository, type FaultyRepository } from '../support/fault-server.ts';

// everyday10, as it is published, and versions of it that only differ in what their manifests say.

const published = fileURLToPath(new URL('../../models/everyday10/1', import.meta.url));
const name = 'everyday10';

let folder: string;
let browser: TestBrowser;
let repository: FaultyRepository;
let tab: TestPage;
const locks: Record<string, LockFile> = {};
let manifest: Manifest;

/** Publishes everyday10 once more, its manifest changed. */
async function publishChanged(version: string, change: (manifest: Manifest) => Manifest): Promise<void> {
  const to = join(folder, name, version);
  await cp(published, to, { recursive: true });
  const bytes = encodeManifest(change({ ...manifest, version }));
  await writeFile(join(to, 'manifest.json'), bytes);
  locks[version] = { lockfileVersion: 1, models: { [name]: { version, digest: await digestOf(bytes) } } };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nearfar-repository-'));
  manifest = parseManifest(await readFile(join(published, 'manifest.json')));
  await publishChanged('1', (same) => same);
  // No engine reproduces the reference to the last bit, so a tolerance of nothing is a device that computes wrongly.
  await publishChanged('2', (other) => ({
    ...other,
    variants: other.variants.map((variant) =>
      variant.format === 'onnx' ? variant : { ...variant, tolerance: { absolute: 0, relative: 0 } },
    ),
  }));
  await publishChanged('3', (other) => ({
    ...other,
    variants: other.variants.map((variant) =>
      variant.format === 'onnx' ? variant : { ...variant, requires: ['shader-f16-of-the-future'] },
    ),
  }));
  const versions = Object.values(locks).flatMap(({ models }) => models[name] ?? []);
  await writeFile(join(folder, name, 'versions.json'), encodeVersions({ schemaVersion: 1, name, versions, labels: { stable: '1' } }));
  browser = await launchBrowser();
  repository = createFaultyRepository(folder, '/models/');
  tab = await openTestPage(browser, { entry: 'test/browser/pages/worker/main.ts', mounts: { '/models/': repository.handler } });
});

afterAll(async () => {
  await tab?.[Symbol.asyncDispose]();
  await browser?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  repository.fail(() => undefined);
  await tab.page.evaluate(async () => {
    window.workers.endDevice();
    await window.workers.clearCache();
    window.workers.endDevice();
  });
  repository.forget();
});

function requestFor(version: string, change: Partial<OpenRequest> = {}): OpenRequest {
  return {
    name,
    repositories: [`${tab.server.origin}/models`],
    choice: {},
    lock: locks[version],
    backends: ['tfjs-wasm'],
    allowSoftwareAdapter: false,
    cacheBudgetBytes: 100_000_000,
    // As the SDK notes it: these workers are ended on purpose, at any moment.
    leftAt: Date.now(),
    ...change,
  };
}

async function open(version: string, change: Partial<OpenRequest> = {}, cancelAt?: WorkerEvent['type']) {
  const request = requestFor(version, change);
  const { value, error, events } = await tab.page.evaluate(([each, at]) => window.workers.open(each, at), [request, cancelAt] as const);
  return { opened: value, error, events, of: (type: WorkerEvent['type']) => events.filter((event) => event.type === type) };
}

async function openWell(version: string, change: Partial<OpenRequest> = {}) {
  const { opened, error, ...rest } = await open(version, change);
  if (!opened) throw new Error(`not opened: ${JSON.stringify(error)}`);
  return { opened, ...rest };
}

const endDevice = () => tab.page.evaluate(() => window.workers.endDevice());
const weightsPath = `${name}/1/tfjs/weights.bin`;
const chunkOf = (index: number) => {
  const [bytes, digest] = manifest.files['tfjs/weights.bin']?.chunks[index] ?? [];
  if (bytes === undefined || digest === undefined) throw new Error(`everyday10 has no chunk ${index}`);
  return { bytes, digest };
};
const weightsSizes = () => {
  const size = manifest.files['tfjs/weights.bin']?.bytes ?? 0;
  return { size, cut: Math.floor(size * 0.8) };
};
/** The device worker answers while it downloads. */
const untilStored = (bytes: number) =>
  expect
    .poll(() => tab.page.evaluate(async () => (await window.workers.cacheReport()).bytes), { timeout: 20_000 })
    .toBeGreaterThanOrEqual(bytes);
const largestChunk = () => Math.max(...Object.values(manifest.files).flatMap(({ chunks }) => chunks.map(([bytes]) => bytes)));

describe('every backend', () => {
  test.each<BackendId>(['tfjs-webgpu', 'onnx-webgpu', 'tfjs-wasm', 'onnx-wasm'])('%s answers the golden example', async (backend) => {
    const read = async (file: string) => decodeSafetensors(new Uint8Array(await readFile(join(published, 'golden', file))));
    const { image } = await read('0.in.safetensors');
    const right = await read('0.out.safetensors');

    const { opened } = await openWell('1', { backends: [backend], allowSoftwareAdapter: true });
    const values = image?.dtype === 'float32' ? [...image.data] : [];
    const got = await tab.page.evaluate(([handle, input]) => window.workers.predict(handle, input, [1, 32, 32, 3]), [
      opened.handle,
      values,
    ] as const);
    await tab.page.evaluate((handle) => window.workers.close(handle), opened.handle);

    expect(opened).toMatchObject({ backend, skipped: [], cache: 'miss' });
    expect(got.error).toBeUndefined();
    const probabilities = createTensor('float32', [1, 10], Float32Array.from(got.values ?? []));
    expect(compareOutputs(right, { probabilities }, { absolute: 1e-4, relative: 1e-3 }).firstDifference).toBeUndefined();
    expect(await tab.page.evaluate(() => window.workers.stats())).toEqual({ models: 0, tensors: 0, bytes: 0 });
  });

  test('is skipped on a software adapter, unless that is allowed', async () => {
    const { opened, of } = await openWell('1', { backends: ['tfjs-webgpu', 'tfjs-wasm'] });

    expect(opened).toMatchObject({ backend: 'tfjs-wasm', skipped: [{ backend: 'tfjs-webgpu', code: 'device-unfit' }] });
    expect(of('fallback')).toMatchObject([{ from: 'tfjs-webgpu', to: 'tfjs-wasm', code: 'device-unfit' }]);
  });

  test('that fails a golden example gives way to the next', async () => {
    const { opened, of } = await openWell('2', { backends: ['tfjs-wasm', 'onnx-wasm'] });

    expect(opened).toMatchObject({
      backend: 'onnx-wasm',
      variant: 'onnx-float32',
      skipped: [{ backend: 'tfjs-wasm', code: 'self-test-failed' }],
    });
    expect(of('fallback')).toMatchObject([{ from: 'tfjs-wasm', to: 'onnx-wasm', code: 'self-test-failed' }]);
  });

  test('runs the golden examples once on this device, and remembers a failure without another byte', async () => {
    const [, failing] = [await openWell('1'), await openWell('2', { backends: ['tfjs-wasm', 'onnx-wasm'] })];
    await endDevice();
    repository.forget();

    const [again, failingAgain] = [await openWell('1'), await openWell('2', { backends: ['tfjs-wasm', 'onnx-wasm'] })];

    const known = ({ of }: typeof again) => of('phase').flatMap((event) => ('isSelfTestKnown' in event ? [event.isSelfTestKnown] : []));
    expect([known(failing), known(again), known(failingAgain)]).toEqual([[false, false], [true], [true]]);
    expect(failingAgain.of('fallback')).toMatchObject([{ from: 'tfjs-wasm', to: 'onnx-wasm', code: 'self-test-failed' }]);
    expect(repository.requests).toEqual([]);
  });

  test('is skipped when the device lacks what its variants require', async () => {
    const { opened } = await openWell('3', { backends: ['tfjs-webgpu', 'onnx-wasm'], allowSoftwareAdapter: true });

    expect(opened).toMatchObject({ backend: 'onnx-wasm', skipped: [{ backend: 'tfjs-webgpu', code: 'device-unfit' }] });
  });

  test('tells each phase in order, and progress up to the sizes of the manifest', async () => {
    const { of } = await openWell('1');

    expect(of('phase').map((event) => event.type === 'phase' && event.phase)).toEqual([
      'download',
      'verify',
      'compile',
      'warm-up',
      'ready',
    ]);
    const last = of('downloadprogress').at(-1);
    expect(last?.type === 'downloadprogress' && last.loadedBytes === last.totalBytes).toBe(true);
  });
});

describe('the cache', () => {
  test('opens a locked version again without a single request', async () => {
    await openWell('1');
    await endDevice();
    repository.forget();

    const { opened } = await openWell('1');

    expect(opened.cache).toBe('hit');
    expect(repository.requests).toEqual([]);
  });

  test('is still there after the browser was restarted', async () => {
    await openWell('1');
    await tab.page.close();
    await browser.restart();
    const again = await openTestPage(browser, { entry: 'test/browser/pages/worker/main.ts' });
    await again[Symbol.asyncDispose]();
    tab = { ...tab, page: await browser.newPage() };
    await tab.page.goto(tab.url);
    await tab.page.waitForFunction(() => document.documentElement.dataset['ready'] === 'true');
    repository.forget();

    const { opened } = await openWell('1');

    expect(opened.cache).toBe('hit');
    expect(repository.requests).toEqual([]);
  });

  test('heals a flipped byte by fetching that chunk alone', async () => {
    await openWell('1');
    await endDevice();
    const { bytes, digest } = chunkOf(1);
    await tab.page.evaluate((each) => window.workers.flip(each), digest);
    const verification = await tab.page.evaluate(() => window.workers.verifyCache());
    repository.forget();

    const { opened, of } = await openWell('1');

    expect(verification.corrupt).toEqual([{ digest }]);
    expect(opened.cache).toBe('partial');
    expect(of('integrity')).toMatchObject([{ file: 'tfjs/weights.bin', chunk: 1, source: 'cache', action: 'refetched' }]);
    expect(repository.requests.map(({ path, bytes: sent }) => [path, sent])).toEqual([[weightsPath, bytes]]);
    expect((await tab.page.evaluate(() => window.workers.verifyCache())).corrupt).toEqual([]);
  });

  test('refuses a flipped byte while the network is away', async () => {
    await openWell('1');
    await endDevice();
    await tab.page.evaluate((each) => window.workers.flip(each), chunkOf(1).digest);
    // Only the repository: a page whose own scripts cannot be fetched has a service worker for that.
    repository.fail(() => ({ refuse: true }));

    const { error, of } = await open('1');

    expect(error).toMatchObject({ code: 'integrity-mismatch', details: { file: 'tfjs/weights.bin', chunk: 1 } });
    expect(of('integrity')).toMatchObject([{ source: 'cache', action: 'refused' }]);
  });

  test('shares chunks between versions', async () => {
    await openWell('1');
    repository.forget();

    const { opened } = await openWell('3', { backends: ['onnx-wasm'] });
    const report = await tab.page.evaluate(() => window.workers.cacheReport());

    expect(opened.cache).toBe('partial');
    // The browser's own cache may still have the manifest.
    const fetched = repository.requests.map(({ path }) => path).filter((path) => !path.endsWith('manifest.json'));
    expect(fetched).toEqual([`${name}/3/onnx/model.onnx`]);
    expect(report.bytes).toBeLessThan(report.versions.reduce((sum, { bytes }) => sum + bytes, 0));
  });

  test('evicts the version used longest ago when the budget is used up', async () => {
    const first = await openWell('1');
    await tab.page.evaluate((handle) => window.workers.close(handle), first.opened.handle);

    const { of } = await openWell('3', { backends: ['onnx-wasm'], cacheBudgetBytes: 3_000_000 });
    const report = await tab.page.evaluate(() => window.workers.cacheReport());

    expect(of('eviction')).toMatchObject([{ name, version: '1' }]);
    expect(report.versions).toMatchObject([{ version: '3', isComplete: true }]);
  });
});

describe('a download', () => {
  test('that is cut goes on with at most one chunk again', async () => {
    const { size, cut } = weightsSizes();
    let endConnection: () => void = () => undefined;
    const cutWhen = new Promise<void>((resolve) => {
      endConnection = resolve;
    });
    repository.fail((path, index) => (path === weightsPath && index === 0 ? { cutAfterBytes: cut, cutWhen } : undefined));
    const opening = openWell('1');
    await untilStored(cut - largestChunk());
    endConnection();

    const { opened, of } = await opening;

    expect(opened.cache).toBe('miss');
    expect(of('retry')).toMatchObject([{ attempt: 1, code: 'network' }]);
    expect(repository.bytesOf(weightsPath)).toBeLessThanOrEqual(size + largestChunk());
  });

  test('that ends with its worker goes on where it was', async () => {
    const { size, cut } = weightsSizes();
    const never = new Promise<void>(() => undefined);
    repository.fail((path) => (path === weightsPath ? { cutAfterBytes: cut, cutWhen: never } : undefined));
    const request = requestFor('1');
    await tab.page.evaluate((each) => void window.workers.open(each), request);
    await untilStored(cut - largestChunk());
    await endDevice();
    repository.fail(() => undefined);
    repository.forget();

    const { opened } = await openWell('1');

    expect(opened.cache).toBe('partial');
    expect(repository.bytesOf(weightsPath)).toBeLessThanOrEqual(size - cut + largestChunk());
  });

  test('works with a server that ignores ranges', async () => {
    repository.fail(() => ({ ignoreRanges: true }));
    await openWell('1');
    await tab.page.evaluate((digest) => window.workers.flip(digest), chunkOf(1).digest);
    await endDevice();

    const { opened, of } = await openWell('1');

    expect(opened.cache).toBe('partial');
    expect(of('integrity')).toMatchObject([{ action: 'refetched' }]);
  });

  test('of a wrong chunk asks once more, then refuses it', async () => {
    repository.fail((path) => (path === weightsPath ? { flipByteAt: 1_000 } : undefined));

    const { error, of } = await open('1');

    expect(error).toMatchObject({ code: 'integrity-mismatch', details: { file: 'tfjs/weights.bin', chunk: 0 } });
    expect(of('integrity')).toMatchObject([{ action: 'refetched' }, { action: 'refused' }]);
  });

  test('that is cancelled commits nothing and leaves nothing behind', async () => {
    const { error } = await open('1', {}, 'downloadprogress');

    expect(error).toMatchObject({ code: 'cancelled' });
    const report = await tab.page.evaluate(() => window.workers.cacheReport());
    expect(report.versions.filter(({ isComplete }) => isComplete)).toEqual([]);
    expect(await tab.page.evaluate(() => window.workers.stats())).toEqual({ models: 0, tensors: 0, bytes: 0 });
  });

  test('that the quota has no room for evicts an older version', async () => {
    await using small = await openAtQuota(4_000_000);
    const first = await small.open('1');
    await small.page.evaluate((handle) => window.workers.close(handle), first.value?.handle ?? 0);

    const { value, events } = await small.open('3', { backends: ['onnx-wasm'] });

    expect(value).toMatchObject({ backend: 'onnx-wasm' });
    expect(events.filter(({ type }) => type === 'eviction')).toMatchObject([{ name, version: '1' }]);
    expect(events.filter(({ type }) => type === 'quota')).toEqual([]);
  });

  test('that the quota has no room for at all is not lost', async () => {
    await using small = await openAtQuota(1_000_000);

    const { value, events } = await small.open('1');

    expect(value).toMatchObject({ backend: 'tfjs-wasm', cache: 'miss' });
    expect(events.filter(({ type }) => type === 'quota')).toMatchObject([{ action: 'memory' }]);
  });
});

/** A page of a new origin with little room. */
async function openAtQuota(quotaSize: number) {
  const small = await openTestPage(browser, {
    entry: 'test/browser/pages/worker/main.ts',
    mounts: { '/models/': createFaultyRepository(folder, '/models/').handler },
  });
  const { origin } = small.server;
  const cdp = await browser.context.newCDPSession(small.page);
  await cdp.send('Storage.overrideQuotaForOrigin', { origin, quotaSize });
  const openVersion = (version: string, change: Partial<OpenRequest> = {}) =>
    small.page.evaluate((request) => window.workers.open(request), requestFor(version, { repositories: [`${origin}/models`], ...change }));
  return { ...small, open: openVersion };
}

test('the device probe answers in time, with an adapter and the storage', async () => {
  const first = await tab.page.evaluate(() => window.workers.probe());
  const later = await tab.page.evaluate(() => window.workers.probe());

  expect(first.probeMs).toBeLessThan(150);
  expect(later).toMatchObject({ adapter: { kind: 'gpu', isFallbackAdapter: true } });
  expect(later.adapter?.maxBufferBytes).toBeGreaterThan(0);
  expect(later.quotaBytes).toBeGreaterThan(0);
});

test('a lost device is told, and the version opens again from the cache', async () => {
  const change = { backends: ['tfjs-webgpu'], allowSoftwareAdapter: true } as const;
  const first = await openWell('1', change);
  await tab.page.evaluate((handle) => window.workers.loseDevice(handle), first.opened.handle);
  await tab.page.waitForFunction(() => window.workers.events().some(({ type }) => type === 'device-lost'));
  const after = await tab.page.evaluate(
    ([handle]) =>
      window.workers.predict(
        handle,
        Array.from({ length: 3072 }, () => 0),
        [1, 32, 32, 3],
      ),
    [first.opened.handle] as const,
  );

  const second = await openWell('1', change);

  expect(after.error).toMatchObject({ code: 'device-lost' });
  expect(second.opened).toMatchObject({ cache: 'hit', backend: 'tfjs-webgpu' });
});

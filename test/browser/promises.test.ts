import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Request } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  decodeSafetensors,
  digestOf,
  encodeManifest,
  encodeSafetensors,
  encodeVersions,
  type LockFile,
  type Manifest,
} from '../../src/core/index.ts';
import { launchBrowser, openTestPage, type TestBrowser, type TestPage } from '../support/browser.ts';
import { createFaultyRepository, type FaultyRepository } from '../support/fault-server.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { openFar } from '../support/parity.ts';
import { builtInEveryday10 } from '../support/parity-models.ts';
import type {} from './pages/promises/main.ts';

// Promises of the design through the public API alone, in a real browser, with real servers and the built-in model. What
// other files show is listed in docs/parity.md and not shown again.

const name = 'everyday10';
const builtIn = await builtInEveryday10();
const lock: LockFile = { lockfileVersion: 1, models: { [name]: { ...builtIn.pin } } };
const weights = `${name}/1/tfjs/weights.bin`;
const { bytes: weightBytes, chunks } = builtIn.manifest.files['tfjs/weights.bin'] ?? { bytes: 0, chunks: [] };
/** What an opening on tfjs stores besides the weights. */
const smallFiles = Object.entries(builtIn.manifest.files)
  .filter(([file]) => file !== 'tfjs/weights.bin' && !file.startsWith('onnx/'))
  .reduce((sum, [, { bytes }]) => sum + bytes, 0);
const picture = await sharp(fileURLToPath(new URL('../../demo/samples/frog.svg', import.meta.url)))
  .resize(320)
  .png()
  .toBuffer();

let browser: TestBrowser;
let repository: FaultyRepository;
let tab: TestPage;
/** All that pages and their workers ask of the network, since it was last emptied. */
let requests: Request[] = [];

beforeAll(async () => {
  browser = await launchBrowser();
  browser.context.on('request', (request) => requests.push(request));
  repository = createFaultyRepository(builtIn.repository, '/models/');
});
afterAll(() => browser?.[Symbol.asyncDispose]());

/** A page of an origin of its own, so with an empty cache. */
async function openPage(handler = repository.handler): Promise<TestPage> {
  const opened = await openTestPage(browser, {
    entry: 'test/browser/pages/promises/main.ts',
    mounts: {
      '/models/': handler,
      '/frog.png': (_, response) => void response.writeHead(200, { 'content-type': 'image/png' }).end(picture),
    },
  });
  requests = [];
  return opened;
}

const pathsOf = (log: readonly Request[]) => log.map((request) => new URL(request.url()).pathname);

describe('with a cache of its own', () => {
  beforeEach(async () => {
    repository.fail(() => undefined);
    repository.forget();
    tab = await openPage();
    return () => tab[Symbol.asyncDispose]();
  });

  /** Opens the built-in model by the lock on wasm, classifies the frog, closes. */
  const visit = () =>
    tab.page.evaluate(async (lock) => {
      const client = window.nearfar.createClient({ models: '/models', lock, backends: ['tfjs-wasm'] });
      const events: string[] = [];
      client.addEventListener('integrity', ({ detail }) => events.push(`${detail.source}: ${detail.action}`));
      client.addEventListener('retry', ({ detail }) => events.push(`retry: ${detail.code}`));
      try {
        const model = await client.open('everyday10');
        const { predictions, run } = await model.classify('/frog.png');
        return { predictions, run, events };
      } catch (error) {
        const { code, details } = error as import('nearfar').NearfarError;
        return { code, details, events };
      } finally {
        await client.close();
      }
    }, lock);

  test('a second visit asks the network for nothing of the model, as the log of the whole browser shows', async () => {
    const first = await visit();
    const firstPaths = pathsOf(requests);
    await tab.reload();
    repository.fail(() => ({ refuse: true }));
    requests = [];

    const second = await visit();

    expect(firstPaths.filter((path) => path.startsWith('/models/'))).toContain(`/models/${weights}`);
    expect(pathsOf(requests).filter((path) => path.startsWith('/models/'))).toEqual([]);
    expect(requests.map((request) => new URL(request.url()).origin).filter((origin) => origin !== tab.server.origin)).toEqual([]);
    expect(second.run).toMatchObject({ cache: 'hit', digest: builtIn.pin.digest });
    expect(second.predictions).toEqual(first.predictions);
  });

  test('a flipped byte in the cache is healed online, refused offline, and never answers', async () => {
    const first = await visit();
    const [bytes = 0, digest = ''] = chunks[0] ?? [];
    const flip = () => tab.page.evaluate((each) => window.flipStoredByte(each), digest);
    repository.forget();

    await flip();
    const online = await visit();
    await flip();
    repository.fail(() => ({ refuse: true }));
    const offline = await visit();
    repository.fail(() => undefined);
    const back = await visit();

    expect(online).toMatchObject({ events: ['cache: refetched'], run: { cache: 'partial' }, predictions: first.predictions });
    expect(offline).toMatchObject({ code: 'integrity-mismatch', details: { file: 'tfjs/weights.bin', chunk: 0 } });
    expect(offline.events).toContain('cache: refused');
    expect(back).toMatchObject({ run: { cache: 'partial' }, predictions: first.predictions });
    expect(repository.requests.map(({ path, bytes: sent }) => [path, sent])).toEqual([
      [weights, bytes],
      [weights, bytes],
    ]);
  });

  test('a download that a closed page leaves at 80 % goes on from there in the next page', async () => {
    const cut = Math.floor(weightBytes * 0.8);
    const ends = chunks.map((_, index) => chunks.slice(0, index + 1).reduce((sum, [bytes]) => sum + bytes, 0));
    const kept = Math.max(...ends.filter((end) => end <= cut));
    const never = new Promise<void>(() => undefined);
    repository.fail((path) => (path === weights ? { cutAfterBytes: cut, cutWhen: never } : undefined));
    await tab.page.evaluate(
      async ({ lock, kept }) => {
        const client = window.nearfar.createClient({ models: '/models', lock, backends: ['tfjs-wasm'] });
        client.open('everyday10').catch(() => {});
        for (let stored = 0; stored < kept; ) {
          const { versions } = await client.cache.report();
          stored = versions[0]?.bytes ?? 0;
        }
      },
      { lock, kept: kept + smallFiles },
    );
    repository.fail(() => undefined);
    repository.forget();

    await tab.reload();
    const { run } = await visit();

    expect(kept).toBeGreaterThan(weightBytes * 0.5);
    expect(run).toMatchObject({ cache: 'partial', leg: 'on-device' });
    expect(repository.requests.map(({ path, range, bytes }) => ({ path, range, bytes }))).toEqual([
      { path: weights, range: `bytes=${kept}-${weightBytes - 1}`, bytes: weightBytes - kept },
    ]);
  });

  test('an abort at any point of opening rejects with its reason and leaves the client usable', async () => {
    const seen = await tab.page.evaluate(async (lock) => {
      const client = window.nearfar.createClient({ models: '/models', lock, backends: ['tfjs-wasm'] });
      const found: Record<string, boolean> = {};
      const openUntil = async (moment: string, arm: (abort: () => void, monitor: import('nearfar').DownloadMonitor) => void) => {
        const controller = new AbortController();
        const reason = new Error(moment);
        const opening = client.open('everyday10', {
          signal: controller.signal,
          monitor: (monitor) => arm(() => controller.abort(reason), monitor),
        });
        const caught = await opening.catch((error) => error);
        found[moment] = caught === reason;
      };
      await openUntil('at once', (abort) => abort());
      await openUntil('when the version is settled', (abort, monitor) => monitor.addEventListener('version', abort));
      await openUntil('at the first bytes', (abort, monitor) => monitor.addEventListener('downloadprogress', abort));
      for (const phase of ['download', 'verify', 'compile', 'warm-up']) {
        await openUntil(phase, (abort, monitor) =>
          monitor.addEventListener('phase', ({ detail }) => {
            if (detail.phase === phase) abort();
          }),
        );
      }
      const model = await client.open('everyday10');
      const { run } = await model.classify('/frog.png');
      await client.close();
      return { found, leg: run.leg };
    }, lock);

    expect(seen.found).toEqual({
      'at once': true,
      'when the version is settled': true,
      'at the first bytes': true,
      download: true,
      verify: true,
      compile: true,
      'warm-up': true,
    });
    expect(seen.leg).toBe('on-device');
    expect(tab.logs.filter((line) => line.startsWith('uncaught'))).toEqual([]);
  });

  test('an abort at any moment of a call rejects with its reason and leaves the model usable', async () => {
    const seen = await tab.page.evaluate(async (lock) => {
      const client = window.nearfar.createClient({ models: '/models', lock, backends: ['tfjs-wasm'] });
      const model = await client.open('everyday10');
      const right = await model.classify('/frog.png');
      const outcomes: string[] = [];
      // One turn of the event loop more each time, from before the call until after its answer.
      for (let turns = -1; outcomes.at(-1) !== 'answered'; turns += 1) {
        const controller = new AbortController();
        const reason = new Error(`after ${turns} turns`);
        if (turns < 0) controller.abort(reason);
        const call = model.classify('/frog.png', { signal: controller.signal }).then(
          ({ predictions }) => (JSON.stringify(predictions) === JSON.stringify(right.predictions) ? 'answered' : 'wrong'),
          (error) => (error === reason ? 'reason' : `other: ${error}`),
        );
        for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setTimeout(resolve));
        controller.abort(reason);
        outcomes.push(await call);
        // And the very next call is right.
        const next = await model.classify('/frog.png');
        if (JSON.stringify(next.predictions) !== JSON.stringify(right.predictions)) outcomes.push('next call wrong');
      }
      await client.close();
      return outcomes;
    }, lock);

    expect(seen.at(-1)).toBe('answered');
    expect(seen.length).toBeGreaterThan(3);
    expect(new Set(seen.slice(0, -1))).toEqual(new Set(['reason']));
    expect(tab.logs.filter((line) => line.startsWith('uncaught'))).toEqual([]);
  });

  test('only-on-device: while it classifies nothing leaves the page, though a server is configured', async () => {
    await using far = await openFar(builtIn.repository, 'onnx-cpu');
    const opened = await tab.page.evaluateHandle(
      async ({ server, lock }) => {
        const client = window.nearfar.createClient({ models: '/models', server, lock, backends: ['tfjs-wasm'] });
        const photo = await (await fetch('/frog.png')).blob();
        return { client, photo, model: await client.open('everyday10', { mode: 'only-on-device' }) };
      },
      { server: far.url, lock },
    );
    const classify = () => opened.evaluate(async ({ model, photo }) => (await model.classify(photo)).run.leg);
    requests = [];

    const first = await classify();
    const firstRequests = requests;
    requests = [];
    const second = await classify();
    const secondRequests = requests;
    requests = [];
    const failed = await opened.evaluate(async ({ model, client, photo }) => {
      const code = await model.classify(new Blob(['no photo'])).catch((error) => error.code);
      await (await client.open('everyday10', { mode: 'only-server' })).classify(photo);
      await client.close();
      return code;
    });

    expect([first, second, failed]).toEqual(['on-device', 'on-device', 'invalid-argument']);
    // The first photo starts the worker that decodes: its script is all that is fetched.
    expect(firstRequests.map((request) => [request.method(), request.postData()])).toEqual(firstRequests.map(() => ['GET', null]));
    for (const request of firstRequests) expect(request.url()).toMatch(new RegExp(`^${tab.server.origin}/assets/[\\w.-]+\\.js$`));
    expect(secondRequests.map((request) => request.url())).toEqual([]);
    // The log is not blind: the same photo on the server is in it.
    expect(requests.filter((request) => request.method() === 'POST' && request.url().startsWith(far.url))).toHaveLength(1);
  });
});

describe('golden examples', () => {
  test('that one backend does not reproduce: the next answers, and every report says so', async () => {
    // No engine reproduces the reference to the last bit, so a tolerance of nothing is a device that computes wrongly.
    await using other = await publishChanged((manifest) => ({
      ...manifest,
      variants: manifest.variants.map((variant) =>
        variant.format === 'onnx' ? variant : { ...variant, tolerance: { absolute: 0, relative: 0 } },
      ),
    }));
    await using opened = await openPage(createFaultyRepository(other.path, '/models/').handler);

    const { run, events } = await opened.page.evaluate(async () => {
      const client = window.nearfar.createClient({ models: '/models', backends: ['tfjs-wasm', 'onnx-wasm'] });
      const events: string[] = [];
      client.addEventListener('fallback', ({ detail }) => events.push(`${detail.from} to ${detail.to}: ${detail.code}`));
      const model = await client.open('everyday10');
      const { run } = await model.classify('/frog.png');
      await client.close();
      return { run, events };
    });

    expect(run).toMatchObject({ engine: 'onnx', backend: 'wasm', fallback: { from: 'tfjs-wasm', code: 'self-test-failed' } });
    expect(events).toContain('tfjs-wasm to onnx-wasm: self-test-failed');
  });

  test('that nothing reproduces: the device refuses the version, whatever the backend', async () => {
    await using other = await publishChanged((manifest) => manifest, { breaksGolden: true });
    await using opened = await openPage(createFaultyRepository(other.path, '/models/').handler);

    const error = await opened.page.evaluate(async () => {
      const client = window.nearfar.createClient({ models: '/models', backends: ['tfjs-wasm', 'onnx-wasm'] });
      const { code, message } = await client.open('everyday10').catch((error) => error);
      await client.close();
      return { code, message };
    });

    expect(error).toMatchObject({ code: 'self-test-failed', message: expect.stringMatching(/tfjs-wasm.*onnx-wasm/) });
  });
});

describe('a server with another digest under the same version number', () => {
  const changeDescription = (manifest: Manifest): Manifest => ({ ...manifest, description: 'the same model, published elsewhere' });

  test('never answers for a locked client: the device does, or nobody', async () => {
    await using other = await publishChanged(changeDescription);
    await using far = await openFar(other.path, 'onnx-cpu');
    await using opened = await openPage();
    repository.fail(() => undefined);

    const seen = await opened.page.evaluate(
      async ({ server, lock }) => {
        const found: Record<string, unknown> = {};
        for (const mode of ['prefer-on-device', 'prefer-server', 'only-server'] as const) {
          const client = window.nearfar.createClient({ models: '/models', server, lock, backends: ['tfjs-wasm'] });
          found[mode] = await client
            .open('everyday10', { mode })
            .then((model) => model.classify('/frog.png'))
            .then(
              ({ run: { leg, digest, fallback } }) => ({ leg, digest, fallback: fallback && { from: fallback.from, code: fallback.code } }),
              (error) => error.code,
            );
          await client.close();
        }
        return found;
      },
      { server: far.url, lock },
    );

    const { digest } = builtIn.pin;
    expect(seen['prefer-on-device']).toEqual({ leg: 'on-device', digest });
    expect(seen['prefer-server']).toMatchObject({ leg: 'on-device', digest, fallback: { from: 'server' } });
    expect(seen['only-server']).toBe('version-mismatch');
  });

  test('that takes the place of the right one is refused in the middle of a session, with version-mismatch', async () => {
    await using other = await publishChanged(changeDescription);
    const right = await openFar(builtIn.repository, 'onnx-cpu');
    await using opened = await openPage();
    repository.fail(() => undefined);
    const session = await opened.page.evaluateHandle(
      async ({ server, lock }) => {
        const client = window.nearfar.createClient({ models: '/models', server, lock, backends: ['tfjs-wasm'] });
        const either = await client.open('everyday10', { mode: 'prefer-server' });
        return { client, either, only: await client.open('everyday10', { mode: 'only-server' }) };
      },
      { server: right.url, lock },
    );
    const classify = () =>
      session.evaluate(async ({ either, only }) => {
        const { run } = await either.classify('/frog.png');
        const outcome = await only.classify('/frog.png').then(
          ({ run }) => run.digest,
          (error) => error.code,
        );
        return { run, outcome };
      });

    const before = await classify();
    await right[Symbol.asyncDispose]();
    await using _wrong = await openFar(other.path, 'onnx-cpu', Number(new URL(right.url).port));
    const after = await classify();
    await session.evaluate(({ client }) => client.close());

    const { digest } = builtIn.pin;
    expect(before).toMatchObject({ run: { leg: 'server', digest }, outcome: digest });
    expect(after).toMatchObject({
      run: { leg: 'on-device', digest, fallback: { from: 'server', code: 'version-mismatch' } },
      outcome: 'version-mismatch',
    });
  });
});

/** The built-in model as version 1 of another repository, its manifest changed, so with another digest. */
async function publishChanged(change: (manifest: Manifest) => Manifest, { breaksGolden = false } = {}) {
  const folder = await openTempFolder();
  const to = join(folder.path, name, '1');
  await mkdir(join(folder.path, name));
  await cp(join(builtIn.repository, name, '1'), to, { recursive: true });
  let { files } = builtIn.manifest;
  if (breaksGolden) {
    const path = builtIn.manifest.golden[0]?.outputs ?? '';
    const { probabilities } = decodeSafetensors(new Uint8Array(await readFile(join(to, path))));
    if (probabilities?.dtype !== 'float32') throw new Error('the golden outputs are not probabilities');
    const bytes = encodeSafetensors({ probabilities: { ...probabilities, data: probabilities.data.map((value) => 1 - value) } });
    await writeFile(join(to, path), bytes);
    const digest = await digestOf(bytes);
    files = { ...files, [path]: { bytes: bytes.byteLength, digest, chunks: [[bytes.byteLength, digest]] } };
  }
  const bytes = encodeManifest(change({ ...builtIn.manifest, files }));
  await writeFile(join(to, 'manifest.json'), bytes);
  const versions = [{ version: '1', digest: await digestOf(bytes) }];
  await writeFile(join(folder.path, name, 'versions.json'), encodeVersions({ schemaVersion: 1, name, versions, labels: { stable: '1' } }));
  return folder;
}

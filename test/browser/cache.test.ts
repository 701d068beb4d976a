import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { launchBrowser, type TestBrowser } from '../support/browser.ts';
import {
  callCache,
  createRepository,
  holdWeightsAt,
  leave,
  name,
  type Origin,
  openOrigin,
  prefetch,
  type Repository,
  untilProgress,
  visit,
  weightsPath,
} from './cache-origin.ts';

// The cache as an application meets it: by the public client, in a real browser with real storage.

let repository: Repository;
let browser: TestBrowser;
let tab: Origin;

beforeAll(async () => {
  repository = await createRepository();
  browser = await launchBrowser({ gpu: false });
  tab = await openOrigin(browser, repository);
});

afterAll(async () => {
  await tab?.[Symbol.asyncDispose]();
  await browser?.[Symbol.asyncDispose]();
  await repository?.[Symbol.asyncDispose]();
});

beforeEach(async () => {
  tab.served.fail(() => undefined);
  await leave(tab.page);
  await callCache(tab.page, 'clear');
  tab.served.forget();
});

const locked = () => ({ lock: repository.lockTo('1') });
const inAll = (outcome: { readonly value?: { readonly bytes: number } | undefined }) => outcome.value?.bytes ?? 0;

describe('a download', () => {
  test('goes on after a reload with at most one chunk again', async () => {
    holdWeightsAt(tab, repository, 0.8);
    visit(tab.page, locked()).catch(() => undefined);
    await untilProgress(tab.page, 0.7);
    await tab.reload();
    tab.served.forget();

    const { cache } = await visit(tab.page, locked());

    expect(cache).toBe('partial');
    expect(tab.served.bytesOf(weightsPath)).toBeLessThanOrEqual(repository.weightsBytes * 0.2 + repository.largestChunk);
    expect(tab.served.requests.find(({ path }) => path === weightsPath)?.range).toMatch(/^bytes=[1-9]/);
  });

  test('goes on at its last byte when the connection breaks, under the same ETag', async () => {
    const { goOn } = holdWeightsAt(tab, repository, 0.8);
    const visiting = visit(tab.page, locked());
    await untilProgress(tab.page, 0.75);
    goOn();

    const { events } = await visiting;

    const [, again] = tab.served.requests.filter(({ path }) => path === weightsPath);
    expect(events).toEqual(['retry network']);
    expect(again).toMatchObject({ status: 206, ifRange: expect.stringMatching(/^"[0-9a-f]{64}"$/) });
    expect(tab.served.bytesOf(weightsPath)).toBeLessThan(repository.weightsBytes * 1.01);
  });

  test('goes on once the network is back', async () => {
    holdWeightsAt(tab, repository, 0.8);
    const visiting = visit(tab.page, locked()).catch((error: Error) => error.message);
    await untilProgress(tab.page, 0.7);
    tab.served.fail(() => ({ refuse: true }));
    await tab.server.goOffline();
    const message = await visiting;
    await tab.server.goOnline();
    tab.served.fail(() => undefined);
    tab.served.forget();

    const { cache } = await visit(tab.page, locked());

    expect(message).toContain('cannot be fetched');
    expect(cache).toBe('partial');
    expect(tab.served.bytesOf(weightsPath)).toBeLessThanOrEqual(repository.weightsBytes * 0.2 + repository.largestChunk);
  });

  test('tells the sizes of the manifest when the host compresses', async () => {
    tab.served.fail((path) => (path.endsWith('manifest.json') ? undefined : { gzip: true }));

    const { progress, events } = await visit(tab.page, locked());

    expect(progress.at(-1)).toBe(1);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(events).toEqual([]);
  });
});

describe('a new version', () => {
  const labels = 'one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n';

  test('costs only the chunks that changed, and the old one stays until it is verified', async () => {
    const old = await visit(tab.page);
    await repository.publishWithLabels('2', labels);
    tab.served.forget();
    tab.served.fail((path) => (path === `${name}/2/labels.txt` ? { flipByteAt: 1 } : undefined));
    const broken = await visit(tab.page).catch((error: Error) => error.message);
    const meanwhile = await callCache(tab.page, 'report');
    tab.served.fail(() => undefined);
    tab.served.forget();

    const next = await visit(tab.page);

    expect(old).toMatchObject({ version: '1' });
    expect(broken).toContain('was expected');
    expect(meanwhile.versions.find(({ version }) => version === '1')).toMatchObject({ isComplete: true });
    expect(meanwhile.versions.find(({ version }) => version === '2')).toMatchObject({ isComplete: false });
    expect(next).toMatchObject({ version: '2', cache: 'partial' });
    expect(labels.split('\n')).toContain(next.label);
    expect(tab.served.requests.map(({ path }) => path).sort()).toEqual([`${name}/2/labels.txt`, `${name}/versions.json`]);
  });
});

describe('client.cache', () => {
  test('prefetches a version, which then opens without a request', async () => {
    const fetched = await prefetch(tab.page, locked());
    const again = await prefetch(tab.page, locked());
    tab.served.forget();

    const opened = await visit(tab.page, locked());

    expect(fetched).toMatchObject({ value: { version: '1', backend: 'tfjs-wasm', cache: 'miss' }, events: [] });
    expect(fetched.progress.at(-1)).toBe(1);
    expect(again.value).toMatchObject({ cache: 'hit' });
    expect(opened.cache).toBe('hit');
    expect(tab.served.requests).toEqual([]);
  });

  test('lists, measures, pins, verifies and evicts', async () => {
    const fetched = await prefetch(tab.page, { ...locked(), pin: true });

    const full = await callCache(tab.page, 'report');
    const verification = await callCache(tab.page, 'verify');
    const freed = await callCache(tab.page, 'evict', name, '1');
    const empty = await callCache(tab.page, 'report');

    expect(full).toMatchObject({ bytes: inAll(fetched), isKept: true, isPersisted: false });
    expect(full.versions).toMatchObject([{ name, version: '1', isComplete: true, isPinned: true, isInUse: false, bytes: inAll(fetched) }]);
    expect(full.usageBytes).toBeGreaterThan(inAll(fetched));
    expect(verification).toMatchObject({ corrupt: [] });
    expect(verification.chunks).toBeGreaterThan(2);
    expect(freed).toBe(inAll(fetched));
    expect(empty).toMatchObject({ versions: [], bytes: 0 });
  });

  test('asks the browser to persist, and tells what it promised', async () => {
    const cdp = await browser.context.newCDPSession(tab.page);
    const refused = await callCache(tab.page, 'persist');
    await cdp.send('Browser.grantPermissions', { origin: tab.origin, permissions: ['durableStorage'] });

    const granted = await callCache(tab.page, 'persist');

    expect([refused, granted]).toEqual([false, true]);
    expect(await callCache(tab.page, 'report')).toMatchObject({ isPersisted: true });
  });
});

describe('the quota', () => {
  const quotaSize = 1_000_000;
  const openSmall = async (within: TestBrowser) => {
    const small = await openOrigin(within, repository);
    const cdp = await within.context.newCDPSession(small.page);
    await cdp.send('Storage.overrideQuotaForOrigin', { origin: small.origin, quotaSize });
    return small;
  };
  const expectNumbers = ({ error }: Awaited<ReturnType<typeof prefetch>>) => {
    expect(error).toMatchObject({ code: 'quota-exceeded' });
    expect(error?.details['neededBytes']).toBeGreaterThan(repository.weightsBytes);
    expect(error?.details['availableBytes']).toBeLessThanOrEqual(quotaSize);
  };

  test('that turns out too small refuses what is only kept, and what is opened is only loaded', async () => {
    await using small = await openSmall(browser);

    const refused = await prefetch(small.page, locked());
    const opened = await visit(small.page, locked());

    expectNumbers(refused);
    expect(opened.events).toEqual(['quota memory']);
    expect(opened.label).not.toBe('');
  });

  test('is looked at before the first byte, where the browser tells it', async () => {
    // By default Chromium tells every page the same.
    await using open = await launchBrowser({ gpu: false, args: ['--disable-features=StaticStorageQuota'] });
    await using small = await openSmall(open);

    const refused = await prefetch(small.page, locked());
    const asked = small.served.bytesOf(weightsPath);
    const opened = await visit(small.page, locked());

    expectNumbers(refused);
    expect(asked).toBe(0);
    expect(opened).toMatchObject({ cache: 'miss', events: ['quota memory'] });
    expect(small.served.bytesOf(weightsPath)).toBe(repository.weightsBytes);
  });
});

describe('storage that is cleared behind our back', () => {
  const clear = async () => {
    const cdp = await browser.context.newCDPSession(tab.page);
    await cdp.send('Storage.clearDataForOrigin', { origin: tab.origin, storageTypes: 'all' });
  };

  test('between visits heals by a download', async () => {
    await visit(tab.page, locked());
    await leave(tab.page);
    await clear();

    const again = await visit(tab.page, locked());

    expect(again.cache).toBe('miss');
    expect((await callCache(tab.page, 'report')).versions).toMatchObject([{ isComplete: true }]);
  });

  test('under an open model leaves it answering, and the next opening of the same client keeps it again', async () => {
    await visit(tab.page, locked());
    await clear();

    const answers = await tab.page.evaluate(async () => {
      const image = () => new ImageData(new Uint8ClampedArray(32 * 32 * 4).fill(200), 32, 32);
      const client = window.client;
      if (!client) throw new Error('no visit');
      const open = await client.open('everyday10', { mode: 'only-on-device' });
      const shared = await open.classify(image());
      const onnx = await client.open('everyday10', { mode: 'only-on-device', backends: ['onnx-wasm'] });
      const other = await onnx.classify(image());
      return [shared.predictions[0]?.label, other.predictions[0]?.label, other.run.cache];
    });

    expect(answers[0]).toBe(answers[1]);
    expect(answers[2]).toBe('miss');
    expect((await callCache(tab.page, 'report')).versions).toMatchObject([{ version: '1', isComplete: true }]);
  });

  test('in the middle of a download does not end it', async () => {
    const { goOn } = holdWeightsAt(tab, repository, 0.8);
    const visiting = visit(tab.page, locked());
    await untilProgress(tab.page, 0.7);
    await clear();
    goOn();

    const first = await visiting;
    const second = await visit(tab.page, locked());
    const third = await visit(tab.page, locked());

    expect(first.label).toBe(second.label);
    expect(second.events.filter((event) => event.includes('refused'))).toEqual([]);
    expect(third.cache).toBe('hit');
  });
});

describe('a private window', () => {
  test('keeps models as long as it is open', async () => {
    await using hidden = await launchBrowser({ gpu: false, isPrivate: true });
    await using own = await openOrigin(hidden, repository);

    const first = await visit(own.page, locked());
    const second = await visit(own.page, locked());

    expect([first.cache, second.cache]).toEqual(['miss', 'hit']);
  });
});

describe('a page of an older nearfar', () => {
  /** Opens the database as version 1 of its layout, with one chunk, and keeps it open. */
  const openOld = (page: Origin['page'], givesWay: boolean) =>
    page.evaluate(
      (closes) =>
        new Promise<void>((resolve, reject) => {
          const request = indexedDB.open('nearfar', 1);
          request.onupgradeneeded = () => {
            request.result.createObjectStore('chunks').put(new Blob(['abc']), 'sha256:abc');
            request.result.createObjectStore('versions', { keyPath: 'digest' }).put({
              digest: 'sha256:old',
              name: 'old',
              version: '1',
              manifest: new Uint8Array(1),
              wanted: ['a.txt'],
              committed: ['a.txt'],
              chunks: [['sha256:abc', 3]],
              lastUsed: 1,
            });
            request.result.createObjectStore('versions-files', { keyPath: 'url' });
          };
          request.onerror = () => reject(request.error);
          request.onsuccess = () => {
            window.oldDatabase = request.result;
            request.result.onversionchange = () => closes && request.result.close();
            resolve();
          };
        }),
      givesWay,
    );

  test('that gives way lets the new one upgrade the cache, which loses nothing', async () => {
    await using own = await openOrigin(browser, repository);
    await openOld(own.page, true);
    await using next = await own.openTab();

    const report = await callCache(next, 'report');

    expect(report).toMatchObject({ isKept: true, versions: [{ name: 'old', isComplete: true, bytes: 3, isPinned: false }] });
  });

  test('that does not give way is not waited for: the new one works from memory, and from the cache once it is gone', async () => {
    await using own = await openOrigin(browser, repository);
    await openOld(own.page, false);
    await using next = await own.openTab();

    const meanwhile = await visit(next, locked());
    await leave(next);
    await own.page.evaluate(() => window.oldDatabase?.close());
    const after = await callCache(next, 'report');

    expect(meanwhile).toMatchObject({ cache: 'miss', events: ['quota memory'] });
    expect(after).toMatchObject({ isKept: true, versions: [{ name: 'old', isComplete: true }] });
  });
});

declare global {
  interface Window {
    oldDatabase?: IDBDatabase;
  }
}

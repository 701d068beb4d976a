import { stat } from 'node:fs/promises';
import { join } from 'node:path';
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

// Several tabs of one origin, each with the public client and workers of its own.

let repository: Repository;
let browser: TestBrowser;
let first: Origin;

beforeAll(async () => {
  repository = await createRepository();
  browser = await launchBrowser({ gpu: false });
  first = await openOrigin(browser, repository);
});

afterAll(async () => {
  await first?.[Symbol.asyncDispose]();
  await browser?.[Symbol.asyncDispose]();
  await repository?.[Symbol.asyncDispose]();
});

beforeEach(async () => {
  first.served.fail(() => undefined);
  await leave(first.page);
  await callCache(first.page, 'clear');
  first.served.forget();
});

const locked = () => ({ lock: repository.lockTo('1') });

describe('three tabs', () => {
  test('download a model once, and each tells how far it is', async () => {
    const { goOn } = holdWeightsAt(first, repository, 0.6);
    await using second = await first.openTab();
    await using third = await first.openTab();
    const pages = [first.page, second, third];

    const visits = pages.map((page) => visit(page, locked()));
    // The download stands still at 60 %: each tab knows.
    await Promise.all(pages.map((page) => untilProgress(page, 0.4)));
    goOn();
    const results = await Promise.all(visits);

    const paths = [...new Set(first.served.requests.map(({ path }) => path))];
    expect(paths).toContain(weightsPath);
    for (const path of paths) expect(first.served.bytesOf(path), path).toBe((await stat(join(repository.folder, path))).size);
    expect(results.map(({ cache }) => cache).sort()).toEqual(['hit', 'hit', 'miss']);
    expect(results.map(({ progress }) => progress.at(-1))).toEqual([1, 1, 1]);
    expect(results.flatMap(({ events }) => events)).toEqual(['retry network']);
  });

  test.each(['is closed', 'crashes'])('lose nothing when the one that downloads %s', async (how) => {
    holdWeightsAt(first, repository, 0.8);
    await using downloading = await first.openTab();
    await using second = await first.openTab();
    visit(downloading, locked()).catch(() => undefined);
    await untilProgress(downloading, 0.5);
    const others = [first.page, second].map((page) => visit(page, locked()));
    await Promise.all([first.page, second].map((page) => untilProgress(page, 0.5)));
    first.served.forget();

    if (how === 'crashes') {
      const crashed = downloading.waitForEvent('crash');
      const session = await browser.context.newCDPSession(downloading);
      // A crashed page does not answer.
      session.send('Page.crash').catch(() => undefined);
      await crashed;
    } else await downloading.close();

    const results = await Promise.all(others);
    expect(first.served.bytesOf(weightsPath)).toBeGreaterThan(0);
    expect(first.served.bytesOf(weightsPath)).toBeLessThanOrEqual(repository.weightsBytes * 0.2 + repository.largestChunk);
    expect(results.map(({ cache }) => cache).sort()).toEqual(['hit', 'partial']);
  });
});

test('a browser without locks downloads in each tab for itself', async () => {
  await using second = await first.openTab();
  let bothAsk: () => void = () => undefined;
  const until = new Promise<void>((resolve) => {
    bothAsk = resolve;
  });
  first.served.fail((path, index) => {
    if (path !== weightsPath) return undefined;
    if (index === 1) bothAsk();
    return { until };
  });
  const workers = /assets\/main[^/]*\.js$/;
  for (const page of [first.page, second]) {
    await page.route(workers, async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: `Object.defineProperty(navigator, 'locks', { value: undefined });${await response.text()}` });
    });
  }

  await Promise.all([visit(first.page, locked()), visit(second, locked())]);
  await first.page.unroute(workers);

  expect(first.served.bytesOf(weightsPath)).toBe(2 * repository.weightsBytes);
});

describe('what a tab has open', () => {
  /** Room for one of the two variants of the model. */
  const cacheBudgetBytes = 3_000_000;
  beforeAll(() => repository.publishWithLabels('2', 'a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n'));
  const other = { version: '2', backends: ['onnx-wasm'], cacheBudgetBytes } as const;

  test('is not evicted by another, and goes once it is closed', async () => {
    await using second = await first.openTab();
    await visit(first.page, locked()).then(() => callCache(second, 'unpin', name, '1'));

    const refused = await prefetch(second, other);
    const { versions } = await callCache(second, 'report');
    await leave(first.page);
    const after = await prefetch(second, other);

    expect(refused.error).toMatchObject({
      code: 'quota-exceeded',
      details: { neededBytes: expect.any(Number), availableBytes: expect.any(Number) },
    });
    expect(Number(refused.error?.details['neededBytes'])).toBeGreaterThan(Number(refused.error?.details['availableBytes']));
    expect(refused.events).toEqual(['quota refused']);
    expect(versions).toMatchObject([{ version: '1', isInUse: true, isComplete: true }]);
    expect(after).toMatchObject({ value: { version: '2', variant: 'onnx-float32' }, events: ['eviction 1'] });
  });

  test('or what is pinned by a lock or by an application stays, until it is unpinned', async () => {
    await using second = await first.openTab();
    await visit(first.page, locked());
    await leave(first.page);
    const pinned = await callCache(first.page, 'report');

    const byLock = await prefetch(second, other);
    await callCache(first.page, 'pin', name, '1');
    const byApplication = await prefetch(second, other);
    await callCache(first.page, 'unpin', name, '1');
    const after = await prefetch(second, other);

    expect(pinned.versions).toMatchObject([{ version: '1', isPinned: true, isInUse: false }]);
    expect([byLock.error?.code, byApplication.error?.code]).toEqual(['quota-exceeded', 'quota-exceeded']);
    expect(after).toMatchObject({ value: { version: '2' }, events: ['eviction 1'] });
  });

  test('is the version that the lock names: the one it named before may go', async () => {
    await visit(first.page, locked());
    await visit(first.page, { lock: repository.lockTo('2') });

    const { versions } = await callCache(first.page, 'report');

    expect(versions.map(({ version, isPinned }) => [version, isPinned]).sort()).toEqual([
      ['1', false],
      ['2', true],
    ]);
  });
});

import type { Page } from 'playwright-core';
import { launchBrowser, type TestBrowser } from '../test/support/browser.ts';
import { createFaultyRepository, type FaultyRepository } from '../test/support/fault-server.ts';
import { atMost, type Bench, compare, measurePairs } from './measure.ts';
import { allModels, type BenchModel } from './models.ts';
import type {} from './pages/visits.ts';
import { openPage, openSite } from './site.ts';
import { openSlowLink } from './slow-link.ts';

/** Rate of the link, in each direction: without one, checking and storing would be held against copying in memory. */
const megabitsPerSecond = 50;
const bars = { 0: 1.1, 1: 1.15, 5: 1.3 } as const;

/**
 * A model downloaded, verified and stored by `client.cache.prefetch` over a connection that breaks so many times, against plain fetches of
 * the same files without a break. Both over one link; each side on an origin of its own, so with an empty cache.
 */
export const benchDownload: Bench = async ({ pairs = 3, report }) => {
  const [model] = await allModels();
  if (!model) return;
  await using browser = await launchBrowser();
  const download = (page: Page) =>
    page.evaluate((options) => window.visits.download(options), { name: model.manifest.name, lock: model.lock });
  // What nearfar asks for is what the plain fetches bring: the same bytes over the same link.
  const asked = new Set<string>();
  await onFreshOrigin(browser, model, () => undefined, download, asked);
  const urls = [...asked].map((path) => `/models/${path}`);
  const bytesOf = (path: string) => model.manifest.files[path.split('/').slice(2).join('/')]?.bytes ?? 0;
  const [largest = ''] = [...asked].sort((a, b) => bytesOf(b) - bytesOf(a));
  for (const breaks of [0, 1, 5] as const) {
    const cutAfterBytes = Math.floor(bytesOf(largest) / (breaks + 1));
    const measured = await measurePairs(
      pairs,
      () => onFreshOrigin(browser, model, (path, index) => (path === largest && index < breaks ? { cutAfterBytes } : undefined), download),
      () =>
        onFreshOrigin(
          browser,
          model,
          () => undefined,
          (page) => page.evaluate((urls) => window.visits.fetchPlainly(urls), urls),
        ),
    );
    const about = {
      bench: 'download',
      case: `${model.manifest.name}, ${megabitsPerSecond} Mbit/s, breaks: ${breaks}`,
      unit: 'ms',
    } as const;
    report(compare({ ...about, subject: 'nearfar', reference: 'plain fetch' }, measured, atMost(bars[breaks])));
  }
};

/** @param asked Receives the files that were asked for. */
async function onFreshOrigin(
  browser: TestBrowser,
  model: BenchModel,
  fail: Parameters<FaultyRepository['fail']>[0],
  visit: (page: Page) => Promise<number>,
  asked?: Set<string>,
): Promise<number> {
  const repository = createFaultyRepository(model.repository, '/models/');
  repository.fail(fail);
  await using site = await openSite('visits.ts', model, { mounts: { '/models/': repository.handler } });
  await using link = await openSlowLink([site.origin], megabitsPerSecond);
  const page = await openPage(browser, link.origins[0] ?? '');
  try {
    return await visit(page);
  } finally {
    await page.close();
    for (const { path } of repository.requests) asked?.add(path);
  }
}

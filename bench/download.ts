import { launchBrowser, type TestBrowser } from '../test/support/browser.ts';
import { createFaultyRepository } from '../test/support/fault-server.ts';
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
  for (const breaks of [0, 1, 5] as const) {
    const measured = await measurePairs(
      pairs,
      () => onFreshOrigin(browser, model, breaks, (page) => page.evaluate((options) => window.visits.download(options), optionsOf(model))),
      () => onFreshOrigin(browser, model, 0, (page) => page.evaluate((urls) => window.visits.fetchPlainly(urls), filesOf(model))),
    );
    const about = {
      bench: 'download',
      case: `${model.manifest.name}, ${megabitsPerSecond} Mbit/s, breaks: ${breaks}`,
      unit: 'ms',
    } as const;
    report(compare({ ...about, subject: 'nearfar', reference: 'plain fetch' }, measured, atMost(bars[breaks])));
  }
};

type Visit = (page: Awaited<ReturnType<typeof openPage>>) => Promise<number>;

async function onFreshOrigin(browser: TestBrowser, model: BenchModel, breaks: number, visit: Visit): Promise<number> {
  const repository = createFaultyRepository(model.repository, '/models/');
  const { path, bytes } = largestFile(model);
  const cutAfterBytes = Math.floor(bytes / (breaks + 1));
  repository.fail((asked, index) => (asked.endsWith(path) && index < breaks ? { cutAfterBytes } : undefined));
  await using site = await openSite('visits.ts', model, { mounts: { '/models/': repository.handler } });
  await using link = await openSlowLink([site.origin], megabitsPerSecond);
  const page = await openPage(browser, link.origins[0] ?? '');
  try {
    return await visit(page);
  } finally {
    await page.close();
  }
}

const optionsOf = ({ manifest, lock }: BenchModel) => ({ name: manifest.name, lock });

/** What the device needs of the version on its first backend. */
function neededFiles({ manifest }: BenchModel): readonly string[] {
  const variant = manifest.variants.find(({ format }) => format.startsWith('tfjs'));
  const ofVersion = Object.keys(manifest.files).filter((path) => !manifest.variants.some(({ files }) => files.includes(path)));
  return [...(variant?.files ?? []), ...ofVersion];
}

function filesOf(model: BenchModel): readonly string[] {
  const folder = `/models/${model.manifest.name}/${model.pin.version}`;
  return ['manifest.json', ...neededFiles(model)].map((path) => `${folder}/${path}`);
}

function largestFile(model: BenchModel): { path: string; bytes: number } {
  const [largest] = neededFiles(model)
    .map((path) => ({ path, bytes: model.manifest.files[path]?.bytes ?? 0 }))
    .sort((a, b) => b.bytes - a.bytes);
  if (!largest) throw new Error(`${model.manifest.name} has no files`);
  return largest;
}

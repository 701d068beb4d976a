import { launchBrowser, openTestPage } from '../test/support/browser.ts';
import { type Bench, compare, measurePairs } from './measure.ts';
import type { StoreTask, StoreWay } from './pages/store-worker.ts';

/**
 * Chunks of 1 MiB in the origin private file system, by synchronous access handles, against one Blob per chunk in
 * IndexedDB: write (verified first, as a download) and read (verified after, as an opening). Each side writes anew
 * and reads in a new worker; the operating system's cache is warm for both.
 */
export const benchStores: Bench = async ({ pairs = 5, report, wants }) => {
  await using browser = await launchBrowser({ gpu: false });
  await using opened = await openTestPage(browser, { entry: 'bench/pages/stores.ts' });
  const run = (task: StoreTask) => opened.page.evaluate((each) => window.runStore(each), task);
  for (const chunks of [14, 100]) {
    for (const way of ['opfs-files', 'opfs-pack'] as const) {
      // Chromium 156, headless, does not come back from reading a hundred files one by one.
      if (!wants(way) || (way === 'opfs-files' && chunks > 14)) continue;
      const reads = new Map<StoreWay, number[]>();
      const write = (each: StoreWay) => async () => {
        const ms = await run({ way: each, phase: 'write', chunks });
        reads.set(each, [...(reads.get(each) ?? []), await run({ way: each, phase: 'read', chunks })]);
        await run({ way: each, phase: 'delete', chunks });
        return ms;
      };
      const written = await measurePairs(pairs, write(way), write('indexeddb'));
      const read = written.map((_, pair) => ({
        subject: reads.get(way)?.[pair] ?? Number.NaN,
        reference: reads.get('indexeddb')?.[pair] ?? Number.NaN,
      }));
      const about = { bench: 'stores', unit: 'ms', subject: way, reference: 'indexeddb' } as const;
      report(compare({ ...about, case: `write ${chunks} MiB` }, written));
      report(compare({ ...about, case: `read ${chunks} MiB` }, read));
    }
  }
};

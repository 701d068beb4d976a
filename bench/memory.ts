import { launchBrowser } from '../test/support/browser.ts';
import { type Bench, compare, type Pair } from './measure.ts';
import { everyday10 } from './models.ts';
import type {} from './pages/visits.ts';
import { openPage, openSite } from './site.ts';

const cycles = 100;

/**
 * What the page and its workers hold after a model was opened, asked and closed 100 times, against after the first 10, by
 * `performance.measureUserAgentSpecificMemory()`, which collects garbage first: leaks of JavaScript and wasm memory show, those of a GPU do not.
 */
export const benchMemory: Bench = async ({ pairs = 1, report }) => {
  const model = await everyday10();
  await using site = await openSite('visits.ts', model, { isolated: true });
  await using browser = await launchBrowser({ args: ['--enable-blink-features=ForceEagerMeasureMemory'] });
  const measured: Pair[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    const page = await openPage(browser, site.origin);
    const options = { name: model.manifest.name, lock: model.lock };
    const { early, late } = await page.evaluate(([options, cycles]) => window.visits.openAndClose(options, cycles), [
      options,
      cycles,
    ] as const);
    await page.close();
    measured.push({ subject: late / 1e6, reference: early / 1e6 });
  }
  report(
    compare(
      {
        bench: 'memory',
        case: `${model.manifest.name} tfjs-wasm, opened and closed`,
        unit: 'MB',
        subject: 'after 100',
        reference: 'after 10',
      },
      measured,
    ),
  );
};

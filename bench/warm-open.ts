import { launchBrowser } from '../test/support/browser.ts';
import { type Bench, compare, measurePairs } from './measure.ts';
import { allModels, byHand } from './models.ts';
import type { FirstAnswer, NearfarTask } from './pages/nearfar.ts';
import { openSite, runPage } from './site.ts';
import { formatTimes, showsDetails } from './table.ts';

/**
 * A page opened again, everything in its cache: from the beginning of the navigation to the first answer, against an
 * application that does the same with the engine's library alone (a worker, bytes from IndexedDB checked by SHA-256, the
 * photo decoded and scaled by the browser). nearfar also plans by the manifest, runs the golden examples and resizes by
 * its own kernel.
 */
export const benchWarmOpen: Bench = async ({ pairs = 7, report }) => {
  const [model] = await allModels();
  if (!model) return;
  const { name } = model.manifest;
  await using nearfarSite = await openSite('nearfar.ts', model);
  await using handSite = await openSite('by-hand.ts', model);
  for (const engine of ['tfjs', 'onnx'] as const) {
    await using browser = await launchBrowser();
    const task: NearfarTask = { name, lock: model.lock, backends: [`${engine}-wasm`] };
    const hand = byHand(model, engine);
    const open = async () => {
      const { ms, run, phases } = await runPage<FirstAnswer>(browser, nearfarSite.origin, task);
      if (showsDetails) console.log(`    ${formatTimes({ ...phases, answer: ms })}`);
      if (run.leg !== 'on-device' || run.backend !== 'wasm') throw new Error(`${run.leg} on ${run.backend} answered`);
      return { ms, cache: run.cache };
    };
    const openByHand = async () => (await runPage<{ ms: number }>(browser, handSite.origin, hand)).ms;
    await open();
    await openByHand();
    const measured = await measurePairs(
      pairs,
      async () => {
        const { ms, cache } = await open();
        if (cache !== 'hit') throw new Error(`a warm open was a ${cache}`);
        return ms;
      },
      openByHand,
    );
    report(compare({ bench: 'warm-open', case: `${name} ${engine}-wasm`, unit: 'ms', subject: 'nearfar', reference: 'by hand' }, measured));
  }
};

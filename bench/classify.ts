import { launchBrowser } from '../test/support/browser.ts';
import { type Bar, type Bench, compare, median, type Pair } from './measure.ts';
import { allModels, type BenchModel, byHand } from './models.ts';
import type { ClassifySample, ClassifyTask } from './pages/classify.ts';
import { openPage, openSite } from './site.ts';
import { formatTimes, showsDetails } from './table.ts';

const rounds = 3;
const warmUps = 10;

/**
 * `classify` of ImageData that needs no scaling, timed in the page, against one run of the same engine library called
 * directly in a worker on a tensor that is ready, the result read back, timed in that worker. The difference is what
 * nearfar adds: a trip to a worker, alpha and crop, normalisation, checks, top 5.
 */
export const benchClassify: Bench = async ({ pairs = 40, report }) => {
  for (const model of await allModels()) {
    for (const engine of ['tfjs', 'onnx'] as const) {
      const samples = await measureRounds(model, engine, Math.ceil(pairs / rounds));
      const measured = samples.map(({ nearfarMs, rawMs }) => ({ subject: nearfarMs, reference: rawMs }));
      const about = { bench: 'classify', case: `${model.manifest.name} ${engine}-wasm`, unit: 'ms' } as const;
      report(compare({ ...about, subject: 'nearfar', reference: 'engine alone' }, measured, barOf));
      if (showsDetails) console.log(`    ${formatTimes(partsOf(samples))}`);
    }
  }
};

/** Each round in a browser of its own: wasm memory and compiled code fall differently in each. */
async function measureRounds(model: BenchModel, engine: 'tfjs' | 'onnx', pairs: number): Promise<ClassifySample[]> {
  const { name, tasks } = model.manifest;
  const { resize, crop } = tasks?.['image-classification']?.input ?? { resize: undefined, crop: [0] };
  const task: ClassifyTask = {
    name,
    lock: model.lock,
    backend: `${engine}-wasm`,
    hand: byHand(model, engine),
    side: resize?.shorterSide ?? crop[0] ?? 0,
  };
  await using site = await openSite('classify.ts', model);
  const samples: ClassifySample[] = [];
  for (let round = 0; round < rounds; round++) {
    await using browser = await launchBrowser();
    const page = await openPage(browser, site.origin);
    samples.push(
      ...(await page.evaluate(([task, warmUps, pairs]) => window.measureClassify(task, warmUps, pairs), [task, warmUps, pairs] as const)),
    );
  }
  return samples;
}

/** At most 1.05 times the engine alone plus 1 ms. */
function barOf(pairs: readonly Pair[]): Bar {
  const overMs = median(pairs.map(({ subject, reference }) => subject - 1.05 * reference));
  return { text: `≤ 1.05 × + 1 ms (is 1.05 × ${overMs < 0 ? '−' : '+'} ${Math.abs(overMs).toFixed(2)} ms)`, isMet: overMs <= 1 };
}

function partsOf(samples: readonly ClassifySample[]): Record<string, number> {
  const parts = ['preprocessMs', 'queueMs', 'inferMs', 'postprocessMs', 'totalMs'] as const;
  const medians = parts.map((part) => [part, median(samples.map(({ timing }) => timing[part]))]);
  return Object.fromEntries([...medians, ['tripMs of the engine alone', median(samples.map(({ rawTripMs }) => rawTripMs))]]);
}

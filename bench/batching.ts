import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BackendId } from '../src/core/index.ts';
import { sharedData } from '../test/support/shared-data.ts';
import { type Bar, type Bench, type BenchContext, compare, measurePairs, median, type Pair } from './measure.ts';
import { allModels, type BenchModel } from './models.ts';
import { type BenchProcess, startProcess } from './process.ts';
import { showsDetails } from './table.ts';

const p99TargetMs = 100;

interface DoorCall {
  readonly name: string;
  readonly signature: string;
  readonly input: string;
  readonly shape: readonly number[];
}

interface Case extends DoorCall {
  readonly options: { readonly backends: readonly BackendId[]; readonly [option: string]: unknown };
  readonly inFlight: number;
  readonly durationMs: number;
  readonly bar: Bar['text'] & `≥ ${number}`;
}

interface Answer {
  readonly perSecond: number;
  readonly batching: readonly object[];
}

type Door = BenchProcess<{ readonly inFlight: number; readonly durationMs: number }, Answer>;

/**
 * Predictions per second at the servables' door, without a transport: with batching against without, of the same model on the same engine.
 * A tiny model by 64 callers with fixed parameters and tuned; convolution nets tuned, which is to notice that batching does not pay.
 */
export const benchBatching: Bench = async (context) => {
  const folder = await mkdtemp(join(tmpdir(), 'nearfar-bench-'));
  try {
    const tiny = tinyCase(join(folder, 'cache'));
    if (tiny) {
      await benchCase(context, tiny, 'fixed parameters', { kind: 'fixed', options: fixedOptions });
      await benchCase(context, tiny, 'tuned', { kind: 'auto', p99TargetMs });
    } else console.log('  half_plus_two is not there: the tiny model is not measured');
    for (const model of await allModels()) await benchCase(context, imageCase(model), 'tuned', { kind: 'auto', p99TargetMs });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** The defaults of TensorFlow Serving, but for a limit that the callers reach. */
const fixedOptions = {
  maxBatchSize: 64,
  batchTimeoutMicros: 0,
  maxEnqueuedBatches: 10,
  numBatchThreads: 2,
  allowedBatchSizes: [],
  padVariableLengthInputs: false,
  enableLargeBatchSplitting: false,
  maxExecutionBatchSize: 64,
  threadPoolName: '',
};

const engineThreads = Math.max(1, availableParallelism() - 1);

/** TensorFlow Serving's own test model: y = x / 2 + 2. */
function tinyCase(cacheDir: string): Case | undefined {
  const basePath = sharedData('tfs-testdata/saved_model_half_plus_two_cpu');
  if (basePath === undefined) return undefined;
  const options = { models: [{ name: 'half_plus_two', basePath }], cacheDir, backends: ['tfjs-wasm'] as const, engineThreads };
  return {
    name: 'half_plus_two',
    signature: 'serving_default',
    input: 'x',
    shape: [1, 1],
    options,
    inFlight: 64,
    durationMs: 2_000,
    bar: '≥ 5',
  };
}

function imageCase({ manifest, repository }: BenchModel): Case {
  const task = manifest.tasks?.['image-classification'];
  if (!task) throw new Error(`${manifest.name} classifies no images`);
  const { signature, input } = task;
  const shape = (manifest.signatures[signature]?.inputs[input.name]?.shape ?? []).map((size) => (size === -1 ? 1 : size));
  const options = { modelsRoot: repository, backends: ['onnx-cpu'] as const, engineThreads };
  return { name: manifest.name, signature, input: input.name, shape, options, inFlight: 16, durationMs: 3_000, bar: '≥ 0.97' };
}

async function benchCase({ pairs = 5, report }: BenchContext, tested: Case, how: string, batching: object): Promise<void> {
  const { options, inFlight, durationMs, bar, ...call } = tested;
  const start = (own: object): Promise<Door> => startProcess('door.mjs', { ...call, options: { ...options, ...own } });
  await using batched = await start({ batching });
  await using single = await start({});
  const perSecond = async (door: Door) => (await door.ask({ inFlight, durationMs })).perSecond;
  // The tuner chooses meanwhile.
  await measurePairs(
    1,
    () => perSecond(batched),
    () => perSecond(single),
  );
  const measured = await measurePairs(
    pairs,
    () => perSecond(batched),
    () => perSecond(single),
  );
  const about = { bench: 'batching', case: `${call.name} ${options.backends[0]}, ${inFlight} callers at the door`, unit: '/s' } as const;
  report(compare({ ...about, subject: how, reference: 'no batching' }, measured, barOf(bar)));
  if (showsDetails) console.log(`    ${JSON.stringify((await batched.ask({ inFlight: 1, durationMs: 1 })).batching)}`);
}

function barOf(text: Case['bar']): (pairs: readonly Pair[]) => Bar {
  const least = Number(text.slice(2));
  return (pairs) => ({ text, isMet: median(pairs.map(({ subject, reference }) => subject / reference)) >= least });
}

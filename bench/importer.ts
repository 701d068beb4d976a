import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PublishOptions, publish } from '../src/publish/index.ts';
import { launchBrowser } from '../test/support/browser.ts';
import { sharedData } from '../test/support/shared-data.ts';
import { type Bar, type Bench, compare, measurePairs, median, type Pair } from './measure.ts';
import type {} from './pages/variants.ts';
import { startProcess } from './process.ts';
import { openPage, openSite } from './site.ts';

/** One variant of a published version on one backend. */
export interface TimedVariant {
  readonly backend: 'tfjs-wasm' | 'tfjs-webgpu' | 'onnx-cpu' | 'onnx-wasm';
  /** Of the version; an address in a page. */
  readonly directory: string;
  readonly variant: string;
  /** Of its input. */
  readonly shape: readonly number[];
}

type Backend = TimedVariant['backend'];

/** What is held against what: a version's name and the id of its variant on a backend. */
interface Versus {
  readonly what: string;
  readonly subject: readonly [version: VersionName, variant: string, backend: Backend];
  readonly reference: readonly [version: VersionName, variant: string, backend: Backend];
  /** Largest ratio of the times. */
  readonly bar?: { readonly text: string; readonly most: number };
}

type VersionName = 'ours' | 'unoptimised' | 'official' | 'hand-made';

const names: Readonly<Record<VersionName, string>> = {
  ours: 'SavedModel',
  unoptimised: '--optimize none',
  official: 'official graph',
  'hand-made': 'hand-made',
};

const graphBar = { text: '≤ 1.05', most: 1.05 };

/** The GraphModel from the SavedModel, with and without passes, against the official converter's. */
function graphCases(backend: Backend): Versus[] {
  const official = ['official', 'tfjs-float32', backend] as const;
  return [
    { what: 'graph', subject: ['ours', 'tfjs-float32', backend], reference: official, bar: graphBar },
    { what: 'graph', subject: ['unoptimised', 'tfjs-float32', backend], reference: official },
  ];
}

/** Smaller weights against float32, of one format. */
function precisionCases(family: 'tfjs' | 'onnx', backend: Backend): Versus[] {
  return ['float16', 'uint8'].map((precision) => ({
    what: `${precision} to float32`,
    subject: ['ours', `${family}-${precision}`, backend],
    reference: ['ours', `${family}-float32`, backend],
  }));
}

const onServer: readonly Versus[] = [
  ...graphCases('tfjs-wasm'),
  {
    what: 'ONNX',
    subject: ['ours', 'onnx-float32', 'onnx-cpu'],
    reference: ['hand-made', 'onnx-float32', 'onnx-cpu'],
    bar: { text: '≥ 0.9 × its speed', most: 1 / 0.9 },
  },
  { what: 'ONNX', subject: ['unoptimised', 'onnx-float32', 'onnx-cpu'], reference: ['hand-made', 'onnx-float32', 'onnx-cpu'] },
  {
    what: 'ONNX to tfjs',
    subject: ['ours', 'onnx-float32', 'onnx-cpu'],
    reference: ['ours', 'tfjs-float32', 'tfjs-wasm'],
    bar: { text: '≥ 3 × its speed', most: 1 / 3 },
  },
  ...precisionCases('tfjs', 'tfjs-wasm'),
  ...precisionCases('onnx', 'onnx-cpu'),
];

const inPage: readonly Versus[] = [...graphCases('tfjs-wasm'), ...graphCases('tfjs-webgpu'), ...precisionCases('onnx', 'onnx-wasm')];

const warmUps = 5;

/**
 * MobileNetV2 from its SavedModel, as `publish` writes it, against the official converter's GraphModel and against an ONNX file made by
 * hand from the same weights, each on the same engine of ours; smaller weights against float32. One run of one picture, its result read
 * back, timed where the engine is.
 */
export const benchImporter: Bench = async ({ pairs, report }) => {
  await using models = await publishMobileNets();
  if (!models) return;
  const { repository, directories } = models;
  const threads = Math.max(1, availableParallelism() - 1);
  const tell = (platform: string, { what, subject, reference, bar }: Versus, measured: readonly Pair[]) => {
    const [, , backend] = subject;
    // The backend is said once where both sides have it.
    const side = ([version, , on]: Versus['subject']) => (backend === reference[2] ? names[version] : `${names[version]}, ${on}`);
    const about = { bench: 'importer', case: `${what}, ${backend}, ${platform}`, unit: 'ms' } as const;
    report(compare({ ...about, subject: side(subject), reference: side(reference) }, measured, bar && barOf(bar)));
  };
  const measure = async (time: (side: Versus['subject']) => Promise<number>, versus: Versus, count: number) => {
    const [subject, reference] = [() => time(versus.subject), () => time(versus.reference)];
    await measurePairs(warmUps, subject, reference);
    return measurePairs(count, subject, reference);
  };

  {
    const { sides, indexOf } = sidesOf(onServer, (name) => directories[name]);
    await using engines = await startProcess<{ side: number }, { ms: number }>('variants.mjs', { sides, threads });
    const time = async (side: Versus['subject']) => (await engines.ask({ side: indexOf(side) })).ms;
    for (const versus of onServer) tell('Node', versus, await measure(time, versus, pairs ?? 40));
  }
  await using site = await openSite('variants.ts', { repository });
  await using browser = await launchBrowser();
  for (const backend of new Set(inPage.map(({ subject: [, , on] }) => on))) {
    const cases = inPage.filter(({ subject: [, , on] }) => on === backend);
    const { sides, indexOf } = sidesOf(cases, (name) => directories[name].replace(repository, '/models'));
    const page = await openPage(browser, site.origin);
    await page.evaluate((all) => window.openVariants(all), sides);
    const time = (side: Versus['subject']) => page.evaluate((index) => window.timeVariant(index), indexOf(side));
    // SwiftShader takes about a second.
    for (const versus of cases) tell('Chromium', versus, await measure(time, versus, pairs ?? (backend === 'tfjs-webgpu' ? 15 : 40)));
    await page.close();
  }
};

/** Every side once, so that both rows of a table that have it measure the very same session. */
function sidesOf(cases: readonly Versus[], directoryOf: (version: VersionName) => string) {
  const all = new Map(cases.flatMap(({ subject, reference }) => [subject, reference]).map((side) => [side.join(), side]));
  const sides = [...all.values()].map(
    ([version, variant, backend]): TimedVariant => ({
      backend,
      variant,
      directory: directoryOf(version),
      // The same picture with its axes in the order that the file has.
      shape: version === 'hand-made' ? [1, 3, 224, 224] : [1, 224, 224, 3],
    }),
  );
  return { sides, indexOf: (side: Versus['subject']) => [...all.keys()].indexOf(side.join()) };
}

function barOf({ text, most }: NonNullable<Versus['bar']>): (pairs: readonly Pair[]) => Bar {
  return (pairs) => ({ text, isMet: median(pairs.map(({ subject, reference }) => subject / reference)) <= most });
}

/** The versions that are compared, in a repository of their own; undefined where the shared data is absent. */
async function publishMobileNets() {
  const saved = sharedData('savedmodel/mobilenetv2_dq/1');
  const graph = sharedData('tfjs/mobilenetv2-dq-graph');
  const onnx = sharedData('onnx/mobilenetv2-dq-fp32');
  if (saved === undefined || graph === undefined || onnx === undefined) {
    console.log('  skipped: MobileNetV2 is only in the shared test data');
    return undefined;
  }
  const repository = await mkdtemp(join(tmpdir(), 'nearfar-bench-'));
  const add = async (name: VersionName, source: string, options: Partial<PublishOptions> = {}) => {
    await publish([source], { name, repository, version: '1', ...options });
    return join(repository, name, '1');
  };
  const directories = {
    ours: await add('ours', saved, { precisions: ['float32', 'float16', 'uint8'] }),
    unoptimised: await add('unoptimised', saved, { optimize: 'none' }),
    official: await add('official', graph, { formats: ['tfjs-graph'] }),
    'hand-made': await add('hand-made', onnx, { formats: ['onnx'] }),
  } satisfies Record<VersionName, string>;
  return { repository, directories, [Symbol.asyncDispose]: () => rm(repository, { recursive: true, force: true }) };
}

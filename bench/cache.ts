import { availableParallelism } from 'node:os';
import { type Bar, type Bench, compare, measurePairs, median, type Pair } from './measure.ts';
import { allModels, type BenchModel, callOf } from './models.ts';
import { startProcess } from './process.ts';

interface Load {
  /** How many of the servers are asked, in turn. */
  readonly processes: number;
  readonly inFlight: number;
  /** Share of the requests that were answered before. */
  readonly hitRate: number;
  readonly durationMs: number;
}

interface Measured {
  readonly perSecond: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** Looked at every 2 ms, not computed. */
  readonly meanInFlight: number;
  /** Answers by what the server said of its cache. */
  readonly outcomes: Readonly<Record<string, number>>;
}

const durationMs = 2_000;
const hitRates = [0, 0.5, 0.9];
const backend = 'onnx-cpu';
const resultCacheBytes = 256 * 2 ** 20;

function startServer({ repository }: BenchModel, options: object) {
  const threads = Math.max(1, availableParallelism() - 1);
  return startProcess<object, object, { rest: string }>('server.mjs', {
    modelsRoot: repository,
    backends: [backend],
    engineThreads: threads,
    ...options,
  });
}

function startClient(model: BenchModel, servers: readonly { readonly ready: { readonly rest: string } }[]) {
  return startProcess<Load, Measured>('cache-client.mjs', { ...callOf(model), servers: servers.map(({ ready }) => ready.rest) });
}

/** A server that keeps its answers against one that keeps none, under the same requests, by the share that was asked before. */
export const benchCache: Bench = async ({ pairs = 5, report }) => {
  const [model] = await allModels();
  if (!model) return;
  await using caching = await startServer(model, { resultCacheBytes });
  await using plain = await startServer(model, {});
  await using toCaching = await startClient(model, [caching]);
  await using toPlain = await startClient(model, [plain]);
  for (const hitRate of hitRates) {
    const load = { processes: 1, inFlight: 8, hitRate, durationMs };
    const measured = await measurePairs(
      pairs,
      async () => (await toCaching.ask(load)).perSecond,
      async () => (await toPlain.ask(load)).perSecond,
    );
    const about = { bench: 'cache', case: `${model.manifest.name} rest, ${hitRate * 100} % known, 8 in flight`, unit: '/s' } as const;
    report(compare({ ...about, subject: 'result cache', reference: 'no cache' }, measured, hitRate === 0.9 ? barOf : undefined));
  }
};

function barOf(pairs: readonly Pair[]): Bar {
  return { text: '≥ 3', isMet: median(pairs.map(({ subject, reference }) => subject / reference)) >= 3 };
}

/**
 * The classic table of a serving system: throughput and latency by callers, hit rate and server processes, each process with its own
 * cache, asked in turn. Little's law, L = λ·W, holds when the mean number in flight that was looked at is the throughput times the mean
 * latency: what was measured then hangs together.
 */
export const benchServingTable: Bench = async () => {
  const [model] = await allModels();
  if (!model) return;
  await using first = await startServer(model, { resultCacheBytes });
  await using second = await startServer(model, { resultCacheBytes });
  await using third = await startServer(model, { resultCacheBytes });
  await using client = await startClient(model, [first, second, third]);
  await client.ask({ processes: 3, inFlight: 3, hitRate: 0, durationMs });
  console.log('  | processes | callers | known | hits | λ /s | W ms | p50 | p95 | p99 | L | λ·W | L/λW |');
  console.log('  |---|---|---|---|---|---|---|---|---|---|---|---|');
  const deviations: number[] = [];
  for (const processes of [1, 2, 3]) {
    for (const inFlight of [1, 5, 10]) {
      for (const hitRate of hitRates) {
        const cell = await client.ask({ processes, inFlight, hitRate, durationMs });
        const expected = (cell.perSecond * cell.meanMs) / 1000;
        deviations.push(Math.abs(cell.meanInFlight / expected - 1));
        const { hit = 0, joined = 0, miss = 0 } = cell.outcomes;
        const numbers = [cell.perSecond, cell.meanMs, cell.p50Ms, cell.p95Ms, cell.p99Ms, cell.meanInFlight, expected];
        const columns = [
          processes,
          inFlight,
          `${hitRate * 100} %`,
          `${Math.round((100 * (hit + joined)) / (hit + joined + miss))} %`,
          ...numbers.map((value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))),
          (cell.meanInFlight / expected).toFixed(3),
        ];
        console.log(`  | ${columns.join(' | ')} |`);
      }
    }
  }
  console.log(`  Little's law: L is within ${(100 * Math.max(...deviations)).toFixed(1)} % of λ·W in every row`);
};

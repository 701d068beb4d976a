import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseManifest } from '../src/core/index.ts';
import { importDirectory } from '../src/publish/index.ts';
import { openTempFolder } from '../test/support/model-folder.ts';
import { sharedData } from '../test/support/shared-data.ts';
import { type Bench, compare, type Pair } from './measure.ts';
import { startProcess } from './process.ts';
import { formatTimes, showsDetails } from './table.ts';

interface Seen {
  readonly seconds: number;
  readonly requests: number;
  readonly failures: readonly string[];
  readonly versions: Readonly<Record<string, { readonly first: number; readonly last: number }>>;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

interface Case {
  readonly name: string;
  readonly source: string;
  readonly input: string;
  readonly output: string;
  readonly shape: readonly number[];
}

const clients = 64;
const swaps = 50;
const windowMs = 30_000;

const cases: readonly Case[] = [
  { name: 'half_plus_two', source: 'tfs-testdata/saved_model_half_plus_two_cpu/00000123', input: 'x', output: 'y', shape: [1, 1] },
  { name: 'mobilenetv2', source: 'onnx/mobilenetv2-dq-fp32', input: 'input', output: 'output', shape: [1, 3, 224, 224] },
];

/**
 * The 99th percentile of the latency under 64 callers in a closed loop, while a new version takes over 50 times, against that without; then
 * while a model is imported for the first time. Fails when a request fails or a version answers that is not loaded.
 * NEARFAR_BENCH_CASE names one of the models.
 */
export const benchSwaps: Bench = async ({ report }) => {
  const only = process.env['NEARFAR_BENCH_CASE'];
  for (const one of cases) if (only === undefined || only === one.name) await benchCase(one, report);
};

async function benchCase(one: Case, report: Parameters<Bench>[0]['report']): Promise<void> {
  const source = sharedData(one.source);
  const toImport = sharedData('savedmodel/mobilenetv2_dq/1');
  if (source === undefined || toImport === undefined) return;
  await using folder = await openTempFolder();
  const made = join(folder.path, 'made');
  await importDirectory(source, join(made, '1'), { name: one.name, version: '1' });
  for (let version = 2; version <= swaps + 1; version++) await copyVersion(made, String(version));
  const models = join(folder.path, 'models');
  const model = join(models, one.name);
  await mkdir(model, { recursive: true });
  await rename(join(made, '1'), join(model, '1'));
  await using server = await startProcess<object, object, { rest: string }>('server.mjs', {
    modelsRoot: models,
    cacheDir: join(folder.path, 'cache'),
    pollIntervalMs: 100,
    backends: ['onnx-cpu', 'tfjs-wasm'],
  });
  const { rest } = server.ready;
  const signature = 'serving_default';
  await using client = await startProcess<{ start?: number }, Seen>('swap-client.mjs', { rest, signature, ...one });
  const during = async (work: () => Promise<unknown>): Promise<Seen> => {
    await client.ask({ start: clients });
    await Promise.all([work(), pause(windowMs)]);
    return client.ask({});
  };

  await during(async () => {});
  const still = await during(async () => {});
  const ends = new Map<string, number>();
  const swapping = await during(async () => {
    const startedAt = performance.now();
    for (let version = 2; version <= swaps + 1; version++) {
      await pause(Math.max(0, startedAt + ((version - 2) * windowMs) / swaps - performance.now()));
      await rename(join(made, String(version)), join(model, String(version)));
      await untilState(rest, one.name, { [version]: 'AVAILABLE', [version - 1]: 'END' });
      ends.set(String(version - 1), Date.now());
      await rm(join(model, String(version - 1)), { recursive: true });
    }
  });
  const importing = await during(async () => {
    await mkdir(join(folder.path, 'other'));
    await cp(toImport, join(folder.path, 'other/1'), { recursive: true });
    await rename(join(folder.path, 'other'), join(models, 'other'));
    await untilState(rest, 'other', { '1': 'AVAILABLE' });
  });

  if (showsDetails) {
    for (const { seconds, requests, p50Ms, p99Ms, maxMs } of [still, swapping, importing])
      console.log(formatTimes({ seconds, requests, p50Ms, p99Ms, maxMs }));
  }
  for (const { failures } of [still, swapping, importing])
    if (failures.length > 0) throw new Error(`requests failed: ${failures.slice(0, 5)}`);
  for (const [version, end] of ends) {
    const late = swapping.versions[version]?.last ?? 0;
    if (late > end) throw new Error(`version ${version} answered a request that was sent ${late - end} ms after it had ended`);
  }
  const about = { bench: 'swaps', unit: 'ms', reference: 'without' } as const;
  const pair = (seen: Seen): Pair[] => [{ subject: seen.p99Ms, reference: still.p99Ms }];
  const numbers = ({ requests, seconds }: Seen) => `${requests} requests in ${seconds.toFixed(0)} s`;
  const bar = ([{ subject, reference } = { subject: 0, reference: 1 }]: readonly Pair[]) => ({
    text: '≤ 2',
    isMet: subject / reference <= 2,
  });
  const what = `${one.name}, p99 under ${clients} callers`;
  report(compare({ ...about, case: `${what}, ${numbers(swapping)}`, subject: `${swaps} swaps` }, pair(swapping), bar));
  report(compare({ ...about, case: `${what}, ${numbers(importing)}`, subject: 'a first import' }, pair(importing)));
}

/** The first version again, under another number; its large files are shared. */
async function copyVersion(made: string, version: string): Promise<void> {
  const manifest = parseManifest(await readFile(join(made, '1/manifest.json')));
  const to = join(made, version);
  await cp(join(made, '1'), to, { recursive: true, filter: (path) => !path.endsWith('manifest.json') });
  await writeFile(join(to, 'manifest.json'), JSON.stringify({ ...manifest, version }));
}

async function untilState(rest: string, model: string, wanted: Readonly<Record<string, string>>): Promise<void> {
  for (;;) {
    const answer = await fetch(`${rest}/v1/models/${model}`);
    const { model_version_status: statuses = [] }: { model_version_status?: { version: string; state: string }[] } = await answer.json();
    if (Object.entries(wanted).every(([version, state]) => statuses.some((status) => status.version === version && status.state === state)))
      return;
    await pause(20);
  }
}

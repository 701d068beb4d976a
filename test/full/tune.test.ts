import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { writeTuneFiles } from '../../src/cli/tune/files.ts';
import { findModel } from '../../src/cli/tune/model.ts';
import type { Settings } from '../../src/cli/tune/settings.ts';
import type { TuneReport } from '../../src/cli/tune/tune.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';
import { Processes } from '../support/server-process.ts';

let folder: Awaited<ReturnType<typeof openTempFolder>>;

beforeAll(async () => {
  await build();
  folder = await openTempFolder();
  await copyEveryday10(join(folder.path, 'models/m'), '1');
});

afterAll(async () => {
  await folder?.[Symbol.asyncDispose]();
});

function tune(...args: string[]) {
  return runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), 'tune', ...args, '--models', join(folder.path, 'models')]);
}

// Six servers start, which takes its time where the machine is busy.
const startsMs = 180_000;

test('real servers are measured under load, and the winner once more against the defaults', { timeout: startsMs }, async () => {
  const out = join(folder.path, 'tuned');

  const { stdout, status } = await tune('m', '--backends', 'onnx-cpu', '--budget', '5', '--target-p99', '2000', '--out', out, '--json');

  const report: TuneReport & { readonly files: readonly string[] } = JSON.parse(stdout);
  expect([status, report.model, report.version, report.inputs]).toEqual([0, 'm', '1', { origin: 'golden examples', rows: 1 }]);
  expect(report.tried.length).toBeGreaterThanOrEqual(2);
  expect(report.tried.filter(({ settings }) => settings === undefined)).toHaveLength(1);
  for (const { load, problem, backend } of report.tried) {
    expect([problem, backend]).toEqual([undefined, 'onnx-cpu']);
    expect(load?.perSecond).toBeGreaterThan(0);
  }
  if (report.best) expect(report.confirmation?.pairs).toHaveLength(2);
  expect(JSON.parse(await readFile(join(out, 'tune.json'), 'utf8'))).toMatchObject({ seed: 1, combinations: report.combinations });
  expect(await readFile(join(out, 'tune.svg'), 'utf8')).toMatch(/^<svg.*<circle.*<\/svg>\n$/s);
});

test('a backend that cannot be had is named, and a search that is stopped keeps the best so far', { timeout: startsMs }, async () => {
  // From dist/, as Node 20 cannot run the process of a server under test from src/.
  const built: typeof import('../../src/cli/tune/tune.ts') = await import(join(repositoryRoot, 'dist/cli/tune/tune.js'));
  const controller = new AbortController();

  const report = await built.tune({
    model: await findModel(join(folder.path, 'models'), 'm'),
    goal: 'latency',
    p99TargetMs: 100,
    perSecond: 50,
    backends: ['onnx-cuda'],
    budgetMs: 60_000,
    seed: 1,
    signal: controller.signal,
    onProgress: (_, what) => what.startsWith('3: ') && controller.abort(new Error('enough')),
  });

  expect(report).toMatchObject({ isStopped: true, best: undefined, confirmation: undefined, goal: { kind: 'latency', perSecond: 50 } });
  expect(report.tried.map(({ settings, load, problem }) => [settings?.backend, load?.offeredPerSecond, typeof problem])).toEqual([
    [undefined, 50, 'undefined'],
    ['onnx-cuda', undefined, 'string'],
  ]);
});

test('a version is found by its number, else the highest, and one that is not there is named', async () => {
  const models = join(folder.path, 'models');

  const found = [await findModel(models, 'm'), await findModel(models, 'm@1')];

  expect(found.map(({ version }) => version)).toEqual(['1', '1']);
  await expect(findModel(models, 'nobody')).rejects.toMatchObject({
    code: 'not-found',
    message: `${join(models, 'nobody')} has no versions`,
  });
  await expect(findModel(models, 'm@7')).rejects.toMatchObject({ message: `${join(models, 'm')} has no version 7` });
  await expect(findModel(models, 'm@canary')).rejects.toMatchObject({ message: expect.stringContaining('canary') });
});

test('nearfar serve takes the files that are written', async () => {
  await using processes = new Processes();
  const out = join(folder.path, 'files');
  const settings: Settings = {
    backend: 'tfjs-wasm',
    variant: 'tfjs-float32',
    engineWorkers: 2,
    engineThreads: 1,
    batching: { maxBatchSize: 16, timeoutMicros: 500 },
  };
  await writeTuneFiles(out, reportOf(settings));

  const flags = (await readFile(join(out, 'tuned.flags'), 'utf8')).trim().split('\n');
  const { rest } = await processes.serve(join(folder.path, 'models'), flags);
  const about = await (await fetch(`http://127.0.0.1:${rest}/nearfar/v1/models/m/versions/1`)).json();

  expect(flags).toContain(`--batching_parameters_file=${join(out, 'batching.pbtxt')}`);
  expect(about).toMatchObject({ state: 'AVAILABLE', backend: 'tfjs-wasm', variant: 'tfjs-float32' });
});

function reportOf(recommended: Settings): TuneReport {
  return {
    model: 'm',
    version: '1',
    digest: 'sha256:0',
    signature: 'serving_default',
    goal: { kind: 'throughput', p99TargetMs: 100, perSecond: 1 },
    inputs: { origin: 'golden examples', rows: 1 },
    cores: 2,
    seed: 1,
    elapsedMs: 1,
    combinations: 1,
    tried: [],
    best: recommended,
    isMet: true,
    confirmation: undefined,
    isStopped: false,
    recommended,
  };
}

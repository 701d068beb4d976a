import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { replaceFile } from '../../publish/index.ts';
import { drawChart } from '../chart.ts';
import type { Load } from './load.ts';
import { batchingParameters, describeSettings, engineFlags } from './settings.ts';
import type { Tried, TuneReport } from './tune.ts';

/**
 * Writes what `nearfar serve` takes (`tuned.flags`, `batching.pbtxt`), what was measured (`tune.json`) and its curve (`tune.svg`).
 * @returns The paths of what was written.
 */
export async function writeTuneFiles(folder: string, report: TuneReport): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const written: string[] = [];
  const write = async (name: string, text: string) => {
    const path = join(folder, name);
    await replaceFile(path, new TextEncoder().encode(text));
    written.push(path);
  };
  const { recommended } = report;
  const flags = recommended ? engineFlags(recommended) : [];
  if (recommended?.batching) {
    await write('batching.pbtxt', batchingParameters(recommended, recommended.batching));
    flags.push('--enable_batching', `--batching_parameters_file=${resolve(folder, 'batching.pbtxt')}`);
  }
  await write('tuned.flags', flags.map((flag) => `${flag}\n`).join(''));
  await write('tune.json', `${JSON.stringify(report, null, 2)}\n`);
  await write('tune.svg', drawTuning(report));
  return written;
}

/** Throughput over the 99th percentile: every load that all calls of which were answered, and the best of them. */
export function drawTuning({ model, version, goal, tried, best }: TuneReport): string {
  const pointsOf = (some: readonly Tried[]) =>
    some.flatMap(({ settings, loads }) =>
      loads.filter(isWhole).map(({ p99Ms, perSecond }) => ({ x: p99Ms, y: perSecond, title: describeSettings(settings) })),
    );
  const decisive = tried.filter(({ settings, load }) => settings === best && load);
  return drawChart({
    title: `${model} version ${version}: what was tried`,
    x: { label: '99th percentile of the latency, ms', scale: 'log' },
    y: { label: 'answers a second' },
    mark: goal.kind === 'throughput' ? { x: goal.p99TargetMs, label: `target ${goal.p99TargetMs} ms` } : undefined,
    series: [
      { name: 'tried', kind: 'dots', points: pointsOf(tried.filter(({ settings }) => settings)) },
      { name: 'the defaults', kind: 'dots', points: pointsOf(tried.filter(({ settings }) => !settings)) },
      { name: 'frontier', kind: 'line', points: frontierOf(pointsOf(tried)) },
      { name: 'best', kind: 'rings', points: decisive.flatMap(({ load }) => (load ? [{ x: load.p99Ms, y: load.perSecond }] : [])) },
    ],
  });
}

function isWhole({ failed, answers }: Load): boolean {
  return failed === 0 && answers > 0;
}

/** The points that none has more throughput than at the same latency or less. */
export function frontierOf<P extends { readonly x: number; readonly y: number }>(points: readonly P[]): P[] {
  let most = Number.NEGATIVE_INFINITY;
  return [...points]
    .sort((a, b) => a.x - b.x || b.y - a.y)
    .filter(({ y }) => {
      if (y <= most) return false;
      most = y;
      return true;
    });
}

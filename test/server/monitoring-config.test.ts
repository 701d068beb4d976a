import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseConfig } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';

let folder: Awaited<ReturnType<typeof openTempFolder>>;

beforeEach(async () => {
  folder = await openTempFolder();
});

afterEach(() => folder[Symbol.asyncDispose]());

async function pathsOf(text: string): Promise<readonly string[]> {
  const file = join(folder.path, 'monitoring.config');
  await writeFile(file, text);
  return parseConfig([`--monitoring_config_file=${file}`, `--models=${folder.path}`], {}).config.metricsPaths;
}

test('puts the page where prometheus_config says, and nowhere when it is not enabled', async () => {
  expect(await pathsOf('prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }')).toEqual([
    '/monitoring/prometheus/metrics',
  ]);
  expect(await pathsOf('prometheus_config: {\n  enable: true\n}')).toEqual(['/metrics', '/monitoring/prometheus/metrics']);
  expect(await pathsOf('prometheus_config { path: "/x" }')).toEqual([]);
  expect(await pathsOf('')).toEqual([]);
});

test('refuses a path that is none, a field that is not there, with line and column, and a file that is not there', async () => {
  await expect(pathsOf('prometheus_config { enable: true path: "metrics" }')).rejects.toMatchObject({ code: 'invalid-argument' });
  await expect(pathsOf('prometheus_config {\n  enabled: true }')).rejects.toThrow(/MonitoringConfig: .*: 2:10: /);
  expect(() => parseConfig(['--monitoring_config_file=/none'], {})).toThrow(expect.objectContaining({ code: 'not-found' }));
});

import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTempFolder } from '../support/model-folder.ts';

// The dashboard against the schemas of Grafana and of its panels, as Grafana's own SDK for Go has them (Apache-2.0).

const run = promisify(execFile);
const source = fileURLToPath(new URL('../support/grafana-schema', import.meta.url));
const dashboard = fileURLToPath(new URL('../../deploy/grafana/nearfar.json', import.meta.url));
const hasSdk = await run('go', ['mod', 'download'], { cwd: source }).then(
  () => true,
  () => false,
);
if (!hasSdk) console.warn("skipped: the dashboard is not checked, there is no Go, or Grafana's SDK cannot be had");

describe.runIf(hasSdk)("Grafana's schemas", { timeout: 600_000 }, () => {
  let folder: Awaited<ReturnType<typeof openTempFolder>>;
  let check: (file: string) => Promise<string>;
  beforeAll(async () => {
    folder = await openTempFolder();
    const program = join(folder.path, 'check');
    await run('go', ['build', '-buildvcs=false', '-o', program, '.'], { cwd: source });
    check = async (file) => (await run(program, [file])).stdout;
  }, 600_000);
  afterAll(() => folder?.[Symbol.asyncDispose]());

  test('take the dashboard as it is', async () => {
    const { panels } = JSON.parse(await readFile(dashboard, 'utf8'));

    expect(await check(dashboard)).toBe(`${panels.length} panels\n`);
  });

  test('refuse a panel with a field that there is not', async () => {
    const wrong = join(folder.path, 'wrong.json');
    await writeFile(wrong, (await readFile(dashboard, 'utf8')).replace('"type": "timeseries"', '"type": "timeseries", "colour": "red"'));

    await expect(check(wrong)).rejects.toMatchObject({ stdout: expect.stringContaining('panels[0]') });
  });
});

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { startServer } from '../../src/server/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { outerProductOnnx } from '../support/outer-product.ts';
import { publishSource } from '../support/task-models.ts';

// Thousands of made-up requests by the OpenAPI document: `pip install schemathesis`, beside the Python that NEARFAR_PYTHON names.

const python = process.env['NEARFAR_PYTHON'];
const schemathesis = python === undefined ? undefined : join(dirname(python), 'schemathesis');
const run = promisify(execFile);

/** Labels and versions that are changed at random leave models without a version, which is told by 503. */
const settings = `
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", 501, 503]
`;

async function runs(command: string): Promise<boolean> {
  return run(command, ['--version']).then(
    () => true,
    () => false,
  );
}

test('made-up requests are answered as the OpenAPI document says, and break nothing', { timeout: 300_000 }, async (context) => {
  if (schemathesis === undefined || !(await runs(schemathesis))) return context.skip('no schemathesis beside the Python of NEARFAR_PYTHON');
  await using folder = await openTempFolder();
  await copyEveryday10(join(folder.path, 'models', 'photos'), '1');
  await publishSource(join(folder.path, 'models'), 'sums', outerProductOnnx());
  await writeFile(join(folder.path, 'schemathesis.toml'), settings);
  await using server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: join(folder.path, 'models'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    cacheDir: join(folder.path, 'cache'),
    historyFile: '',
    logLevel: 'silent',
  });
  await server.whenReady();

  const { stdout } = await run(
    schemathesis,
    [
      ...['--config-file', join(folder.path, 'schemathesis.toml')],
      ...['run', `${server.restAddress}/nearfar/v1/openapi.json`, '--exclude-path', '/nearfar/v1/events'],
      ...['--phases', 'coverage,fuzzing', '--max-examples', '20', '--seed', '1', '--no-color'],
      ...['--checks', 'not_a_server_error,response_schema_conformance,content_type_conformance'],
    ],
    { maxBuffer: 2 ** 26, cwd: folder.path },
  ).catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? String(error) }));

  const [, generated = '0'] = /(\d+) generated/.exec(stdout) ?? [];
  expect(stdout).not.toMatch(/[1-9]\d* failures?\b|FAILURES/);
  expect(Number(generated)).toBeGreaterThan(1_000);
  expect((await fetch(`${server.restAddress}/healthz`)).status).toBe(200);
});

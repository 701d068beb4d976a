import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { sharedData } from '../support/shared-data.ts';

// TensorFlow Serving's own end-to-end test, with its client as it is (`pip install tensorflow-serving-api`), in the Python that
// NEARFAR_PYTHON names, against the `nearfar` command with its flags.

const python = process.env['NEARFAR_PYTHON'] ?? 'python3';
const hasClient = spawnSync(python, ['-c', 'import tensorflow_serving.apis.predict_pb2']).status === 0;
if (!hasClient) console.warn(`skipping the client of TensorFlow Serving: ${python} has no tensorflow_serving`);
const models = {
  half_plus_two: sharedData('tfs-testdata/saved_model_half_plus_two_cpu'),
  half_plus_two_tf2: sharedData('tfs-testdata/saved_model_half_plus_two_tf2_cpu'),
  versions: sharedData('tfs-testdata/saved_model_half_plus_two_2_versions'),
};
const labels = 'version_labels { key: "stable" value: 123 } version_labels { key: "canary" value: 124 }';
const areThere = Object.values(models).every((path) => path !== undefined);

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

test.runIf(hasClient && areThere)('the client of TensorFlow Serving notices no difference', async () => {
  await using folder = await openTempFolder();
  const configs: string[] = [];
  for (const [name, source] of Object.entries(models)) {
    const basePath = join(folder.path, 'models', name);
    await cp(source!, basePath, { recursive: true });
    const versions = name === 'versions' ? `${labels} model_version_policy { all {} }` : '';
    configs.push(`config { name: "${name}" base_path: "${basePath}" model_platform: "tensorflow" ${versions} }`);
  }
  const config = join(folder.path, 'models.config');
  await writeFile(config, `model_config_list { ${configs.join('\n')} }`);
  const [port, restPort] = [await freePort(), await freePort()];
  const server = spawn(
    process.execPath,
    [
      ...[path('../../dist/cli/main.js'), 'serve', '--host=127.0.0.1', `--model_config_file=${config}`],
      ...[`--port=${port}`, `--rest_api_port=${restPort}`, '--rest_api_timeout_in_ms=5000', `--cache_dir=${join(folder.path, 'cache')}`],
      '--log_level=warn',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const exited = once(server, 'exit');
  try {
    const isReady = () => fetch(`http://127.0.0.1:${restPort}/readyz`).then(({ ok }) => ok);
    await expect.poll(() => isReady().catch(() => false), { timeout: 60_000, interval: 200 }).toBe(true);

    const client = spawn(python, [path('tensorflow-serving-client.py'), `127.0.0.1:${port}`, `http://127.0.0.1:${restPort}`], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let report = '';
    client.stderr.setEncoding('utf8').on('data', (text: string) => {
      report += text;
    });
    const [status] = await once(client, 'close');

    expect(status, report).toBe(0);
    expect(report).toMatch(/Ran \d\d tests/);
  } finally {
    server.kill('SIGTERM');
    await exited;
  }
});

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startServer } from '../../src/server/index.ts';
import { EventFile } from '../../src/server/tensorboard/event-file.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';

// The event files of the server, read by TensorBoard itself (`pip install tensorboard`).

const run = promisify(execFile);
const python = process.env['NEARFAR_PYTHON'] ?? '';
const hasTensorBoard = await run(python || 'python3', ['-c', 'import tensorboard']).then(
  () => true,
  () => false,
);
if (!hasTensorBoard) console.warn('skipped: event files are not read by TensorBoard, NEARFAR_PYTHON names no interpreter that has it');

const read = `
import json, sys
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
multiplexer = EventMultiplexer().AddRunsFromDirectory(sys.argv[1])
multiplexer.Reload()
print(json.dumps({
    run: {tag: [[event.step, event.value] for event in multiplexer.Scalars(run, tag)] for tag in tags['scalars']}
    for run, tags in multiplexer.Runs().items()
}))
`;

describe.runIf(hasTensorBoard)('TensorBoard', () => {
  let folder: Awaited<ReturnType<typeof openTempFolder>>;
  beforeAll(async () => {
    folder = await openTempFolder();
  });
  afterAll(() => folder?.[Symbol.asyncDispose]());

  async function readRuns(directory: string): Promise<Record<string, Record<string, [number, number][]>>> {
    const { stdout } = await run(python || 'python3', ['-c', read, directory]);
    return JSON.parse(stdout);
  }

  test('finds the runs and the scalars of a server, drift and feedback among them', { timeout: 120_000 }, async () => {
    const modelsRoot = join(folder.path, 'models');
    await copyEveryday10(join(modelsRoot, 'everyday10'), '1');
    const server = await startServer({
      host: '127.0.0.1',
      restPort: 0,
      grpcPort: 'off',
      modelsRoot,
      cacheDir: join(folder.path, 'cache'),
      backends: ['onnx-cpu'],
      engineThreads: 1,
      logLevel: 'silent',
      tensorboardDir: join(folder.path, 'board'),
      tensorboardIntervalMs: 3_600_000,
      driftWindowRows: 2,
      modelDefaults: { driftSamplingRate: 1, feedback: true },
    });
    await server.whenReady();
    const pixels = Array.from({ length: 32 }, () => Array.from({ length: 32 }, () => [0.5, 0.5, 0.5]));
    const body = JSON.stringify({ instances: [pixels] });
    let id: string | null = null;
    for (let asked = 0; asked < 4; asked++) {
      const headers = { 'nearfar-prediction-id': 'new' };
      const answer = await fetch(`${server.restAddress}/v1/models/everyday10:predict`, { method: 'POST', body, headers });
      expect(answer.status).toBe(200);
      id = answer.headers.get('nearfar-prediction-id');
    }
    const told = await fetch(`${server.restAddress}/nearfar/v1/models/everyday10/feedback`, {
      method: 'POST',
      body: JSON.stringify({ id, label: 'cat' }),
    });
    expect(told.status).toBe(200);
    await server.close();

    const runs = await readRuns(join(folder.path, 'board'));

    expect(Object.keys(runs).sort()).toEqual(['models/everyday10/1', 'server']);
    const scalars = runs['models/everyday10/1'] ?? {};
    expect(Object.keys(scalars)).toEqual(
      expect.arrayContaining([
        'requests/per_second',
        'requests/errors_per_second',
        'latency/p50_ms',
        'latency/p99_ms',
        'batch/mean_size',
        'drift/serving_default/probabilities/classes_psi',
        'feedback/serving_default/probabilities/accuracy',
      ]),
    );
    expect(scalars['requests/per_second']?.[0]?.[1]).toBeGreaterThan(0);
    // Four equal answers do not drift.
    expect(scalars['drift/serving_default/probabilities/classes_psi']).toEqual([[expect.any(Number), 0]]);
    expect(runs['server']?.['server/memory_bytes']?.[0]?.[1]).toBeGreaterThan(2 ** 20);
  });

  test('reads the files of a run one after another', { timeout: 120_000 }, async () => {
    const directory = join(folder.path, 'rotated');
    const file = new EventFile(join(directory, 'run'), 300);
    for (let step = 0; step < 20; step++)
      await file.append({ at: 1_700_000_000_000 + step * 1000, step, scalars: { 'batch/mean_size': step / 2 } });

    const runs = await readRuns(directory);

    expect(runs['run']?.['batch/mean_size']).toEqual(Array.from({ length: 20 }, (_, step) => [step, step / 2]));
  });
});

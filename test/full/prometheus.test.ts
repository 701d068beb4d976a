import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { freePort } from '../support/free-port.ts';
import { openTempFolder } from '../support/model-folder.ts';

// The rules and the dashboard in deploy/, by Prometheus itself (Debian's package `prometheus`).

const run = promisify(execFile);
const deploy = fileURLToPath(new URL('../../deploy', import.meta.url));
const rules = join(deploy, 'prometheus');
const hasPrometheus = await Promise.all([run('promtool', ['--version']), run('prometheus', ['--version'])]).then(
  () => true,
  () => false,
);
if (!hasPrometheus) console.warn('skipped: rules and dashboard are not checked, prometheus and promtool are not installed');

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}

const readPanels = async (): Promise<readonly Panel[]> =>
  JSON.parse(await readFile(join(deploy, 'grafana', 'nearfar.json'), 'utf8')).panels;

describe.runIf(hasPrometheus)('promtool', () => {
  test('takes the rules and the example, and the rules do what their tests say', async () => {
    await run('promtool', ['check', 'rules', 'alerts.yml'], { cwd: rules });
    await run('promtool', ['check', 'config', 'prometheus.yml'], { cwd: rules });
    const tests = ['alerts.test.yml', 'alerts-of-days.test.yml'];
    const { stdout } = await run('promtool', ['test', 'rules', ...tests], { cwd: rules });

    expect(stdout.match(/SUCCESS/g)).toHaveLength(tests.length);
  });
});

describe.runIf(hasPrometheus)('Prometheus that reads a server', () => {
  let folder: Awaited<ReturnType<typeof openTempFolder>>;
  let server: RunningServer;
  let prometheus: ChildProcess;
  let url: string;

  async function ask(path: string, query: Record<string, string> = {}) {
    const answer = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(query)}`);
    return answer.json();
  }

  beforeAll(async () => {
    folder = await openTempFolder();
    await copyEveryday10(join(folder.path, 'models', 'everyday10'), '1');
    server = await startServer({
      host: '127.0.0.1',
      restPort: 0,
      grpcPort: 'off',
      backends: ['onnx-cpu'],
      engineThreads: 1,
      modelsRoot: join(folder.path, 'models'),
      cacheDir: join(folder.path, 'cache'),
      logLevel: 'silent',
      driftWindowRows: 2,
      modelDefaults: { driftSamplingRate: 1, feedback: true },
    });
    await server.whenReady();
    const config = (await readFile(join(rules, 'prometheus.yml'), 'utf8'))
      .replace('localhost:8501', new URL(server.restAddress ?? '').host)
      .replaceAll(': 15s', ': 1s')
      .replace('alerts.yml', join(rules, 'alerts.yml'));
    await mkdir(join(folder.path, 'data'));
    await writeFile(join(folder.path, 'prometheus.yml'), config);
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    prometheus = spawn(
      'prometheus',
      [
        `--config.file=${join(folder.path, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder.path, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: 'ignore' },
    );
    await vi.waitFor(async () => expect((await ask('query', { query: 'up' })).data.result[0]?.value[1]).toBe('1'), {
      timeout: 60_000,
      interval: 200,
    });
  });

  afterAll(async () => {
    if (prometheus?.kill()) await once(prometheus, 'exit');
    await server?.close();
    await folder?.[Symbol.asyncDispose]();
  });

  test('asks it by the names that rules and dashboard use', async () => {
    const metrics = await (await fetch(`${server.restAddress}/metrics`)).text();
    const typed = new Map([...metrics.matchAll(/^# TYPE (\S+) (\w+)$/gm)].map(([, name = '', type = '']) => [name, type]));
    const panels = await readPanels();
    const expressions = [
      ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
      await readFile(join(rules, 'alerts.yml'), 'utf8'),
    ];
    const used = new Set(
      expressions.flatMap((text) => [...text.matchAll(/\b(?:nearfar|process|nodejs)_[a-z0-9_]+/g)].map(([name]) => name)),
    );

    const unknown = [...used].filter((name) => {
      const base = name.replace(/_(bucket|sum|count)$/, '');
      return !typed.has(name) && typed.get(base) !== 'histogram';
    });

    expect(used.size).toBeGreaterThan(15);
    expect(unknown).toEqual([]);
  });

  test('answers every panel, and those of predictions with numbers', async () => {
    const instances = [Array.from({ length: 32 }, () => Array.from({ length: 32 }, () => [0, 0, 0]))];
    const body = JSON.stringify({ instances });
    const headers = { 'nearfar-prediction-id': 'new' };
    const predict = () => fetch(`${server.restAddress}/v1/models/everyday10:predict`, { method: 'POST', headers, body });
    const tell = (id: string | null, label: string) =>
      fetch(`${server.restAddress}/nearfar/v1/models/everyday10/feedback`, { method: 'POST', body: JSON.stringify({ id, label }) });
    const fill = (expr: string) => expr.replaceAll('$__rate_interval', '10s').replace(/\$(?:job|instance|model)/g, '.+');
    const counted = async () => {
      const answer = await predict();
      expect(answer.status).toBe(200);
      const id = answer.headers.get('nearfar-prediction-id');
      expect((await tell(id, 'cat')).status).toBe(200);
      expect((await tell(id, 'cat')).status).toBe(409);
      const { data } = await ask('query', { query: 'sum(rate(nearfar_requests_total{model="everyday10"}[10s]))' });
      return Number(data.result[0]?.value[1] ?? 0);
    };
    await expect.poll(counted, { timeout: 30_000, interval: 500 }).toBeGreaterThan(0);

    const answers = await Promise.all(
      (await readPanels()).flatMap(({ title, targets }) =>
        targets.map(async ({ expr }) => ({ title, ...(await ask('query', { query: fill(expr) })) })),
      ),
    );

    expect(answers.filter(({ status }) => status !== 'success')).toEqual([]);
    const empty = new Set(answers.filter(({ data }) => data.result.length === 0).map(({ title }) => title));
    // Nothing is batched, kept or reported here, and nothing fails.
    expect([...empty].sort()).toEqual([
      'Failures in the last hour, by version and status',
      'Fallbacks a second, as clients report',
      'In flight, and refused a second',
      'Rows of a batch, on average',
      'Share answered on the device, as clients report',
      "Share of errors that are the server's",
      'Share of known answers',
    ]);
  });

  test('raises no alert while all is well', async () => {
    await expect
      .poll(async () => (await ask('rules')).data.groups[0]?.rules.every(({ health }: { health: string }) => health === 'ok'))
      .toBe(true);
    const { data } = await ask('alerts');

    expect(data.alerts.filter(({ state }: { state: string }) => state === 'firing')).toEqual([]);
  });
});

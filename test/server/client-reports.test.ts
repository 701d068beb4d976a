import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ClientReports } from '../../src/server/client-reports.ts';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { models } from '../browser/far-server.ts';

const report = { model: 'everyday10', version: '1', device: 'desktop', leg: 'on-device', backend: 'tfjs-webgpu', totalMs: 10 };
const body = (...reports: object[]) => new TextEncoder().encode(JSON.stringify({ reports }));

function setUp() {
  const registry = new Registry();
  const reports = new ClientReports({ registry, isKnown: (model, version) => model === 'everyday10' && version === '1' });
  return { reports, registry };
}

test('counts near and far, reasons and latencies by version and class of device', async () => {
  const { reports, registry } = setUp();

  reports.record(
    body(
      report,
      report,
      { ...report, totalMs: 400 },
      { ...report, leg: 'server', backend: 'onnx-cpu', fallback: 'device-lost', totalMs: 50 },
    ),
  );
  reports.record(body({ ...report, device: 'mobile', leg: 'server', backend: 'onnx-cpu', fallback: 'download-deferred' }));

  expect(reports.rows()).toEqual([
    {
      model: 'everyday10',
      version: '1',
      device: 'desktop',
      runs: 4,
      nearShare: 0.75,
      fallbacks: { 'device-lost': 1 },
      latencyMs: { 'on-device': { p50: 13.7, p95: 525.5 }, server: { p50: 69.2, p95: 69.2 } },
    },
    expect.objectContaining({ device: 'mobile', runs: 1, nearShare: 0, fallbacks: { 'download-deferred': 1 } }),
  ]);
  const page = await registry.metrics();
  expect(page).toContain(
    'nearfar_client_runs_total{model="everyday10",version="1",device="desktop",leg="on-device",backend="tfjs-webgpu"} 3',
  );
  expect(page).toContain(
    'nearfar_client_fallbacks_total{model="everyday10",version="1",device="mobile",leg="server",code="download-deferred"} 1',
  );
  expect(page).toContain('nearfar_client_run_seconds_count{model="everyday10",version="1",device="desktop",leg="server"} 1');
});

test.each([
  ['no JSON', new TextEncoder().encode('{')],
  ['no list', new TextEncoder().encode('{"reports": 1}')],
  ['too many', body(...Array.from({ length: 101 }, () => report))],
  ['an unknown leg', body({ ...report, leg: 'moon' })],
  ['an unknown code', body({ ...report, fallback: 'bad mood' })],
  ['no time', body({ ...report, totalMs: -1 })],
  ['a version that is no number', body({ ...report, version: '1"} 9' })],
  ['one bad among good ones', body(report, { ...report, backend: '<script>' })],
])('refuses %s as a whole', (_, bytes) => {
  const { reports } = setUp();

  expect(() => reports.record(bytes)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
  expect(reports.rows()).toEqual([]);
});

test('names that clients make up add one row, however many they are', async () => {
  const { reports, registry } = setUp();
  for (let index = 0; index < 500; index += 1)
    reports.record(body({ ...report, model: `made up ${index}`, version: String(index + 1), backend: `a-${'b'.repeat(1 + (index % 9))}` }));

  expect(reports.rows()).toMatchObject([{ model: '(unknown)', version: '', runs: 500 }]);
  expect((await registry.metrics()).match(/^nearfar_client_runs_total/gm)).toHaveLength(1);
});

let server: RunningServer;
let url: string;
beforeAll(async () => {
  server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot: models,
    backends: ['onnx-cpu'],
    engineThreads: 1,
    corsAllowedOrigins: ['https://app.test'],
    logLevel: 'silent',
  });
  await server.whenReady();
  url = `${server.restAddress}/nearfar/v1/reports`;
});
afterAll(() => server.close());

const post = (content: string, headers: Record<string, string> = {}) =>
  fetch(url, { method: 'POST', body: content, headers: { 'content-type': 'text/plain', ...headers } });

test('a server takes reports, tells them as JSON and shows them as a table', async () => {
  const before = await fetch(url);
  const taken = await post(JSON.stringify({ reports: [report, { ...report, model: '<b>no</b>' }] }), { origin: 'https://app.test' });
  const after = await fetch(url);
  const page = await fetch(url, { headers: { accept: 'text/html,*/*' } });
  const metrics = await (await fetch(`${server.restAddress}/metrics`)).text();

  expect(await before.json()).toEqual({ rows: [] });
  expect(taken.status).toBe(204);
  expect(await after.json()).toMatchObject({
    rows: [
      { model: 'everyday10', runs: 1, nearShare: 1 },
      { model: '(unknown)', runs: 1 },
    ],
  });
  expect(page.headers.get('content-type')).toMatch(/^text\/html/);
  expect(await page.text()).toContain('<td>everyday10</td><td>1</td><td>desktop</td><td>1</td><td>100.0 %</td>');
  expect(metrics).toContain('nearfar_client_runs_total{model="everyday10",version="1"');
});

test.each([
  ['a page of another origin', JSON.stringify({ reports: [report] }), { origin: 'https://other.test' }, 403],
  ['a body that is no report', '{}', {}, 400],
  ['a body that is too large', JSON.stringify({ reports: [report], more: 'x'.repeat(70_000) }), {}, 413],
])('a server refuses %s', async (_, content, headers, status) => {
  const response = await post(content, headers as Record<string, string>);

  expect(response.status).toBe(status);
  expect(await response.json()).toHaveProperty('error');
});

import { expect, test } from 'vitest';
import type { NearfarErrorCode } from '../../../src/core/index.ts';
import { Charts, Failures } from '../../../src/server/insights/index.ts';
import type { RequestRecord } from '../../../src/server/request-record.ts';

const servable = { version: '2', digest: 'sha256:0', backend: 'onnx-cpu', variant: 'v' };

function requestOf(durationMs: number, errorCode?: NearfarErrorCode, more: Partial<RequestRecord> = {}): RequestRecord {
  const status = errorCode === undefined ? 'OK' : 'X';
  return {
    kind: 'prediction',
    model: 'm',
    api: 'predict',
    entrypoint: 'REST',
    status,
    errorCode,
    startedAt: 0,
    durationMs,
    servable,
    ...more,
  };
}

function openCharts() {
  let now = Date.parse('2026-01-02T03:04:05Z');
  const charts = new Charts({
    sample: () => ({ inFlight: 3, memoryBytes: 1000 }),
    now: () => {
      now += 5_000;
      return now - 5_000;
    },
  });
  return charts;
}

test('count what was answered in a step, with its latencies, for the server, the model and the version', () => {
  using charts = openCharts();
  const timing = { preprocessMs: 0, queueMs: 4, inferMs: 1, postprocessMs: 0, batchSize: 8 };
  for (let ms = 1; ms <= 100; ms++) charts.recordRequest(requestOf(ms, undefined, { servable: { ...servable, timing } }));
  for (const code of ['internal', 'deadline-exceeded', 'overloaded', 'invalid-argument'] as const) charts.recordRequest(requestOf(1, code));
  charts.recordRequest(requestOf(1, 'not-found', { model: 'no such', servable: undefined }));

  charts.endStep();
  charts.endStep();

  const [point, after] = charts.points({ model: 'm', version: '2' });
  expect(point).toMatchObject({
    time: '2026-01-02T03:04:05.000Z',
    requests: 104,
    errors: 2,
    refused: 2,
    queueMs: 4,
    batchSize: 8,
    inFlight: 3,
  });
  expect(point!.latencyP50Ms).toBeGreaterThanOrEqual(50);
  expect(point!.latencyP50Ms).toBeLessThan(50 * 1.2);
  expect(point!.latencyP99Ms).toBeGreaterThanOrEqual(99);
  expect(point!.latencyP99Ms).toBeLessThan(99 * 1.2);
  expect(after).toMatchObject({ requests: 0, latencyP50Ms: null, latencyP99Ms: null, queueMs: null, batchSize: null, memoryBytes: 1000 });
  expect(charts.points({ model: 'm' })[0]).toEqual(point);
  expect(charts.points()[0]).toMatchObject({ requests: 105, refused: 3 });
  expect(charts.points({ model: 'no such' })).toEqual([]);
});

test('keep an hour, and forget a version that nobody asked for in it', () => {
  using charts = openCharts();
  charts.recordRequest(requestOf(1));

  for (let step = 0; step < 720; step++) charts.endStep();
  const kept = charts.points({ model: 'm' });
  const length = kept.length;
  charts.endStep();

  expect(length).toBe(720);
  expect(charts.points({ model: 'm' })).toEqual([]);
  expect(charts.points()).toHaveLength(720);
});

test('failures are those of the server, repeated ones once; what clients did wrong is apart, and never quoted', () => {
  const failures = new Failures(() => 0);
  const header = (name: string) => (name === 'traceparent' ? `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` : undefined);
  failures.recordRequest(requestOf(1, 'out-of-memory', { errorMessage: 'no 9 bytes left', header }));
  failures.recordRequest(requestOf(1, 'invalid-argument', { errorMessage: 'secret is no number' }));
  failures.recordRequest(requestOf(1, 'not-found', { model: 'x'.repeat(2_000), errorMessage: 'no such model', servable: undefined }));
  failures.recordRequest(requestOf(1, 'internal', { errorMessage: 'odd' }));
  failures.recordRequest(requestOf(1, 'out-of-memory', { errorMessage: 'no 9 bytes left' }));

  const list = failures.list();

  expect(list).toMatchObject([
    { id: 4, code: 'internal', message: 'odd', count: 1 },
    { id: 1, kind: 'request', model: 'm', version: '2', code: 'out-of-memory', message: 'no 9 bytes left', count: 2 },
  ]);
  expect(JSON.stringify(list)).not.toContain('secret');
  expect(failures.list({ before: 4 })).toHaveLength(1);
  const refused = failures.list({ kind: 'refused' });
  expect(refused).toMatchObject([
    { id: 3, kind: 'refused', model: 'x'.repeat(255), code: 'not-found', message: 'no such model' },
    { id: 2, kind: 'refused', model: 'm', version: '2', code: 'invalid-argument', message: '' },
  ]);
  expect(JSON.stringify(refused)).not.toContain('secret');
  expect(failures.list({ kind: 'load' })).toEqual([]);
});

test('ids of failures grow over restarts, so that who comes back is told what is new', () => {
  const before = new Failures(() => 1_000);
  const after = new Failures(() => 2_000);
  for (const failures of [before, after]) failures.recordRequest(requestOf(1, 'internal'));

  expect(after.list()[0]!.id).toBeGreaterThan(before.list()[0]!.id);
});

test('a thousand failures are kept', () => {
  const failures = new Failures(() => 0);
  for (let at = 0; at < 1_200; at++) failures.recordRequest(requestOf(1, 'internal', { errorMessage: `number ${at}` }));

  expect(failures.list({ limit: 2_000 }).length).toBe(1_000);
  expect(failures.list({ limit: 1 })).toMatchObject([{ id: 1_200 }]);
});

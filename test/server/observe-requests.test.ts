import { Writable } from 'node:stream';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { LogLevel } from '../../src/server/log.ts';
import { observeRequests } from '../../src/server/observe-requests.ts';
import type { RequestRecord } from '../../src/server/request-record.ts';

const timing = { preprocessMs: 0.5, queueMs: 1, inferMs: 2, postprocessMs: 0.25 };
const record: RequestRecord = {
  kind: 'prediction',
  model: 'm',
  api: 'predict',
  entrypoint: 'REST',
  status: 'OK',
  startedAt: 0,
  durationMs: 4,
  servable: { version: '2', digest: 'sha256:d', signature: 'serving_default', backend: 'onnx-cpu', variant: 'v', timing },
  header: (name) => (name === 'traceparent' ? '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' : undefined),
};

function observe(level: LogLevel, { accessLog }: { accessLog: boolean }) {
  const lines: Record<string, unknown>[] = [];
  const counted: RequestRecord[] = [];
  const sink = new Writable({
    write: (chunk, _, done) => {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  const counters = { recordRequest: (one: RequestRecord) => void counted.push(one) };
  const observer = observeRequests({ counters, traces: undefined, log: pino({ level }, sink), accessLog });
  return { observer, lines, counted, counters };
}

test('logs a line for each request, with its trace, version, status and times', () => {
  const { observer, lines, counted } = observe('info', { accessLog: true });

  observer.recordRequest(record);
  observer.recordRequest({ ...record, status: 'NOT_FOUND', errorCode: 'not-found', servable: undefined, header: undefined });

  expect(lines).toMatchObject([
    {
      msg: 'request',
      level: 30,
      traceId: '0af7651916cd43dd8448eb211c80319c',
      model: 'm',
      version: '2',
      signature: 'serving_default',
      backend: 'onnx-cpu',
      status: 'OK',
      durationMs: 4,
      queueMs: 1,
      inferMs: 2,
    },
    { model: 'm', status: 'NOT_FOUND', code: 'not-found' },
  ]);
  expect(counted).toHaveLength(2);
});

test('logs at level debug where no access log is asked for, and otherwise only counts', () => {
  const debug = observe('debug', { accessLog: false });
  const info = observe('info', { accessLog: false });

  debug.observer.recordRequest(record);
  info.observer.recordRequest(record);

  expect(debug.lines).toMatchObject([{ level: 20, msg: 'request' }]);
  expect(info.lines).toEqual([]);
  expect(info.observer).toBe(info.counters);
});

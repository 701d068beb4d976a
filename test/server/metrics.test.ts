import { expect, test } from 'vitest';
import { createMetrics } from '../../src/server/metrics.ts';
import type { RequestRecord } from '../../src/server/request-record.ts';

const timing = { preprocessMs: 0.5, queueMs: 1, inferMs: 2, postprocessMs: 0.25 };
const servable = { version: '2', digest: 'sha256:d', signature: 'serving_default', backend: 'onnx-cpu', variant: 'v', timing };

function record(fields: Partial<RequestRecord> = {}): RequestRecord {
  return {
    kind: 'prediction',
    model: 'm',
    api: 'predict',
    entrypoint: 'REST',
    status: 'OK',
    startedAt: 0,
    durationMs: 0.05,
    servable,
    ...fields,
  };
}

function metricsOf(model: string) {
  const metrics = createMetrics();
  metrics.setState(model, '2', 'AVAILABLE');
  return metrics;
}

test('counts requests under the names of TensorFlow Serving and, with version and signature, under ours', async () => {
  const metrics = metricsOf('m');

  metrics.recordRequest(record());

  const text = await metrics.registry.metrics();
  expect(text).toContain('# TYPE :tensorflow:serving:request_count counter');
  expect(text).toContain(':tensorflow:serving:request_count{model_name="m",status="OK"} 1');
  expect(text).toContain(':tensorflow:serving:request_latency_count{model_name="m",API="predict",entrypoint="REST"} 1');
  // 50 µs lie between the bounds 10 × 1.8^2 = 32.4 and 10 × 1.8^3 = 58.3.
  expect(text).toMatch(/request_latency_bucket\{le="32.4\d*",model_name="m"[^}]*\} 0/);
  expect(text).toMatch(/request_latency_bucket\{le="58.3\d*",model_name="m"[^}]*\} 1/);
  expect(text).toContain(':tensorflow:serving:runtime_latency_sum{model_name="m",API="predict",runtime="onnx"} 2000');
  expect(text).toContain(':tensorflow:core:graph_runs 1');
  expect(text).toContain(':tensorflow:core:graph_run_time_usecs 2000');
  expect(text).toContain('nearfar_servable_state{model="m",version="2"} 30');
  const labels = 'model="m",version="2",signature="serving_default"';
  expect(text).toContain(
    `nearfar_requests_total{${labels},api="predict",entrypoint="REST",engine="onnx",backend="onnx-cpu",status="OK"} 1`,
  );
  expect(text).toContain(`nearfar_infer_seconds_sum{${labels},engine="onnx",backend="onnx-cpu"} 0.002`);
});

test('counts names the server does not have together, so that clients cannot grow the metrics', async () => {
  const metrics = createMetrics();

  for (const model of ['a', 'b', 'c']) metrics.recordRequest(record({ model, status: 'NOT_FOUND', servable: undefined }));

  expect(await metrics.registry.metrics()).toContain(':tensorflow:serving:request_count{model_name="(unknown)",status="NOT_FOUND"} 3');
});

test('counts questions about models under our names alone: a dashboard of TensorFlow Serving shows predictions', async () => {
  const metrics = metricsOf('m');

  metrics.recordRequest(record({ kind: 'control', api: 'GetModelStatus', entrypoint: 'GRPC', servable: undefined }));

  const text = await metrics.registry.metrics();
  expect(text).not.toContain(':tensorflow:serving:request_count{');
  expect(text).toMatch(/nearfar_requests_total\{model="m",[^}]*api="GetModelStatus",entrypoint="GRPC",[^}]*status="OK"\} 1/);
});

test('counts the examples of Classify and Regress', async () => {
  const metrics = metricsOf('m');

  metrics.recordRequest(record({ api: 'Classify', servable: { ...servable, examples: 3 } }));

  const text = await metrics.registry.metrics();
  expect(text).toContain(':tensorflow:serving:request_example_count_total{model="m"} 3');
  expect(text).toContain(':tensorflow:serving:request_example_counts_bucket{le="2",model="m"} 0');
  expect(text).toContain(':tensorflow:serving:request_example_counts_bucket{le="4",model="m"} 1');
});

test('counts the requests of a batch as one run of the graph', async () => {
  const metrics = metricsOf('m');

  for (const rows of [1, 3]) metrics.recordRequest(record({ servable: { ...servable, rows, timing: { ...timing, batchSize: 4 } } }));

  const text = await metrics.registry.metrics();
  expect(text).toContain(':tensorflow:core:graph_runs 1\n');
  expect(text).toContain(':tensorflow:core:graph_run_time_usecs 2000\n');
});

test('counts loads and warm-ups by the path of the version', async () => {
  const metrics = metricsOf('m');

  metrics.recordLoad({
    model: 'm',
    version: '2',
    path: '/models/m/2',
    digest: 'sha256:2',
    backend: 'onnx-cpu',
    outcome: 'loaded',
    durationMs: 3,
  });
  metrics.recordLoad({ model: 'm', version: '2', path: '/models/m/2', digest: 'sha256:2', backend: '', outcome: 'failed', durationMs: 1 });
  metrics.recordWarmup({ path: '/models/m/2', status: 'OK', records: 4, durationMs: 5 });

  const text = await metrics.registry.metrics();
  expect(text).toContain(':tensorflow:cc:saved_model:load_attempt_count{model_path="/models/m/2",status="success"} 1');
  expect(text).toContain(':tensorflow:cc:saved_model:load_attempt_count{model_path="/models/m/2",status="fail"} 1');
  expect(text).toContain(':tensorflow:cc:saved_model:load_latency{model_path="/models/m/2"} 3000');
  expect(text).toContain(':tensorflow:serving:model_warmup_latency_sum{model_path="/models/m/2",status="OK"} 5000');
  expect(text).toContain(':tensorflow:serving:model_warmup_records_read{model_path="/models/m/2",status="OK"} 4');
});

test('tells by which UUID ML Metadata knows a version, until it is gone', async () => {
  const metrics = metricsOf('m');
  const told = async () => (await metrics.registry.metrics()).match(/^:tensorflow:serving:mlmd_map.*$/gm);

  metrics.setMlMetadata({ model: 'm', version: '2', uuid: 'u' });
  metrics.setMlMetadata({ model: 'm', version: '1', uuid: 'of a version that is gone' });
  const before = await told();
  metrics.forgetVersion('m', '2');

  expect(before).toEqual([':tensorflow:serving:mlmd_map{model_name="m",version="2",uuid="u"} 1']);
  expect(await told()).toBeNull();
});

test('forgets versions and models that are gone, so that swaps cannot grow the metrics', async () => {
  const metrics = metricsOf('m');
  const load = {
    model: 'm',
    version: '2',
    path: '/models/m/2',
    digest: 'sha256:2',
    backend: 'onnx-cpu',
    outcome: 'loaded',
    durationMs: 3,
  } as const;
  metrics.recordLoad(load);
  metrics.recordRequest(record());

  metrics.forgetVersion('m', '2');
  const withoutVersion = await metrics.registry.metrics();
  metrics.forgetModel('m');
  const withoutModel = await metrics.registry.metrics();

  expect(withoutVersion).not.toContain('version="2"');
  expect(withoutVersion).not.toContain('model_path="/models/m/2"');
  expect(withoutVersion).toContain('model_name="m"');
  expect(withoutModel).not.toContain('"m"');
});

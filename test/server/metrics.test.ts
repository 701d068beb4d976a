import { expect, test } from 'vitest';
import { createMetrics } from '../../src/server/metrics.ts';

test('counts requests under the names of TensorFlow Serving and, with version and signature, under ours', async () => {
  const metrics = createMetrics();
  metrics.setState('m', '2', 'AVAILABLE');

  metrics.recordRequest({
    model: 'm',
    api: 'predict',
    entrypoint: 'REST',
    status: 'OK',
    durationMs: 0.05,
    servable: { version: '2', signature: 'serving_default', backend: 'onnx-cpu', queueMs: 1, inferMs: 2 },
  });

  const text = await metrics.registry.metrics();
  expect(text).toContain(':tensorflow:serving:request_count{model_name="m",status="OK"} 1');
  expect(text).toContain(':tensorflow:serving:request_latency_count{model_name="m",API="predict",entrypoint="REST"} 1');
  // 50 µs lie between the bounds 10 × 1.8^2 = 32.4 and 10 × 1.8^3 = 58.3.
  expect(text).toMatch(/request_latency_bucket\{le="32.4\d*",model_name="m"[^}]*\} 0/);
  expect(text).toMatch(/request_latency_bucket\{le="58.3\d*",model_name="m"[^}]*\} 1/);
  expect(text).toContain(
    'nearfar_requests_total{model="m",version="2",signature="serving_default",api="predict",entrypoint="REST",backend="onnx-cpu",status="OK"} 1',
  );
  expect(text).toContain('nearfar_servable_state{model="m",version="2"} 30');
});

test('counts names the server does not have together, so that clients cannot grow the metrics', async () => {
  const metrics = createMetrics();

  for (const model of ['a', 'b', 'c']) {
    metrics.recordRequest({ model, api: 'predict', entrypoint: 'REST', status: 'NOT_FOUND', durationMs: 1 });
  }

  expect(await metrics.registry.metrics()).toContain(':tensorflow:serving:request_count{model_name="(unknown)",status="NOT_FOUND"} 3');
});

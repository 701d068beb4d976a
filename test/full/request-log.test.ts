import { spawnSync } from 'node:child_process';
import { cp, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { createTensor, encodeTensorProto, LoggingConfigSchema, PredictRequestSchema, parseTextMessage } from '../../src/core/index.ts';
import { readWarmup } from '../../src/publish/warm-up-inputs.ts';
import { type RunningServer, startServer } from '../../src/server/index.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { until } from '../support/serving.ts';
import { sharedData } from '../support/shared-data.ts';

// What a server logs is the warm-up file of the next version, and can be read by TensorFlow, in the Python that NEARFAR_PYTHON names.

const halfPlusTwo = sharedData('tfs-testdata/saved_model_half_plus_two_cpu/00000123');
const python = process.env['NEARFAR_PYTHON'] ?? 'python3';

/** Prints the kind and the signature of each record. */
const reader = `
import sys
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
for record in tf.data.TFRecordDataset(sys.argv[1]):
    log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
    kind = log.WhichOneof('log_type')
    print(kind, getattr(log, kind).request.model_spec.signature_name)
`;

test.runIf(halfPlusTwo)('the log of a server warms up the next version, and TensorFlow reads it', async () => {
  await using folder = await openTempFolder();
  const [basePath, logs] = [join(folder.path, 'models/half'), join(folder.path, 'logs')];
  const logging = parseTextMessage(
    LoggingConfigSchema,
    'log_collector_config { filename_prefix: "half" } sampling_config { sampling_rate: 1 }',
  );
  const start = async () => {
    const server = await startServer({
      host: '127.0.0.1',
      restPort: 0,
      grpcPort: 0,
      models: [{ name: 'half', basePath, logging }],
      requestLogDir: logs,
      cacheDir: join(folder.path, 'cache'),
      backends: ['tfjs-wasm'],
      engineThreads: 1,
      pollIntervalMs: 20,
      logLevel: 'silent',
    });
    await server.whenReady();
    return server;
  };
  await cp(halfPlusTwo!, join(basePath, '1'), { recursive: true });
  const first = await start();

  const answers = [
    await ask(first, 'predict', { instances: [1, 2, 5] }),
    await ask(first, 'classify', { signature_name: 'classify_x_to_y', examples: [{ x: 2.5 }] }),
    await ask(first, 'regress', { signature_name: 'regress_x_to_y', examples: [{ x: 2.5 }, { x: 3.5 }] }),
    await predictGrpc(first),
  ];
  await first.close();
  const [name] = await readdir(logs);
  const file = join(logs, name!);
  await cp(halfPlusTwo!, join(folder.path, 'next'), { recursive: true });
  await mkdir(join(folder.path, 'next/assets.extra'));
  await cp(file, join(folder.path, 'next/assets.extra/tf_serving_warmup_requests'));
  await cp(join(folder.path, 'next'), join(basePath, '2'), { recursive: true });
  const second = await start();
  await until(() => second.servables.status({ name: 'half' }).some(({ version, state }) => version === '2' && state === 'AVAILABLE'));
  const metrics = await second.metrics.registry.metrics();
  const warm = await ask(second, 'predict', { instances: [4] });
  await second.close();

  expect(answers).toEqual([
    { predictions: [2.5, 3, 4.5] },
    { results: [[['', 3.25]]] },
    { results: [3.25, 3.75] },
    expect.objectContaining({ code: 'OK' }),
  ]);
  expect(readWarmup(new Uint8Array(await readFile(file))).map(({ kind, signature }) => [kind, signature])).toEqual([
    ['tensors', 'serving_default'],
    ['examples', 'classify_x_to_y'],
    ['examples', 'regress_x_to_y'],
    ['tensors', 'serving_default'],
  ]);
  expect(warm).toEqual({ predictions: [4] });
  expect(metrics).toMatch(/model_warmup_records_read\{model_path="[^"]*",status="OK"\} 4/);

  const read = spawnSync(python, ['-c', reader, file], { encoding: 'utf8' });
  if (/No module named/.test(read.stderr)) console.warn(`skipping TensorFlow as a reader of logs: ${python} has no tensorflow_serving`);
  else {
    expect(read.stdout.trim().split('\n'), read.stderr).toEqual([
      'predict_log serving_default',
      'classify_log classify_x_to_y',
      'regress_log regress_x_to_y',
      'predict_log serving_default',
    ]);
  }
});

async function ask({ restAddress }: RunningServer, method: string, body: object): Promise<unknown> {
  const answer = await fetch(`${restAddress}/v1/models/half:${method}`, { method: 'POST', body: JSON.stringify(body) });
  return answer.json();
}

async function predictGrpc({ grpcAddress }: RunningServer): Promise<{ code: string }> {
  const client = new Client(grpcAddress!, credentials.createInsecure());
  const x = encodeTensorProto(createTensor('float32', [2], Float32Array.of(7, 8)));
  const request = create(PredictRequestSchema, { modelSpec: { name: 'half' }, inputs: { x } });
  await new Promise<void>((resolve, reject) => {
    client.makeUnaryRequest(
      '/tensorflow.serving.PredictionService/Predict',
      (message: Uint8Array) => Buffer.from(message),
      (bytes) => bytes,
      toBinary(PredictRequestSchema, request),
      (error) => (error ? reject(error) : resolve()),
    );
  });
  client.close();
  return { code: 'OK' };
}

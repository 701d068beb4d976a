import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  compareOutputs,
  decodeTensorProto,
  encodeTensorProto,
  LoggingConfigSchema,
  PredictionLogSchema,
  PredictRequestSchema,
  PredictResponseSchema,
  parseTextMessage,
  readTfRecords,
} from '../../src/core/index.ts';
import { readWarmup } from '../../src/publish/warm-up-inputs.ts';
import { parseConfig, type RunningServer, type ServerOptions, startServer } from '../../src/server/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { openOtlpReceiver } from '../support/otlp-receiver.ts';
import { golden, goldenInputs, goldenTolerance } from '../support/serving.ts';

// The whole server on real sockets: what it tells of the requests it answers.

let folder: Awaited<ReturnType<typeof openTempFolder>>;

beforeEach(async () => {
  folder = await openTempFolder();
  await copyEveryday10(join(folder.path, 'models/everyday10'), '1');
});

afterEach(() => folder[Symbol.asyncDispose]());

function start(options: ServerOptions): Promise<RunningServer> {
  return startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    models: [{ name: 'everyday10', basePath: join(folder.path, 'models/everyday10') }],
    cacheDir: join(folder.path, 'cache'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    logLevel: 'silent',
    ...options,
  });
}

async function startReady(options: ServerOptions): Promise<RunningServer> {
  const server = await start(options);
  await server.whenReady();
  return server;
}

function predictRest({ restAddress }: RunningServer, { model = 'everyday10', headers = {} } = {}): Promise<Response> {
  const inputs = Object.entries(golden.inputs).map(([name, { shape, data }]) => ({ name, datatype: 'FP32', shape, data: [...data] }));
  return fetch(`${restAddress}/v2/models/${model}/infer`, { method: 'POST', headers, body: JSON.stringify({ inputs }) });
}

/** One Predict by the real gRPC client. */
async function predictGrpc({ grpcAddress }: RunningServer, metadata = new Metadata()): Promise<void> {
  const client = new Client(grpcAddress!, credentials.createInsecure());
  const inputs = Object.fromEntries(Object.entries(goldenInputs()).map(([name, tensor]) => [name, encodeTensorProto(tensor)]));
  const request = create(PredictRequestSchema, { modelSpec: { name: 'everyday10' }, inputs });
  await new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      '/tensorflow.serving.PredictionService/Predict',
      (message: typeof request) => Buffer.from(toBinary(PredictRequestSchema, message)),
      (bytes) => fromBinary(PredictResponseSchema, bytes),
      request,
      metadata,
      (error, answer) => (error ? reject(error) : resolve(answer)),
    );
  });
  client.close();
}

const traceId = '0af7651916cd43dd8448eb211c80319c';
const callerSpan = 'b7ad6b7169203331';

describe('traces', () => {
  test('of a request over REST go on the trace of its caller, with a span for each phase', async () => {
    await using receiver = await openOtlpReceiver();
    const server = await startReady({ otlpEndpoint: receiver.endpoint });

    const answer = await predictRest(server, { headers: { traceparent: `00-${traceId}-${callerSpan}-01` } });
    await server.close();

    const [request] = receiver.spans.filter(({ kind }) => kind === 2);
    expect(request).toMatchObject({
      traceId,
      parentSpanId: callerSpan,
      name: 'POST /v2/models/{model}/infer',
      status: 0,
      attributes: {
        'http.request.method': 'POST',
        'http.response.status_code': 200,
        'nearfar.model': 'everyday10',
        'nearfar.version': '1',
        'nearfar.digest': answer.headers.get('nearfar-model-digest'),
        'nearfar.signature': 'serving_default',
        'nearfar.engine': 'onnx',
        'nearfar.backend': 'onnx-cpu',
      },
      resource: { 'service.name': 'nearfar', 'service.version': expect.any(String) },
    });
    const phases = receiver.spans.filter(({ parentSpanId }) => parentSpanId === request?.spanId);
    expect(phases.map(({ name }) => name)).toEqual(['decode', 'queue', 'infer', 'encode']);
    for (const phase of phases) {
      expect(phase.traceId).toBe(traceId);
      expect(phase.startNs).toBeGreaterThanOrEqual(request!.startNs);
      expect(phase.endNs).toBeLessThanOrEqual(request!.endNs);
    }
    expect(phases.find(({ name }) => name === 'infer')!.endNs).toBeGreaterThan(phases.find(({ name }) => name === 'infer')!.startNs);
  });

  test('of a request over gRPC take the trace from its metadata, and one that its caller does not record is not sent', async () => {
    await using receiver = await openOtlpReceiver();
    const server = await startReady({ otlpEndpoint: receiver.endpoint });
    const metadataOf = (flags: string) => {
      const metadata = new Metadata();
      metadata.set('traceparent', `00-${traceId}-${callerSpan}-${flags}`);
      return metadata;
    };

    await predictGrpc(server, metadataOf('01'));
    await predictGrpc(server, metadataOf('00'));
    await server.close();

    const requests = receiver.spans.filter(({ kind }) => kind === 2);
    expect(requests).toMatchObject([
      {
        traceId,
        parentSpanId: callerSpan,
        name: 'tensorflow.serving.PredictionService/Predict',
        attributes: { 'rpc.system': 'grpc', 'rpc.method': 'Predict', 'rpc.grpc.status_code': 0 },
      },
    ]);
  });

  test('are named by their routes, also those about a model and those that change one', async () => {
    await using receiver = await openOtlpReceiver();
    const server = await start({ otlpEndpoint: receiver.endpoint });
    const paths = ['/v1/models/other/metadata', '/v2/models/other', '/v2/models/other/versions/1/config', '/v2/models/stats'];

    for (const path of paths) await fetch(`${server.restAddress}${path}`);
    await fetch(`${server.restAddress}/v2/repository/models/other/unload`, { method: 'POST' });
    await fetch(`${server.restAddress}/nearfar/v1/models/other/labels/stable`, { method: 'DELETE' });
    await server.close();

    expect(receiver.spans.map(({ name, attributes }) => [name, attributes['http.route']])).toEqual(
      [
        'GET /v1/models/{model}/metadata',
        'GET /v2/models/{model}',
        'GET /v2/models/{model}/versions/{version}/config',
        'GET /v2/models/stats',
        'POST /v2/repository/models/{model}/unload',
        'DELETE /nearfar/v1/models/{model}/labels/{label}',
      ].map((name) => [name, name.slice(name.indexOf(' ') + 1)]),
    );
  });

  test('begin where a request comes with none, by the share that is asked for', async () => {
    await using all = await openOtlpReceiver();
    await using none = await openOtlpReceiver();
    const recording = await startReady({ otlpEndpoint: all.endpoint });
    const silent = await startReady({ otlpEndpoint: none.endpoint, traceSamplingRatio: 0 });

    await Promise.all([predictRest(recording, { model: 'other' }), predictRest(silent, { model: 'other' })]);
    await Promise.all([recording.close(), silent.close()]);

    expect(all.spans).toMatchObject([
      {
        parentSpanId: '',
        status: 0,
        attributes: { 'http.response.status_code': 404, 'error.type': 'not-found', 'nearfar.model': 'other' },
      },
    ]);
    expect(none.spans).toEqual([]);
  });

  test('are lost without harm when the collector refuses them', async () => {
    await using receiver = await openOtlpReceiver({ status: 400 });
    const server = await start({ otlpEndpoint: receiver.endpoint });

    const answer = await fetch(`${server.restAddress}/v1/models/other`);
    await server.close();

    expect(answer.status).toBe(404);
  });

  test('need an endpoint that is a URL', async () => {
    await expect(start({ otlpEndpoint: 'collector:4318' })).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

describe('the request log', () => {
  const logging = (samplingRate: number) =>
    parseTextMessage(
      LoggingConfigSchema,
      `log_collector_config { filename_prefix: "everyday10" } sampling_config { sampling_rate: ${samplingRate} }`,
    );
  const models = (samplingRate: number) => [
    { name: 'everyday10', basePath: join(folder.path, 'models/everyday10'), logging: logging(samplingRate) },
  ];

  test('holds the requests of both transports as PredictionLogs, which can be read as warm-up requests', async () => {
    const requestLogDir = join(folder.path, 'logs');
    const server = await startReady({ models: models(1), requestLogDir });

    await predictRest(server);
    await predictGrpc(server);
    await predictRest(server, { headers: { 'nearfar-model-digest': `sha256:${'0'.repeat(64)}` } });
    await server.close();

    const [file, ...others] = await readdir(requestLogDir);
    expect(others).toEqual([]);
    const bytes = new Uint8Array(await readFile(join(requestLogDir, file!)));
    const logs = readTfRecords(bytes).map((record) => fromBinary(PredictionLogSchema, record));
    expect(logs).toHaveLength(2);
    for (const { logMetadata, logType } of logs) {
      expect(logMetadata).toMatchObject({ modelSpec: { name: 'everyday10', versionChoice: { value: { value: 1n } } } });
      expect(logMetadata?.samplingConfig?.samplingRate).toBe(1);
      if (logType.case !== 'predictLog') throw new Error(`expected a PredictLog, got ${logType.case}`);
      const { request, response } = logType.value;
      expect(request?.modelSpec).toMatchObject({
        name: 'everyday10',
        signatureName: 'serving_default',
        versionChoice: { case: undefined },
      });
      const answered = Object.entries(response?.outputs ?? {}).map(([name, proto]) => [name, decodeTensorProto(proto, name)] as const);
      expect(compareOutputs(golden.outputs, Object.fromEntries(answered), goldenTolerance)).toMatchObject({ isWithin: true });
    }
    expect(readWarmup(bytes)).toMatchObject([
      { signature: 'serving_default', kind: 'tensors', tensors: golden.inputs },
      { signature: 'serving_default', kind: 'tensors', tensors: golden.inputs },
    ]);
    expect(await server.metrics.registry.metrics()).toContain(
      ':tensorflow:serving:request_log_count{model_name="everyday10",status_code="OK"} 2',
    );
  });

  test('follows the model config file while the server runs', async () => {
    const [file, logs] = [join(folder.path, 'models.config'), join(folder.path, 'logs')];
    const configure = (extra: string) =>
      writeFile(
        file,
        `model_config_list { config { name: "everyday10" base_path: "${join(folder.path, 'models/everyday10')}" model_platform: "tensorflow" ${extra} } }`,
      );
    const asks = (prefix: string) =>
      `logging_config { log_collector_config { type: "file" filename_prefix: "${prefix}" } sampling_config { sampling_rate: 1 } }`;
    await configure('');
    const { config } = parseConfig([`--model_config_file=${file}`, `--request_log_dir=${logs}`], {});
    const server = await startReady({
      models: config.models,
      modelConfigFile: config.modelConfigFile,
      requestLogDir: config.requestLogDir,
    });

    await predictRest(server);
    await configure(asks('later'));
    await server.reloadModels();
    await predictRest(server);
    await configure(asks('../outside'));
    await server.reloadModels();
    await predictRest(server);
    await server.close();

    const names = await readdir(logs);
    expect(names).toEqual([expect.stringMatching(/^later-/)]);
    expect(readWarmup(new Uint8Array(await readFile(join(logs, names[0]!))))).toHaveLength(2);
    expect(() => parseConfig([`--model_config_file=${file}`, `--request_log_dir=${logs}`], {})).toThrow('filename_prefix is a path in');
  });

  test('is off unless a model asks for it, takes no more than its share, and fails no request when it cannot be written', async () => {
    const requestLogDir = join(folder.path, 'logs');
    await writeFile(requestLogDir, 'a file where the folder should be');
    const basePath = join(folder.path, 'models/everyday10');
    const server = await startReady({
      models: [{ name: 'off', basePath }, { name: 'none', basePath, logging: logging(0) }, ...models(1)],
      requestLogDir,
    });

    const answers = await Promise.all(['off', 'none', 'everyday10'].map((model) => predictRest(server, { model })));
    await server.close();

    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    const counts = (await server.metrics.registry.metrics()).match(/^:tensorflow:serving:request_log_count.*$/gm);
    expect(counts).toEqual([':tensorflow:serving:request_log_count{model_name="everyday10",status_code="INTERNAL"} 1']);
  });
});

describe('the page for Prometheus', () => {
  test('is where the monitoring config says, and counts changes too', async () => {
    const server = await start({ metricsPaths: ['/secret/metrics'] });
    await fetch(`${server.restAddress}/nearfar/v1/config`, { method: 'PUT', body: '{}' });

    const pages = await Promise.all(['/secret/metrics', '/metrics'].map((path) => fetch(`${server.restAddress}${path}`)));
    await server.close();

    expect(pages.map(({ status }) => status)).toEqual([200, 404]);
    expect(await pages[0]!.text()).toMatch(
      /nearfar_requests_total\{[^}]*api="configure",entrypoint="REST",[^}]*status="INVALID_ARGUMENT"\} 1/,
    );
  });
});

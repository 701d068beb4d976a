import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTensor, encodeTensorProto, PredictRequestSchema, PredictResponseSchema } from '../../../src/core/index.ts';
import { parseConfig, type RunningServer, type ServerOptions, startServer } from '../../../src/server/index.ts';
import { openTempFolder } from '../../support/model-folder.ts';
import { publishSource } from '../../support/task-models.ts';
import { tinyOnnx } from '../../support/tiny-models.ts';

// Whole servers on real sockets, over models that answer what they are asked: rows of scores, of numbers, of vectors.

const signature = 'serving_default';
const labels = new TextEncoder().encode('cat\ndog\nbird\n');

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let server: RunningServer;

function start(options: ServerOptions = {}): Promise<RunningServer> {
  return startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 0,
    modelsRoot: join(folder.path, 'models'),
    cacheDir: join(folder.path, 'cache'),
    backends: ['onnx-cpu'],
    engineThreads: 1,
    logLevel: 'silent',
    driftWindowRows: 20,
    driftDir: join(folder.path, 'drift'),
    modelDefaults: { driftSamplingRate: 1, feedback: true },
    ...options,
  });
}

beforeAll(async () => {
  folder = await openTempFolder();
  const models = join(folder.path, 'models');
  const echo = tinyOnnx('float32', 'Identity', { rank: 2 });
  const input = { columns: [] };
  const pets = { signature, input, output: { name: 'y', activation: 'softmax', labels: 'labels.txt' } };
  await publishSource(models, 'pets', echo, { tasks: { 'tabular-classification': pets } }, { 'labels.txt': labels });
  const ages = { signature, input, output: { name: 'y', scale: 100, offset: 7 } };
  await publishSource(models, 'ages', echo, { tasks: { 'tabular-regression': ages } });
  await publishSource(models, 'plain', echo);
  server = await start();
  await server.whenReady();
});

afterAll(async () => {
  await server?.close();
  await folder?.[Symbol.asyncDispose]();
});

/** One more, of one model. */
async function startOther(name: string, options: ServerOptions = {}): Promise<RunningServer> {
  const models = [{ name, basePath: join(folder.path, 'models', name) }];
  const other = await start({ modelsRoot: undefined, models, driftDir: undefined, ...options });
  await other.whenReady();
  return other;
}

interface Asked {
  readonly id?: string | undefined;
  readonly server?: RunningServer;
}

async function predict(model: string, rows: number[][], { id, server: at = server }: Asked = {}): Promise<string | null> {
  const response = await fetch(`${at.restAddress}/v1/models/${model}:predict`, {
    method: 'POST',
    headers: id === undefined ? {} : { 'nearfar-prediction-id': id },
    body: JSON.stringify({ instances: rows }),
  });
  expect(response.status).toBe(200);
  await response.arrayBuffer();
  return response.headers.get('nearfar-prediction-id');
}

async function predictGrpc(model: string, rows: number[][]): Promise<string | undefined> {
  const client = new Client(server.grpcAddress!, credentials.createInsecure());
  const tensor = createTensor('float32', [rows.length, rows[0]!.length], Float32Array.from(rows.flat()));
  const request = create(PredictRequestSchema, { modelSpec: { name: model }, inputs: { x: encodeTensorProto(tensor) } });
  const metadata = new Metadata();
  metadata.set('nearfar-prediction-id', 'new');
  let id: string | undefined;
  await new Promise<void>((resolve, reject) => {
    const call = client.makeUnaryRequest(
      '/tensorflow.serving.PredictionService/Predict',
      (message: typeof request) => Buffer.from(toBinary(PredictRequestSchema, message)),
      (bytes) => fromBinary(PredictResponseSchema, bytes),
      request,
      metadata,
      (error) => error && reject(error),
    );
    call.on('status', ({ metadata: trailer }) => {
      id = trailer.get('nearfar-prediction-id')[0]?.toString();
      resolve();
    });
  });
  client.close();
  return id;
}

async function ask(path: string, body?: object, at = server) {
  const response = await fetch(`${at.restAddress}/nearfar/v1/models/${path}`, body && { method: 'POST', body: JSON.stringify(body) });
  return { status: response.status, ...(await response.json()) };
}

const many = (count: number, row: number[]) => Array.from({ length: count }, () => row);
const cat = [9, 0, 0];
const bird = [0, 0, 9];

describe('drift', () => {
  test('of classes is the distance of the answers of now from the first ones, told over HTTP and to Prometheus', async () => {
    await predict('pets', [...many(15, cat), ...many(5, bird)]);
    await predict('pets', [...many(15, cat), ...many(5, bird)]);
    const before = await ask('pets/drift');
    await predict('pets', many(20, bird));
    await predict('pets', many(20, bird));
    const after = await ask('pets/drift');
    const metrics = await server.metrics.registry.metrics();

    expect(before).toMatchObject({ model: 'pets', samplingRate: 1 });
    const [output] = before.outputs;
    expect(output).toMatchObject({
      version: '1',
      signature,
      output: 'y',
      rows: 40,
      reference: { source: 'first', version: '1', rows: 20 },
    });
    expect(output.present.classes).toEqual([
      { name: '0', label: 'cat', share: 0.75 },
      { name: '2', label: 'bird', share: 0.25 },
    ]);
    expect(output.distances.map(({ isLarge }: { isLarge: boolean }) => isLarge)).not.toContain(true);
    const psi = after.outputs[0].distances[0];
    expect(psi).toMatchObject({ of: 'classes', measure: 'psi', isLarge: true });
    expect(metrics).toContain(
      `nearfar_drift_distance{model="pets",version="1",signature="${signature}",output="y",of="classes",measure="psi"} ${psi.value}`,
    );
    expect(metrics).toContain(`nearfar_drift_class_share{model="pets",version="1",signature="${signature}",output="y",class="2"} 1`);
  });

  test('of numbers is in the units of the task, of rows that add up to 1 of classes, and of other rows of vectors', async () => {
    await predict('ages', many(20, [0.2]));
    await predict('plain', many(20, [1, -1]));

    const [ages] = (await ask('ages/drift')).outputs;
    const [vectors] = (await ask('plain/drift')).outputs;
    expect(ages.present).toMatchObject({ kind: 'numbers', rows: 20 });
    expect(ages.present.mean).toBeCloseTo(27, 3);
    expect(vectors.present).toMatchObject({ kind: 'vectors', width: 2, meanVariance: 0 });
    expect(vectors.present.meanLength).toBeCloseTo(Math.SQRT2);
  });

  test('is measured from a chosen baseline, which outlives the server', async () => {
    await predict('ages', many(40, [0.5]));
    const chosen = await ask('ages/versions/1/baseline', {});
    const early = await ask('pets/versions/7/baseline', {});
    const files = await readdir(join(folder.path, 'drift', 'ages'));
    const next = await startOther('ages', { driftDir: join(folder.path, 'drift') });
    await predict('ages', [[0.5]], { server: next });
    // The baseline is read when the first answer comes.
    await expect.poll(async () => (await ask('ages/drift', undefined, next)).outputs[0].reference?.source).toBe('chosen');
    await predict('ages', many(40, [0.9]), { server: next });
    const after = await ask('ages/drift', undefined, next);
    await next.close();

    expect(chosen).toMatchObject({ status: 200, model: 'ages', version: '1', source: 'chosen', outputs: [{ output: 'y', rows: 40 }] });
    expect(early).toMatchObject({ status: 400, code: 'failed-precondition', details: { want: 10 } });
    expect(files).toEqual(['1.json']);
    expect(after.outputs[0].distances).toContainEqual(expect.objectContaining({ of: 'values', measure: 'ks', isLarge: true }));
  });

  test('is not looked for unless it is asked for, nor in more answers than were', async () => {
    const basePath = (name: string) => join(folder.path, 'models', name);
    const off = await start({
      modelsRoot: undefined,
      modelDefaults: {},
      models: [
        { name: 'plain', basePath: basePath('plain') },
        { name: 'pets', basePath: basePath('pets'), options: { driftSamplingRate: 0 } },
      ],
    });
    await off.whenReady();

    const id = await predict('pets', [cat], { id: 'new', server: off });
    await predict('plain', [cat], { server: off });
    const reports = await Promise.all(['pets', 'plain'].map((model) => ask(`${model}/drift`, undefined, off)));
    const feedback = await ask('pets/feedback', { id: 'any', label: 'cat' }, off);
    await off.close();

    expect(id).toBeNull();
    expect(reports.map(({ outputs, samplingRate }) => [outputs, samplingRate])).toEqual(Array(2).fill([[], 0]));
    expect(feedback).toMatchObject({ status: 400, code: 'failed-precondition' });
  });

  test('of a model that is not served is not found', async () => {
    expect(await ask('none/drift')).toMatchObject({ status: 404, code: 'not-found' });
    expect(await ask('none/feedback')).toMatchObject({ status: 404, code: 'not-found' });
  });
});

describe('feedback', () => {
  test('joins what was right with what was predicted over REST and gRPC, and tells accuracy, confusion and calibration', async () => {
    const ofRest = await predict('pets', [cat, cat], { id: 'new' });
    const ofGrpc = await predictGrpc('pets', [bird]);
    const one = await ask('pets/feedback', { id: ofGrpc, label: 'bird' });
    const batch = await ask('pets/feedback', {
      feedback: [
        { id: ofRest, label: 0 },
        { id: ofRest, row: 1, label: 'dog' },
        { id: ofRest, row: 2, label: 'dog' },
        { id: ofRest, label: 'cat' },
        { id: 'made.up', label: 'cat' },
      ],
    });
    const report = await ask('pets/feedback');
    const metrics = await server.metrics.registry.metrics();

    expect(one).toEqual({ status: 200, accepted: 1, refused: [] });
    expect(batch).toMatchObject({
      accepted: 2,
      refused: [
        { index: 2, code: 'invalid-argument' },
        { index: 3, code: 'already-exists' },
        { index: 4, code: 'not-found' },
      ],
    });
    const [output] = report.outputs;
    expect(output).toMatchObject({ version: '1', signature, output: 'y', kind: 'classes', count: 3, accuracy: 2 / 3 });
    expect(output.confusion).toEqual(
      expect.arrayContaining([
        { predicted: 'cat', label: 'cat', count: 1 },
        { predicted: 'cat', label: 'dog', count: 1 },
        { predicted: 'bird', label: 'bird', count: 1 },
      ]),
    );
    // softmax(9, 0, 0) = 0.99975
    expect(output.calibration).toEqual([expect.objectContaining({ from: 0.9, to: 1, count: 3, accuracy: 2 / 3 })]);
    expect(output.calibrationError).toBeCloseTo(0.99975 - 2 / 3, 3);
    expect(metrics).toContain(`nearfar_feedback_total{model="pets",version="1",signature="${signature}",outcome="correct"} 2`);
    expect(metrics).toContain(`nearfar_feedback_total{model="pets",version="1",signature="${signature}",outcome="wrong"} 1`);
    expect(metrics).toContain('nearfar_feedback_refused_total{model="pets",code="already-exists"} 1');
  });

  test('of numbers tells errors, in the units of the task', async () => {
    const id = await predict('ages', [[0.1], [0.2]], { id: 'new' });

    await ask('ages/feedback', { feedback: [{ id, value: 20 }, { id, row: 1, value: 23 }] }); // biome-ignore format: short
    const [output] = (await ask('ages/feedback')).outputs;

    // It says 17 and 27.
    expect(output).toMatchObject({ kind: 'numbers', count: 2 });
    expect(output.meanError).toBeCloseTo(0.5, 2);
    expect(output.meanAbsoluteError).toBeCloseTo(3.5, 2);
    expect(output.rootMeanSquareError).toBeCloseTo(Math.sqrt(12.5), 2);
  });

  test.each([
    ['a class that there is not', { label: 'horse' }, 'invalid-argument'],
    ['a number beyond the classes', { label: 3 }, 'invalid-argument'],
    ['a value where a class is expected', { value: 1 }, 'invalid-argument'],
    ['both', { value: 1, label: 'cat' }, 'invalid-argument'],
    ['neither', {}, 'invalid-argument'],
    ['a field that there is not', { label: 'cat', score: 1 }, 'invalid-argument'],
  ])('refuses %s', async (_, item, code) => {
    const id = await predict('pets', [cat], { id: 'new' });

    expect(await ask('pets/feedback', { id, ...item })).toMatchObject({ status: 400, code });
    expect(await ask('pets/feedback', { id, label: 'cat' })).toMatchObject({ accepted: 1 });
  });

  test('knows no id of another model, one that was changed, or one of a server with another key', async () => {
    const id = (await predict('pets', [cat], { id: 'new' })) ?? '';
    const other = await startOther('pets');

    const answers = [
      await ask('ages/feedback', { id, value: 1 }),
      await ask('pets/feedback', { id: `${id.startsWith('A') ? 'B' : 'A'}${id.slice(1)}`, label: 'cat' }),
      await ask('pets/feedback', { id, label: 'cat' }, other),
    ];
    await other.close();

    expect(answers).toMatchObject(Array(3).fill({ status: 404, code: 'not-found' }));
  });

  test('is taken by another server with the same key, and not when it comes late', async () => {
    const feedbackKeyFile = join(folder.path, 'feedback.key');
    const options = [{ feedbackKeyFile }, { feedbackKeyFile }, { feedbackKeyFile, feedbackTtlMs: -1 }];
    const [first, second, impatient] = await Promise.all(options.map((each) => startOther('pets', each)));
    const id = await predict('pets', [cat], { id: 'new', server: first! });
    const taken = await ask('pets/feedback', { id, label: 'cat' }, second);
    const late = await ask('pets/feedback', { id, label: 'cat' }, impatient);
    await Promise.all([first, second, impatient].map((each) => each?.close()));

    expect(taken).toMatchObject({ status: 200, accepted: 1 });
    expect(late).toMatchObject({ status: 400, code: 'failed-precondition' });
  });

  test('is asked for: an answer has no id otherwise, nor one with too many rows or without classes and numbers', async () => {
    expect(await predict('pets', [cat])).toBeNull();
    expect(await predict('pets', many(33, cat), { id: 'new' })).toBeNull();
    expect(await predict('plain', [[1, -1]], { id: 'new' })).toBeNull();
  });
});

test('flags say what is looked at, and how', () => {
  const parse = (...flags: string[]) => parseConfig(['--models=/m', ...flags], { XDG_STATE_HOME: '/state' }).config;

  expect(parse('--drift_monitor=0.25', '--drift_reference=previous', '--drift_window_rows=500', '--feedback')).toMatchObject({
    modelDefaults: { driftSamplingRate: 0.25, feedback: true },
    driftReference: 'previous',
    driftWindowRows: 500,
    driftDir: '/state/nearfar/drift',
    feedbackKeyFile: '/state/nearfar/feedback.key',
  });
  expect(parse('--drift_dir=', '--feedback_key_file=')).toMatchObject({ driftDir: undefined, feedbackKeyFile: undefined });
  expect(() => parse('--drift_monitor=2')).toThrow('--drift_monitor expects a number from 0 to 1');
  expect(() => parse('--drift_reference=last')).toThrow('--drift_reference expects first or previous');
});

import { cp, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  createTensor,
  encodeTensorProto,
  encodeTfRecord,
  type LoadedVariant,
  type Manifest,
  type RunRequest,
} from '../../src/core/index.ts';
import { InputSchema } from '../../src/core/protocol/gen/tensorflow_serving/apis/input_pb.ts';
import { PredictionLogSchema } from '../../src/core/protocol/gen/tensorflow_serving/apis/prediction_log_pb.ts';
import { readWarmupRecords, warmUp } from '../../src/server/servables/warm-up.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { errorOf, golden, openServingBench, predict, type ServingBench, statesOf, until } from '../support/serving.ts';
import { sharedData } from '../support/shared-data.ts';

// Recorded requests, run before a version is available: assets.extra/tf_serving_warmup_requests, as TensorFlow Serving reads it.

let bench: ServingBench;
beforeEach(async () => {
  bench = await openServingBench();
});
afterEach(() => bench[Symbol.asyncDispose]());

type LogType = NonNullable<MessageInitShape<typeof PredictionLogSchema>['logType']>;

function log(logType: LogType): Uint8Array {
  return toBinary(PredictionLogSchema, create(PredictionLogSchema, { logType }));
}

function predictLog(inputs = golden.inputs): Uint8Array {
  const protos = Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, encodeTensorProto(tensor)]));
  return log({ case: 'predictLog', value: { request: { modelSpec: { name: 'any', signatureName: '' }, inputs: protos } } });
}

function encodeTfRecords(records: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(records.map(encodeTfRecord)));
}

async function writeWarmup(directory: string, bytes: Uint8Array): Promise<string> {
  const path = join(directory, 'assets.extra/tf_serving_warmup_requests');
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
  return path;
}

/** everyday10 with recorded requests; the directory is there at once, as a published version is. */
async function addEveryday10(bytes: Uint8Array): Promise<void> {
  await copyEveryday10(join(bench.folder, 'made'), '1');
  await writeWarmup(join(bench.folder, 'made/1'), bytes);
  await mkdir(dirname(bench.modelFolder), { recursive: true });
  await rename(join(bench.folder, 'made'), bench.modelFolder);
}

describe('recorded requests', () => {
  test('run before the version is available', async () => {
    await addEveryday10(encodeTfRecords([predictLog(), predictLog()]));
    const serving = bench.open();
    await serving.whenReady();

    expect((await predict(serving)).version).toBe('1');
    expect(await serving.metrics.registry.metrics()).toMatch(/:tensorflow:serving:model_warmup_records_read\{[^}]*status="OK"\} 2/);
  });

  test.each<[string, () => Uint8Array, number, RegExp, string]>([
    [
      'one that the model refuses',
      () => encodeTfRecords([predictLog(), predictLog({ other: createTensor('float32', [1], new Float32Array(1)) })]),
      3,
      /warm-up record 1 of .* fails: .*missing: image; unknown: other/,
      'INVALID_ARGUMENT"} 2',
    ],
    [
      'a call that TensorFlow Serving does not warm up with either',
      () => encodeTfRecords([log({ case: 'sessionRunLog', value: {} })]),
      12,
      /Unsupported log_type for warmup: session-run/,
      'UNIMPLEMENTED"} 0',
    ],
    [
      'what is no PredictionLog',
      () => encodeTfRecords([new Uint8Array([0x32, 0xff])]),
      3,
      /Failed to parse warmup record/,
      'INVALID_ARGUMENT"} 0',
    ],
    ['a file that is no TFRecord', () => new Uint8Array(40), 15, /is no TFRecord file: .*checksum/, 'DATA_LOSS"} 0'],
    [
      'a file that is cut off',
      () => encodeTfRecords([predictLog()]).subarray(0, 50),
      15,
      /is no TFRecord file: .*cut off/,
      'DATA_LOSS"} 0',
    ],
    [
      'more than a thousand',
      () => encodeTfRecords(Array.from({ length: 1001 }, () => log({ case: 'predictLog', value: {} }))),
      3,
      /Number of warmup records exceeds the maximum \(1000\)/,
      'INVALID_ARGUMENT"} 0',
    ],
  ])('fail the load, which is counted: %s', async (_, bytes, code, text, counted) => {
    await addEveryday10(bytes());
    const serving = bench.open({ maxLoadRetries: 0 });

    await until(() => statesOf(serving)['1'] === 'END');

    expect(errorOf(serving, '1')).toMatch(text);
    expect(serving.servables.status({ name: 'everyday10' })[0]?.errorCode).toBe(code);
    const metrics = await serving.metrics.registry.metrics();
    expect(metrics).toContain(`:tensorflow:serving:model_warmup_records_read{model_path="${bench.modelFolder}/1",status="${counted}`);
    expect(metrics).toMatch(new RegExp(`model_warmup_latency_count\\{[^}]*status="${counted.split('"')[0]}"\\} 1`));
  });

  test('are not read where warming up is switched off', async () => {
    await addEveryday10(new Uint8Array(40));
    const serving = bench.open({ warmupIterations: 0 });

    await serving.whenReady();

    expect((await predict(serving)).version).toBe('1');
  });

  test('of Classify, Regress and MultiInference run as their signatures say, also for a directory that is imported', async ({ skip }) => {
    const model = sharedData('tfs-testdata/saved_model_half_plus_two_cpu/00000123');
    const recorded = sharedData('tfs-protos/tf_serving_warmup_requests');
    if (model === undefined || recorded === undefined) return skip('the shared data is absent');
    const features = { feature: { x: { kind: { case: 'floatList' as const, value: { value: [2] } } } } };
    const examples = create(InputSchema, { kind: { case: 'exampleList', value: { examples: [{ features }] } } });
    const classify = { modelSpec: { name: 'h', signatureName: 'classify_x_to_y' }, input: examples };
    const regress = { modelSpec: { name: 'h', signatureName: 'regress_x_to_y' }, input: examples };
    const tasks = [
      { modelSpec: classify.modelSpec, methodName: 'tensorflow/serving/classify' },
      { modelSpec: regress.modelSpec, methodName: 'tensorflow/serving/regress' },
    ];
    const ours = encodeTfRecords([
      log({ case: 'classifyLog', value: { request: classify } }),
      log({ case: 'regressLog', value: { request: regress } }),
      log({ case: 'multiInferenceLog', value: { request: { tasks, input: examples } } }),
    ]);
    const made = join(bench.folder, 'made/1');
    await cp(model, made, { recursive: true });
    await writeWarmup(made, Buffer.concat([await readFile(recorded), ours]));
    await mkdir(join(bench.folder, 'models'), { recursive: true });
    await rename(join(bench.folder, 'made'), join(bench.folder, 'models/half'));
    const serving = bench.open({ backends: ['tfjs-wasm'] });

    await serving.whenReady();

    expect(await serving.metrics.registry.metrics()).toMatch(/:tensorflow:serving:model_warmup_records_read\{[^}]*status="OK"\} 5/);
  });

  test('run so many times, each', async () => {
    const path = await writeWarmup(bench.folder, encodeTfRecords([predictLog(), predictLog()]));
    const runs: RunRequest[] = [];
    const loaded: LoadedVariant = {
      run: async (request) => {
        runs.push(request);
        return {};
      },
      [Symbol.asyncDispose]: async () => {},
    };
    const records = await readWarmupRecords(path);

    const stats = await warmUp(loaded, {} as Manifest, { path, records, iterations: 3 }, new AbortController().signal);

    expect(runs).toHaveLength(6);
    expect(stats?.records).toBe(2);
  });
});

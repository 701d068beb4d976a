import { fromBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  createTensor,
  encodeExample,
  encodeTfRecord,
  exampleInputs,
  PredictionLogSchema,
  readTfRecords,
  type TensorMap,
} from '../../../src/core/index.ts';
import { readWarmup } from '../../../src/publish/warm-up-inputs.ts';
import { encodeLoggedRequest, encodePredictionLog, type LoggedCall } from '../../../src/server/request-log/prediction-log.ts';

const version = { name: 'm', version: '7' };
const examples = [1, 2].map((x) => encodeExample(new Map([['x', { kind: 'float', values: [x] }]])));
const scores = { scores: createTensor('float32', [2, 1], Float32Array.of(0.25, 0.75)) };
const values = { outputs: createTensor('float32', [2], Float32Array.of(3, 4)) };

/** The record of a call, through a file. */
function logOf(call: LoggedCall, outputs: readonly TensorMap[]) {
  const record = encodePredictionLog(encodeLoggedRequest(version, call), outputs, { version, samplingRate: 0.5, now: 12_345 });
  const file = encodeTfRecord(record);
  return { log: fromBinary(PredictionLogSchema, readTfRecords(file)[0]!), warmup: readWarmup(file) };
}

const examplesRun = (signature: string) => ({ signature, inputs: exampleInputs(examples) });

test.each(['Classify', 'classify'])('%s is a ClassifyLog with its examples and classes', (api) => {
  const { log, warmup } = logOf({ api, run: examplesRun('classify_x') }, [scores]);

  expect(log.logMetadata).toMatchObject({ samplingConfig: { samplingRate: 0.5 }, timestampSecs: 12n });
  expect(log.logType).toMatchObject({
    case: 'classifyLog',
    value: {
      request: { modelSpec: { name: 'm', signatureName: 'classify_x', versionChoice: { case: undefined } } },
      response: {
        modelSpec: { versionChoice: { value: { value: 7n } } },
        result: { classifications: [{ classes: [{ score: 0.25 }] }, { classes: [{ score: 0.75 }] }] },
      },
    },
  });
  expect(warmup).toMatchObject([{ signature: 'classify_x', kind: 'examples', examples }]);
});

test.each(['Regress', 'regress'])('%s is a RegressLog with its examples and values', (api) => {
  const { log, warmup } = logOf({ api, run: examplesRun('regress_x') }, [values]);

  expect(log.logType).toMatchObject({ case: 'regressLog', value: { response: { result: { regressions: [{ value: 3 }, { value: 4 }] } } } });
  expect(warmup).toMatchObject([{ signature: 'regress_x', kind: 'examples', examples }]);
});

test('MultiInference is one record of all its tasks', () => {
  const call = {
    api: 'MultiInference',
    run: examplesRun('regress_x'),
    beside: [examplesRun('classify_x')],
    tasks: [{ method: 'regress' }, { method: 'classify' }],
  } as const;

  const { log } = logOf(call, [values, scores]);

  expect(log.logType).toMatchObject({
    case: 'multiInferenceLog',
    value: {
      request: {
        tasks: [
          { modelSpec: { signatureName: 'regress_x' }, methodName: 'tensorflow/serving/regress' },
          { modelSpec: { signatureName: 'classify_x' }, methodName: 'tensorflow/serving/classify' },
        ],
        input: { kind: { case: 'exampleList' } },
      },
      response: { results: [{ result: { case: 'regressionResult' } }, { result: { case: 'classificationResult' } }] },
    },
  });
});

test('a prediction keeps its own copy of the inputs, whose memory goes to the engine', () => {
  const x = createTensor('float32', [2], Float32Array.of(1, 2));
  const request = encodeLoggedRequest(version, { api: 'infer', run: { signature: 's', inputs: { x }, outputs: ['y'] } });
  structuredClone(x.data.buffer, { transfer: [x.data.buffer] });

  const record = encodePredictionLog(request, [{ y: createTensor('float32', [1], Float32Array.of(9)) }], {
    version,
    samplingRate: 1,
    now: 0,
  });

  expect(readWarmup(encodeTfRecord(record))).toMatchObject([
    { signature: 's', kind: 'tensors', tensors: { x: { dtype: 'float32', shape: [2], data: Float32Array.of(1, 2) } } },
  ]);
  expect(fromBinary(PredictionLogSchema, record).logType).toMatchObject({ value: { request: { outputFilter: ['y'] } } });
});

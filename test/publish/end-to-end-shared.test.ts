import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { createTensor, type Tensor } from '../../src/core/index.ts';
import { expectRecorded, type ImportedModel, largestPart, openImported } from '../support/imported.ts';
import { expectMobileNetV2 } from '../support/imported-mobilenet.ts';
import { decodePrepared } from '../support/prepared.ts';
import { sharedData } from '../support/shared-data.ts';

// Real models of the shared data, through the reading of `publish`, against what their own libraries answered. Results that were stored
// with six digits are compared with half a unit of the last digit on top.

const shared = <T>(path: string): T | undefined => {
  const file = sharedData(path);
  return file === undefined ? undefined : JSON.parse(readFileSync(file, 'utf8'));
};

const SIX_DIGITS = 0.5e-6;

/** Fails unless every value is within 1e-5 of the largest, and half a unit of the last stored digit. */
function expectNear(got: Tensor<'float32'>, want: readonly number[], what: string, stored = SIX_DIGITS): void {
  expect(got.data.length, what).toBe(want.length);
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(largestPart(got.data, want), what).toBeLessThanOrEqual(1e-5 + stored / largest);
}

async function runFloat(
  model: ImportedModel,
  backend: ImportedModel['backends'][number],
  inputs: Readonly<Record<string, Tensor<'float32'>>>,
  output?: string,
) {
  const outputs = await model.run(backend, 'serving_default', inputs);
  const found = output === undefined ? Object.values(outputs)[0] : outputs[output];
  if (found?.dtype !== 'float32') throw new Error(`no float32 output ${output} among ${Object.keys(outputs)}`);
  return found;
}

const allBackends = ['tfjs-cpu', 'tfjs-wasm', 'onnx-cpu', 'onnx-wasm'];

describe('MobileNetV2 from its SavedModel', () => {
  test('gives the logits and probabilities that TensorFlow gave, on every backend', async (context) => {
    const folder = sharedData('savedmodel/mobilenetv2_dq/1');
    if (folder === undefined) return context.skip('the shared data is absent');
    await using model = await openImported([folder]);

    expect(model.backends).toEqual(allBackends);
    await expectMobileNetV2(model, ['bee', 'grace_hopper'], ['tfjs-wasm', 'onnx-cpu', 'onnx-wasm']);
  });
});

describe('ResNet8', () => {
  test.for(['keras/resnet8_cifar10.h5', 'savedmodel/resnet8_cifar10/1', 'tfjs/resnet8-cifar10-layers'])(
    'from %s',
    async (path, context) => {
      const source = sharedData(path);
      const expected = shared<{ results: Record<string, { probabilities: number[] }> }>('expected/resnet8-cifar10.json');
      if (source === undefined || expected === undefined) return context.skip('the shared data is absent');
      await using model = await openImported([source]);
      const [input = ''] = Object.keys(model.manifest.signatures['serving_default']!.inputs);

      expect(model.backends).toEqual(allBackends);
      for (const photo of ['airliner', 'cat', 'goldfish']) {
        const pixels = await decodePrepared('32', photo, (value) => value);
        for (const backend of model.backends) {
          const got = await runFloat(model, backend, { [input]: createTensor('float32', [1, 32, 32, 3], pixels) });
          expectNear(got, expected.results[photo]!.probabilities, `${backend} ${photo}`);
        }
      }
    },
  );
});

describe('keyword spotting', () => {
  const feeds: Readonly<Record<string, (index: number) => number>> = {
    zeros: () => 0,
    ones: () => 1,
    ramp: (i) => i / 490,
    sine: (i) => 10 * Math.sin(0.1 * i),
    neg_sine: (i) => -20 * Math.cos(0.05 * i),
  };

  test.for([
    ['savedmodel/kws_ref_model/1', 'expected/savedmodel-kws_ref_model.json'],
    ['tfjs/kws-graph', 'expected/tfjs-kws-graph.json'],
  ] as const)('from %s', async ([path, results], context) => {
    const folder = sharedData(path);
    const expected = shared<{ results: Record<string, number[]> }>(results);
    if (folder === undefined || expected === undefined) return context.skip('the shared data is absent');
    await using model = await openImported([folder]);

    expect(model.backends).toEqual(allBackends);
    for (const [name, feed] of Object.entries(feeds)) {
      const input = createTensor(
        'float32',
        [1, 49, 10, 1],
        Float32Array.from({ length: 490 }, (_, index) => feed(index)),
      );
      for (const backend of model.backends) {
        expectNear(await runFloat(model, backend, { input_1: input }, 'dense'), expected.results[name]!, `${backend} ${name}`);
      }
    }
  });
});

test('abalone from its LayersModel', async (context) => {
  const folder = sharedData('tfjs/abalone-layers');
  const expected = shared<{ feeds: number[][]; results: number[][] }>('expected/tfjs-abalone-layers.json');
  if (folder === undefined || expected === undefined) return context.skip('the shared data is absent');
  await using model = await openImported([folder]);
  const [input = ''] = Object.keys(model.manifest.signatures['serving_default']!.inputs);
  const rows = createTensor('float32', [expected.feeds.length, 8], Float32Array.from(expected.feeds.flat()));

  expect(model.backends).toEqual(allBackends);
  for (const backend of model.backends) expectNear(await runFloat(model, backend, { [input]: rows }), expected.results.flat(), backend, 0);
});

interface Summary {
  readonly shape: readonly number[];
  readonly mean: number;
  readonly min: number;
  readonly max: number;
  readonly first8: readonly number[];
}

/** What was stored of a large output: its first values and what they come to. */
function expectSummary(got: Tensor<'float32'>, { shape, mean, min, max, first8 }: Summary, what: string): void {
  const largest = Math.max(Math.abs(min), Math.abs(max));
  const near = 1e-5 * largest;
  const own = got.data.reduce((sum, value) => sum + value, 0) / got.data.length;
  expect(got.shape, what).toEqual(shape);
  expect(Math.abs(own - mean), `${what} mean`).toBeLessThanOrEqual(near);
  expect(Math.abs(got.data.reduce((a, b) => Math.min(a, b)) - min), `${what} min`).toBeLessThanOrEqual(near);
  expect(Math.abs(got.data.reduce((a, b) => Math.max(a, b)) - max), `${what} max`).toBeLessThanOrEqual(near);
  for (const [index, value] of first8.entries()) {
    expect(Math.abs(got.data[index]! - value), `${what} [${index}]`).toBeLessThanOrEqual(near + SIX_DIGITS);
  }
}

describe('GraphModels that are written as ONNX, too', () => {
  test.for([
    ['blazeface', 'input', (value: number) => value / 127.5 - 1],
    ['selfie', 'input_1', (value: number) => value / 255],
  ] as const)('%s', async ([name, input, scale], context) => {
    const folder = sharedData(`tfjs/${name}-graph`);
    const expected = shared<{ results: Record<string, Summary | Record<string, Summary>> }>(`expected/tfjs-${name}-graph.json`);
    if (folder === undefined || expected === undefined) return context.skip('the shared data is absent');
    await using model = await openImported([folder]);

    expect(model.backends).toEqual(allBackends);
    for (const [photo, results] of Object.entries(expected.results).slice(0, 2)) {
      const pixels = createTensor('float32', [1, 256, 256, 3], await decodePrepared('256x256', photo, scale));
      for (const backend of model.backends.filter((each) => each !== 'tfjs-cpu')) {
        const got = await model.run(backend, 'serving_default', { [input]: pixels });
        const wanted = 'shape' in results ? { [Object.keys(got)[0]!]: results as Summary } : (results as Record<string, Summary>);
        for (const [output, want] of Object.entries(wanted)) {
          if (typeof want !== 'object') continue; // a number that was counted from the others
          expectSummary(got[output.replace(/:0$/, '')] as Tensor<'float32'>, want, `${backend} ${photo} ${output}`);
        }
      }
    }
  });
});

describe('the SavedModels of TensorFlow Serving', () => {
  interface Recorded {
    readonly signatures: Record<string, { method_name: string; inputs: Record<string, { dtype: string }> }>;
    readonly calls: { signature: string; inputs: Record<string, unknown>; outputs: Record<string, unknown> }[];
  }

  test.for([
    'saved_model_half_plus_two_2_versions-00000123',
    'saved_model_half_plus_two_2_versions-00000124',
    'saved_model_half_plus_two_cpu-00000123',
    'saved_model_half_plus_two_cpu_with_saved_model_config-00000123',
    'saved_model_half_plus_two_tf2_cpu-00000123',
  ])('%s answers in every signature', async (name, context) => {
    const folder = sharedData(`tfs-testdata/${name.replace(/-(?=\d+$)/, '/')}`);
    const recorded = shared<Recorded>(`expected/tfs/${name}.json`);
    if (folder === undefined || recorded === undefined) return context.skip('the shared data is absent');
    await using model = await openImported([folder]);

    expect(Object.keys(model.manifest.signatures).sort()).toEqual(Object.keys(recorded.signatures).sort());
    expect(model.unusable).toEqual({});
    for (const [signature, { method_name: method }] of Object.entries(recorded.signatures)) {
      expect(`tensorflow/serving/${model.manifest.signatures[signature]!.method}`, signature).toBe(method);
    }
    for (const backend of model.backends) {
      for (const { signature, inputs, outputs } of recorded.calls) {
        const feeds = Object.fromEntries(Object.entries(inputs).map(([input, value]) => [input, toTensorOf(value)]));
        const got = await model.run(backend, signature, feeds);
        for (const [output, want] of Object.entries(outputs)) {
          const { shape, data } = flatten(want);
          expectRecorded(got[output], { dtype: 'float32', shape, data }, `${backend} ${signature} ${output}`);
        }
      }
    }
  });

  test('the counter gives what it holds; what would count is refused with the reason', async (context) => {
    const folder = sharedData('tfs-testdata/saved_model_counter/00000123');
    if (folder === undefined) return context.skip('the shared data is absent');
    await using model = await openImported([folder]);

    const { output } = await model.run('tfjs-cpu', 'get_counter', {});

    expectRecorded(output, { dtype: 'float32', shape: [], data: [0] }, 'get_counter');
    expect(Object.keys(model.manifest.signatures)).toEqual(['get_counter']);
    for (const name of ['incr_counter', 'incr_counter_by', 'reset_counter']) {
      expect(model.unusable[name], name).toEqual([expect.stringMatching(/Assign/)]);
    }
  });
});

function toTensorOf(value: unknown) {
  if (typeof value === 'object' && value !== null && 'b64_examples' in value) {
    const examples = value.b64_examples as string[];
    return createTensor(
      'string',
      [examples.length],
      examples.map((example) => new Uint8Array(Buffer.from(example, 'base64'))),
    );
  }
  const { shape, data } = flatten(value);
  return createTensor('float32', shape, Float32Array.from(data));
}

function flatten(value: unknown): { shape: number[]; data: number[] } {
  if (typeof value === 'number') return { shape: [], data: [value] };
  const rows = (value as unknown[]).map(flatten);
  return { shape: [rows.length, ...(rows[0]?.shape ?? [])], data: rows.flatMap(({ data }) => data) };
}

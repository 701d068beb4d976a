import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import type { ModelGraph } from '../../../../src/core/formats/graph/index.ts';
import { elementCount, optimize, readSavedModel, readTfjsGraph, writeTfjsGraph } from '../../../../src/core/index.ts';
import { sharedData } from '../../../support/shared-data.ts';
import { diskFolder, type Result, runEmitted } from '../../../support/tfjs-graph-run.ts';
import { readFolder } from '../savedmodel/folder.ts';
import { opsOf } from './graph-builder.ts';

setWasmPaths(`${dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm'))}/`);

const mobilenet = sharedData('savedmodel/mobilenetv2_dq/1');
const resnet = sharedData('savedmodel/resnet8_cifar10/1');
const keywords = sharedData('savedmodel/kws_ref_model/1');

const backends = ['cpu', 'wasm'] as const;

async function read(path: string): Promise<{ original: ModelGraph; optimized: ModelGraph }> {
  const original = await readSavedModel(readFolder(path));
  return { original, optimized: await optimize(original) };
}

/** What TensorFlow.js makes of a model, on one backend. */
async function answer(
  model: ModelGraph,
  backend: string,
  { input, shape, output }: { input: string; shape: number[]; output: string },
  values: Float32Array,
): Promise<Result> {
  const emitted = await writeTfjsGraph(model, { precision: 'float32' });
  await tf.setBackend(backend);
  return (await runEmitted(emitted, 'serving_default', { [input]: tf.tensor(values, shape) }, { backend }))[output]!;
}

function countOf(model: ModelGraph): number {
  return Object.values(opsOf(model.nodes)).reduce((sum, count) => sum + count, 0);
}

function relativeDifference(got: Result, want: readonly number[]): number {
  const largest = Math.max(...want.map(Math.abs));
  return Math.max(...want.map((value, i) => Math.abs(value - Number(got.values[i])))) / largest;
}

async function pixels(photo: string, side: number): Promise<Float32Array> {
  const { data } = await sharp(sharedData(`prepared/${side}/${photo}.png`)!)
    .raw()
    .toBuffer({ resolveWithObject: true });
  return Float32Array.from(data);
}

function expected(name: string): { results: Record<string, { probabilities: number[] }>; images: string[] } {
  return JSON.parse(readFileSync(sharedData(`expected/${name}`)!, 'utf8'));
}

describe.skipIf(!mobilenet)('MobileNetV2 from its SavedModel', () => {
  test('becomes 35 convolutions, 17 depthwise ones, one product and what joins them', async () => {
    const original = await readSavedModel(readFolder(mobilenet!));
    const optimized = await optimize(original);

    expect(countOf(original)).toBe(270);
    expect(countOf(optimized)).toBe(71);
    expect(opsOf(optimized.nodes)).toEqual({
      Placeholder: 1,
      Pad: 5,
      _FusedConv2D: 35,
      FusedDepthwiseConv2dNative: 17,
      AddV2: 10,
      Mean: 1,
      _FusedMatMul: 1,
      Softmax: 1,
    });
  });

  test.each(backends)('answers as TensorFlow does on %s', async (backend) => {
    const { optimized } = await read(mobilenet!);
    const { images } = expected('savedmodel-mobilenetv2_dq.json');
    const file = readFileSync(sharedData('expected/savedmodel-mobilenetv2_dq.logits.f32')!);
    const logits = new Float32Array(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
    const photo = 'dog';
    const [mean, std] = [
      [0.485, 0.456, 0.406],
      [0.229, 0.224, 0.225],
    ] as const;
    const values = (await pixels(photo, 224)).map((value, i) => (value / 255 - mean[i % 3]!) / std[i % 3]!);

    const got = await answer(optimized, backend, { input: 'input', shape: [1, 224, 224, 3], output: 'logits' }, values);

    const row = images.indexOf(photo) * 1000;
    expect(relativeDifference(got, [...logits.subarray(row, row + 1000)])).toBeLessThan(1e-5);
  });
});

describe.skipIf(!resnet)('ResNet8 from its SavedModel', () => {
  test('has no normalisation and no activation of its own where a layer can have it', async () => {
    const { original, optimized } = await read(resnet!);

    expect(countOf(original)).toBe(182);
    // Of each of the two signatures: the sums of the residual blocks are read by a Relu of their own.
    expect(opsOf(optimized.nodes)).toEqual({
      Placeholder: 2,
      _FusedConv2D: 18,
      AddV2: 6,
      Relu: 6,
      AvgPool: 2,
      Reshape: 2,
      _FusedMatMul: 2,
      Softmax: 2,
    });
    const kernels = [...optimized.nodes.values()].filter(({ op }) => op === '_FusedConv2D').map(({ inputs }) => inputs[1]!.node);
    expect(new Set(kernels).size).toBe(9);
  });

  test.each(backends)('answers as TensorFlow does on %s', async (backend) => {
    const { optimized } = await read(resnet!);
    for (const [photo, { probabilities }] of Object.entries(expected('resnet8-cifar10.json').results).slice(0, 4)) {
      const got = await answer(
        optimized,
        backend,
        { input: 'input_1', shape: [1, 32, 32, 3], output: 'output_0' },
        await pixels(photo, 32),
      );
      expect(relativeDifference(got, probabilities)).toBeLessThan(1e-5);
    }
  });
});

describe.skipIf(!keywords)('keyword spotting from its SavedModel', () => {
  test('is nine fused layers and a head', async () => {
    const { original, optimized } = await read(keywords!);

    expect(countOf(original)).toBe(102);
    expect(opsOf(optimized.nodes)).toEqual({
      Placeholder: 1,
      _FusedConv2D: 5,
      FusedDepthwiseConv2dNative: 4,
      AvgPool: 1,
      Reshape: 1,
      _FusedMatMul: 1,
      Softmax: 1,
    });
  });

  test.each(backends)('answers as TensorFlow does on %s', async (backend) => {
    const { optimized } = await read(keywords!);
    const formulas: Record<string, (i: number) => number> = {
      zeros: () => 0,
      ones: () => 1,
      ramp: (i) => i / 490,
      sine: (i) => 10 * Math.sin(0.1 * i),
      neg_sine: (i) => -20 * Math.cos(0.05 * i),
    };
    const results = expected('savedmodel-kws_ref_model.json').results as unknown as Record<string, number[]>;
    for (const [name, formula] of Object.entries(formulas)) {
      const values = Float32Array.from({ length: 490 }, (_, i) => formula(i));
      const got = await answer(optimized, backend, { input: 'input_1', shape: [1, 49, 10, 1], output: 'dense' }, values);
      expect(relativeDifference(got, results[name]!)).toBeLessThan(1e-5);
    }
  });
});

interface Tensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: readonly (number | string | boolean)[];
}

interface Case {
  readonly dir: string;
  readonly signature: string;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly outputs: Readonly<Record<string, Tensor>>;
}

const fixtures = fileURLToPath(new URL('../../../fixtures/savedmodel/', import.meta.url));
const cases = JSON.parse(readFileSync(`${fixtures}cases.json`, 'utf8')) as readonly Case[];

// What the stock converter cannot run or gets wrong, passes or not: operators of the runtime's own, int64 beyond int32, empty TensorArrays,
// random numbers, MatrixBandPart. test/engines/saved-models.test.ts runs them.
const beyondStock = /^(aliases|mod_partitioned|parse_example|random|text|shared_text|types)|classify|regress/;

describe('small models of TensorFlow', () => {
  const isRunnable = ({ dir, signature, inputs }: Case) =>
    !beyondStock.test(`${dir} ${signature}`) && dir !== 'frozen' && inputs['n']?.data[0] !== 0;
  const runnable = cases.filter(isRunnable);

  test.each(runnable.map((each, i) => ({ name: `${i} ${each.dir} ${each.signature}`, ...each })))('$name', async (each) => {
    const original = await readSavedModel(readFolder(`${fixtures}${each.dir}`));
    const optimized = await optimize(original);
    const emitted = await writeTfjsGraph(optimized, { precision: 'float32' });
    await tf.setBackend('cpu');
    const inputs = Object.fromEntries(
      Object.entries(each.inputs).map(([key, { dtype, shape, data }]) => {
        const type = dtype === 'string' || dtype === 'bool' ? dtype : dtype.includes('int') ? 'int32' : 'float32';
        const values = dtype === 'string' ? data.map((text) => Buffer.from(String(text), 'base64').toString()) : data;
        return [key, tf.tensor(values as number[], [...shape], type)];
      }),
    );

    const got = await runEmitted(emitted, each.signature, inputs);

    expect(countOf(optimized)).toBeLessThanOrEqual(countOf(original));
    for (const [key, want] of Object.entries(each.outputs)) {
      expect(got[key]!.shape).toEqual(want.shape);
      expect(relativeDifference(got[key]!, want.data.map(Number))).toBeLessThan(1e-5);
    }
  });
});

describe('GraphModels read, optimised and written again', () => {
  test.for([
    ['kws-graph', [1, 49, 10, 1], 'wasm'],
    ['blazeface-graph', [1, 256, 256, 3], 'wasm'],
    // Its wasm answers differ by 2e-4 from its cpu answers, with or without passes: noise as input is not what it was trained for.
    ['selfie-graph', [1, 256, 256, 3], 'cpu'],
    ['mobilenetv2-dq-graph', [1, 224, 224, 3], 'wasm'],
  ] as const)('%s', async ([name, shape, backend], context) => {
    const path = sharedData(`tfjs/${name}/model.json`);
    if (!path) return context.skip('the shared data is absent');
    const original = await readTfjsGraph(await diskFolder(dirname(path)));
    const optimized = await optimize(original);
    const [input] = Object.keys(original.signatures['serving_default']!.inputs);
    const values = Float32Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(i * 0.37));
    const run = async (model: ModelGraph) => {
      const emitted = await writeTfjsGraph(model, { precision: 'float32' });
      await tf.setBackend(backend);
      return runEmitted(emitted, 'serving_default', { [input!]: tf.tensor(values, [...shape]) }, { backend });
    };

    const [want, got] = [await run(original), await run(optimized)];

    expect(countOf(optimized)).toBeLessThanOrEqual(countOf(original));
    for (const [key, result] of Object.entries(want)) {
      expect(got[key]!.shape).toEqual(result.shape);
      expect(relativeDifference(got[key]!, result.values.map(Number))).toBeLessThan(1e-5);
    }
  });
});

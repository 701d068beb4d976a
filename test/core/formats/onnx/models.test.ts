import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { createTensor, type OnnxPrecision, optimize, readSavedModel, readTfjsGraph, writeOnnx } from '../../../../src/core/index.ts';
import { runOnnx } from '../../../support/onnx-graphs.ts';
import { sharedData } from '../../../support/shared-data.ts';
import { readFolder } from '../savedmodel/folder.ts';

// Real SavedModels and GraphModels, optimised, written as ONNX and run in ONNX Runtime, against what TensorFlow and TensorFlow.js answered
// (shared data).

const mobileNet = sharedData('savedmodel/mobilenetv2_dq/1');
const resNet = sharedData('savedmodel/resnet8_cifar10/1');
const keywords = sharedData('savedmodel/kws_ref_model/1');

async function write(folder: string, precision: OnnxPrecision) {
  return writeOnnx(await optimize(await readSavedModel(readFolder(folder))), { precision });
}

async function pixelsOf(path: string): Promise<Uint8Array> {
  return sharp(await readFile(sharedData(path)!))
    .removeAlpha()
    .raw()
    .toBuffer();
}

async function imageNetPhoto(name: string) {
  const [mean, std] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ] as const;
  const pixels = await pixelsOf(`prepared/224/${name}.png`);
  const data = Float32Array.from(pixels, (pixel, index) => (pixel / 255 - mean[index % 3]!) / std[index % 3]!);
  return createTensor('float32', [1, 224, 224, 3], data);
}

async function expectedJson<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(sharedData(`expected/${name}.json`)!, 'utf8'));
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a, (value, index) => Math.abs(value - b[index]!)).reduce((x, y) => Math.max(x, y), 0);
}

const bestOf = (values: ArrayLike<number>) =>
  Array.from(values).reduce((best, value, index, all) => (value > all[best]! ? index : best), 0);

describe.skipIf(mobileNet === undefined)('MobileNetV2', () => {
  test.each([
    ['float32', 1e-4],
    ['float16', 0.15],
    ['uint8', 0.9],
  ] as const)('%s gives the logits of TensorFlow within %f', { timeout: 120_000 }, async (precision, tolerance) => {
    const { images } = await expectedJson<{ images: string[] }>('savedmodel-mobilenetv2_dq');
    const logits = new Float32Array(new Uint8Array(await readFile(sharedData('expected/savedmodel-mobilenetv2_dq.logits.f32')!)).buffer);
    const model = await write(mobileNet!, precision);

    for (const photo of ['airliner', 'cat', 'goldfish', 'zebra']) {
      const { logits: got } = await runOnnx(model, { input: await imageNetPhoto(photo) }, { logits: 'float32', probabilities: 'float32' });
      const want = logits.subarray(images.indexOf(photo) * 1000, (images.indexOf(photo) + 1) * 1000);
      const difference = largestDifference(got!.data as Float32Array, want);

      expect(difference, photo).toBeLessThan(tolerance);
      expect(bestOf(got!.data as Float32Array)).toBe(bestOf(want));
    }
  });

  test('float16 halves the file, uint8 quarters it', async () => {
    const sizes = await Promise.all((['float32', 'float16', 'uint8'] as const).map((precision) => write(mobileNet!, precision)));
    const [full, half, quarter] = sizes.map((model) => model.files.get(model.entry)!.byteLength) as [number, number, number];

    expect(half / full).toBeLessThan(0.51);
    expect(quarter / full).toBeLessThan(0.3);
  });
});

test.skipIf(resNet === undefined)('ResNet8 gives the probabilities of TensorFlow', async () => {
  const { results } = await expectedJson<{ results: Record<string, { probabilities: number[] }> }>('resnet8-cifar10');
  const model = await write(resNet!, 'float32');

  for (const photo of ['cat', 'portrait', 'wolves', 'zebra']) {
    const data = Float32Array.from(await pixelsOf(`prepared/32/${photo}.png`));
    const answer = await runOnnx(model, { input_1: createTensor('float32', [1, 32, 32, 3], data) }, { output_0: 'float32' });

    expect(largestDifference(answer['output_0']!.data as Float32Array, results[photo]!.probabilities), photo).toBeLessThan(1e-5);
  }
});

test.skipIf(keywords === undefined)('keyword spotting gives the probabilities of TensorFlow', async () => {
  const { results } = await expectedJson<{ results: Record<string, number[]> }>('savedmodel-kws_ref_model');
  const inputs: Record<string, (index: number) => number> = {
    ones: () => 1,
    ramp: (index) => index / 490,
    sine: (index) => 10 * Math.sin(0.1 * index),
  };
  const model = await write(keywords!, 'float32');

  for (const [name, formula] of Object.entries(inputs)) {
    const data = Float32Array.from({ length: 490 }, (_, index) => formula(index));
    const answer = await runOnnx(model, { input_1: createTensor('float32', [1, 49, 10, 1], data) }, { dense: 'float32' });

    expect(largestDifference(answer['dense']!.data as Float32Array, results[name]!), name).toBeLessThan(2e-6);
  }
});

interface TensorSummary {
  readonly shape: readonly number[];
  readonly mean: number;
  readonly min: number;
  readonly max: number;
  readonly first8: readonly number[];
  readonly pixels_over_0_5?: number;
}

/** A GraphModel on a photo of 256 by 256 pixels: its outputs in the order of their names. */
async function runGraphModel(
  path: string,
  photo: string,
  scale: (pixel: number) => number,
): Promise<[string, number[], readonly number[]][]> {
  const graph = await optimize(await readTfjsGraph(readFolder(path)));
  const [signature] = Object.values(graph.signatures);
  const pixels = await pixelsOf(`prepared/256x256/${photo}.png`);
  const image = createTensor('float32', [1, 256, 256, 3], Float32Array.from(pixels, scale));
  const [input] = Object.keys(signature!.inputs);
  const dtypes = Object.fromEntries(Object.entries(signature!.outputs).map(([name, { dtype }]) => [name, dtype]));
  const answers = await runOnnx(await writeOnnx(graph, { precision: 'float32' }), { [input!]: image }, dtypes);
  return Object.entries(answers).map(([name, { data, shape }]) => [name, Array.from(data as Float32Array), shape]);
}

function expectSummary(values: readonly number[], want: TensorSummary, tolerance: number): void {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(Math.abs(mean - want.mean)).toBeLessThan(tolerance);
  expect(Math.abs(values.reduce((a, b) => Math.min(a, b)) - want.min)).toBeLessThan(20 * tolerance);
  expect(Math.abs(values.reduce((a, b) => Math.max(a, b)) - want.max)).toBeLessThan(20 * tolerance);
  expect(largestDifference(want.first8, values)).toBeLessThan(20 * tolerance);
}

const faces = sharedData('tfjs/blazeface-graph');

test.skipIf(faces === undefined)('BlazeFace gives the scores and boxes of TensorFlow.js', async () => {
  const { results } = await expectedJson<{ results: Record<string, Record<string, TensorSummary>> }>('tfjs-blazeface-graph');

  const answers = await runGraphModel(faces!, 'portrait', (pixel) => pixel / 127.5 - 1);

  const wanted = Object.values(results['portrait']!).filter((want) => Array.isArray(want.shape));
  expect(answers).toHaveLength(4);
  for (const want of wanted) {
    const [, values] = answers.find(([, , shape]) => shape.join() === want.shape.join())!;
    expectSummary(values, want, 2e-3);
  }
});

const people = sharedData('tfjs/selfie-graph');

test.skipIf(people === undefined)('person segmentation gives the mask of TensorFlow.js', async () => {
  const { results } = await expectedJson<{ results: Record<string, TensorSummary> }>('tfjs-selfie-graph');

  const [answer] = await runGraphModel(people!, 'portrait', (pixel) => pixel / 255);

  const want = results['portrait']!;
  expectSummary(answer![1], want, 1e-5);
  expect(Math.abs(answer![1].filter((value) => value > 0.5).length - want.pixels_over_0_5!)).toBeLessThan(3);
});

const twin = sharedData('tfjs/mobilenetv2-dq-graph');

test.skipIf(twin === undefined || mobileNet === undefined)('MobileNetV2 from a GraphModel gives the logits of TensorFlow', async () => {
  const { images } = await expectedJson<{ images: string[] }>('savedmodel-mobilenetv2_dq');
  const logits = new Float32Array(new Uint8Array(await readFile(sharedData('expected/savedmodel-mobilenetv2_dq.logits.f32')!)).buffer);
  const graph = await optimize(await readTfjsGraph(readFolder(twin!)));
  const [signature] = Object.values(graph.signatures);
  const [input] = Object.keys(signature!.inputs);
  const dtypes = Object.fromEntries(Object.keys(signature!.outputs).map((name) => [name, 'float32' as const]));

  const answers = await runOnnx(await writeOnnx(graph, { precision: 'float32' }), { [input!]: await imageNetPhoto('zebra') }, dtypes);

  const row = images.indexOf('zebra');
  const best = Object.values(answers).map(({ data }) =>
    largestDifference(data as Float32Array, logits.subarray(row * 1000, row * 1000 + 1000)),
  );
  expect(Math.min(...best)).toBeLessThan(1e-4);
});

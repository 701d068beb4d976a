import { fileURLToPath } from 'node:url';
import { loadGraphModelSync } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, test } from 'vitest';
import { attribute } from '../../../../src/core/formats/graph/index.ts';
import { createTensor, decodeTfjsWeights, readTfjsGraph, writeTfjsGraph } from '../../../../src/core/index.ts';
import { GraphBuilder, modelGraph } from '../../../support/graph-builder.ts';
import { diskFolder, emittedFolder, readEmitted, runEmitted } from '../../../support/tfjs-graph-run.ts';

const everyday10 = fileURLToPath(new URL('../../../../models/everyday10/1/tfjs', import.meta.url));

/** Numbers of about a normal distribution, the same on every machine. */
function normal(count: number): Float32Array {
  let seed = 7;
  const uniform = () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => Array.from({ length: 12 }, uniform).reduce((sum, value) => sum + value, -6));
}

describe('the built-in model at each precision', () => {
  // Largest difference of a probability, and the part of the float32 weights' bytes that remains.
  test.each([
    ['float16', 1e-3, 0.51],
    ['uint16', 1e-3, 0.51],
    ['uint8', 3e-2, 0.29],
  ] as const)('%s', async (precision, tolerance, part) => {
    const graph = await readTfjsGraph(await diskFolder(everyday10));
    const size = 32 * 32 * 3;
    const image = tf.tensor(
      Float32Array.from({ length: 2 * size }, (_, index) => (Math.sin(index * 0.05) + 1) / 2),
      [2, 32, 32, 3],
    );

    const emitted = await writeTfjsGraph(graph, { precision });
    const whole = await writeTfjsGraph(graph, { precision: 'float32' });
    const [got, want] = await Promise.all([emitted, whole].map((model) => runEmitted(model, 'serving_default', { image })));

    const differences = want!['probabilities']!.values.map((value, index) =>
      Math.abs(Number(value) - Number(got!['probabilities']!.values[index])),
    );
    expect(Math.max(...differences)).toBeLessThan(tolerance);
    expect(Math.max(...differences)).toBeGreaterThan(0);
    expect(emitted.files.get('weights.bin')!.byteLength / whole.files.get('weights.bin')!.byteLength).toBeLessThan(part);
    expect(emitted.precision).toBe(precision);
  });
});

/** x [1, 64] times a weight [64, 48] whose channels differ a thousandfold. */
function uneven(change: (values: Float32Array) => void = () => undefined) {
  const graph = new GraphBuilder();
  const values = normal(64 * 48).map((value, index) => value * 10 ** ((index % 48) % 4) * 1e-3);
  change(values);
  const x = graph.input('x', 'float32', [1, 64]);
  const weight = graph.constant('w', createTensor('float32', [64, 48], values));
  const y = graph.op('y', 'MatMul', [x, weight], { transpose_b: attribute.bool(false) });
  return { values, model: modelGraph(graph, { serving_default: { inputs: ['x'], outputs: { y: [y, 'float32'] } } }) };
}

async function storedAgain(
  model: Parameters<typeof writeTfjsGraph>[0],
  precision: 'float16' | 'uint16' | 'uint8',
): Promise<ArrayLike<number>> {
  const { nodes } = await readTfjsGraph(await emittedFolder(await writeTfjsGraph(model, { precision })));
  const tensor = await attribute.constantOf(nodes.get('w')!).load();
  if (tensor.dtype !== 'float32') throw new Error(`read ${tensor.dtype}`);
  return tensor.data;
}

test('uint8 keeps each channel to half a step of its own range', async () => {
  const { values, model } = uneven();

  const stored = await storedAgain(model, 'uint8');

  for (let channel = 0; channel < 48; channel++) {
    const column = Array.from({ length: 64 }, (_, row) => row * 48 + channel);
    const range = Math.max(...column.map((index) => Math.abs(values[index]!))) * 2;
    for (const index of column) expect(Math.abs(stored[index]! - values[index]!)).toBeLessThanOrEqual((range / 254) * 1.001);
  }
});

test('weights that were int8 before come back exactly', async () => {
  const scales = Array.from({ length: 48 }, (_, channel) => Math.fround(2 ** -(channel % 5) / 127));
  const { values, model } = uneven((values) => {
    for (let index = 0; index < values.length; index++) {
      const level = Math.floor(index / 48) === 0 ? 127 : Math.max(-127, Math.min(127, Math.round(values[index]! * 40)));
      values[index] = level * scales[index % 48]!;
    }
  });

  const stored = await storedAgain(model, 'uint8');

  const errors = values.map((value, index) => Math.abs(value - stored[index]!));
  expect(Math.max(...errors)).toBeLessThan(1e-7);
});

test.each([
  ['not a number', Number.NaN],
  ['infinity', Number.POSITIVE_INFINITY],
])('a weight with %s stays float32 at every precision', async (_, value) => {
  const { values, model } = uneven((values) => {
    values[100] = value;
  });

  for (const precision of ['float16', 'uint16', 'uint8'] as const)
    expect([...((await storedAgain(model, precision)) as Float32Array)]).toEqual([...values]);
});

test('a weight beyond float16 stays float32 rather than become infinite', async () => {
  const { values, model } = uneven((values) => {
    values[100] = 70_000;
  });

  expect((await storedAgain(model, 'float16'))[100]).toBe(70_000);
  expect(await storedAgain(model, 'float16')).toEqual(values);
});

test('small weights stay float32', async () => {
  const graph = new GraphBuilder();
  const x = graph.input('x', 'float32', [1, 10]);
  const y = graph.op('y', 'MatMul', [x, graph.floats('w', [...normal(1000)], [10, 100])]);
  const model = modelGraph(graph, { serving_default: { inputs: ['x'], outputs: { y: [y, 'float32'] } } });

  const emitted = await writeTfjsGraph(model, { precision: 'uint8' });

  expect(emitted.files.get('weights.bin')?.byteLength).toBe(4000);
});

test('TensorFlow.js alone stops at weights per channel instead of computing with them', async () => {
  const emitted = await writeTfjsGraph(uneven().model, { precision: 'uint8' });
  const { modelTopology, weightsManifest } = JSON.parse(new TextDecoder().decode(await readEmitted(emitted.files.get('model.json')!)));
  const { buffer } = await readEmitted(emitted.files.get('weights.bin')!);
  const specs = weightsManifest[0].weights;

  expect(() => loadGraphModelSync({ modelTopology, weightSpecs: specs, weightData: buffer })).toThrow('unknown quantization dtype');
  const decoded = decodeTfjsWeights(specs, [buffer.slice(0, 1000), buffer.slice(1000)]);
  expect(decoded.specs).toEqual([{ name: 'w', shape: [64, 48], dtype: 'float32' }]);
  expect(decoded.buffers.map(({ byteLength }) => byteLength)).toEqual([64 * 48 * 4]);
});

test('weights that TensorFlow.js reads itself are handed on as they are', async () => {
  const specs = [{ name: 'w', shape: [2], dtype: 'float32', quantization: { dtype: 'float16' } }];
  const shard = new ArrayBuffer(4);

  const { specs: same, buffers } = decodeTfjsWeights(specs, [shard]);

  expect(same[0]).toBe(specs[0]);
  expect(buffers[0]).toBe(shard);
});

import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import type { DType, Engine, LoadedVariant, VariantSource } from '../../src/core/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { graphSource, node, placeholder, type, weight } from '../support/graph-models.ts';
import { outerProduct } from '../support/outer-product.ts';

// The wasm backend of TensorFlow.js computes on whatever malloc gave it and wherever an index points. A call that asks too much of it
// fails with its reason, and the calls after it are answered as if it had not been.

const platform = await openNodePlatform({ gpu: false });

const vector = (n: number) => ({ x: { dtype: 'float32' as const, shape: [n], data: new Float32Array(n).fill(1) } });

async function answer(model: LoadedVariant, inputs: Parameters<LoadedVariant['run']>[0]['inputs']): Promise<number[]> {
  const { y } = await model.run({ signature: 'serving_default', inputs });
  return Array.from(y!.data as Float32Array);
}

test.each([
  ['more than wasm can address', 40_000, /no 6400000000 bytes left/],
  ['more than is left', 25_000, /no 2500000000 bytes left/],
])('refuses %s and goes on', async (_, n, message) => {
  await using engine = await openEngine('tfjs-wasm', platform);
  const model = await engine.load(outerProduct());
  const before = engine.memory();

  await expect(answer(model, vector(n))).rejects.toMatchObject({ code: 'out-of-memory', message: expect.stringMatching(message) });

  expect(await answer(model, vector(5))).toEqual([-25]);
  expect(engine.memory()).toEqual(before);
});

/** One operator over the input `x` of whole numbers. */
function overIndices(op: string, inputs: readonly string[], attr: Readonly<Record<string, DType>>, rank = 2): VariantSource {
  return graphSource({
    nodes: [
      placeholder('x', 'int32', rank === 1 ? [-1] : [-1, 1]),
      node('y', op, inputs, Object.fromEntries(Object.entries(attr).map(([name, dtype]) => [name, type(dtype)]))),
    ],
    weights: [
      weight('w', 'float32', [3], [1, 2, 3]),
      weight('axis', 'int32', [], [0]),
      weight('shape', 'int32', [1], [3]),
      weight('size', 'int32', [], [3]),
      weight('zero', 'float32', [], [0]),
      weight('images', 'float32', [1, 1, 1, 1], [7]),
      weight('boxes', 'float32', [1, 4], [0, 0, 1, 1]),
      weight('crop', 'int32', [2], [1, 1]),
    ],
    signatures: { serving_default: { inputs: { x: 'int32' }, outputs: { y: 'float32' } } },
  });
}

describe('an index beyond its tensor', () => {
  const models: [string, VariantSource, readonly number[], readonly number[]][] = [
    ['GatherNd', overIndices('GatherNd', ['w', 'x'], { Tparams: 'float32', Tindices: 'int32' }), [2, 0], [3, 1]],
    ['GatherV2', overIndices('GatherV2', ['w', 'x', 'axis'], { Tparams: 'float32', Tindices: 'int32', Taxis: 'int32' }), [2, 0], [3, 1]],
    ['ScatterNd', overIndices('ScatterNd', ['x', 'w', 'shape'], { T: 'float32', Tindices: 'int32' }), [2, 0, 1], [2, 3, 1]],
    ['TensorScatterUpdate', overIndices('TensorScatterUpdate', ['w', 'x', 'w'], { T: 'float32', Tindices: 'int32' }), [2, 0, 1], [2, 3, 1]],
    [
      'SparseToDense',
      overIndices('SparseToDense', ['x', 'shape', 'w', 'zero'], { T: 'float32', Tindices: 'int32' }, 1),
      [0, 1, 2],
      [1, 2, 3],
    ],
    ['CropAndResize', overIndices('CropAndResize', ['images', 'boxes', 'x', 'crop'], { T: 'float32' }, 1), [0], [7]],
    ['DenseBincount', overIndices('DenseBincount', ['x', 'size', 'w'], { T: 'float32', Tidx: 'int32' }, 1), [0, 1, 2], [1, 2, 3]],
  ];
  const shaped = (op: string, values: readonly number[]) => {
    const isVector = ['SparseToDense', 'CropAndResize', 'DenseBincount'].includes(op);
    return { x: { dtype: 'int32' as const, shape: isVector ? [values.length] : [values.length, 1], data: Int32Array.from(values) } };
  };
  const far = [-1, 3, 1_000_000_000];
  /** Numbers beyond the end are left out of a count, as in TensorFlow. */
  const refused = (op: string) => (op === 'DenseBincount' ? [-1] : far);

  test.each(models)('is refused by %s, which reads and writes nothing there', async (op, source, indices, expected) => {
    await using engine = await openEngine('tfjs-wasm', platform);
    const model = await engine.load(source);

    expect(await answer(model, shaped(op, indices))).toEqual(expected);
    for (const index of refused(op)) {
      const call = answer(model, shaped(op, [...indices.slice(0, -1), index]));
      await expect(call, `${op} ${index}`).rejects.toMatchObject({ code: 'invalid-argument' });
    }
    expect(await answer(model, shaped(op, indices))).toEqual(expected);
  });
});

test('an engine under which a kernel trapped is lost, and the next one computes', async () => {
  const engine = await openEngine('tfjs-wasm', platform);
  const model = await engine.load(outerProduct());

  trap(engine);

  expect(await engine.lost).toMatch(/^GatherNd failed: /);
  await expect(answer(model, vector(3))).rejects.toMatchObject({ code: 'device-lost' });
  await using next = await openEngine('tfjs-wasm', platform);
  const again = await next.load(outerProduct());
  expect(await answer(again, vector(3))).toEqual([-9]);
  await engine[Symbol.asyncDispose]();
  expect(await answer(again, vector(4))).toEqual([-16]);
});

/** A kernel as TensorFlow.js has it, with an index that points beyond all memory. */
function trap({ backend }: Engine): void {
  expect(backend).toBe('tfjs-wasm');
  const inputs = { params: tf.tensor1d([1, 2, 3]), indices: tf.tensor2d([[1_000_000_000]], [1, 1], 'int32') };
  expect(() => tf.getKernel('GatherNd', 'wasm').kernelFunc({ inputs, attrs: {}, backend: tf.backend() })).toThrow(
    /memory access out of bounds/,
  );
}

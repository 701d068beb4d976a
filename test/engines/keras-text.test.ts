import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AnyTensor, createTensor, type Engine, optimize, readKeras, writeTfjsGraph } from '../../src/core/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { fixtureFile, readFixture } from '../core/formats/keras/keras-fixture.ts';
import { emittedSource } from '../support/emitted-source.ts';
import { strings } from '../support/graph-models.ts';

// Keras' layers of text and categories against what Keras answered (test/fixtures/keras/make.py).

const platform = await openNodePlatform({ gpu: false });

interface Recorded {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
}

function toTensor({ dtype, shape, data }: Recorded): AnyTensor {
  if (dtype === 'string')
    return strings(
      data.map((text) => Uint8Array.from(Buffer.from(String(text), 'base64'))),
      shape,
    );
  if (dtype === 'int64') return createTensor('int64', shape, BigInt64Array.from(data, BigInt));
  return createTensor('float32', shape, Float32Array.from(data, Number));
}

function recordedOf(tensor: AnyTensor): Recorded {
  const { dtype, shape } = tensor;
  return {
    dtype,
    shape,
    data:
      dtype === 'string'
        ? tensor.data.map((bytes) => Buffer.from(bytes).toString('base64'))
        : Array.from<number | bigint, number>(tensor.data, Number),
  };
}

describe.each(['tfjs-cpu', 'tfjs-wasm'] as const)('Keras layers of text and categories on %s', (backend) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(backend, platform);
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  test.each(['text', 'categories'])('%s', async (name) => {
    const { feeds, outputs } = await readFixture(name);
    const graph = await optimize(await readKeras(await fixtureFile(`${name}.keras`)));
    await using loaded = await engine.load(await emittedSource(graph, await writeTfjsGraph(graph, { precision: 'float32' })));
    const inputs = Object.fromEntries(Object.entries(feeds).map(([key, value]) => [key, toTensor(value)]));

    const got = await loaded.run({ signature: 'serving_default', inputs });

    const found = Object.fromEntries(Object.entries(got).map(([key, tensor]) => [key, recordedOf(tensor)]));
    const rounded = (all: Readonly<Record<string, Recorded>>) =>
      Object.fromEntries(
        Object.entries(all).map(([key, { dtype, shape, data }]) => {
          return [key, { dtype, shape, data: data.map((value) => (typeof value === 'number' ? Number(value.toFixed(5)) : value)) }];
        }),
      );
    expect(rounded(found)).toEqual(rounded(outputs));
  });
});

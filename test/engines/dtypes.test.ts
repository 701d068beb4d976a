import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AnyTensor, createTensor, type Engine, type LoadedVariant, type VariantSource } from '../../src/core/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { tinyOnnx, tinyTfjs } from '../support/tiny-models.ts';

const platform = await openNodePlatform({ gpu: false });

async function passThrough(engine: Engine, source: VariantSource, x: AnyTensor): Promise<AnyTensor> {
  await using loaded = await engine.load(source);
  const { y } = await loaded.run({ signature: 'serving_default', inputs: { x } });
  return y!;
}

const text = (value: string) => new TextEncoder().encode(value);
const float16 = Uint16Array.of(0, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x7c00, 0x3555); // ±0, 1, -2, largest, subnormals, ∞, 1/3

const tensors: readonly AnyTensor[] = [
  createTensor('float32', [3], Float32Array.of(1.5, -0, Number.POSITIVE_INFINITY)),
  createTensor('float16', [10], float16),
  createTensor('int32', [2], Int32Array.of(-(2 ** 31), 2 ** 31 - 1)),
  createTensor('int64', [2], BigInt64Array.of(-(2n ** 31n), 2n ** 31n - 1n)),
  createTensor('uint32', [2], Uint32Array.of(0, 2 ** 31 - 1)),
  createTensor('uint64', [2], BigUint64Array.of(0n, 2n ** 31n - 1n)),
  createTensor('int8', [2], Int8Array.of(-128, 127)),
  createTensor('uint8', [2], Uint8Array.of(0, 255)),
  createTensor('int16', [2], Int16Array.of(-32768, 32767)),
  createTensor('uint16', [2], Uint16Array.of(0, 65535)),
  createTensor('bool', [3], Uint8Array.of(0, 1, 1)),
  createTensor('string', [3], [text('near'), text(''), text('fär')]),
  createTensor('float32', [0], new Float32Array(0)),
];

describe.each(['tfjs-cpu', 'tfjs-wasm'] as const)('%s', (backend) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(backend, platform);
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  test.each(tensors)('passes $dtype $shape through unchanged', async (x) => {
    expect(await passThrough(engine, tinyTfjs(x.dtype), x)).toEqual(x);
  });

  test('rounds float64 to float32, as TensorFlow.js models compute', async () => {
    const y = await passThrough(engine, tinyTfjs('float64'), createTensor('float64', [1], Float64Array.of(0.1)));

    expect(y).toEqual(createTensor('float64', [1], Float64Array.of(Math.fround(0.1))));
  });

  test('refuses whole numbers beyond int32, naming the dtype and the value', async () => {
    const x = createTensor('int64', [2], BigInt64Array.of(1n, 2n ** 31n));

    await expect(passThrough(engine, tinyTfjs('int64'), x)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('int64'),
      details: { index: 1, value: '2147483648' },
    });
    expect(engine.memory()).toEqual({ tensors: 0, bytes: 0, variants: 0 });
  });

  test('gives bfloat16 rounded to even from the float32 that it is computed in', async () => {
    // 1, 3, -0, infinity, NaN, the largest, the smallest below normal.
    const x = createTensor('bfloat16', [7], Uint16Array.of(0x3f80, 0x4040, 0x8000, 0x7f80, 0x7fc0, 0x7f7f, 1));
    // Between two: the even one; just above the middle; beyond the largest.
    const wide = createTensor('float32', [4], new Float32Array(Uint32Array.of(0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff).buffer));

    expect(await passThrough(engine, tinyTfjs('bfloat16'), x)).toEqual(x);
    const rounded = await passThrough(engine, tinyTfjs('float32', undefined, 'bfloat16'), wide);
    expect(rounded).toEqual(createTensor('bfloat16', [4], Uint16Array.of(0x3f80, 0x3f82, 0x3f81, 0x7f80)));
  });

  test('runs a graph whose output size depends on values, and leaves no tensor behind', async () => {
    const x = createTensor('bool', [4], Uint8Array.of(0, 1, 0, 1));

    const y = await passThrough(engine, tinyTfjs('bool', ['Where'], 'int64'), x);

    expect(y).toEqual(createTensor('int64', [2, 1], BigInt64Array.of(1n, 3n)));
    expect(engine.memory()).toEqual({ tensors: 0, bytes: 0, variants: 0 });
  });

  test('refuses an output of another kind than declared', async () => {
    const x = createTensor('float32', [1], Float32Array.of(0.5));

    await expect(passThrough(engine, tinyTfjs('float32', ['Identity'], 'int32'), x)).rejects.toMatchObject({ code: 'dtype-mismatch' });
  });

  test('refuses an entry that is no GraphModel', async () => {
    const source: VariantSource = { ...tinyTfjs('float32'), readFile: async () => text('{"format":"layers-model"}') };

    await expect(engine.load(source)).rejects.toMatchObject({ code: 'unsupported', message: expect.stringContaining('GraphModel') });
  });
});

describe.each(['onnx-cpu', 'onnx-wasm'] as const)('%s', (backend) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(backend, platform);
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  const wide: readonly AnyTensor[] = [
    createTensor('float64', [1], Float64Array.of(0.1)),
    createTensor('int64', [2], BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n)),
    createTensor('uint64', [1], BigUint64Array.of(2n ** 64n - 1n)),
  ];

  test('takes any size where a model says neither size nor name', async () => {
    const source = tinyOnnx('float32', 'Identity', { rank: 2, isNamed: false });

    for (const shape of [
      [1, 3],
      [2, 1],
    ]) {
      const x = createTensor(
        'float32',
        shape,
        Float32Array.from({ length: shape[0]! * shape[1]! }, (_, index) => index),
      );
      expect(await passThrough(engine, source, x)).toEqual(x);
    }
    const vector = createTensor('float32', [3], new Float32Array(3));
    await expect(passThrough(engine, source, vector)).rejects.toMatchObject({ code: 'shape-mismatch' });
  });

  test.each([...tensors, ...wide])('passes $dtype $shape through unchanged', async (x) => {
    expect(await passThrough(engine, tinyOnnx(x.dtype), x)).toEqual(x);
  });

  test('takes a tensor over memory shared between threads', async () => {
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([1, 2]);

    const y = await passThrough(engine, tinyOnnx('float32'), createTensor('float32', [2], shared));

    expect(y).toEqual(createTensor('float32', [2], Float32Array.of(1, 2)));
  });

  test('gives outputs that no later run and no change of an input changes', async () => {
    const source = tinyOnnx('float32', 'Identity', { rank: 4 });
    const inputs = { x: { tensor: 'x', layout: 'NCHW' } } as const;
    const inOtherLayout: VariantSource = { ...source, variant: { ...source.variant, bindings: { serving_default: { inputs } } } };
    await using plain = await engine.load(source);
    await using changing = await engine.load(inOtherLayout);
    const run = async (loaded: LoadedVariant, x: AnyTensor) => (await loaded.run({ signature: 'serving_default', inputs: { x } }))['y'];
    const pixels = (...values: number[]) => createTensor('float32', [1, 1, 2, 2], Float32Array.from(values));

    const x = pixels(1, 2, 3, 4);
    const [same, first] = [await run(plain, x), await run(changing, x)];
    x.data.fill(9);
    const second = await run(changing, pixels(5, 6, 7, 8));
    const wider = await run(changing, createTensor('float32', [1, 1, 1, 2], Float32Array.of(1, 2)));
    const together = await Promise.all([1, 2, 3].map((value) => run(changing, pixels(value, 0, -value, 0))));

    expect(same).toEqual(pixels(1, 2, 3, 4));
    expect([first, second].map((tensor) => tensor?.data)).toEqual([Float32Array.of(1, 3, 2, 4), Float32Array.of(5, 7, 6, 8)]);
    expect(wider?.data).toEqual(Float32Array.of(1, 2));
    expect(together.map((tensor) => tensor?.data)).toEqual([1, 2, 3].map((value) => Float32Array.of(value, -value, 0, 0)));
  });

  test('refuses a string that is not UTF-8', async () => {
    const x = createTensor('string', [1], [Uint8Array.of(0xff)]);

    await expect(passThrough(engine, tinyOnnx('string'), x)).rejects.toMatchObject({ code: 'invalid-argument' });
  });

  test('refuses an operator and a file it does not know', async () => {
    const garbage: VariantSource = { ...tinyOnnx('float32'), readFile: async () => Uint8Array.of(1, 2, 3) };

    await expect(engine.load(tinyOnnx('float32', 'NotAnOp'))).rejects.toMatchObject({ code: 'unsupported' });
    await expect(engine.load(garbage)).rejects.toMatchObject({ code: 'unsupported' });
    expect(engine.memory()).toEqual({ tensors: 0, bytes: 0, variants: 0 });
  });
});

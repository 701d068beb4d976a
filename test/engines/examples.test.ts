import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTensor, decodeExample, type Engine, type TensorMap } from '../../src/core/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import {
  graphSource,
  int,
  node,
  placeholder,
  shapes,
  strings,
  stringsOf,
  texts,
  types,
  type Weight,
  weight,
} from '../support/graph-models.ts';

// Values and error texts are those of tf.io.parse_example of TensorFlow 2.21 for the same features.

type Feature = { readonly float: readonly number[] } | { readonly int64: readonly bigint[] } | { readonly bytes: readonly string[] } | null;

/** A serialized tf.Example; null is a feature without a list. Numbers are packed, as TensorFlow writes them, or not. */
function example(features: Readonly<Record<string, Feature>>, isPacked = true): Uint8Array<ArrayBuffer> {
  const message = (field: number, write: (writer: BinaryWriter) => void) => (writer: BinaryWriter) => {
    write(writer.uint32((field << 3) | 2).fork());
    writer.join();
  };
  const list = (feature: NonNullable<Feature>) => (writer: BinaryWriter) => {
    if ('bytes' in feature) for (const value of feature.bytes) writer.uint32(10).bytes(new TextEncoder().encode(value));
    else if ('float' in feature) {
      if (isPacked)
        message(1, (packed) => {
          for (const value of feature.float) packed.float(value);
        })(writer);
      else for (const value of feature.float) writer.uint32(13).float(value);
    } else if (isPacked)
      message(1, (packed) => {
        for (const value of feature.int64) packed.int64(value);
      })(writer);
    else for (const value of feature.int64) writer.uint32(8).int64(value);
  };
  const writer = new BinaryWriter();
  message(1, (map) => {
    for (const [name, feature] of Object.entries(features)) {
      message(1, (entry) => {
        entry.uint32(10).string(name);
        message(2, (value) => {
          if (feature) message('bytes' in feature ? 1 : 'float' in feature ? 2 : 3, list(feature))(value);
        })(entry);
      })(map);
    }
  })(writer);
  return new Uint8Array(writer.finish());
}

const floats = (...values: number[]): Feature => ({ float: values });
const int64s = (...values: bigint[]): Feature => ({ int64: values });
const words = (...values: string[]): Feature => ({ bytes: values });

describe('decodeExample', () => {
  test.each([true, false])('reads all kinds of lists, numbers packed: %s', (isPacked) => {
    const bytes = example({ f: floats(1.5, -2), i: int64s(-1n, 2n ** 62n), b: words('a', ''), none: null }, isPacked);

    expect([...decodeExample(bytes)]).toEqual([
      ['f', { kind: 'float', values: [1.5, -2] }],
      ['i', { kind: 'int64', values: [-1n, 2n ** 62n] }],
      ['b', { kind: 'bytes', values: [Uint8Array.of(97), new Uint8Array(0)] }],
      ['none', { kind: undefined, values: [] }],
    ]);
  });

  test('takes the last of two features of one name', () => {
    const bytes = Uint8Array.of(...example({ x: floats(1, 2) }), ...example({ x: floats(3, 4) }));

    expect(decodeExample(bytes).get('x')?.values).toEqual([3, 4]);
  });

  test('refuses every cut of an example that is none', () => {
    const bytes = example({ x: floats(1, 2, 3), y: words('some text') });
    let refused = 0;
    for (let length = 1; length < bytes.length; length++) {
      try {
        decodeExample(bytes.subarray(0, length));
      } catch (error) {
        expect(error).toMatchObject({ code: 'invalid-argument' });
        refused++;
      }
    }
    expect(refused).toBe(bytes.length - 1);
  });
});

const platform = await openNodePlatform({ gpu: false });

describe.each(['tfjs-cpu', 'tfjs-wasm'] as const)('ParseExampleV2 on %s', (backend) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine(backend, platform);
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  interface Asked {
    readonly dtype: 'float32' | 'int64' | 'string';
    readonly shape: readonly number[];
    readonly default?: Weight;
  }

  async function parse(examples: readonly Uint8Array[], { dtype, shape, ...asked }: Asked, isScalar = false): Promise<TensorMap> {
    const none = weight('default', dtype === 'int64' ? 'int32' : dtype, [0], []);
    const source = graphSource({
      nodes: [
        placeholder('in', 'string'),
        node('parsed', 'ParseExampleV2', ['in', 'names', 'none', 'keys', 'none', 'default'], {
          num_sparse: int(0),
          sparse_types: types([]),
          ragged_value_types: types([]),
          ragged_split_types: types([]),
          Tdense: types([dtype]),
          dense_shapes: shapes([shape]),
        }),
      ],
      weights: [
        weight('names', 'string', [0], []),
        weight('none', 'string', [0], []),
        weight('keys', 'string', [1], ['x']),
        asked.default ?? none,
      ],
      signatures: { serving_default: { inputs: { in: 'string' }, outputs: { 'parsed:0': dtype } } },
    });
    await using loaded = await engine.load(source);
    return loaded.run({ signature: 'serving_default', inputs: { in: strings(examples, isScalar ? [] : undefined) } });
  }
  const values = async (...asked: Parameters<typeof parse>) => (await parse(...asked))['parsed:0'];
  const defaults = (...numbers: number[]) => weight('default', 'float32', [numbers.length], numbers);

  test('gives floats, int64s and strings, of one example or of many', async () => {
    expect(await values([example({ x: floats(1, 2) }), example({ x: floats(3, 4) })], { dtype: 'float32', shape: [2] })).toEqual(
      createTensor('float32', [2, 2], Float32Array.of(1, 2, 3, 4)),
    );
    expect(await values([example({ x: floats(1, 2) })], { dtype: 'float32', shape: [2] }, true)).toEqual(
      createTensor('float32', [2], Float32Array.of(1, 2)),
    );
    expect(await values([example({ x: int64s(-5n) })], { dtype: 'int64', shape: [] })).toEqual(
      createTensor('int64', [1], BigInt64Array.of(-5n)),
    );
    expect(stringsOf((await values([example({ x: words('a') })], { dtype: 'string', shape: [] }))!)).toEqual(['a']);
    expect((await values([], { dtype: 'float32', shape: [2] }))?.shape).toEqual([0, 2]);
  });

  test('fills in defaults, and fills up features of any length', async () => {
    expect((await values([example({ x: null })], { dtype: 'float32', shape: [2], default: defaults(5, 6) }))?.data).toEqual(
      Float32Array.of(5, 6),
    );
    expect(
      await values([example({ x: floats(1, 2, 3) }), example({ x: floats(1) }), example({})], {
        dtype: 'float32',
        shape: [-1],
        default: defaults(0),
      }),
    ).toEqual(createTensor('float32', [3, 3], Float32Array.of(1, 2, 3, 1, 0, 0, 0, 0, 0)));
    expect(
      await values([example({ x: floats(1, 2, 3, 4) }), example({ x: floats(1, 2) }), example({})], {
        dtype: 'float32',
        shape: [-1, 2],
        default: defaults(7),
      }),
    ).toEqual(createTensor('float32', [3, 2, 2], Float32Array.of(1, 2, 3, 4, 1, 2, 7, 7, 7, 7, 7, 7)));
  });

  test.each([
    [{ y: floats(1) }, 'float32', [1], 'Name: <unknown>, Feature: x (data type: float) is required but could not be found.'],
    [
      { x: floats(1) },
      'int64',
      [],
      "Name: <unknown>, Key: x, Index: 0.  Data types don't match. Data type: float but expected type: int64",
    ],
    [
      { x: floats(1, 2, 3) },
      'float32',
      [2],
      'Name: <unknown>, Key: x, Index: 0.  Number of float values != expected.  Values size: 3 but output shape: [2]',
    ],
    [{ x: floats() }, 'float32', [2], 'Values size: 0 but output shape: [2]'],
    [
      { x: floats(1, 2, 3) },
      'float32',
      [-1, 2],
      'Number of float values is not a multiple of stride length. Saw 3 values but output shape',
    ],
  ] as const)('refuses %j as %s of %j', async (features, dtype, shape, message) => {
    await expect(parse([example(features)], { dtype, shape })).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining(message),
    });
  });

  test('refuses garbage and int64s beyond int32', async () => {
    await expect(parse([new TextEncoder().encode('garbage')], { dtype: 'float32', shape: [2] })).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining("Could not parse example input, value: 'garbage'"),
    });
    await expect(parse([example({ x: int64s(2n ** 31n) })], { dtype: 'int64', shape: [] })).rejects.toMatchObject({
      code: 'unsupported',
      details: { feature: 'x', value: '2147483648' },
    });
  });
});

test('the older operators read the same features, sparse ones are refused at load', async () => {
  await using engine = await openEngine('tfjs-cpu', platform);
  const load = (op: string, inputs: readonly string[], attr: Record<string, unknown>) =>
    engine.load(
      graphSource({
        nodes: [
          placeholder('in', 'string'),
          node('parsed', op, inputs, { Tdense: types(['float32']), dense_shapes: shapes([[2]]), ...attr }),
        ],
        weights: [weight('names', 'string', [0], []), weight('key', 'string', [], ['x']), weight('default', 'float32', [0], [])],
        signatures: { serving_default: { inputs: { in: 'string' }, outputs: { parsed: 'float32' } } },
      }),
    );
  const serialized = example({ x: floats(1, 2) });
  await using first = await load('ParseExample', ['in', 'names', 'key', 'default'], { Nsparse: int(0), Ndense: int(1) });
  await using single = await load('ParseSingleExample', ['in', 'default'], { num_sparse: int(0), dense_keys: texts(['x']) });
  const run = (loaded: typeof first, sizes: number[]) =>
    loaded.run({ signature: 'serving_default', inputs: { in: strings([serialized], sizes) } });

  expect((await run(first, [1]))['parsed']).toEqual(createTensor('float32', [1, 2], Float32Array.of(1, 2)));
  expect((await run(single, []))['parsed']).toEqual(createTensor('float32', [2], Float32Array.of(1, 2)));
  await expect(load('ParseExample', ['in', 'names', 'key', 'key', 'default'], { Nsparse: int(1), Ndense: int(1) })).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('sparse'),
  });
});

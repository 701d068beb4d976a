import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { encodeTfjsGraphModel, isTfjsModel, locateTfjsWeights, parseTfjsGraphModel, quantizationOf } from '../../../src/core/index.ts';
import { sharedData } from '../../support/shared-data.ts';

const everyday10 = new URL('../../../models/everyday10/1/tfjs/', import.meta.url);

test('reads the built-in model: signature, operators, and weights that fill their file', async () => {
  const model = parseTfjsGraphModel(new Uint8Array(await readFile(new URL('model.json', everyday10))));
  const bytes = new Uint8Array(await readFile(new URL('weights.bin', everyday10)));

  const ranges = locateTfjsWeights(model.weights, bytes);

  expect(model.inputs).toEqual({ image: { tensor: 'image:0', dtype: 'float32', shape: [-1, 32, 32, 3] } });
  expect(model.outputs).toEqual({ probabilities: { tensor: 'Identity:0', dtype: 'float32', shape: [-1, 10] } });
  expect(model.shards).toEqual(['weights.bin']);
  expect(model.ops).toContain('_FusedConv2D');
  expect(ranges.at(-1)?.end).toBe(bytes.byteLength);
});

test('writes one weight file in place of the shards and keeps the rest', () => {
  const model = parseTfjsGraphModel(
    encode(
      document({
        weightsManifest: [group(['a.bin', 'b.bin'], [weight('w', [2])]), group(['c.bin'], [weight('v', [1])])],
        generatedBy: 'me',
      }),
    ),
  );

  const written = parseTfjsGraphModel(encodeTfjsGraphModel(model, 'weights.bin'));

  expect(model.shards).toEqual(['a.bin', 'b.bin', 'c.bin']);
  expect(written.shards).toEqual(['weights.bin']);
  expect(written.weights).toEqual(model.weights);
  expect(written.document).toMatchObject({ generatedBy: 'me', format: 'graph-model' });
});

test('weights lie one after another in their stored type; strings say their own length', () => {
  const { weights } = parseTfjsGraphModel(
    encode(
      document({
        weightsManifest: [
          group(
            ['w.bin'],
            [
              weight('f', [3]),
              { ...weight('q', [5]), quantization: { dtype: 'uint8', scale: 1, min: 0, original_dtype: 'float32' } },
              weight('s', [2], 'string'),
              { ...weight('h', [2]), quantization: { dtype: 'float16', original_dtype: 'float32' } },
              weight('scalar', [], 'bool'),
            ],
          ),
        ],
      }),
    ),
  );
  const bytes = new Uint8Array(12 + 5 + 4 + 3 + 4 + 0 + 4 + 1);
  bytes[17] = 3;

  expect(locateTfjsWeights(weights, bytes).map(({ start, end }) => [start, end])).toEqual([
    [0, 12],
    [12, 17],
    [17, 28],
    [28, 32],
    [32, 33],
  ]);
  expect(() => locateTfjsWeights(weights, bytes.subarray(0, 20))).toThrowError(expect.objectContaining({ code: 'invalid-argument' }));
  expect(() => locateTfjsWeights(weights, new Uint8Array(40))).toThrowError(expect.objectContaining({ code: 'invalid-argument' }));
});

test('without a signature placeholders are inputs and nodes nobody reads are outputs', () => {
  const model = parseTfjsGraphModel(
    encode(
      document({
        modelTopology: {
          node: [
            {
              name: 'x',
              op: 'Placeholder',
              attr: { dtype: { type: 'DT_INT32' }, shape: { shape: { dim: [{ size: '-1' }, { size: '4' }] } } },
            },
            { name: 'w', op: 'Const', attr: {} },
            { name: 'y', op: 'Mul', input: ['x', 'w:0'], attr: { T: { type: 'DT_INT32' } } },
          ],
        },
      }),
    ),
  );

  expect(model.inputs).toEqual({ x: { tensor: 'x:0', dtype: 'int32', shape: [-1, 4] } });
  expect(model.outputs).toEqual({ y: { tensor: 'y:0', dtype: 'int32', shape: undefined } });
});

test('a signature in the metadata counts, and what the converter feeds itself is left out', () => {
  const tensor = { name: 'x:0', dtype: 'DT_FLOAT', tensorShape: { dim: [{ size: '-1' }] } };
  const model = parseTfjsGraphModel(
    encode(
      document({
        userDefinedMetadata: {
          signature: {
            inputs: { x: tensor, table: { ...tensor, resourceId: 1 } },
            outputs: { y: { ...tensor, tensorShape: { unknownRank: true } } },
          },
        },
      }),
    ),
  );

  expect(Object.keys(model.inputs)).toEqual(['x']);
  expect(model.outputs['y']?.shape).toBeUndefined();
});

describe('what is refused', () => {
  test('a LayersModel, by its name', () => {
    const bytes = encode({ ...document({}), format: 'layers-model' });

    expect(() => parseTfjsGraphModel(bytes)).toThrowError(expect.objectContaining({ code: 'unsupported' }));
    expect(isTfjsModel(bytes)).toBe(true);
  });

  test.each([
    ['no topology', { modelTopology: {} }],
    ['a node without op', { modelTopology: { node: [{ name: 'x' }] } }],
    ['weights that are no list', { weightsManifest: {} }],
    ['a negative size', { weightsManifest: [group(['w'], [weight('w', [-1])])] }],
    [
      'a fractional dimension',
      { signature: { inputs: { x: { name: 'x', dtype: 'DT_FLOAT', tensorShape: { dim: [{ size: 1.5 }] } } }, outputs: {} } },
    ],
    ['a signature without outputs', { signature: { inputs: {} } }],
  ])('%s', (_, change) => {
    expect(() => parseTfjsGraphModel(encode(document(change)))).toThrowError(expect.objectContaining({ code: 'invalid-argument' }));
  });

  test('unknown element types', () => {
    const resource = document({ signature: { inputs: { x: { name: 'x', dtype: 'DT_RESOURCE' } }, outputs: {} } });

    expect(() => parseTfjsGraphModel(encode(resource))).toThrowError(expect.objectContaining({ code: 'unsupported' }));
  });

  test('bytes that are no JSON', () => {
    expect(() => parseTfjsGraphModel(Uint8Array.of(0xff, 0xfe))).toThrowError(expect.objectContaining({ code: 'invalid-argument' }));
    expect(isTfjsModel(Uint8Array.of(0x08, 0x07))).toBe(false);
  });
});

test('reads the GraphModels of the shared data', async (context) => {
  for (const [name, quantized] of Object.entries({
    'mobilenetv2-dq-graph': false,
    'mobilenetv2-dq-graph-f16': true,
    'blazeface-graph': false,
    'selfie-graph': true,
  })) {
    const path = sharedData(`tfjs/${name}/model.json`);
    if (path === undefined) return context.skip('the shared data is absent');
    const { inputs, outputs, weights } = parseTfjsGraphModel(new Uint8Array(await readFile(path)));
    expect(Object.values(inputs)[0]?.shape?.at(-1), name).toBe(3);
    expect(Object.keys(outputs).length, name).toBeGreaterThan(0);
    expect(
      weights.some((weight) => quantizationOf(weight) !== undefined),
      name,
    ).toBe(quantized);
  }
});

function document(change: Record<string, unknown>): Record<string, unknown> {
  return { format: 'graph-model', modelTopology: { node: [] }, weightsManifest: [], ...change };
}

function group(paths: readonly string[], weights: readonly unknown[]): unknown {
  return { paths, weights };
}

function weight(name: string, shape: readonly number[], dtype = 'float32'): Record<string, unknown> {
  return { name, shape, dtype };
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

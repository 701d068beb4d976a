import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isOnnxModel, NearfarError, parseOnnxModel } from '../../../src/core/index.ts';
import { type Fields, initializer, message, node, onnxModel, scalingModel, valueInfo } from '../../support/onnx-writer.ts';
import { sharedData } from '../../support/shared-data.ts';

const everyday10 = new URL('../../../models/everyday10/1/onnx/model.onnx', import.meta.url);

test('reads the built-in model: inputs without initializers, symbolic batch, operators, weights inside the file', async () => {
  const bytes = new Uint8Array(await readFile(everyday10));

  const model = parseOnnxModel(bytes);

  expect(model.inputs).toEqual({ image: { tensor: 'image', dtype: 'float32', shape: [-1, 32, 32, 3] } });
  expect(model.outputs).toEqual({ probabilities: { tensor: 'probabilities', dtype: 'float32', shape: [-1, 10] } });
  expect(model.opsets).toMatchObject({ 'ai.onnx': 17 });
  expect(model.ops).toContain('Conv');
  const weights = model.initializers.filter(({ end, start }) => end > start);
  expect(weights.reduce((sum, { start, end }) => sum + end - start, 0)).toBeGreaterThan(0.95 * bytes.byteLength);
});

test('initializers say where their bytes lie', () => {
  const raw = Uint8Array.from({ length: 64 }, (_, index) => index + 100);
  const bytes = onnxModel([
    [5, initializer('w', 1, [16], raw)],
    [11, valueInfo('w', 1, [16])],
    [11, valueInfo('x', 7, ['n', 0])],
    [12, valueInfo('y', 9, undefined)],
  ]);

  const { inputs, outputs, initializers } = parseOnnxModel(bytes);

  expect(inputs).toEqual({ x: { tensor: 'x', dtype: 'int64', shape: [-1, -1] } });
  expect(outputs).toEqual({ y: { tensor: 'y', dtype: 'bool', shape: undefined } });
  expect(initializers.map(({ name, start, end }) => [name, [...bytes.subarray(start, end)]])).toEqual([['w', [...raw]]]);
});

test('operators of subgraphs, functions and other domains are listed', () => {
  const body = message([[1, node('Neg', ['a'], ['b'])]]);
  const bytes = message([
    [1, 8],
    [
      7,
      message([
        [1, node('If', ['c'], ['d'], [[5, message([[6, body]])]])],
        [1, node('QLinearAdd', ['c'], ['d'], [[7, 'com.microsoft']])],
        [12, valueInfo('d', 1, [])],
      ]),
    ],
    [8, message([[2, 17]])],
    [25, message([[7, node('Exp', ['a'], ['b'])]])],
  ]);

  const { ops, outputs } = parseOnnxModel(bytes);

  expect(ops).toEqual(['Exp', 'If', 'Neg', 'com.microsoft.QLinearAdd']);
  expect(outputs['d']?.shape).toEqual([]);
});

describe('what is refused', () => {
  test('weights in other files', () => {
    const bytes = onnxModel([
      [
        5,
        message([
          [2, 1],
          [8, 'w'],
          [14, 1],
        ]),
      ],
    ]);

    expect(() => parseOnnxModel(bytes)).toThrowError(
      expect.objectContaining({ code: 'unsupported', details: { format: 'onnx', name: 'w' } }),
    );
    expect(isOnnxModel(bytes)).toBe(true);
  });

  test('inputs that are no tensors, and element types without a dtype', () => {
    const sequence = message([
      [1, 's'],
      [2, message([[4, message([])]])],
    ]);

    expect(() => parseOnnxModel(onnxModel([[11, sequence]]))).toThrowError(expect.objectContaining({ code: 'unsupported' }));
    expect(() => parseOnnxModel(onnxModel([[11, valueInfo('x', 17, [1])]]))).toThrowError(expect.objectContaining({ code: 'unsupported' }));
  });

  test('graphs nested without end', () => {
    let graph: Fields = [[1, node('Neg', ['a'], ['b'])]];
    for (let depth = 0; depth < 100; depth++) graph = [[1, node('If', ['c'], ['d'], [[5, message([[6, message(graph)]])]])]];

    expect(() => parseOnnxModel(onnxModel(graph))).toThrowError(expect.objectContaining({ code: 'invalid-argument' }));
  });

  test('groups nested without end', () => {
    const groups = new Uint8Array(400_000).fill((99 << 3) | 3);

    expect(() => parseOnnxModel(groups)).toThrowError(expect.objectContaining({ code: 'invalid-argument' }));
  });

  test('empty, JSON and text files', () => {
    for (const text of ['', '{}', 'hello']) {
      expect(() => parseOnnxModel(new TextEncoder().encode(text)), text).toThrowError(
        expect.objectContaining({ code: 'invalid-argument' }),
      );
    }
  });

  test('any cut and any flipped byte gives a model or a typed error', () => {
    const file = scalingModel(2);
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.nat(255), fc.boolean(), (at, value, isCut) => {
        const changed = isCut ? file.slice(0, at) : file.with(at, value);
        try {
          parseOnnxModel(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(NearfarError);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

test('reads the models of the shared data', async (context) => {
  const expected = {
    'mobilenetv2-12-int8': { input: [-1, 3, 224, 224], op: 'com.microsoft.QLinearAdd' },
    'mnist-8': { input: [1, 1, 28, 28], op: 'Conv' },
    'super-resolution': { input: [-1, 1, 224, 224], op: 'Conv' },
    'matmul-quickstart': { input: [3, 4], op: 'MatMul' },
  };
  for (const [name, { input, op }] of Object.entries(expected)) {
    const path = sharedData(`onnx/${name}/model.onnx`);
    if (path === undefined) return context.skip('the shared data is absent');
    const { inputs, ops } = parseOnnxModel(new Uint8Array(await readFile(path)));
    expect(Object.values(inputs)[0]?.shape).toEqual(input);
    expect(ops).toContain(op);
  }
});

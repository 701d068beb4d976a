import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EmittedFile } from '../../../../src/core/formats/model-folder.ts';
import { NearfarError, parseOnnxModel, quantizeOnnx } from '../../../../src/core/index.ts';
import { openSession, ort } from '../../../support/onnx-graphs.ts';
import { initializer, message, node, onnxModel, valueInfo } from '../../../support/onnx-writer.ts';
import { sharedData } from '../../../support/shared-data.ts';

async function bytesOf(file: EmittedFile): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const part of file.read()) parts.push(part);
  const bytes = new Uint8Array(Buffer.concat(parts));
  expect(bytes.byteLength).toBe(file.byteLength);
  return bytes;
}

const rows = 40;
const columns = 50;
/** Each column of another size, so that one scale for all would be seen. */
const weights = Float32Array.from({ length: rows * columns }, (_, index) => Math.sin(index) * 10 ** ((index % columns) / 10 - 2) + 0.01);

function matMulModel(tensor: Uint8Array, opset = 13): Uint8Array<ArrayBuffer> {
  return onnxModel(
    [
      [1, node('MatMul', ['x', 'w'], ['y'])],
      [5, tensor],
      [11, valueInfo('x', 1, ['n', rows])],
      [11, valueInfo('w', 1, [rows, columns])],
      [12, valueInfo('y', 1, ['n', columns])],
    ],
    opset,
  );
}

const inRaw = initializer('w', 1, [rows, columns], new Uint8Array(weights.buffer));
const inFloats = message([
  [1, rows],
  [1, columns],
  [2, 1],
  [4, new Uint8Array(weights.buffer)],
  [8, 'w'],
]);

async function multiply(bytes: Uint8Array, row: number): Promise<Float32Array> {
  const x = Float32Array.from({ length: rows }, (_, index) => (index === row ? 1 : 0));
  const session = await openSession(bytes);
  const { y } = await session.run({ x: new ort.Tensor('float32', x, [1, rows]) });
  await session.release();
  return y!.data as Float32Array;
}

test('uint8 gives weights back that were int8 before', async () => {
  const scales = Float32Array.from({ length: columns }, (_, column) => 0.003 * (column + 1));
  const before = Float32Array.from({ length: rows * columns }, (_, index) => {
    const row = Math.floor(index / columns);
    return (row === 0 ? -127 : ((index * 37) % 255) - 127) * scales[index % columns]!;
  });

  const small = await bytesOf(quantizeOnnx(matMulModel(initializer('w', 1, [rows, columns], new Uint8Array(before.buffer))), 'uint8'));

  for (const row of [0, 5, 39]) {
    const got = await multiply(small, row);
    for (let column = 0; column < columns; column++) {
      expect(Math.abs(got[column]! - before[row * columns + column]!)).toBeLessThan(1e-4 * scales[column]!);
    }
  }
});

describe('weights in fewer bits', () => {
  test.each([
    ['raw bytes', inRaw],
    ['typed values', inFloats],
  ])('uint8 keeps each channel within half a step, from %s', async (_, tensor) => {
    const small = await bytesOf(quantizeOnnx(matMulModel(tensor), 'uint8'));

    expect(small.byteLength).toBeLessThan(0.4 * weights.byteLength);
    for (const row of [0, 17, 39]) {
      const got = await multiply(small, row);
      for (let column = 0; column < columns; column++) {
        const channel = Array.from({ length: rows }, (_, index) => weights[index * columns + column]!);
        const step = (Math.max(...channel) - Math.min(...channel)) / 255;
        expect(Math.abs(got[column]! - channel[row]!)).toBeLessThan(0.51 * step + 1e-6 * Math.abs(channel[row]!));
      }
    }
  });

  test('float16 keeps eleven bits', async () => {
    const small = await bytesOf(quantizeOnnx(matMulModel(inRaw), 'float16'));

    const got = await multiply(small, 3);
    expect(small.byteLength).toBeLessThan(0.55 * weights.byteLength);
    for (let column = 0; column < columns; column++) {
      const want = weights[3 * columns + column]!;
      expect(Math.abs(got[column]! - want)).toBeLessThanOrEqual(Math.abs(want) * 2 ** -11 + 2 ** -25);
    }
  });

  test('what is no weight, or small, stays byte for byte', async () => {
    const bytes = onnxModel([
      [1, node('Add', ['x', 'w'], ['y'])],
      [5, inRaw],
      [5, initializer('small', 1, [2, 2], new Uint8Array(16))],
      [1, node('MatMul', ['x', 'small'], ['z'])],
      [11, valueInfo('x', 1, [rows, columns])],
      [12, valueInfo('y', 1, [rows, columns])],
    ]);

    expect(Buffer.compare(await bytesOf(quantizeOnnx(bytes, 'uint8')), bytes)).toBe(0);
  });

  test('a weight that could be fed is an input no more', async () => {
    const { inputs, ops } = parseOnnxModel(await bytesOf(quantizeOnnx(matMulModel(inRaw), 'float16')));

    expect(Object.keys(inputs)).toEqual(['x']);
    expect(ops).toEqual(['Cast', 'MatMul']);
  });

  test('the places of the weights are theirs', async () => {
    const file = quantizeOnnx(matMulModel(inRaw), 'uint8');
    const bytes = await bytesOf(file);

    const { initializers } = parseOnnxModel(bytes);
    expect(initializers.map(({ start, end }) => ({ start, end }))).toEqual(file.tensors);
  });

  test('what is not finite is refused when it is written, and equal weights stay exact', async () => {
    const equal = initializer('w', 1, [rows, columns], new Uint8Array(new Float32Array(rows * columns).fill(0.3).buffer));
    const infinite = weights.slice();
    infinite[77] = Number.NEGATIVE_INFINITY;
    const broken = initializer('w', 1, [rows, columns], new Uint8Array(infinite.buffer));

    expect(await multiply(await bytesOf(quantizeOnnx(matMulModel(equal), 'uint8')), 5)).toEqual(new Float32Array(columns).fill(0.3));
    await expect(bytesOf(quantizeOnnx(matMulModel(broken), 'uint8'))).rejects.toMatchObject({ code: 'unsupported' });
  });

  test('operator sets before 7 are refused', () => {
    expect(() => quantizeOnnx(matMulModel(inRaw, 6), 'uint8')).toThrowError(expect.objectContaining({ code: 'unsupported' }));
  });

  test('weights of the wrong length are refused', () => {
    const short = initializer('w', 1, [rows, columns], new Uint8Array(weights.buffer, 0, 100));
    expect(() => quantizeOnnx(matMulModel(short), 'uint8')).toThrowError(expect.objectContaining({ code: 'invalid-argument' }));
  });

  test('damaged files are refused by a typed error', async () => {
    const good = matMulModel(inRaw);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { minLength: 1, maxLength: 4 }), async (changes) => {
        const changed = good.slice();
        for (const [index, value] of changes) changed[index] = value;
        try {
          await bytesOf(quantizeOnnx(changed, 'uint8'));
        } catch (error) {
          expect(error).toBeInstanceOf(NearfarError);
          expect(['invalid-argument', 'unsupported']).toContain((error as NearfarError).code);
        }
      }),
      { numRuns: 300 },
    );
  });
});

const mobileNet = sharedData('onnx/mobilenetv2-dq-fp32/model.onnx');

test.skipIf(mobileNet === undefined).each([
  ['float16', 0.02, 0.51],
  ['uint8', 1, 0.28],
] as const)('MobileNetV2 in %s answers as before', { timeout: 120_000 }, async (precision, tolerance, size) => {
  const bytes = new Uint8Array(await readFile(mobileNet!));
  const small = await bytesOf(quantizeOnnx(bytes, precision));
  const x = Float32Array.from({ length: 3 * 224 * 224 }, (_, index) => 2 * Math.sin(index * 0.01) * Math.cos(index * 0.00037));
  const answers: Float32Array[] = [];
  for (const model of [bytes, small]) {
    const session = await openSession(model);
    const result = await session.run({ [session.inputNames[0]!]: new ort.Tensor('float32', x, [1, 3, 224, 224]) });
    answers.push(Object.values(result)[0]!.data as Float32Array);
    await session.release();
  }
  const [want, got] = answers as [Float32Array, Float32Array];
  const difference = got.map((value, index) => Math.abs(value - want[index]!)).reduce((a, b) => Math.max(a, b));

  expect(difference).toBeLessThan(tolerance);
  expect(small.byteLength / bytes.byteLength).toBeLessThan(size);
});

import { describe, expect, test } from 'vitest';
import {
  checkGolden,
  compareOutputs,
  createTensor,
  encodeSafetensors,
  type LoadedVariant,
  type TensorMap,
  type VariantSource,
} from '../../src/core/index.ts';

const tolerance = { absolute: 0.01, relative: 0.1 };
const floats = (...values: number[]) => ({ y: createTensor('float32', [values.length], Float32Array.from(values)) });

describe('comparing outputs', () => {
  test.each<[string, TensorMap, TensorMap, boolean]>([
    ['equal', floats(1, 2), floats(1, 2), true],
    ['at the edge of absolute + relative', floats(10), floats(11), true],
    ['beyond it', floats(10), floats(11.1), false],
    ['near zero, where only the absolute part counts', floats(0), floats(0.02), false],
    ['NaN where NaN is right', floats(Number.NaN), floats(Number.NaN), true],
    ['NaN where a number is right', floats(1), floats(Number.NaN), false],
    ['a number where NaN is right', floats(Number.NaN), floats(1), false],
    ['the same infinity', floats(Infinity), floats(Infinity), true],
    ['the other infinity', floats(Infinity), floats(-Infinity), false],
    ['another shape', floats(1), floats(1, 1), false],
    ['a missing output', floats(1), {}, false],
    ['another dtype', floats(1), { y: createTensor('float64', [1], Float64Array.of(1)) }, false],
    ['an output more than is right', floats(1), { ...floats(1), z: createTensor('int32', [], Int32Array.of(1)) }, true],
    ['equal int64', { y: createTensor('int64', [1], BigInt64Array.of(5n)) }, { y: createTensor('int64', [1], BigInt64Array.of(5n)) }, true],
    [
      'halves that are close',
      { y: createTensor('float16', [1], Uint16Array.of(0x3c00)) },
      { y: createTensor('float16', [1], Uint16Array.of(0x3c01)) },
      true,
    ],
    [
      'halves that are not',
      { y: createTensor('float16', [1], Uint16Array.of(0x3c00)) },
      { y: createTensor('float16', [1], Uint16Array.of(0x4000)) },
      false,
    ],
    [
      'other strings',
      { y: createTensor('string', [1], [Uint8Array.of(1)]) },
      { y: createTensor('string', [1], [Uint8Array.of(2)]) },
      false,
    ],
  ])('%s', (_, expected, got, isWithin) => {
    expect(compareOutputs(expected, got, tolerance).isWithin).toBe(isWithin);
  });

  test('says the largest differences and the first that is outside', () => {
    expect(compareOutputs(floats(1, 10, 2), floats(1, 12, 5), tolerance)).toEqual({
      absolute: 3,
      relative: 1.5,
      isWithin: false,
      firstDifference: 'output y has 12 at 1 where 10 is right',
    });
  });
});

describe('golden examples', () => {
  test('pass on a device that gives the recorded outputs, and tell how close it was', async () => {
    await expect(checkGolden(loadedGiving(floats(1.05)), sourceWith(floats(1)))).resolves.toMatchObject({ isWithin: true });
  });

  test('fail on a device that does not', async () => {
    const checking = checkGolden(loadedGiving(floats(2)), sourceWith(floats(1)));

    await expect(checking).rejects.toMatchObject({ code: 'self-test-failed', details: { variant: 'v', example: 0, absolute: 1 } });
  });

  test('stop when aborted', async () => {
    const reason = new Error('enough');

    await expect(checkGolden(loadedGiving(floats(1)), sourceWith(floats(1)), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

function loadedGiving(outputs: TensorMap): LoadedVariant {
  return { run: async () => outputs, [Symbol.asyncDispose]: async () => undefined };
}

function sourceWith(outputs: TensorMap): VariantSource {
  const variant = { id: 'v', format: 'onnx', precision: 'float32', entry: 'm', files: [], requires: [], tolerance } as const;
  const files: Record<string, Uint8Array<ArrayBuffer>> = { in: encodeSafetensors({}), out: encodeSafetensors(outputs) };
  return {
    manifest: {
      schemaVersion: 1,
      name: 'm',
      version: '1',
      signatures: {},
      variants: [],
      files: {},
      golden: [{ signature: 's', inputs: 'in', outputs: 'out' }],
    },
    variant: { ...variant, files: [], requires: [] },
    readFile: async (path) => files[path] ?? new Uint8Array(),
  };
}

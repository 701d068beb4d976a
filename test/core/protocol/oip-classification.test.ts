import { expect, test } from 'vitest';
import { type AnyTensor, classifyOutput, createTensor, numberToFloat16 } from '../../../src/core/index.ts';

const texts = ({ data }: { data: readonly Uint8Array[] }) => data.map((bytes) => new TextDecoder().decode(bytes));

test('names the best classes of each row, with their labels, as Triton writes them', () => {
  const scores = createTensor('float32', [2, 3], new Float32Array([0.1, 0.7, 0.2, 5, -1, 5]));

  const classes = classifyOutput('scores', scores, { classCount: 2, labels: ['a', 'b', 'c: d'], isBatched: true });

  expect(classes.shape).toEqual([2, 2]);
  expect(texts(classes)).toEqual(['0.700000:1:b', '0.200000:2:c: d', '5.000000:0:a', '5.000000:2:c: d']);
});

test('takes the whole tensor for one row where there is no batch, and gives no more classes than there are', () => {
  const classes = classifyOutput('n', createTensor('int64', [1, 3], BigInt64Array.of(-3n, 2n ** 62n, 5n)), {
    classCount: 9,
    isBatched: false,
  });

  expect(classes.shape).toEqual([3]);
  expect(texts(classes)).toEqual(['4611686018427387904:1', '5:2', '-3:0']);
});

test.each<[AnyTensor, string[]]>([
  [createTensor('float32', [4], Float32Array.of(Number.NaN, -Infinity, Infinity, -0.5)), ['inf:2', '-0.500000:3', 'nan:0', '-inf:1']],
  [createTensor('float16', [2], Uint16Array.from([1.5, 2], numberToFloat16)), ['2.000000:1', '1.500000:0']],
  [createTensor('bfloat16', [2], Uint16Array.of(0x3f80, 0xc000)), ['1.000000:0', '-2.000000:1']],
  [createTensor('uint8', [2], Uint8Array.of(7, 255)), ['255:1', '7:0']],
])('orders the values of %s', (tensor, expected) => {
  expect(texts(classifyOutput('y', tensor, { classCount: 4, isBatched: false }))).toEqual(expected);
});

test('an empty batch has no classes', () => {
  const classes = classifyOutput('y', createTensor('float32', [0, 3], new Float32Array()), { classCount: 2, isBatched: true });

  expect([classes.shape, classes.data]).toEqual([[0, 0], []]);
});

test.each([createTensor('bool', [1], Uint8Array.of(1)), createTensor('string', [1], [new Uint8Array()])])('refuses %s', (tensor) => {
  expect(() => classifyOutput('y', tensor, { classCount: 1, isBatched: false })).toThrow(
    expect.objectContaining({ code: 'invalid-argument', message: expect.stringContaining("unsupported type '") }),
  );
});

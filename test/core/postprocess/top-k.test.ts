import fc from 'fast-check';
import { expect, test } from 'vitest';
import { topK } from '../../../src/core/index.ts';

test('puts the highest score first and, of equal scores, the lower index', () => {
  expect(topK(Float32Array.of(0.1, 0.4, 0.4, 0.05, 0.4), 4)).toEqual([1, 2, 4, 0]);
  expect(topK(Float32Array.of(-0, 0, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY), 4)).toEqual([0, 1, 2, 3]);
});

test('is the start of the full order, for any k', () => {
  const scores = fc.array(fc.float({ noNaN: true }), { minLength: 1, maxLength: 80 });
  fc.assert(
    fc.property(scores, fc.integer({ min: 1, max: 90 }), (values, k) => {
      const row = Float32Array.from(values);
      // The sort keeps equal scores, −0 and 0 among them, in their order.
      const order = [...row.keys()].sort((a, b) => Number(row[a]! < row[b]!) - Number(row[a]! > row[b]!));

      expect(topK(row, k)).toEqual(order.slice(0, k));
    }),
  );
});

test('names the output that holds NaN', () => {
  const row = Float32Array.of(0.5, Number.NaN);

  expect(() => topK(row, 1, 'probabilities')).toThrow(
    expect.objectContaining({ code: 'internal', details: { output: 'probabilities', index: 1 } }),
  );
});

test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses k = %d', (k) => {
  expect(() => topK(Float32Array.of(1), k)).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
});

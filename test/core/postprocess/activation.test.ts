import fc from 'fast-check';
import { expect, test } from 'vitest';
import { activate, sigmoid, softmax } from '../../../src/core/index.ts';

test('makes each row sum to 1', () => {
  const logit = fc.float({ min: -100, max: 100, noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.tuple(logit, logit, logit), { minLength: 1, maxLength: 5 }), (rows) => {
      const scores = softmax(Float32Array.from(rows.flat()), 3);

      for (const row of rows.keys()) {
        const sum = scores.subarray(row * 3, row * 3 + 3).reduce((total, score) => total + score, 0);
        expect(sum).toBeCloseTo(1, 6);
      }
    }),
  );
});

test('survives logits whose exponential overflows or vanishes', () => {
  const infinity = Number.POSITIVE_INFINITY;

  expect([...softmax(Float32Array.of(1e30, 0, -1e30), 3)]).toEqual([1, 0, 0]);
  expect([...softmax(Float32Array.of(-3e38, -3e38), 2)]).toEqual([0.5, 0.5]);
  expect([...softmax(Float32Array.of(0, -infinity), 2)]).toEqual([1, 0]);
  expect([...sigmoid(Float32Array.of(-1e30, -infinity, 0, infinity))]).toEqual([0, 0, 0.5, 1]);
});

test('has no softmax for rows without finite maximum, and other rows do not notice', () => {
  const [first, second, ...rest] = softmax(Float32Array.of(Number.NaN, 1, 3, 3, Number.POSITIVE_INFINITY, 0), 2);

  expect([first, second]).toEqual([Number.NaN, Number.NaN]);
  expect(rest).toEqual([0.5, 0.5, Number.NaN, Number.NaN]);
});

test('keeps an empty batch empty and leaves its input alone', () => {
  const logits = Float32Array.of(1, 2);

  expect(activate(new Float32Array(), 'softmax', 10)).toHaveLength(0);
  expect(activate(logits, 'none', 2)).toBe(logits);
  activate(logits, 'softmax', 2);
  activate(logits, 'sigmoid', 2);
  expect([...logits]).toEqual([1, 2]);
});

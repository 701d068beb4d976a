import { expect, test } from 'vitest';
import type { Answers } from '../../../src/server/quality/answers.ts';
import { distancesOf } from '../../../src/server/quality/distance.ts';
import { joinSummaries, type Summary, summarise } from '../../../src/server/quality/summary.ts';

const classes = (...names: string[]): Answers => ({
  kind: 'classes',
  output: 'y',
  rows: names.map((name) => ({ name, confidence: 0.95 })),
});
const numbers = (...rows: number[]): Answers => ({ kind: 'numbers', output: 'y', rows });
const vectors = (...rows: number[][]): Answers => ({ kind: 'vectors', output: 'y', rows });
const many = <T>(count: number, of: T): T[] => Array.from({ length: count }, () => of);

function compare(reference: Answers, now: Answers): Record<string, number> {
  const distances = distancesOf(summarise(undefined, reference), summarise(undefined, now));
  return Object.fromEntries(distances.map(({ of, measure, value }) => [`${of} ${measure}`, value]));
}

test('shares of classes are compared by the population stability index and the Jensen–Shannon divergence', () => {
  // 80 % a and 20 % b against 50 % and 50 %: PSI = 0.3 ln(5/2) + 0.3 ln(8/5) = 0.41589; JS = 0.07300 bits (scipy's jensenshannon(base=2)²).
  const distances = compare(classes(...many(8_000, 'a'), ...many(2_000, 'b')), classes(...many(5_000, 'a'), ...many(5_000, 'b')));

  expect(distances['classes psi']).toBeCloseTo(0.41589, 3);
  expect(distances['classes jensen-shannon']).toBeCloseTo(0.073, 3);
  expect(distances['confidence psi']).toBe(0);
  expect(distances['confidence ks']).toBe(0);
});

test('a class that never came is far away, and not infinitely far', () => {
  const distances = compare(classes(...many(500, 'a')), classes(...many(500, 'b')));

  expect(distances['classes psi']).toBeGreaterThan(5);
  expect(distances['classes psi']).toBeLessThan(20);
  expect(distances['classes jensen-shannon']).toBeCloseTo(1);
});

test('two draws of the same thousand classes are not taken for a change', () => {
  let state = 1;
  const draw = () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31; // the generator of the C standard's example
    return String(Math.floor((state / 2 ** 31) ** 3 * 1_000));
  };
  const reference = classes(...Array.from({ length: 1_000 }, draw));

  const distances = compare(reference, classes(...Array.from({ length: 1_000 }, draw)));

  expect(distances['classes psi']).toBeLessThan(0.1);
  expect(distances['classes jensen-shannon']).toBeLessThan(0.02);
});

test('numbers are compared by their histograms and by their means, in deviations of the reference', () => {
  const uniform = (from: number) => numbers(...Array.from({ length: 1_000 }, (_, at) => from + at / 1_000));

  const same = compare(uniform(1), uniform(1));
  const moved = compare(uniform(1), uniform(2));

  expect(same).toEqual({ 'values psi': 0, 'values ks': 0, 'mean deviations': 0 });
  expect(moved['values ks']).toBeGreaterThan(0.8);
  expect(moved['values psi']).toBeGreaterThan(1);
  // The deviation of a uniform distribution over 1 is 1/√12.
  expect(moved['mean deviations']).toBeCloseTo(Math.sqrt(12), 2);
});

test('signs and sizes of numbers keep their order in the histogram', () => {
  const ks = (a: number[], b: number[]) => compare(numbers(...a), numbers(...b))['values ks'];

  expect(ks([-100, -1, 0, 1, 100], [-100, -1, 0, 1, 100])).toBe(0);
  expect(ks([-100, -1], [1, 100])).toBeCloseTo(1);
  expect(ks([-100, 1, 1, 1], [1, 1, 1, 100])).toBeCloseTo(0.25);
  expect(ks([1e300, 1, 1, 1], [1e-300, 1, 1, 1])).toBeCloseTo(0.25);
});

test('vectors are compared by the angle of their means', () => {
  expect(compare(vectors([1, 0], [1, 0]), vectors([2, 0]))).toEqual({ 'mean cosine': 0 });
  expect(compare(vectors([1, 0]), vectors([1, 1]))['mean cosine']).toBeCloseTo(1 - Math.SQRT1_2);
  expect(compare(vectors([1, 0]), vectors([-1, 0]))['mean cosine']).toBeCloseTo(2);
  expect(compare(vectors([1, 0]), vectors([1, 0, 0]))).toEqual({});
});

test('what is no number is left out, and counts nowhere', () => {
  const summary = [numbers(1, Number.NaN, Number.POSITIVE_INFINITY), numbers(3)].reduce<Summary | undefined>(summarise, undefined);
  const found = summarise(undefined, vectors([1, 2], [Number.NaN, 1], [1, 2, 3]));

  expect(summary).toMatchObject({ rows: 2, sum: 4 });
  expect(found).toMatchObject({ rows: 1, sums: Float64Array.of(1, 2) });
});

test('two summaries are joined, and neither is changed', () => {
  const [a, b] = [summarise(undefined, classes('a', 'b')), summarise(undefined, classes('b'))];

  const both = joinSummaries(a, b);

  expect(both).toMatchObject({ rows: 3, classes: new Map([['a', 1], ['b', 2]]) }); // biome-ignore format: short
  expect([a.rows, b.rows]).toEqual([2, 1]);
});

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type Cell, type Column, createColumn, widthOf } from '../../../src/core/preprocess/table/index.ts';

// Made by test/fixtures/table/make.py.
const { scaled, bucketised, hashed, oneHot } = JSON.parse(
  readFileSync(new URL('../../fixtures/table/cases.json', import.meta.url), 'utf8'),
);

function encode(column: Omit<Column, 'name'>, cells: readonly (Cell | undefined)[]): number[][] {
  const named = { name: 'age', ...column };
  const encodeCell = createColumn(named);
  return cells.map((cell) => {
    const row = new Float64Array(widthOf(named));
    encodeCell(cell, row, 0);
    return [...row];
  });
}

test('scales to the bit as scikit-learn', () => {
  const { mean, std, expected } = scaled.standard;
  const { min, max, expected: ranged } = scaled.minMax;

  expect(encode({ transform: { kind: 'standard', mean, std } }, scaled.values).flat()).toEqual(expected);
  expect(encode({ transform: { kind: 'min-max', min, max } }, scaled.values).flat()).toEqual(ranged);
});

test('bucketises as numpy.digitize, NaN behind the last boundary', () => {
  const { boundaries, values, expected } = bucketised;

  expect(encode({ transform: { kind: 'bucketise', boundaries } }, [...values, Number.NaN]).flat()).toEqual([
    ...expected,
    boundaries.length,
  ]);
});

test.each(Object.keys(hashed.buckets))('hashes texts of every length into %s buckets as tf.strings.to_hash_bucket_fast', (buckets) => {
  const got = encode({ transform: { kind: 'hash', buckets: Number(buckets) } }, hashed.texts).flat();

  expect(got).toEqual(hashed.buckets[buckets]);
});

test('hashes whole numbers and truth values as their text', () => {
  const transform = { kind: 'hash', buckets: 1000 } as const;

  expect(encode({ transform }, [42, -7, true])).toEqual(encode({ transform }, ['42', '-7', 'true']));
});

test('spreads a place over a vector as tf.one_hot', () => {
  const { indices, depth, expected } = oneHot;

  expect(encode({ transform: { kind: 'none' }, oneHot: depth }, indices)).toEqual(expected);
});

test('looks terms up, unknown ones in a place of their own', () => {
  const transform = { kind: 'vocabulary', terms: ['red', 'green', '7'], first: 1, unknown: 0 } as const;

  expect(encode({ transform, oneHot: 4 }, ['green', 7, 'blue'])).toEqual([
    [0, 1, 0, 0].map((_, index) => Number(index === 2)),
    [0, 0, 0, 1],
    [1, 0, 0, 0],
  ]);
});

test('takes a stand-in for a missing value, and refuses one without, a text for a number and an unknown term', () => {
  const number = { transform: { kind: 'none' } } as const;
  const term = { transform: { kind: 'vocabulary', terms: ['red'] } } as const;

  expect(encode({ ...number, missing: -1 }, [null, undefined, 3, false]).flat()).toEqual([-1, -1, 3, 0]);
  expect(() => encode(number, [null])).toThrow('column "age" has no value');
  expect(() => encode(number, ['3'])).toThrow('column "age" takes numbers, got "3"');
  expect(() => encode(term, ['blue'])).toThrow('column "age" has no term "blue"');
  expect(() => encode(term, [0.5])).toThrow(/texts and whole numbers/);
});

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { suppressNonMax, toCorners } from '../../../src/core/index.ts';

interface Case {
  readonly boxes: number[];
  readonly scores: number[];
  readonly iouThreshold: number;
  readonly scoreThreshold: number;
  readonly maxBoxes: number;
  readonly kept: number[];
}

// Made by test/fixtures/boxes/make.py.
const { suppression } = JSON.parse(readFileSync(new URL('../../fixtures/boxes/cases.json', import.meta.url), 'utf8')) as {
  suppression: Case[];
};

test.each(suppression.map((one) => [one.scores.length, one] as const))(
  'keeps the boxes that tf.image.non_max_suppression keeps of %i',
  (_, one) => {
    const corners = toCorners(Float32Array.from(one.boxes), 'yxyx');

    expect(suppressNonMax(corners, Float32Array.from(one.scores), one)).toEqual(one.kept);
  },
);

test('leaves out boxes whose score is not a number', () => {
  const corners = Float32Array.of(0, 0, 1, 1, 2, 2, 3, 3);

  expect(suppressNonMax(corners, Float32Array.of(Number.NaN, 0.5), { iouThreshold: 0.5, maxBoxes: 9 })).toEqual([1]);
});

test.each([
  ['xyxy', [1, 2, 4, 6]],
  ['yxyx', [2, 1, 6, 4]],
  ['xywh', [1, 2, 3, 4]],
  ['cxcywh', [2.5, 4, 3, 4]],
] as const)('reads a box as %s', (format, box) => {
  expect([...toCorners(Float32Array.from(box), format)]).toEqual([1, 2, 4, 6]);
});

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { argMax, resizeNearest } from '../../../src/core/index.ts';

interface Case {
  readonly width: number;
  readonly height: number;
  readonly data: number[];
  readonly toWidth: number;
  readonly toHeight: number;
  readonly expected: number[];
}

// Made by test/fixtures/boxes/make.py.
const { masks } = JSON.parse(readFileSync(new URL('../../fixtures/boxes/cases.json', import.meta.url), 'utf8')) as { masks: Case[] };

test.each(masks.map((one) => [one.width, one.height, one.toWidth, one.toHeight, one] as const))(
  'resizes a mask from %ix%i to %ix%i as tf.image.resize',
  (width, height, toWidth, toHeight, { data, expected }) => {
    const mask = { width, height, data: Uint8Array.from(data) };

    const got = resizeNearest(mask, { left: 0, top: 0, width, height }, { width: toWidth, height: toHeight });

    expect([...got.data]).toEqual(expected);
  },
);

test('takes the part of a mask that the picture lies in', () => {
  const mask = { width: 3, height: 3, data: Uint16Array.of(9, 9, 9, 9, 1, 2, 9, 3, 400) };

  const got = resizeNearest(mask, { left: 1, top: 1, width: 2, height: 2 }, { width: 4, height: 2 });

  expect(got).toEqual({ width: 4, height: 2, data: Uint16Array.of(1, 1, 2, 2, 3, 3, 400, 400) });
});

test('finds the best class of each pixel in either layout, the first of equal ones', () => {
  const nhwc = Float32Array.of(0, 2, 2, 5, 1, 1);
  const nchw = Float32Array.of(0, 5, 2, 1, 2, 1);

  expect([...argMax(nhwc, 2, 3, 3, 1)]).toEqual([1, 0]);
  expect([...argMax(nchw, 2, 3, 1, 2)]).toEqual([1, 0]);
});

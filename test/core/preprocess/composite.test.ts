import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compositeOnWhite, type Pixels } from '../../../src/core/index.ts';

function rgba(...pixels: number[][]): Pixels {
  return { width: pixels.length, height: 1, channels: 4, data: Uint8Array.from(pixels.flat()) };
}

test('hands on an opaque picture as it is', () => {
  const opaque = rgba([1, 2, 3, 255], [4, 5, 6, 255]);

  expect(compositeOnWhite(opaque)).toBe(opaque);
});

test('turns transparent pixels white and keeps the opaque ones beside them to the bit', () => {
  const composed = compositeOnWhite(rgba([1, 2, 3, 0], [4, 5, 6, 255]));

  expect(composed).toEqual({ width: 2, height: 1, channels: 3, data: Uint8Array.of(255, 255, 255, 4, 5, 6) });
});

test('rounds to the nearest integer for every colour and alpha', () => {
  fc.assert(
    fc.property(fc.nat(255), fc.nat(254), (colour, alpha) => {
      const { data } = compositeOnWhite(rgba([colour, 0, 255, alpha]));

      expect([...data]).toEqual([Math.round((colour * alpha) / 255 + 255 - alpha), 255 - alpha, 255]);
    }),
  );
});

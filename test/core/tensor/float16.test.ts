import { expect, test } from 'vitest';
import { float16ToNumber, numberToFloat16 } from '../../../src/core/index.ts';

// IEEE 754-2019 binary16: 1 sign bit, 5 of exponent, 10 of fraction.
test.each([
  [0x0000, 0],
  [0x8000, -0],
  [0x0001, 2 ** -24],
  [0x03ff, 2 ** -14 - 2 ** -24],
  [0x0400, 2 ** -14],
  [0x3555, 0.333251953125],
  [0x3c00, 1],
  [0xc000, -2],
  [0x7bff, 65504],
  [0x7c00, Number.POSITIVE_INFINITY],
  [0xfc00, Number.NEGATIVE_INFINITY],
])('the bits %i are the number %d, and back', (bits, value) => {
  expect(float16ToNumber(bits)).toBe(value);
  expect(numberToFloat16(value)).toBe(bits);
});

test('every number of binary16 comes back as its bits; every NaN is one', () => {
  const bits = Array.from({ length: 0x10000 }, (_, index) => index);
  const isNaN16 = (value: number) => (value & 0x7c00) === 0x7c00 && (value & 0x3ff) !== 0;

  const changed = bits.filter((value) => numberToFloat16(float16ToNumber(value)) !== (isNaN16(value) ? 0x7e00 : value));

  expect(changed).toEqual([]);
});

test('what lies between two goes to the nearest, halves to the even one, too much to infinity', () => {
  const step = 2 ** -10;

  expect(numberToFloat16(1 + 0.49 * step)).toBe(0x3c00);
  expect(numberToFloat16(1 + 0.5 * step)).toBe(0x3c00);
  expect(numberToFloat16(1 + 1.5 * step)).toBe(0x3c02);
  expect(numberToFloat16(2 - 0.5 * step)).toBe(0x4000);
  expect(numberToFloat16(2 ** -25)).toBe(0);
  expect(numberToFloat16(65519.9)).toBe(0x7bff);
  expect(numberToFloat16(65520)).toBe(0x7c00);
});

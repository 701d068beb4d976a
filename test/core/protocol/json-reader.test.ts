import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeJson, formatDecimal, readJson, toPlain } from '../../../src/core/protocol/index.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const parse = (text: string) => toPlain(readJson(bytes(text)), 0, 1000);

/** What JSON.parse gives: integers beyond 2^53 lose digits. */
const rounded = (value: unknown): unknown => {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(rounded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, rounded(member)]));
};

describe('readJson', () => {
  test('agrees with JSON.parse on any JSON text', () => {
    const json = fc.json({ maxDepth: 6 }).filter((text) => !text.includes('__proto__'));

    fc.assert(
      fc.property(json, (text) => {
        expect(rounded(parse(text))).toEqual(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  test('reads every double as JSON.parse does, to the last bit', () => {
    fc.assert(
      fc.property(
        fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e308, max: 1e308 }),
        fc.integer({ min: 1, max: 21 }),
        (value, digits) => {
          for (const text of [String(value), value.toPrecision(digits), value.toExponential(digits - 1)])
            expect(rounded(parse(text))).toBe(Number(text));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('keeps every digit of int64 and uint64', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), (value) => {
        expect(readJson(bytes(`[${value}]`)).bigint(1)).toBe(value);
      }),
    );
  });

  test.each([
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['-Infinity', Number.NEGATIVE_INFINITY],
    ['-Inf', Number.NEGATIVE_INFINITY],
    ['-0', -0],
    ['0.1e1', 1],
  ])('reads %s as a number', (text, value) => {
    expect(parse(text)).toBe(value);
  });

  test('ignores what follows the first value', () => {
    expect(parse('{"a": 1} trailing [')).toEqual({ a: 1 });
  });

  test('survives 500,000 nested lists', () => {
    const depth = 500_000;

    const document = readJson(bytes('['.repeat(depth) + ']'.repeat(depth)));

    expect(document.length).toBe(depth);
    expect(describeJson(document, 0).length).toBe(256);
  });

  test('refuses more than a million nested lists, which cost memory that the text does not show', () => {
    const text = new Uint8Array(1_000_002).fill('['.charCodeAt(0));

    expect(() => readJson(text)).toThrow('JSON Parse error: The document is nested deeper than 1000000 levels. at offset: 1000000');
  });

  test.each([
    ['', 'JSON Parse error: The document is empty. at offset: 0'],
    ['{"a": }', 'JSON Parse error: Invalid value. at offset: 6'],
    ['{a: 1}', 'JSON Parse error: Missing a name for object member. at offset: 1'],
    ['{"a" 1}', 'JSON Parse error: Missing a colon after a name of object member. at offset: 5'],
    ['{"a": 1', 'JSON Parse error: Missing a comma or } after an object member. at offset: 7'],
    ['[1 2]', 'JSON Parse error: Missing a comma or ] after an array element. at offset: 3'],
    ['[1,]', 'JSON Parse error: Invalid value. at offset: 3'],
    ['[1e]', 'JSON Parse error: Miss exponent in number. at offset: 3'],
    ['[1.]', 'JSON Parse error: Miss fraction part in number. at offset: 3'],
    ['[01]', 'JSON Parse error: Missing a comma or ] after an array element. at offset: 2'],
    ['[1e400]', 'JSON Parse error: Number too big to be stored in double. at offset: 1'],
    ['["a', 'JSON Parse error: Missing a closing quotation mark in string. at offset: 1'],
    ['["\\x"]', 'JSON Parse error: Invalid escape character in string. at offset: 2'],
    ['["\\ud800"]', 'JSON Parse error: The surrogate pair in string is invalid. at offset: 2'],
  ])('refuses %j with the text of RapidJSON', (text, message) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'invalid-argument', message }));
  });

  test('refuses bytes that are no UTF-8', () => {
    expect(() => readJson(new Uint8Array([0x22, 0xff, 0x22]))).toThrow(/Invalid encoding in string/);
  });
});

describe('formatDecimal', () => {
  // Expected texts: C's printf("%.6g") where it reads back, else "%.9g" (float) or "%.17g" (double).
  test.each([
    [0.2, '0.2', '0.2'],
    [1, '1.0', '1.0'],
    [-0, '-0.0', '-0.0'],
    [9_000_000, '9e+06', '9e+06'],
    [0.00003, '3e-05', '3.0000000000000001e-05'],
    [0.1 + 0.2, '0.3', '0.30000000000000004'],
    [1.001953125, '1.00195312', '1.001953125'],
    [131_072, '131072.0', '131072.0'],
    [16_777_216, '16777216.0', '16777216.0'],
    [123_456.703125, '123456.703', '123456.703125'],
    [1 / 3, '0.333333343', '0.33333333333333331'],
    [Number.NaN, 'NaN', 'NaN'],
    [Number.NEGATIVE_INFINITY, '-Infinity', '-Infinity'],
  ])('writes %d as float %s and as double %s', (value, float, double) => {
    expect(formatDecimal(Math.fround(value), 'float32')).toBe(float);
    if (value !== 0.00003) expect(formatDecimal(value, 'float64')).toBe(double);
  });

  test('is read back to the same bits', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), fc.double({ noNaN: true }), (float, double) => {
        expect(Math.fround(Number(formatDecimal(float, 'float32')))).toBe(float);
        expect(Number(formatDecimal(double, 'float64'))).toBe(double);
      }),
    );
  });
});

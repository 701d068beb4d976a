import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Signature } from '../../../src/core/index.ts';
import { decodeInferRequest, decodePredictJson } from '../../../src/core/protocol/index.ts';
import { NumberLists, scanNumbers } from '../../../src/core/protocol/json-numbers.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

function scan(text: string) {
  const store = { values: new Float64Array(), count: 0 };
  const numbers = scanNumbers(bytes(text), 0, store);
  return numbers && { ...numbers, values: [...store.values.subarray(0, store.count)] };
}

/** Decimals as people and programs write them: any number of digits before and behind the point, exponents, leading zeros behind the point. */
const decimalText = fc
  .tuple(
    fc.constantFrom('', '-'),
    fc.oneof(fc.constant('0'), fc.stringMatching(/^[1-9][0-9]{0,19}$/)),
    fc.oneof(fc.constant(''), fc.stringMatching(/^\.[0-9]{1,24}$/), fc.stringMatching(/^\.0{1,9}[0-9]{1,18}$/)),
    fc.oneof(fc.constant(''), fc.stringMatching(/^[eE][+-]?[0-9]{1,2}$/)),
  )
  .map((parts) => parts.join(''))
  .filter((text) => /[.eE]/.test(text) || Number.isSafeInteger(Number(text)));

describe('scanNumbers', () => {
  test('reads every number as Number() does, to the last bit', () => {
    fc.assert(
      fc.property(fc.array(decimalText, { minLength: 1, maxLength: 20 }), (texts) => {
        expect(scan(`[${texts.join(',')}]`)?.values).toEqual(texts.map(Number));
      }),
      { numRuns: 5000 },
    );
  });

  test('reads every double and every float32 as it was written', () => {
    const value = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.float({ noNaN: true, noDefaultInfinity: true }));
    fc.assert(
      fc.property(fc.array(value, { minLength: 1 }), (values) => {
        // As a decimal: JavaScript writes -0 as 0, and whole numbers beyond 2^53 are for the reader of single values.
        const texts = values.map((value) =>
          Object.is(value, -0) ? '-0.0' : Number.isInteger(value) ? value.toExponential() : String(value),
        );
        expect(scan(`[${texts.join(',')}]`)?.values).toEqual(values);
      }),
      { numRuns: 3000 },
    );
  });

  // Halfway between two doubles, and the neighbours of that: the even one, or the nearer one.
  test.each([
    '9007199254740993.0',
    '9007199254740992.9',
    '9007199254740993.1',
    '0.500000000000000166',
    '4503599627370496.5',
    '1e22',
    '1e23',
  ])('rounds %s as Number() does', (text) => {
    expect(scan(`[${text}]`)?.values).toEqual([Number(text)]);
  });

  test('finds the shape, with space wherever JSON has it', () => {
    expect(scan('[ [[1, 2],\n [3,4 ] ]\t,\r[[5,6],[7, 8]]]')).toMatchObject({
      shape: [2, 2, 2],
      values: [1, 2, 3, 4, 5, 6, 7, 8],
      areIntegers: true,
    });
    expect(scan('[1,2.0]')).toMatchObject({ shape: [2], areIntegers: false });
    expect(scan('[[-0]] , 1')).toMatchObject({ shape: [1, 1], values: [-0], end: 6 });
  });

  test.each([
    '[]',
    '[[]]',
    '[1,]',
    '[1 2]',
    '[01]',
    '[-]',
    '[1.]',
    '[.5]',
    '[1e]',
    '[+1]',
    '[1e400]',
    '[NaN]',
    '[Infinity]',
    '[null]',
    '["a"]',
    '[1,"a"]',
    '[[1],[2,3]]',
    '[[1,2],[3]]',
    '[[1],2]',
    '[1,[2]]',
    '[[1]',
    '[1',
    '[9007199254740992]',
    '[1}',
    `${'['.repeat(40)}1${']'.repeat(40)}`,
    `[${'1'.repeat(70)}.0]`,
  ])('leaves %s to the reader of single values', (text) => {
    expect(scan(text)).toBeUndefined();
  });

  test('gives nothing of what it read before it left off', () => {
    const store = { values: new Float64Array(), count: 0 };

    expect(scanNumbers(bytes('[1,2,x]'), 0, store)).toBeUndefined();

    expect(store.count).toBe(0);
  });

  test('is left alone after many short lists, and after one that is not plain', () => {
    const long = `[${Array.from({ length: 100 }, (_, index) => index).join(',')}]`;
    const reads = (before: string, times: number) => {
      const lists = new NumberLists(0);
      for (let i = 0; i < times; i++) lists.read(bytes(before), 0);
      return lists.read(bytes(long), 0) !== undefined;
    };

    expect(reads('[1]', 15)).toBe(true);
    expect(reads('[1]', 16)).toBe(false);
    expect(reads('["a"]', 100)).toBe(true);
    expect(reads('[1,null]', 1)).toBe(false);
  });
});

/** Behind the first value nothing counts: a long tail makes a body one whose lists are read in one piece. */
const tail = ' '.repeat(8192);

const dtypes = ['float32', 'float64', 'int32', 'uint8', 'int64', 'bool', 'string', 'float16'] as const;

/** A list of some shape, most of them plain and regular, some with one thing wrong. */
const list = fc
  .record({
    rows: fc.integer({ min: 1, max: 12 }),
    columns: fc.integer({ min: 1, max: 12 }),
    value: fc.constantFrom('7', '-1.5', '0.1234567890123456', '300', '1e3'),
    flaw: fc.option(fc.constantFrom('null', '"text"', '9007199254740993', 'NaN', '[1]', '1,1', '{"b64":"AA=="}', '1.5', '', '01'), {
      freq: 2,
    }),
    at: fc.nat(),
  })
  .map(({ rows, columns, value, flaw, at }) => {
    const row = `[${Array.from({ length: columns }, () => value).join(',')}]`;
    const flawed =
      flaw === null ? row : `[${Array.from({ length: columns }, (_, index) => (index === at % columns ? flaw : value)).join(',')}]`;
    return `[${Array.from({ length: rows }, (_, index) => (index === at % rows ? flawed : row)).join(',')}]`;
  });

describe('bodies whose lists are read in one piece', () => {
  test('give the tensors, or the errors, of those that are read value by value', () => {
    const signatureOf = (dtype: (typeof dtypes)[number], names: readonly string[]): Signature => ({
      method: 'predict',
      inputs: Object.fromEntries(names.map((name) => [name, { dtype, shape: [-1, -1] }])),
      outputs: {},
    });
    const body = fc.oneof(
      list.map((values) => ({ names: ['x'], text: `{"instances":${values}}` })),
      list.map((values) => ({ names: ['x'], text: `{"inputs":${values}}` })),
      fc.tuple(list, list).map(([x, y]) => ({ names: ['x', 'y'], text: `{"inputs":{"x":${x},"y":${y}}}` })),
      fc
        .tuple(list, list)
        .map(([x, y]) => ({ names: ['x', 'y'], text: `{"signature_name":"", "instances":[{"x":${x},"y":${y}},{"y":${y},"x":${x}}]}` })),
    );

    fc.assert(
      fc.property(body, fc.constantFrom(...dtypes), ({ names, text }, dtype) => {
        const decode = (given: string) => outcome(() => decodePredictJson(bytes(given), () => signatureOf(dtype, names)));

        expect(decode(text + tail)).toEqual(decode(text));
      }),
      { numRuns: 2000 },
    );
  });

  test('also in the Open Inference Protocol', () => {
    const datatype = fc.constantFrom('FP32', 'FP64', 'INT32', 'UINT8', 'INT64', 'BOOL', 'BYTES', 'FP16');

    fc.assert(
      fc.property(list, datatype, fc.constantFrom('[12,12]', '[144]', '[2,2]', '[1,100]'), (data, type, shape) => {
        const text = `{"inputs":[{"name":"x","shape":${shape},"datatype":"${type}","data":${data}}],"parameters":{"other":${data}}}`;
        const decode = (given: string) => outcome(() => decodeInferRequest(bytes(given), undefined));

        expect(decode(text + tail)).toEqual(decode(text));
      }),
      { numRuns: 1000 },
    );
  });
});

function outcome(decode: () => unknown): unknown {
  try {
    return decode();
  } catch (error) {
    return String(error);
  }
}

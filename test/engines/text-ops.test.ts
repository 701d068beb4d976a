import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AnyTensor, createTensor, type DType, type Engine } from '../../src/core/index.ts';
import { openEngine } from '../../src/engines/index.ts';
import { openNodePlatform } from '../../src/engines/node/index.ts';
import { customOpNames, formatFixed } from '../../src/engines/tfjs/custom-ops.ts';
import { customOps } from '../../src/engines/tfjs/graph-ops.ts';
import { createReplace } from '../../src/engines/tfjs/regex.ts';
import { bool, graphSource, int, node, placeholder, strings, stringsOf, text, type, weight } from '../support/graph-models.ts';

// Every expected value and error text is what TensorFlow 2.21 gave for the same call.

const platform = await openNodePlatform({ gpu: false });
let engine: Engine;
beforeAll(async () => {
  engine = await openEngine('tfjs-cpu', platform);
});
afterAll(() => engine[Symbol.asyncDispose]());

interface Call {
  readonly op: string;
  readonly attr?: Readonly<Record<string, unknown>>;
  readonly output?: DType;
  readonly weights?: Parameters<typeof weight>[];
}

async function call({ op, attr = {}, output = 'string', weights = [] }: Call, x: AnyTensor): Promise<AnyTensor> {
  const source = graphSource({
    nodes: [placeholder('x', x.dtype), node('y', op, ['x', ...weights.map(([name]) => name)], attr)],
    weights: weights.map((parts) => weight(...parts)),
    signatures: { serving_default: { inputs: { x: x.dtype }, outputs: { y: output } } },
  });
  await using loaded = await engine.load(source);
  const { y } = await loaded.run({ signature: 'serving_default', inputs: { x } });
  return y!;
}

const callText = async (asked: Call, values: readonly string[]) => stringsOf(await call(asked, strings(values)));
const callNumbers = async (asked: Call, x: AnyTensor) => Array.from((await call(asked, x)).data as ArrayLike<number | bigint>, Number);

test('every operator that is promised has an implementation', () => {
  expect([...customOps].sort()).toEqual([...customOpNames].sort());
});

test('changes case of ASCII letters, and of all letters where the encoding is UTF-8', async () => {
  const words = ['Hello WORLD Ärger É', 'ÄÖ ẞ ß İ ı', ''];
  const utf8 = { encoding: text('utf-8') };

  expect(await callText({ op: 'StringLower' }, words)).toEqual(['hello world Ärger É', 'ÄÖ ẞ ß İ ı', '']);
  expect(await callText({ op: 'StringUpper' }, words)).toEqual(['HELLO WORLD ÄRGER É', 'ÄÖ ẞ ß İ ı', '']);
  expect(await callText({ op: 'StringLower', attr: utf8 }, words)).toEqual(['hello world ärger é', 'äö ß ß i̇ ı', '']);
  expect(await callText({ op: 'StringUpper', attr: utf8 }, words)).toEqual(['HELLO WORLD ÄRGER É', 'ÄÖ ẞ SS İ I', '']);
});

test('strips white space of ASCII only', async () => {
  expect(await callText({ op: 'StringStrip' }, ['  a b \t\n', '\x0b x\x0c', '\u00a0y'])).toEqual(['a b', 'x', '\u00a0y']);
});

test('measures bytes or characters', async () => {
  const words = strings(['Hello WORLD Ärger É', 'ÄÖ ẞ ß İ ı', '']);

  expect(await callNumbers({ op: 'StringLength', output: 'int32' }, words)).toEqual([21, 17, 0]);
  expect(await callNumbers({ op: 'StringLength', output: 'int32', attr: { unit: text('UTF8_CHAR') } }, words)).toEqual([19, 10, 0]);
});

describe('Substr', () => {
  const at = (pos: number, len: number, attr = {}): Call => {
    return {
      op: 'Substr',
      attr,
      weights: [
        ['pos', 'int32', [], [pos]],
        ['len', 'int32', [], [len]],
      ],
    };
  };

  test('takes bytes or characters, from either end', async () => {
    const words = ['hello', 'Ärger'];

    expect(await callText(at(-3, 2), words)).toEqual(['ll', 'ge']);
    expect(await callText(at(1, 3, { unit: text('UTF8_CHAR') }), words)).toEqual(['ell', 'rge']);
    expect(await callText(at(2, 1), ['ab'])).toEqual(['']);
    expect(await callText(at(0, -1), ['ab'])).toEqual(['ab']);
    expect(await callText(at(-2, 1), ['ab'])).toEqual(['a']);
    const { data } = await call(at(1, 3), strings(words));
    expect(data[1]).toEqual(Uint8Array.of(0x84, 0x72, 0x67)); // the second byte of Ä stays a byte
  });

  test.each([5, -3])('refuses a position of %d outside of a string of 2', async (pos) => {
    await expect(callText(at(pos, 1), ['ab'])).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining(`pos ${pos} out of range for string b'ab' at index 0`),
    });
  });
});

test.each([
  ['', -1, [' a  b ', '', 'c,,d'], ['a', 'b', 'c,,d'], [0, 0, 0, 1, 2, 0]],
  [',', -1, ['a,,b', ',', ''], ['a', '', 'b', '', '', ''], [0, 0, 0, 1, 0, 2, 1, 0, 1, 1, 2, 0]],
  ['', 2, ['a b  c d'], ['a', 'b', 'c d'], [0, 0, 0, 1, 0, 2]],
  [',', 2, ['a,b,c,d'], ['a', 'b', 'c,d'], [0, 0, 0, 1, 0, 2]],
])('splits at %j, at most %d times', async (separator, most, words, pieces, indices) => {
  const source = graphSource({
    nodes: [placeholder('x', 'string'), node('y', 'StringSplitV2', ['x', 'sep'], { maxsplit: int(most) })],
    weights: [weight('sep', 'string', [], [separator])],
    signatures: { serving_default: { inputs: { x: 'string' }, outputs: { 'y:0': 'int64', 'y:1': 'string', 'y:2': 'int64' } } },
  });
  await using loaded = await engine.load(source);

  const outputs = await loaded.run({ signature: 'serving_default', inputs: { x: strings(words) } });

  expect(stringsOf(outputs['y:1']!)).toEqual(pieces);
  expect(Array.from(outputs['y:0']!.data as BigInt64Array, Number)).toEqual(indices);
});

test('joins, with scalars for every row', async () => {
  const source = graphSource({
    nodes: [placeholder('x', 'string'), node('y', 'StringJoin', ['x', 'mid', 'x'], { N: int(3), separator: text(', ') })],
    weights: [weight('mid', 'string', [], ['-'])],
    signatures: { serving_default: { inputs: { x: 'string' }, outputs: { y: 'string' } } },
  });
  await using loaded = await engine.load(source);

  const { y } = await loaded.run({ signature: 'serving_default', inputs: { x: strings(['a', 'b']) } });

  expect(stringsOf(y!)).toEqual(['a, -, a', 'b, -, b']);
});

describe('regular expressions', () => {
  test.each([
    [String.raw`[\W_]+|\d`, String.raw`<\0>`, true, 'a-b_c', 'a<->b<_>c'],
    [String.raw`[\W_]+|\d`, String.raw`<\0>`, true, 'foo123', 'foo<1><2><3>'],
    ['a', 'b', false, 'aaa', 'baa'],
    ['(b)', String.raw`[\1\\]`, true, 'abc', 'a[b\\]c'],
    ['x*', '-', true, 'abc', '-a-b-c-'],
    ['a*', '-', true, 'baac', '-b-c-'],
    ['.', '-', true, 'äbc', '---'],
    ['a.b', '-', true, 'a\nb', 'a\nb'],
    ['(?i)a', '-', true, 'A', '-'],
    // What Keras' TextVectorization takes out by default.
    [String.raw`[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_${'`'}{|}~\']`, '', true, String.raw`a,b.c-d'e[f]\g^h~`, 'abcdefgh'],
    ['[[:punct:]]', '', true, 'a,b.c-d', 'abcd'],
    ['<br />', ' ', true, 'x<br />y', 'x y'],
    [String.raw`\s+`, ' ', true, 'a \t\u00a0b', 'a \u00a0b'],
    ['^a|a$', '-', true, 'a\na', '-\n-'],
  ])('%j to %j (all: %s) of %j', async (pattern, rewrite, isGlobal, given, expected) => {
    const attr = { pattern: text(pattern), rewrite: text(rewrite), replace_global: bool(isGlobal) };

    expect(await callText({ op: 'StaticRegexReplace', attr }, [given])).toEqual([expected]);
  });

  test.each([
    ['(', 'a', 'missing )'],
    ['a', String.raw`\2`, 'group 2'],
    ['(?=a)b', '', '(?='],
    [String.raw`(a)\1`, '', String.raw`\1`],
    ['(a+)+$', '', 'repetition'],
    ['(?:(a)|b)*', String.raw`\1`, 'repeats'],
    ['[[:^alpha:]]', '', 'alpha'],
  ])('refuses %j to %j at load: %s', (pattern, rewrite, why) => {
    expect(() => createReplace({ pattern, rewrite, isGlobal: true })).toThrow(
      expect.objectContaining({ code: 'unsupported', message: expect.stringContaining(why) }),
    );
  });

  test('takes a pattern that comes as a tensor', async () => {
    const asked: Call = {
      op: 'RegexReplace',
      weights: [
        ['p', 'string', [], ['[ab]']],
        ['r', 'string', [], ['-']],
      ],
    };

    expect(await callText(asked, ['cab'])).toEqual(['c--']);
  });
});

test('writes numbers as printf does', async () => {
  const floats = createTensor('float32', [5], Float32Array.of(1.5, 0.1, 1e10, Number.NaN, -0));
  const asText = async (attr: Record<string, unknown>, x: AnyTensor) =>
    stringsOf(await call({ op: 'AsString', attr: { T: type(x.dtype), ...attr } }, x));

  expect(await asText({}, floats)).toEqual(['1.500000', '0.100000', '10000000000.000000', 'nan', '-0.000000']);
  expect(await asText({ precision: int(2) }, floats)).toEqual(['1.50', '0.10', '10000000000.00', 'nan', '-0.00']);
  expect(await asText({ width: int(12), fill: text('-') }, createTensor('float32', [1], Float32Array.of(1.5)))).toEqual(['1.500000    ']);
  expect(await asText({ width: int(5), fill: text('0') }, createTensor('int64', [2], BigInt64Array.of(1n, 22n)))).toEqual([
    '00001',
    '00022',
  ]);
  expect(await asText({}, createTensor('bool', [2], Uint8Array.of(1, 0)))).toEqual(['true', 'false']);
  expect([formatFixed(0.0078125, 6), formatFixed(0.0234375, 6), formatFixed(1e22, 1), formatFixed(5e-324, 2)]).toEqual([
    '0.007812', // ties go to the even digit
    '0.023438',
    '10000000000000000000000.0',
    '0.00',
  ]);
  await expect(asText({ scientific: bool(true) }, floats)).rejects.toMatchObject({ code: 'unsupported' });
});

test('reads numbers as TensorFlow does, and refuses the rest with its words', async () => {
  const read = (dtype: DType, ...words: string[]) =>
    callNumbers({ op: 'StringToNumber', output: dtype, attr: { out_type: type(dtype) } }, strings(words));

  expect(await read('float32', '1.5', ' 2 ', '1e400', 'inf', 'nan', '0x10', '-3.5e-2')).toEqual([
    1.5,
    2,
    Number.POSITIVE_INFINITY,
    Number.POSITIVE_INFINITY,
    Number.NaN,
    16,
    Math.fround(-0.035),
  ]);
  expect(await read('int64', '12', ' 12 ', '-0')).toEqual([12, 12, 0]);
  for (const wrong of ['x', '1_0', '']) {
    await expect(read('float32', wrong)).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining(`StringToNumberOp could not correctly convert string: ${wrong}`),
    });
  }
  await expect(read('int64', '1.5')).rejects.toMatchObject({ code: 'invalid-argument' });
  await expect(read('int64', '99999999999')).rejects.toMatchObject({ code: 'unsupported' });
});

test('hashes into the buckets that TensorFlow uses', async () => {
  const words = strings(['a', '', 'hello world this is a long string of more than 64 bytes.............................']);

  expect(await callNumbers({ op: 'StringToHashBucketFast', output: 'int64', attr: { num_buckets: int(1000) } }, words)).toEqual([
    939, 263, 358,
  ]);
});

test('reads raw bytes as numbers', async () => {
  const bytes = new Uint8Array(Float32Array.of(1.5, -2).buffer);

  const y = await call({ op: 'DecodeRaw', output: 'float32', attr: { out_type: type('float32') } }, strings([bytes]));

  expect(y).toEqual(createTensor('float32', [1, 2], Float32Array.of(1.5, -2)));
});

test('refuses what is no UTF-8 where letters are asked for, and hands raw bytes on elsewhere', async () => {
  const raw = strings([Uint8Array.of(0xff, 0x41)]);

  expect((await call({ op: 'StringLower' }, raw)).data).toEqual([Uint8Array.of(0xff, 0x61)]);
  await expect(call({ op: 'StringLower', attr: { encoding: text('utf-8') } }, raw)).rejects.toMatchObject({ code: 'invalid-argument' });
});

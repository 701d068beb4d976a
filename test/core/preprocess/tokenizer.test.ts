import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseTokenizer, type TextInput } from '../../../src/core/preprocess/text/index.ts';

const folder = new URL('../../fixtures/text/', import.meta.url);

interface Case {
  readonly tokenizer: string;
  readonly text: string;
  readonly pair?: string;
  readonly maxLength?: number;
  readonly ids: number[];
  readonly typeIds: number[];
}

const { cases, blocks } = JSON.parse(readFileSync(new URL('cases.json', folder), 'utf8')) as {
  cases: Case[];
  blocks: Record<string, Record<string, string>>;
};

function tokenizerOf(name: string) {
  return parseTokenizer(readFileSync(new URL(`${name}.json`, folder)));
}

test.each(['bert-uncased', 'bert-cased', 'gpt2', 'roberta', 'bpe-suffix'])('%s gives the ids of Hugging Face tokenizers', (name) => {
  const tokenizer = tokenizerOf(name);
  const own = cases.filter((one) => one.tokenizer === name);

  const differing = own.filter(({ text, pair, maxLength, ids, typeIds }) => {
    const input: TextInput = pair === undefined ? text : { text, pair };
    const got = tokenizer.encode(input, maxLength);
    return String(got.ids) !== String(ids) || String(got.typeIds) !== String(typeIds);
  });

  expect(own.length).toBeGreaterThan(200);
  expect(
    differing.map((one) => ({
      ...one,
      got: tokenizer.encode(one.pair === undefined ? one.text : { text: one.text, pair: one.pair }, one.maxLength),
    })),
  ).toEqual([]);
});

test.each(Object.keys(blocks))('%s gives the ids of Hugging Face tokenizers for every code point of 37 blocks', (name) => {
  const tokenizer = tokenizerOf(name);
  // Decompositions younger than the package, see make.py.
  const young = new Set([
    0x105c9, 0x105e4, 0x11383, 0x11385, 0x1138e, 0x11391, 0x113c5, 0x113c7, 0x113c8, 0x11938, 0x16d68, 0x16d69, 0x16d6a,
  ]);
  for (let code = 0x16121; code < 0x16129; code++) young.add(code);

  const got = Object.keys(blocks[name]!).map((start) => {
    const codes = Array.from({ length: 0x1000 }, (_, index) => Number(start) + index);
    const kept = codes.filter((code) => !(code >= 0xd800 && code < 0xe000) && !young.has(code)).map((code) => String.fromCodePoint(code));
    const { ids } = tokenizer.encode(kept.map((character) => `a${character}a ${character}`).join(' '));
    return [start, createHash('sha256').update(Int32Array.from(ids)).digest('hex')];
  });

  expect(Object.fromEntries(got)).toEqual(blocks[name]);
});

test('cuts words and runs of white space of any length', () => {
  const many = 100_000;

  expect(tokenizerOf('gpt2').encode('ab'.repeat(many / 2)).ids.length).toBeGreaterThan(many / 10);
  expect(tokenizerOf('roberta').encode(`a${' '.repeat(many)}b <mask>`).ids.length).toBeGreaterThan(many / 10);
  expect(tokenizerOf('bert-uncased').encode('a'.repeat(many)).ids).toEqual([2, 1, 3]);
  expect(tokenizerOf('bpe-suffix').encode(`a${'\t'.repeat(many)}b `).ids).toHaveLength(2);
});

test('takes half of a surrogate pair for U+FFFD, as UTF-8 has it', () => {
  const tokenizer = tokenizerOf('gpt2');

  expect(tokenizer.encode('a\ud83db').ids).toEqual(tokenizer.encode('a\ufffdb').ids);
});

import { bertWords, byteLevelWords, wordCharacters } from './code-points.ts';
import type { PreTokenizerJson } from './tokenizer-json.ts';

/** Splits a normalised text into the words that the model cuts into tokens. */
export type PreTokenize = (text: string) => readonly string[];

export function createPreTokenizer(json: PreTokenizerJson | null | undefined): PreTokenize {
  if (!json) return (text) => (text === '' ? [] : [text]);
  switch (json.type) {
    case 'Sequence': {
      const steps = json.pretokenizers.map(createPreTokenizer);
      return (text) => steps.reduce<readonly string[]>((words, step) => words.flatMap(step), [text]);
    }
    case 'BertPreTokenizer':
      return (text) => text.match(bertWords) ?? [];
    case 'Whitespace':
      return (text) => text.match(wordsAndSigns) ?? [];
    case 'WhitespaceSplit':
      return (text) => text.match(/\P{White_Space}+/gu) ?? [];
    case 'ByteLevel': {
      const { add_prefix_space: addsSpace, use_regex: splits } = json;
      return (given) => {
        const text = addsSpace && !given.startsWith(' ') ? ` ${given}` : given;
        const words = splits ? (text.match(byteLevelWords) ?? []) : text === '' ? [] : [text];
        return words.map(toByteCharacters);
      };
    }
  }
}

/** Rust's `\w+|[^\w\s]+`. */
const wordsAndSigns = new RegExp(`[${wordCharacters}]+|[^${wordCharacters}\\p{White_Space}]+`, 'gu');

const encoder = new TextEncoder();

/** A word's UTF-8 bytes, each as the printable character that stands for it in a byte-level vocabulary. */
function toByteCharacters(word: string): string {
  let text = '';
  for (const byte of encoder.encode(word)) text += byteCharacters[byte]!;
  return text;
}

/** `bytes_to_unicode` of openai/gpt-2: printable Latin-1 stands for itself, every other byte for a character from U+0100 on. */
const byteCharacters: readonly string[] = (() => {
  let next = 256;
  const isPrintable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
})();

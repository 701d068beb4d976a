import { NearfarError } from '../../errors.ts';
import { createAddedTokens } from './added-tokens.ts';
import { createBytePair } from './byte-pair.ts';
import { remember } from './model.ts';
import { createNormalizer } from './normalizer.ts';
import { createPostProcessor, type Encoding } from './post-processor.ts';
import { createPreTokenizer } from './pre-tokenizer.ts';
import { parseTokenizerJson } from './tokenizer-json.ts';
import { createWordPiece } from './word-piece.ts';

/** A text, or two that belong together, such as a question and a passage. */
export type TextInput = string | { readonly text: string; readonly pair: string };

export interface Tokenizer {
  /**
   * @param maxLength Tokens at most, special ones included; the longer of two texts is cut first, at its end.
   * @throws {NearfarError} `invalid-argument` when not even the special tokens fit.
   */
  encode(input: TextInput, maxLength?: number): Encoding;
  /** Id of a token of the vocabulary. */
  idOf(token: string): number | undefined;
  /** What the tokenizer.json says about length and filling up; the manifest may say otherwise. */
  readonly maxLength: number | undefined;
  readonly padId: number | undefined;
  readonly padTypeId: number;
}

/** Enough for the words of long documents, at most some megabytes. */
const rememberedWords = 10_000;

/**
 * The tokenizer of a tokenizer.json, with the ids of Hugging Face's `tokenizers` for WordPiece and byte-pair models.
 * @throws {NearfarError} `invalid-argument` for a broken file; `unsupported` for parts that nearfar does not have (Unigram, byte
 * fallback, patterns of one's own).
 */
export function parseTokenizer(bytes: Uint8Array): Tokenizer {
  const json = parseTokenizerJson(bytes);
  const { model } = json;
  const vocabulary = new Map(Object.entries(model.vocab));
  const added = new Map(json.added_tokens.map(({ content, id }) => [content, id]));
  const normalize = createNormalizer(json.normalizer);
  const preTokenize = createPreTokenizer(json.pre_tokenizer);
  const cut = remember(
    model.type === 'WordPiece' ? createWordPiece(model, vocabulary) : createBytePair(model, vocabulary),
    rememberedWords,
  );
  const { added: addedLength, process } = createPostProcessor(json.post_processor);
  const splitRaw = createAddedTokens(
    json.added_tokens.filter(({ normalized }) => !normalized),
    ({ content }) => content,
  );
  const splitNormalized = createAddedTokens(
    json.added_tokens.filter(({ normalized }) => normalized),
    ({ content }) => normalize(content),
  );

  const tokensOf = (text: string): number[] => {
    const ids: number[] = [];
    for (const raw of splitRaw(wellFormed(text))) {
      for (const segment of typeof raw === 'number' ? [raw] : splitNormalized(normalize(raw))) {
        if (typeof segment === 'number') ids.push(segment);
        // A word may have more tokens than a call takes arguments.
        else for (const word of preTokenize(segment)) for (const id of cut(word)) ids.push(id);
      }
    }
    return ids;
  };

  return {
    encode(input, maxLength = json.truncation?.max_length) {
      const [text, pair] = typeof input === 'string' ? [input] : [input.text, input.pair];
      const first = tokensOf(text);
      const second = pair === undefined ? undefined : tokensOf(pair);
      if (maxLength === undefined) return process(first, second);
      const special = addedLength(second !== undefined);
      if (maxLength < special) {
        throw new NearfarError(
          'invalid-argument',
          `the tokenizer adds ${special} tokens, which is more than the ${maxLength} of maxLength`,
          {
            details: { special, maxLength },
          },
        );
      }
      const [firstLength, secondLength] = fittingLengths(first.length, second?.length ?? 0, maxLength - special);
      return process(first.slice(0, firstLength), second?.slice(0, secondLength));
    },
    idOf: (token) => added.get(token) ?? vocabulary.get(token),
    maxLength: json.truncation?.max_length,
    padId: json.padding?.pad_id,
    padTypeId: json.padding?.pad_type_id ?? 0,
  };
}

/** `longest_first` of tokenizers' `truncate_encodings`: both texts keep half, unless one needs less. */
function fittingLengths(first: number, second: number, room: number): [number, number] {
  if (first + second <= room) return [first, second];
  const shorter = Math.min(first, second);
  const longer = shorter > room ? shorter : Math.max(shorter, room - shorter);
  const half = Math.floor(room / 2);
  const [short, long] = shorter + longer > room ? [half, room - half] : [shorter, longer];
  return first > second ? [long, short] : [short, long];
}

/** Halves of surrogate pairs are no characters: they become U+FFFD, as UTF-8 has them. */
function wellFormed(text: string): string {
  return text.replace(/\p{Cs}/gu, '\ufffd');
}

import type { CutWord, Vocabulary } from './model.ts';
import { idOf } from './model.ts';
import type { WordPieceJson } from './tokenizer-json.ts';

/** Greedy longest match from the left; a word that has a part in no token is unknown as a whole (google-research/bert, `WordpieceTokenizer`). */
export function createWordPiece(json: WordPieceJson, vocabulary: Vocabulary): CutWord {
  const { continuing_subword_prefix: prefix, max_input_chars_per_word: longest } = json;
  const unknown = [idOf(vocabulary, json.unk_token)];
  const longestToken = [...vocabulary.keys()].reduce((length, token) => Math.max(length, token.length), 0);
  return (word) => {
    // As many UTF-16 units as code points or more: counting is only needed beyond the limit.
    if (word.length > longest && [...word].length > longest) return unknown;
    const ids: number[] = [];
    for (let start = 0; start < word.length; ) {
      const head = start === 0 ? '' : prefix;
      let end = Math.min(word.length, start + longestToken);
      let id: number | undefined;
      for (; end > start; end--) {
        id = vocabulary.get(head + word.slice(start, end));
        if (id !== undefined) break;
      }
      if (id === undefined) return unknown;
      ids.push(id);
      start = end;
    }
    return ids;
  };
}

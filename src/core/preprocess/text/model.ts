import { NearfarError } from '../../errors.ts';

/** Token → id. */
export type Vocabulary = ReadonlyMap<string, number>;

/** Cuts one word into the ids of its tokens. */
export type CutWord = (word: string) => readonly number[];

/** @throws {NearfarError} `invalid-argument` for a token that the tokenizer names and its vocabulary lacks. */
export function idOf(vocabulary: Vocabulary, token: string): number {
  const id = vocabulary.get(token);
  if (id !== undefined) return id;
  throw new NearfarError('invalid-argument', `the tokenizer has no token ${token}`, { details: { token } });
}

/** Remembers words already cut: language repeats a few of them most of the time. Those longer than any word of a language pass through. */
export function remember(cut: CutWord, capacity: number): CutWord {
  const known = new Map<string, readonly number[]>();
  return (word) => {
    if (word.length > longestRemembered) return cut(word);
    const found = known.get(word);
    if (found) return found;
    const ids = cut(word);
    if (known.size >= capacity) known.clear();
    known.set(word, ids);
    return ids;
  };
}

const longestRemembered = 64;

import { type CutWord, idOf, type Vocabulary } from './model.ts';
import type { BytePairJson } from './tokenizer-json.ts';

/** Room for the second id of a pair in one number: 2^26 tokens, twice of that is still exact in a double. */
const PAIR = 2 ** 26;

/** Merges of pairs: the key is `left * PAIR + right`. */
type Merges = ReadonlyMap<number, { readonly rank: number; readonly id: number }>;

/** Byte-pair encoding (Sennrich et al., 2016): the merge learnt first is made first, the leftmost of equal ones. */
export function createBytePair(json: BytePairJson, vocabulary: Vocabulary): CutWord {
  const { ignore_merges: takesWholeWords, fuse_unk: fuses } = json;
  const prefix = json.continuing_subword_prefix ?? '';
  const suffix = json.end_of_word_suffix ?? '';
  const unknown = json.unk_token === null || json.unk_token === undefined ? undefined : idOf(vocabulary, json.unk_token);
  const merges = readMerges(json, vocabulary, prefix);
  return (word) => {
    const whole = takesWholeWords ? vocabulary.get(word) : undefined;
    if (whole !== undefined) return [whole];
    const characters = [...word];
    const symbols: number[] = [];
    let afterUnknown = false;
    for (const [index, character] of characters.entries()) {
      const head = index > 0 ? prefix : '';
      const tail = index === characters.length - 1 ? suffix : '';
      const id = vocabulary.get(head + character + tail);
      const fusesHere = id === undefined && afterUnknown && fuses;
      // A character that is in no vocabulary, where there is no token for unknown ones, is left out as the reference does.
      if (id !== undefined) symbols.push(id);
      else if (unknown !== undefined && !fusesHere) symbols.push(unknown);
      afterUnknown = id === undefined;
    }
    return mergeAll(symbols, merges);
  };
}

function readMerges({ merges }: BytePairJson, vocabulary: Vocabulary, prefix: string): Merges {
  const found = new Map<number, { rank: number; id: number }>();
  for (const [rank, merge] of merges.entries()) {
    const [left, right] = typeof merge === 'string' ? splitMerge(merge) : merge;
    const id = idOf(vocabulary, left + right.slice(prefix.length));
    found.set(idOf(vocabulary, left) * PAIR + idOf(vocabulary, right), { rank, id });
  }
  return found;
}

function splitMerge(merge: string): readonly [string, string] {
  const space = merge.indexOf(' ');
  return [merge.slice(0, space), merge.slice(space + 1)];
}

/** A pair that may be merged: where its left symbol stands, and the ids it had when it was found. */
interface Candidate {
  readonly rank: number;
  readonly left: number;
  readonly pair: number;
  readonly id: number;
}

/** A heap of candidates keeps words of thousands of characters from taking quadratic time. */
function mergeAll(symbols: number[], merges: Merges): readonly number[] {
  const next = symbols.map((_, index) => index + 1);
  const previous = symbols.map((_, index) => index - 1);
  const heap: Candidate[] = [];
  const offer = (left: number) => {
    const right = next[left];
    if (left < 0 || right === undefined || right >= symbols.length) return;
    const pair = symbols[left]! * PAIR + symbols[right]!;
    const merge = merges.get(pair);
    if (merge) push(heap, { ...merge, left, pair });
  };
  for (let left = 0; left + 1 < symbols.length; left++) offer(left);
  for (let best = pop(heap); best; best = pop(heap)) {
    const { left, pair, id } = best;
    const right = next[left]!;
    // Either symbol may have been merged into another since.
    if (right >= symbols.length || symbols[left]! * PAIR + symbols[right]! !== pair) continue;
    symbols[left] = id;
    symbols[right] = GONE;
    next[left] = next[right]!;
    if (next[left]! < symbols.length) previous[next[left]!] = left;
    offer(previous[left]!);
    offer(left);
  }
  return symbols.filter((id) => id !== GONE);
}

/** No pair has it: a symbol that is part of the one to its left. */
const GONE = -1;

function isBefore(a: Candidate, b: Candidate): boolean {
  return a.rank < b.rank || (a.rank === b.rank && a.left < b.left);
}

function push(heap: Candidate[], candidate: Candidate): void {
  let place = heap.push(candidate) - 1;
  while (place > 0) {
    const parent = (place - 1) >> 1;
    if (!isBefore(candidate, heap[parent]!)) break;
    heap[place] = heap[parent]!;
    place = parent;
  }
  heap[place] = candidate;
}

function pop(heap: Candidate[]): Candidate | undefined {
  const [best] = heap;
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return best;
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
    if (!isBefore(heap[child]!, last)) break;
    heap[place] = heap[child]!;
    place = child;
  }
  heap[place] = last;
  return best;
}

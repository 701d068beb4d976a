import { skipSpaceBefore, skipSpaceBehind, wordCharacters } from './code-points.ts';
import type { AddedToken } from './tokenizer-json.ts';

const endsInWord = new RegExp(`[${wordCharacters}]$`, 'u');
const beginsWithWord = new RegExp(`^[${wordCharacters}]`, 'u');

/** A text between added tokens, or the id of one. */
export type Segment = string | number;

/** Finds the tokens that are taken whole wherever they stand, such as `[MASK]`: the leftmost, of these the longest. */
export function createAddedTokens(tokens: readonly AddedToken[], contentOf: (token: AddedToken) => string): (text: string) => Segment[] {
  const byContent = new Map(tokens.map((token) => [contentOf(token), token] as const).filter(([content]) => content !== ''));
  if (byContent.size === 0) return (text) => (text === '' ? [] : [text]);
  const contents = [...byContent.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(contents.map((content) => content.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'), 'gu');
  return (text) => {
    const segments: Segment[] = [];
    let done = 0;
    for (const match of text.matchAll(pattern)) {
      const token = byContent.get(match[0])!;
      let start = match.index;
      let end = start + match[0].length;
      if (
        token.single_word &&
        (endsInWord.test(text.slice(Math.max(0, start - 2), start)) || beginsWithWord.test(text.slice(end, end + 2)))
      )
        continue;
      // White space that the token before has taken is gone.
      if (token.lstrip) start = Math.max(done, skipSpaceBefore(text, start));
      if (token.rstrip) end = skipSpaceBehind(text, end);
      if (start > done) segments.push(text.slice(done, start));
      segments.push(token.id);
      done = end;
    }
    if (done < text.length) segments.push(text.slice(done));
    return segments;
  };
}

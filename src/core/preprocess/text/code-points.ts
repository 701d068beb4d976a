import * as classes from './unicode-classes.ts';

/** The inside of a character class of a regular expression with the flag `u`. */
function classOf(encoded: string): string {
  const numbers = encoded.split(' ').map((word) => Number.parseInt(word, 36));
  let text = '';
  for (let index = 0, last = 0; index < numbers.length; index += 2) {
    const start = last + numbers[index]!;
    last = start + numbers[index + 1]!;
    text += `${escapeCode(start)}-${escapeCode(last)}`;
  }
  return text;
}

function escapeCode(code: number): string {
  return `\\u{${code.toString(16)}}`;
}

export const bertControls: RegExp = new RegExp(`[${classOf(classes.bertControl)}]+`, 'gu');
export const bertAccents: RegExp = new RegExp(`[${classOf(classes.bertAccent)}]+`, 'gu');

/** The ideographs that BERT reads one by one (`_is_chinese_char` of google-research/bert). */
export const ideographs: RegExp =
  /[\u4E00-\u9FFF\u3400-\u4DBF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\uF900-\uFAFF\u{2F800}-\u{2FA1F}]/gu;

const punctuation = classOf(classes.bertPunctuation);
/** A word of BERT: one punctuation mark, or a run of neither marks nor white space. */
export const bertWords: RegExp = new RegExp(`[${punctuation}]|[^${punctuation}\\p{White_Space}]+`, 'gu');

const letter = classOf(classes.letter);
const number = classOf(classes.number);
/**
 * The words of GPT-2: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
 * (`encoder.py` of openai/gpt-2), where `\s` is Unicode's White_Space, which that of JavaScript is not.
 */
export const byteLevelWords: RegExp = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?[${letter}]+| ?[${number}]+| ?[^\\p{White_Space}${letter}${number}]+|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+`,
  'gu',
);

const whiteSpace = /^\p{White_Space}/u;

// By hand, since the pattern /\s+$/ takes quadratic time on long runs of white space. All of it lies in the basic plane.

/** Where white space before `start` begins. */
export function skipSpaceBefore(text: string, start: number): number {
  let at = start;
  while (at > 0 && whiteSpace.test(text.charAt(at - 1))) at--;
  return at;
}

/** Where white space from `end` on ends. */
export function skipSpaceBehind(text: string, end: number): number {
  let at = end;
  while (at < text.length && whiteSpace.test(text.charAt(at))) at++;
  return at;
}

/** The inside of the class `\w` of Rust's regular expressions. */
export const wordCharacters = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}';

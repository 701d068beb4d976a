import { NearfarError } from '../../core/index.ts';

// TensorFlow's regular expressions are RE2's (https://github.com/google/re2/wiki/Syntax). What JavaScript's mean the same by
// is translated; everything else is refused when the model is loaded.

/** A pattern and what replaces its matches. */
export interface Replacement {
  readonly pattern: string;
  readonly rewrite: string;
  readonly isGlobal: boolean;
}

/**
 * A function that replaces as RE2 does.
 * @throws {NearfarError} `unsupported` for syntax that JavaScript lacks or reads otherwise.
 */
export function createReplace({ pattern, rewrite, isGlobal }: Replacement): (text: string) => string {
  const { source, flags, groups, repeatedGroups } = translate(pattern);
  const parts = parseRewrite(rewrite);
  for (const part of parts) {
    if (typeof part === 'string') continue;
    if (part > groups) throw refuse(pattern, `the rewrite names group ${part} of ${groups}`);
    // Such a group is empty in JavaScript when the last repetition did without it, in RE2 it keeps what it had.
    if (repeatedGroups.has(part)) throw refuse(pattern, `the rewrite names group ${part}, which repeats`);
  }
  let regex: RegExp;
  try {
    regex = new RegExp(source, `gu${flags}`);
  } catch (cause) {
    throw refuse(pattern, String(cause));
  }
  return (text) => {
    let out = '';
    let end = -1; // of the last match
    let copied = 0;
    for (const match of text.matchAll(regex)) {
      // RE2 takes no empty match where another one ended.
      if (match[0] === '' && match.index === end) continue;
      out += text.slice(copied, match.index) + parts.map((part) => (typeof part === 'string' ? part : (match[part] ?? ''))).join('');
      end = match.index + match[0].length;
      copied = end;
      if (!isGlobal) break;
    }
    return out + text.slice(copied);
  };
}

function refuse(pattern: string, why: string): NearfarError {
  return new NearfarError('unsupported', `regular expression ${JSON.stringify(pattern)}: ${why}`, { details: { pattern } });
}

/** Text and numbers of groups: `\0` to `\9`, and `\\` for a backslash. */
function parseRewrite(rewrite: string): (string | number)[] {
  return (rewrite.match(/\\.|[^\\]+|\\$/gs) ?? []).map((part) => {
    if (!part.startsWith('\\')) return part;
    if (part === '\\\\') return '\\';
    if (/^\\\d$/.test(part)) return Number(part[1]);
    throw new NearfarError('unsupported', `the rewrite ${JSON.stringify(rewrite)} holds ${part}; RE2 knows \\0 to \\9 and \\\\`);
  });
}

interface Translation {
  readonly source: string;
  readonly flags: string;
  readonly groups: number;
  /** Groups that may match several times. */
  readonly repeatedGroups: ReadonlySet<number>;
}

/** One or more alternatives in parentheses, while it is read. */
interface OpenGroup {
  readonly firstGroup: number;
  hasUnbounded: boolean;
}

// ASCII only, as RE2 has them; JavaScript's \s knows more, and its \w too where case is ignored.
const classes: Readonly<Record<string, string>> = {
  d: '0-9',
  w: '0-9A-Za-z_',
  s: '\\t\\n\\f\\r ',
  D: '\\0-\\/:-\\u{10FFFF}',
  W: '\\0-\\/:-@\\[-\\^`\\{-\\u{10FFFF}',
  S: '\\0-\\x08\\x0B\\x0E-\\x1F!-\\u{10FFFF}',
};

const namedClasses: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7F',
  blank: '\\t ',
  cntrl: '\\x00-\\x1F\\x7F',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-\\/:-@\\[-`\\{-~',
  space: '\\t\\n\\v\\f\\r ',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
};

function translate(pattern: string): Translation {
  let source = '';
  let flags = '';
  let groups = 0;
  let dotAll = false;
  const repeatedGroups = new Set<number>();
  const open: OpenGroup[] = [{ firstGroup: 1, hasUnbounded: false }];
  let closed: OpenGroup | undefined; // the group that ended just here
  let rest = pattern;
  const take = (expression: RegExp): RegExpExecArray | null => {
    const match = expression.exec(rest);
    if (match) rest = rest.slice(match[0].length);
    return match;
  };

  const leading = take(/^\(\?([ims]+)\)/);
  if (leading) {
    flags = leading[1]!.replace('s', '');
    dotAll = leading[1]!.includes('s');
  }
  while (rest !== '') {
    const quantifier = take(/^(?:[*+?]|\{\d+(?:,\d*)?\})\??/);
    if (quantifier) {
      const isUnbounded = /^[*+]|,\}/.test(quantifier[0]);
      // RE2 takes time in proportion to the text; a backtracking engine does not where repetitions nest.
      if (isUnbounded && closed?.hasUnbounded) throw refuse(pattern, 'a repetition inside a repetition can take for ever here');
      if (isUnbounded) open.at(-1)!.hasUnbounded = true;
      if (closed) for (let group = closed.firstGroup; group <= groups; group++) repeatedGroups.add(group);
      source += quantifier[0];
      closed = undefined;
      continue;
    }
    closed = undefined;
    if (take(/^\(\?P?<([A-Za-z_]\w*)>/)) {
      open.push({ firstGroup: ++groups, hasUnbounded: false });
      source += '(';
    } else if (take(/^\(\?:/)) {
      open.push({ firstGroup: groups + 1, hasUnbounded: false });
      source += '(?:';
    } else if (rest.startsWith('(?')) throw refuse(pattern, `${rest.slice(0, 4)} is not translated`);
    else if (take(/^\(/)) {
      open.push({ firstGroup: ++groups, hasUnbounded: false });
      source += '(';
    } else if (take(/^\)/)) {
      closed = open.pop();
      if (open.length === 0) throw refuse(pattern, 'unexpected )');
      if (closed?.hasUnbounded) open.at(-1)!.hasUnbounded = true;
      source += ')';
    } else if (take(/^\./)) source += dotAll ? '[^]' : '[^\\n]';
    else if (rest.startsWith('[')) {
      const set = translateSet(pattern, rest);
      source += set.source;
      rest = rest.slice(set.length);
    } else if (take(/^\\A/)) source += '(?<![^])';
    else if (take(/^\\z/)) source += '(?![^])';
    else if (rest.startsWith('\\')) {
      const escaped = translateEscape(pattern, rest);
      source += escaped.set === undefined ? escaped.source : `[${escaped.set}]`;
      rest = rest.slice(escaped.length);
    } else if (take(/^[|^$]/)) source += RegExp.lastMatch;
    else {
      const literal = String.fromCodePoint(rest.codePointAt(0)!);
      source += /[{}\]]/.test(literal) ? `\\${literal}` : literal;
      rest = rest.slice(literal.length);
    }
  }
  if (open.length !== 1) throw refuse(pattern, 'missing )');
  return { source, flags, groups, repeatedGroups };
}

interface Escape {
  readonly source: string;
  /** What stands for it inside brackets, where it is a class. */
  readonly set?: string;
  readonly length: number;
}

function translateEscape(pattern: string, rest: string): Escape {
  const [, letter = ''] = /^\\(.?)/su.exec(rest)!;
  if (Object.hasOwn(classes, letter)) return { source: '', set: classes[letter]!, length: 2 };
  if (/^[bB]$/.test(letter)) return { source: `\\${letter}`, length: 2 };
  if (/^[fnrtv]$/.test(letter)) return { source: `\\${letter}`, length: 2 };
  if (letter === 'a') return { source: '\\x07', length: 2 };
  const hex = /^\\x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})/.exec(rest);
  if (hex) return { source: `\\u{${hex[1] ?? hex[2]}}`, length: hex[0].length };
  const property = /^\\[pP](?:([LMNPSZC])|\{([A-Z][A-Za-z_]*)\})/.exec(rest);
  if (property) {
    const name = property[1] ?? property[2]!;
    const value = name.length <= 2 ? name : `Script=${name}`;
    return { source: `\\${rest[1]}{${value}}`, length: property[0].length };
  }
  if (/^[ -~]$/.test(letter) && !/[0-9A-Za-z]/.test(letter)) {
    return { source: escapeLiteral(letter), length: 2 };
  }
  throw refuse(pattern, `\\${letter} is not translated`);
}

/** Escaped so that it is itself, inside brackets and outside. */
function escapeLiteral(character: string): string {
  return /[$()*+./?[\\\]^{|}-]/.test(character) ? `\\u{${character.codePointAt(0)!.toString(16)}}` : character;
}

/** A set in brackets. */
function translateSet(pattern: string, rest: string): { source: string; length: number } {
  let source = '[';
  let at = 1;
  if (rest[at] === '^') {
    source += '^';
    at++;
  }
  for (let isFirst = true; ; isFirst = false) {
    const left = rest.slice(at);
    if (left === '') throw refuse(pattern, 'missing ]');
    if (left.startsWith(']') && !isFirst) return { source: `${source}]`, length: at + 1 };
    const named = /^\[:(\^?)(\w+):\]/.exec(left);
    if (named) {
      if (named[1] || !Object.hasOwn(namedClasses, named[2]!)) throw refuse(pattern, `${named[0]} is not translated`);
      source += namedClasses[named[2]!];
      at += named[0].length;
    } else if (left.startsWith('\\')) {
      if (/^\\[bBAz]/.test(left)) throw refuse(pattern, `${left.slice(0, 2)} inside brackets is not translated`);
      const escaped = translateEscape(pattern, left);
      source += escaped.set ?? escaped.source;
      at += escaped.length;
    } else if (/^-(?!\])/.test(left) && !isFirst) {
      source += '-';
      at++;
    } else {
      const literal = String.fromCodePoint(left.codePointAt(0)!);
      source += escapeLiteral(literal);
      at += literal.length;
    }
  }
}

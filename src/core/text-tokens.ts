// Tokens of the text form of protocol buffers (https://protobuf.dev/reference/protobuf/textformat-spec/).

/** `end` comes after the last one, `bad` is a character that starts none. */
export interface TextToken {
  readonly kind: 'name' | 'number' | 'string' | 'sign' | 'bad' | 'end';
  /** As written: a string with its quotes. */
  readonly text: string;
  /** Where it starts. */
  readonly start: number;
}

/**
 * A name, a number, a string with its quotes, or a sign. A comment ends where its line does: were it free to end before, `####` could be
 * read in many ways, all of which would be tried.
 */
const token =
  /((?:[ \t\r\n\v\f]|#[^\n]*(?:\n|$))*)(?:([A-Za-z_][A-Za-z0-9_./]*)|([+-]?[0-9.][A-Za-z0-9_.+-]*)|("(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*')|([-{}<>:,;[\]])|(.?))/sy;

/** The token at or after `position`; nothing is thrown. */
export function readTextToken(text: string, position: number): TextToken {
  token.lastIndex = position;
  const [, space = '', name, number, string, sign, rest = ''] = token.exec(text)!; // matches everywhere, also at the end
  const start = position + space.length;
  if (name !== undefined) return { kind: 'name', text: name, start };
  if (number !== undefined) return { kind: 'number', text: number, start };
  if (string !== undefined) return { kind: 'string', text: string, start };
  if (sign !== undefined) return { kind: 'sign', text: sign, start };
  return { kind: rest === '' ? 'end' : 'bad', text: rest, start };
}

const escapes: Readonly<Record<string, number>> = { a: 7, b: 8, f: 12, n: 10, r: 13, t: 9, v: 11 };

/** Bytes of a quoted string; undefined when it names a character that does not exist. */
export function unquoteText(quoted: string): Uint8Array<ArrayBuffer> | undefined {
  const inner = quoted.slice(1, -1);
  if (!inner.includes('\\')) return new TextEncoder().encode(inner);
  const bytes: number[] = [];
  const parts = /\\(?:[xX]([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|[^\\]+/gsu;
  for (const [whole, hex, octal, short, long, letter] of inner.matchAll(parts)) {
    const digits = short ?? long;
    if (hex !== undefined) bytes.push(Number.parseInt(hex, 16));
    else if (octal !== undefined) bytes.push(Number.parseInt(octal, 8) & 255);
    else if (digits !== undefined) {
      const codePoint = Number.parseInt(digits, 16);
      if (codePoint > 0x10ffff) return undefined;
      bytes.push(...new TextEncoder().encode(String.fromCodePoint(codePoint)));
    } else if (letter !== undefined && Object.hasOwn(escapes, letter)) bytes.push(escapes[letter]!);
    else for (const byte of new TextEncoder().encode(letter ?? whole)) bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

import { NearfarError } from '../errors.ts';
import type { DenseNumbers, NumberLists } from './json-numbers.ts';

/**
 * `integer` is a number written without fraction and exponent; beyond ±2^53 it is a `bigint`. `numbers` is a list that was read in one
 * piece, which only documents read with NumberLists have.
 */
export type JsonKind = 'null' | 'false' | 'true' | 'integer' | 'bigint' | 'decimal' | 'string' | 'array' | 'object' | 'numbers';

const kinds: readonly JsonKind[] = ['null', 'false', 'true', 'integer', 'bigint', 'decimal', 'string', 'array', 'object', 'numbers'];
const [NULL, FALSE, TRUE, INTEGER, BIGINT, DECIMAL, STRING, ARRAY, OBJECT, NUMBERS] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

const backslash = 0x5c;
const quote = 0x22;

/**
 * Open containers cost memory that the text does not show: gzip packs 128 MiB of `[` into half a megabyte, and V8 ends the process
 * where an array grows beyond its limit. TensorFlow Serving's own tests go to 500,000.
 */
const maxDepth = 1_000_000;

/** The powers of ten that a double holds exactly. */
const exactPowersOfTen = Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);

/**
 * JSON as TensorFlow Serving reads it: bare `NaN`, `Infinity`, `Inf` and their negatives are numbers, int64 and uint64
 * keep every digit, what follows the first value is ignored, and a million lists may lie one in the other.
 *
 * The values lie one after the other in flat arrays, in the order of the text: no recursion and about 13 bytes a value,
 * against a JavaScript array per row of an image. A value is named by its index; those of an array or an object follow it.
 */
export interface JsonDocument {
  /** Values in the document; the root is number 0. */
  readonly length: number;
  kind(index: number): JsonKind;
  /** The number, `integer` and `decimal` alike. */
  number(index: number): number;
  /** The number, `integer` and `bigint` alike. */
  bigint(index: number): bigint;
  string(index: number): string;
  /** Elements of an array, members of an object. */
  size(index: number): number;
  /** Index of the value behind this one and all that it holds. */
  next(index: number): number;
  /** Index of the first member of that name. */
  member(index: number, name: string): number | undefined;
  /** Name and index of each member, in the order of the text. */
  members(index: number): Generator<readonly [name: string, index: number]>;
  /** Index of each element. */
  elements(index: number): Generator<number>;
  /** The list that was read in one piece at an index of kind `numbers`. */
  numbers(index: number): DenseNumbers;
}

/**
 * @param lists Reads lists of numbers in one piece each; of kind `numbers` then.
 * @throws {NearfarError} `invalid-argument`, with TensorFlow Serving's text: `JSON Parse error: <RapidJSON's reason> at offset: N`.
 */
export function readJson(bytes: Uint8Array, lists?: NumberLists): JsonDocument {
  return new JsonReader(bytes, lists).read();
}

/** A value takes two bytes of text at least (itself and a comma), about five in a list of decimals. */
export function likelyValues(bytes: Uint8Array): number {
  return Math.max(16, bytes.length >> 2);
}

class Tape implements JsonDocument {
  #entries = 0;
  readonly #lists: NumberLists | undefined;
  readonly strings: string[] = [];
  readonly bigints: bigint[] = [];
  #kinds: Uint8Array;
  #values: Float64Array;
  #sizes: Uint32Array;

  constructor(capacity: number, lists: NumberLists | undefined) {
    this.#lists = lists;
    this.#kinds = new Uint8Array(capacity);
    this.#values = new Float64Array(capacity);
    this.#sizes = new Uint32Array(capacity);
  }

  get length(): number {
    return this.#entries + (this.#lists?.count ?? 0);
  }

  push(kind: number, value: number): number {
    if (this.#entries === this.#kinds.length) this.#grow();
    this.#kinds[this.#entries] = kind;
    this.#values[this.#entries] = value;
    return this.#entries++;
  }

  close(index: number, size: number): void {
    this.#sizes[index] = size;
    this.#values[index] = this.#entries;
  }

  #grow(): void {
    const capacity = this.#entries * 2;
    const [kindsBefore, valuesBefore, sizesBefore] = [this.#kinds, this.#values, this.#sizes];
    this.#kinds = new Uint8Array(capacity);
    this.#values = new Float64Array(capacity);
    this.#sizes = new Uint32Array(capacity);
    this.#kinds.set(kindsBefore);
    this.#values.set(valuesBefore);
    this.#sizes.set(sizesBefore);
  }

  kind(index: number): JsonKind {
    return kinds[this.#kinds[index] ?? NULL] ?? 'null';
  }

  number(index: number): number {
    return this.#values[index] ?? Number.NaN;
  }

  bigint(index: number): bigint {
    const value = this.number(index);
    return this.#kinds[index] === BIGINT ? (this.bigints[value] ?? 0n) : BigInt(value);
  }

  string(index: number): string {
    return this.strings[this.number(index)] ?? '';
  }

  size(index: number): number {
    return this.#sizes[index] ?? 0;
  }

  next(index: number): number {
    const kind = this.#kinds[index];
    return kind === ARRAY || kind === OBJECT ? this.number(index) : index + 1;
  }

  member(index: number, name: string): number | undefined {
    for (const [found, value] of this.members(index)) if (found === name) return value;
    return undefined;
  }

  *members(index: number): Generator<readonly [name: string, index: number]> {
    const end = this.next(index);
    for (let key = index + 1; key < end; key = this.next(key + 1)) yield [this.string(key), key + 1];
  }

  *elements(index: number): Generator<number> {
    const end = this.next(index);
    for (let element = index + 1; element < end; element = this.next(element)) yield element;
  }

  numbers(index: number): DenseNumbers {
    return this.#lists?.at(this.number(index)) ?? { shape: [0], values: new Float64Array(), areIntegers: true };
  }
}

class JsonReader {
  readonly #bytes: Uint8Array;
  readonly #tape: Tape;
  readonly #lists: NumberLists | undefined;
  #at = 0;

  constructor(bytes: Uint8Array, lists: NumberLists | undefined) {
    this.#bytes = bytes;
    this.#lists = lists;
    // Where lists are read in one piece not much else is to be expected.
    this.#tape = new Tape(lists ? 1024 : likelyValues(bytes), lists);
  }

  read(): JsonDocument {
    // A byte order mark is skipped, as RapidJSON's EncodedInputStream does.
    if (this.#bytes[0] === 0xef && this.#bytes[1] === 0xbb && this.#bytes[2] === 0xbf) this.#at = 3;
    this.#skipSpace();
    if (this.#at >= this.#bytes.length) this.#fail('The document is empty.', this.#at);
    // Open containers, innermost last: index on the tape and members or elements so far.
    const opened: number[] = [];
    const sizes: number[] = [];
    for (;;) {
      const container = this.#value();
      if (container !== undefined) {
        if (opened.length === maxDepth) this.#fail(`The document is nested deeper than ${maxDepth} levels.`, this.#at - 1);
        opened.push(container);
        sizes.push(0);
      }
      for (let done = container === undefined; ; done = true) {
        const top = opened.at(-1);
        if (top === undefined) return this.#tape;
        if (done) sizes[sizes.length - 1] = (sizes.at(-1) ?? 0) + 1;
        if (!this.#closes(this.#tape.kind(top) === 'object', done)) break;
        this.#tape.close(top, sizes.at(-1) ?? 0);
        opened.pop();
        sizes.pop();
      }
    }
  }

  /** Reads what stands between two values of a container, and the next key of an object; true when the container ends. */
  #closes(isObject: boolean, hasValues: boolean): boolean {
    this.#skipSpace();
    const end = isObject ? 0x7d : 0x5d;
    if (this.#bytes[this.#at] === end) {
      // After a comma #value() has begun, so `[1,]` never gets here.
      this.#at++;
      return true;
    }
    if (hasValues) {
      if (this.#bytes[this.#at] !== 0x2c) {
        this.#fail(isObject ? 'Missing a comma or } after an object member.' : 'Missing a comma or ] after an array element.', this.#at);
      }
      this.#at++;
      this.#skipSpace();
    }
    if (isObject) this.#key();
    return false;
  }

  #key(): void {
    if (this.#bytes[this.#at] !== quote) this.#fail('Missing a name for object member.', this.#at);
    this.#string();
    this.#skipSpace();
    if (this.#bytes[this.#at] !== 0x3a) this.#fail('Missing a colon after a name of object member.', this.#at);
    this.#at++;
    this.#skipSpace();
  }

  /** Reads one value; the index of the container when it begins one. */
  #value(): number | undefined {
    switch (this.#bytes[this.#at]) {
      case 0x7b:
        this.#at++;
        return this.#tape.push(OBJECT, 0);
      case 0x5b:
        if (this.#numbers()) return undefined;
        this.#at++;
        return this.#tape.push(ARRAY, 0);
      case quote:
        this.#string();
        return undefined;
      case 0x6e:
        return this.#word('null', NULL);
      case 0x74:
        return this.#word('true', TRUE);
      case 0x66:
        return this.#word('false', FALSE);
      default:
        return this.#number();
    }
  }

  /** Reads a list in one piece where that is possible. */
  #numbers(): boolean {
    const end = this.#lists?.read(this.#bytes, this.#at);
    if (end === undefined) return false;
    this.#at = end;
    this.#tape.push(NUMBERS, (this.#lists?.length ?? 0) - 1);
    return true;
  }

  #word(word: string, kind: number): undefined {
    if (!this.#startsWith(word)) this.#fail('Invalid value.', this.#at + 1);
    this.#at += word.length;
    this.#tape.push(kind, 0);
  }

  #startsWith(word: string): boolean {
    for (let i = 0; i < word.length; i++) if (this.#bytes[this.#at + i] !== word.charCodeAt(i)) return false;
    return true;
  }

  #number(): undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    let at = start;
    const isNegative = bytes[at] === 0x2d;
    if (isNegative) at++;
    if (bytes[at] === 0x4e || bytes[at] === 0x49) return this.#nonFinite(at, isNegative);

    // Up to 15 digits are exact in a double; one division or multiplication by an exact power of ten then rounds right
    // (Clinger, "How to read floating point numbers accurately", 1990). All else is left to Number().
    let mantissa = 0;
    let digits = 0;
    let exponent = 0;
    const integerStart = at;
    for (let c = bytes[at]; c !== undefined && c >= 0x30 && c <= 0x39; c = bytes[++at]) {
      mantissa = mantissa * 10 + (c - 0x30);
      if (mantissa !== 0) digits++;
    }
    if (at === integerStart) this.#fail('Invalid value.', at);
    // A number has no leading zero: like RapidJSON, stop behind it, and what follows is the error.
    if (bytes[integerStart] === 0x30 && at > integerStart + 1) at = integerStart + 1;
    let isInteger = true;
    if (bytes[at] === 0x2e) {
      isInteger = false;
      const fractionStart = ++at;
      for (let c = bytes[at]; c !== undefined && c >= 0x30 && c <= 0x39; c = bytes[++at]) {
        mantissa = mantissa * 10 + (c - 0x30);
        if (mantissa !== 0) digits++;
        exponent--;
      }
      if (at === fractionStart) this.#fail('Miss fraction part in number.', at);
    }
    if (bytes[at] === 0x65 || bytes[at] === 0x45) {
      isInteger = false;
      at++;
      const isSmall = bytes[at] === 0x2d;
      if (isSmall || bytes[at] === 0x2b) at++;
      const exponentStart = at;
      let written = 0;
      for (let c = bytes[at]; c !== undefined && c >= 0x30 && c <= 0x39; c = bytes[++at]) written = written * 10 + (c - 0x30);
      if (at === exponentStart) this.#fail('Miss exponent in number.', at);
      exponent += isSmall ? -written : written;
    }
    this.#at = at;
    if (digits > 15 || exponent < -22 || exponent > 22) return this.#longNumber(start, at, isInteger);
    const value = exponent < 0 ? mantissa / exactPowersOfTen[-exponent]! : mantissa * exactPowersOfTen[exponent]!; // |exponent| <= 22
    this.#tape.push(isInteger ? INTEGER : DECIMAL, isNegative ? -value : value);
  }

  #longNumber(start: number, end: number, isInteger: boolean): undefined {
    const text = asciiText(this.#bytes, start, end);
    const value = Number(text);
    if (!Number.isFinite(value)) this.#fail('Number too big to be stored in double.', start);
    if (!isInteger) {
      this.#tape.push(DECIMAL, value);
    } else if (Number.isSafeInteger(value)) {
      this.#tape.push(INTEGER, value);
    } else {
      const exact = BigInt(text);
      // Like RapidJSON, an integer that fits neither int64 nor uint64 is a double.
      if (exact < -(2n ** 63n) || exact >= 2n ** 64n) this.#tape.push(DECIMAL, value);
      else this.#tape.push(BIGINT, this.#tape.bigints.push(exact) - 1);
    }
  }

  #nonFinite(at: number, isNegative: boolean): undefined {
    this.#at = at;
    const word = ['NaN', 'Infinity', 'Inf'].find((candidate) => this.#startsWith(candidate));
    if (word === undefined) this.#fail('Invalid value.', at);
    else this.#at += word.length;
    this.#tape.push(DECIMAL, word === 'NaN' ? Number.NaN : isNegative ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY);
  }

  #string(): void {
    const bytes = this.#bytes;
    const start = this.#at + 1;
    let at = start;
    let hasEscapes = false;
    let isAscii = true;
    for (; bytes[at] !== quote; at++) {
      const c = bytes[at];
      if (c === undefined) this.#fail('Missing a closing quotation mark in string.', start - 1);
      else if (c < 0x20) this.#fail('Invalid encoding in string.', at);
      else if (c > 0x7f) isAscii = false;
      else if (c === backslash) {
        hasEscapes = true;
        at++;
      }
    }
    this.#at = at + 1;
    const text = isAscii && at - start < 64 ? asciiText(bytes, start, at) : this.#utf8(start, at);
    this.#tape.push(STRING, this.#tape.strings.push(hasEscapes ? this.#unescape(text, start) : text) - 1);
  }

  #utf8(start: number, end: number): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.#bytes.subarray(start, end));
    } catch {
      return this.#fail('Invalid encoding in string.', start);
    }
  }

  #unescape(text: string, start: number): string {
    const unescaped = text.replace(/\\(?:u([0-9a-fA-F]{4})|([\s\S]))/g, (_, hex: string | undefined, letter: string | undefined) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      const character = letter === undefined ? undefined : escapes[letter];
      if (character !== undefined) return character;
      return this.#fail(letter === 'u' ? 'Incorrect hex digit after \\u escape in string.' : 'Invalid escape character in string.', start);
    });
    if (/\p{Surrogate}/u.test(unescaped)) this.#fail('The surrogate pair in string is invalid.', start);
    return unescaped;
  }

  #skipSpace(): void {
    for (let c = this.#bytes[this.#at]; c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09; c = this.#bytes[this.#at]) this.#at++;
  }

  #fail(reason: string, offset: number): never {
    throw new NearfarError('invalid-argument', `JSON Parse error: ${reason} at offset: ${offset}`, { details: { offset } });
  }
}

const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** Short ASCII text: a TextDecoder call costs more than the text. */
function asciiText(bytes: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i]!); // the loop bound proves the index
  return text;
}

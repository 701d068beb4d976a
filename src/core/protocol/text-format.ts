import { type DescEnum, type DescField, type DescMessage, type MessageShape, ScalarType } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { NearfarError } from '../errors.ts';
import { readTextToken, type TextToken, unquoteText } from '../text-tokens.ts';

// The text form of protocol buffers (https://protobuf.dev/reference/protobuf/textformat-spec/) by the descriptors of generated code.
// Errors are worded, and lines and columns counted, as by protobuf's own parser, whose words operators search for.

/** Messages nest at most this deep (the limit of the protobuf libraries). */
const maxDepth = 100;

/**
 * Reads a message in text form.
 * @param file Where the text comes from, for the error.
 * @throws {NearfarError} `invalid-argument` with line and column for anything that the message does not have or that is no text form;
 * `google.protobuf.Any` written out (`[type.googleapis.com/…]`) and extensions are refused.
 */
export function parseTextMessage<Desc extends DescMessage>(
  schema: Desc,
  text: string,
  { file }: { file?: string | undefined } = {},
): MessageShape<Desc> {
  const message = reflect(schema);
  new Parser(text, schema.typeName, file).fields(message, '', 0);
  return message.message as MessageShape<Desc>; // made from this schema
}

type ScalarField = { readonly scalar: ScalarType; readonly enum?: undefined } | { readonly scalar?: undefined; readonly enum: DescEnum };

class Parser {
  readonly #text: string;
  readonly #typeName: string;
  readonly #file: string | undefined;
  #next: TextToken;

  constructor(text: string, typeName: string, file: string | undefined) {
    this.#text = text;
    this.#typeName = typeName;
    this.#file = file;
    this.#next = this.#read(0);
  }

  /** Fields up to `end`, which is a closing bracket, or nothing at the end of the text. */
  fields(message: ReflectMessage, end: string, depth: number): void {
    if (depth > maxDepth) {
      throw this.#error(`Message is too deep, the parser exceeded the configured recursion limit of ${maxDepth}.`);
    }
    const seen = new Set<DescField>();
    while (!this.#isAtEnd(end)) {
      this.#field(message, seen, depth);
      this.#takeSeparator();
    }
    this.#close(end);
  }

  #field(message: ReflectMessage, seen: Set<DescField>, depth: number): void {
    const { desc } = message;
    if (this.#isSign('[')) {
      throw this.#error(`Extensions and google.protobuf.Any written out are not read here, in message type "${desc.typeName}".`);
    }
    const name = this.#takeName();
    const field = desc.fields.find((candidate) => candidate.name === name);
    if (!field) throw this.#error(`Message type "${desc.typeName}" has no field named "${name}".`);
    if (field.fieldKind !== 'list' && field.fieldKind !== 'map') this.#assertFirst(field, seen);
    seen.add(field);

    const hasColon = this.#takeSign(':');
    const isMessage = field.fieldKind === 'map' || field.message !== undefined;
    if (!hasColon && !isMessage) throw this.#expected(':');
    if ((field.fieldKind === 'list' || field.fieldKind === 'map') && this.#takeSign('[')) {
      if (this.#takeSign(']')) return;
      do this.#value(message, field, depth);
      while (this.#takeSign(','));
      this.#takeExpected(']');
    } else this.#value(message, field, depth);
  }

  #assertFirst(field: DescField, seen: ReadonlySet<DescField>): void {
    if (seen.has(field)) throw this.#error(`Non-repeated field "${field.name}" is specified multiple times.`);
    const other = field.oneof?.fields.find((candidate) => seen.has(candidate));
    if (!other || !field.oneof) return;
    throw this.#error(
      `Field "${field.name}" is specified along with field "${other.name}", another member of oneof "${field.oneof.name}".`,
    );
  }

  #value(message: ReflectMessage, field: DescField, depth: number): void {
    switch (field.fieldKind) {
      case 'scalar':
      case 'enum':
        message.set(field, this.#scalar(field, field.name));
        break;
      case 'message':
        message.set(field, this.#message(field.message, depth));
        break;
      case 'list':
        message.get(field).add(field.listKind === 'message' ? this.#message(field.message, depth) : this.#scalar(field, field.name));
        break;
      case 'map':
        this.#mapEntry(message, field, depth);
        break;
    }
  }

  #message(desc: DescMessage, depth: number): ReflectMessage {
    const message = reflect(desc);
    this.fields(message, this.#open(), depth + 1);
    return message;
  }

  #mapEntry(message: ReflectMessage, field: DescField & { fieldKind: 'map' }, depth: number): void {
    const end = this.#open();
    let key: unknown;
    let value: unknown;
    while (!this.#isAtEnd(end)) {
      const name = this.#takeName();
      if (name !== 'key' && name !== 'value') {
        throw this.#error(`Message type "${field.parent.typeName}.${entryName(field.name)}" has no field named "${name}".`);
      }
      if ((name === 'key' ? key : value) !== undefined) throw this.#error(`Non-repeated field "${name}" is specified multiple times.`);
      const hasColon = this.#takeSign(':');
      if (name === 'value' && field.mapKind === 'message') value = this.#message(field.message, depth + 1);
      else if (!hasColon) throw this.#expected(':');
      else if (name === 'key') key = this.#scalar({ scalar: field.mapKey }, name);
      else if (field.mapKind !== 'message') value = this.#scalar(field, name);
      this.#takeSeparator();
    }
    this.#close(end);
    // An entry without a value stands for an empty one.
    const empty = () => (field.mapKind === 'message' ? reflect(field.message) : field.mapKind === 'enum' ? 0 : zeroOf(field.scalar));
    message.get(field).set(key ?? zeroOf(field.mapKey), value ?? empty());
  }

  #scalar(field: ScalarField, name: string): unknown {
    if (field.enum) return this.#enumValue(field.enum, name);
    switch (field.scalar) {
      case ScalarType.STRING:
        return this.#utf8(name);
      case ScalarType.BYTES:
        return this.#bytes();
      case ScalarType.BOOL:
        return this.#boolean(name);
      case ScalarType.FLOAT:
        return Math.fround(this.#double());
      case ScalarType.DOUBLE:
        return this.#double();
      case ScalarType.INT64:
      case ScalarType.SINT64:
      case ScalarType.SFIXED64:
        return this.#integer(-(2n ** 63n), 2n ** 63n - 1n);
      case ScalarType.UINT64:
      case ScalarType.FIXED64:
        return this.#integer(0n, 2n ** 64n - 1n);
      case ScalarType.UINT32:
      case ScalarType.FIXED32:
        return Number(this.#integer(0n, 2n ** 32n - 1n));
      case ScalarType.INT32:
      case ScalarType.SINT32:
      case ScalarType.SFIXED32:
        return Number(this.#integer(-(2n ** 31n), 2n ** 31n - 1n));
    }
  }

  #enumValue(type: DescEnum, field: string): number {
    if (this.#next.kind === 'number' || this.#isSign('-')) {
      const { start } = this.#next;
      const number = Number(this.#integer(-(2n ** 31n), 2n ** 31n - 1n));
      if (type.open || type.value[number]) return number;
      throw this.#error(`Unknown enumeration value of "${number}" for field "${field}".`, start);
    }
    if (this.#next.kind !== 'name') throw this.#error(`Expected integer or identifier, got: ${this.#next.text}`);
    const { text } = this.#next;
    const known = type.values.find(({ name }) => name === text);
    if (!known) throw this.#error(`Unknown enumeration value of "${text}" for field "${field}".`);
    this.#advance();
    return known.number;
  }

  #boolean(field: string): boolean {
    const { text, start } = this.#next;
    if (this.#next.kind === 'number') return this.#integer(0n, 1n) === 1n;
    const name = this.#takeName();
    if (/^(true|True|t)$/.test(name)) return true;
    if (/^(false|False|f)$/.test(name)) return false;
    throw this.#error(`Invalid value for boolean field "${field}". Value: "${text}".`, start);
  }

  #utf8(field: string): string {
    const { start } = this.#next;
    const bytes = this.#bytes();
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.#error(`String field "${field}" holds bytes that are no UTF-8.`, start);
    }
  }

  /** Strings one after the other are one. */
  #bytes(): Uint8Array {
    if (this.#next.kind !== 'string') throw this.#error(`Expected string, got: ${this.#next.text}`);
    const parts: Uint8Array[] = [];
    while (this.#next.kind === 'string') {
      const part = unquoteText(this.#next.text);
      if (!part) throw this.#error('Invalid escape sequence in string literal.');
      parts.push(part);
      this.#advance();
    }
    const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let position = 0;
    for (const part of parts) {
      joined.set(part, position);
      position += part.length;
    }
    return joined;
  }

  #double(): number {
    const isNegative = this.#takeSign('-');
    const { kind, text, start } = this.#next;
    if (kind !== 'number' && kind !== 'name') throw this.#error(`Expected double, got: ${text}`);
    this.#advance();
    const [, sign = '', digits = ''] = /^([+-]?)(.*)$/s.exec(text) ?? [];
    const size = parseDouble(digits);
    if (size === undefined) throw this.#error(`Expected double, got: ${text}`, start);
    return isNegative !== (sign === '-') ? -size : size;
  }

  #integer(min: bigint, max: bigint): bigint {
    const isNegative = this.#takeSign('-');
    const { kind, text, start } = this.#next;
    const [, sign, digits] = /^([+-]?)(0[xX][0-9a-fA-F]{1,64}|0[0-7]{0,64}|[1-9][0-9]{0,64})$/.exec(text) ?? [];
    if (kind !== 'number' || digits === undefined) throw this.#error(`Expected integer, got: ${text}`);
    const size = BigInt(/^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits);
    const value = isNegative !== (sign === '-') ? -size : size;
    if (value < min || value > max) throw this.#error(`Integer out of range (${isNegative ? '-' : ''}${text})`, start);
    this.#advance();
    return value;
  }

  /** The bracket that closes the message that opens here. */
  #open(): string {
    if (this.#takeSign('<')) return '>';
    this.#takeExpected('{');
    return '}';
  }

  #isAtEnd(end: string): boolean {
    return end === '' ? this.#next.kind === 'end' : this.#isSign('}') || this.#isSign('>');
  }

  #close(end: string): void {
    if (end !== '') this.#takeExpected(end);
  }

  #takeName(): string {
    const { kind, text } = this.#next;
    if (kind !== 'name') throw this.#error(`Expected identifier, got: ${text}`);
    this.#advance();
    return text;
  }

  #takeSeparator(): void {
    if (!this.#takeSign(',')) this.#takeSign(';');
  }

  #takeExpected(sign: string): void {
    if (!this.#takeSign(sign)) throw this.#expected(sign);
  }

  #takeSign(sign: string): boolean {
    if (!this.#isSign(sign)) return false;
    this.#advance();
    return true;
  }

  #isSign(sign: string): boolean {
    return this.#next.kind === 'sign' && this.#next.text === sign;
  }

  #advance(): void {
    this.#next = this.#read(this.#next.start + this.#next.text.length);
  }

  #read(position: number): TextToken {
    const token = readTextToken(this.#text, position);
    if (token.kind !== 'bad') return token;
    const isQuote = token.text === '"' || token.text === "'";
    if (!isQuote) throw this.#error(`Invalid character "${token.text}" encountered in text.`, token.start);
    const isLastLine = !this.#text.includes('\n', token.start);
    throw this.#error(isLastLine ? 'Unexpected end of string.' : 'String literals cannot cross line boundaries.', token.start);
  }

  #expected(sign: string): NearfarError {
    return this.#error(`Expected "${sign}", found "${this.#next.text}".`);
  }

  #error(what: string, position = this.#next.start): NearfarError {
    const before = this.#text.slice(0, position).split('\n');
    const [line, column] = [before.length, columnAfter(before.at(-1) ?? '')];
    const place = this.#file === undefined ? '' : `${this.#file}: `;
    return new NearfarError('invalid-argument', `Error parsing text-format ${this.#typeName}: ${place}${line}:${column}: ${what}`, {
      details: { line, column, file: this.#file },
    });
  }
}

/** Counted from 1; a tab goes to the next multiple of 8, as in protobuf's tokenizer. */
function columnAfter(text: string): number {
  let column = 0;
  for (const character of text) column += character === '\t' ? 8 - (column % 8) : 1;
  return column + 1;
}

function parseDouble(text: string): number | undefined {
  if (/^inf(inity)?f?$/i.test(text)) return Number.POSITIVE_INFINITY;
  if (/^nanf?$/i.test(text)) return Number.NaN;
  return /^([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?f?$/i.test(text) ? Number(text.replace(/f$/i, '')) : undefined;
}

function zeroOf(type: ScalarType): unknown {
  switch (type) {
    case ScalarType.STRING:
      return '';
    case ScalarType.BYTES:
      return new Uint8Array();
    case ScalarType.BOOL:
      return false;
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return 0n;
    default:
      return 0;
  }
}

/** The name that protoc gives the message of a map's entries. */
function entryName(field: string): string {
  return `${field.replace(/(?:^|_)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())}Entry`;
}

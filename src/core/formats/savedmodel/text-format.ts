import { readTextToken, type TextToken, unquoteText } from '../../text-tokens.ts';
import { damaged } from './damaged.ts';
import { dataTypeNumber } from './data-types.ts';
import { type AnySchema, type Budget, emptyMessage, type Field, MAX_DEPTH, MAX_MESSAGES, type Schema, setField } from './wire.ts';

// The text form of protocol buffers (https://protobuf.dev/reference/protobuf/textformat-spec/), as far as TensorFlow writes it.

/**
 * Reads a message in text form; fields that the table does not name are skipped.
 * @throws {NearfarError} `invalid-argument` when it is damaged, nests too deep or has too many parts.
 */
export function parseTextMessage<T>(schema: Schema<T>, text: string): T {
  return new Parser(text).message(schema as AnySchema, '', 0) as T; // the table has a field for every property
}

class Parser {
  readonly #text: string;
  readonly #budget: Budget = { messages: 0 };
  #position = 0;
  #next: TextToken;

  constructor(text: string) {
    this.#text = text;
    this.#next = this.#read();
  }

  /** Fields up to `end`, which is a closing bracket, or nothing at the end of the text. */
  message(schema: AnySchema, end: string, depth: number): Record<string, unknown> {
    if (depth > MAX_DEPTH) throw this.#damaged(`messages nest deeper than ${MAX_DEPTH}`);
    this.#budget.messages += 1;
    if (this.#budget.messages > MAX_MESSAGES) throw this.#damaged(`more than ${MAX_MESSAGES} messages`);
    const result = emptyMessage(schema);
    while (!this.#takeEnd(end)) {
      const name = this.#take('name');
      const field = Object.hasOwn(schema, name) ? schema[name] : undefined;
      if (field && field.type !== 'range') this.#field(result, name, field, depth);
      else this.#skipField(depth);
      if (this.#isSign(',') || this.#isSign(';')) this.#advance();
    }
    return result;
  }

  #field(into: Record<string, unknown>, name: string, field: Field<unknown>, depth: number): void {
    const hasColon = this.#isSign(':');
    if (hasColon) this.#advance();
    if (this.#isSign('[')) {
      this.#advance();
      for (let isFirst = true; !this.#isSign(']'); isFirst = false) {
        if (!isFirst) this.#takeSign(',');
        setField(into, name, field, this.#value(field, depth));
      }
      this.#advance();
      return;
    }
    if (!hasColon && field.type !== 'message') throw this.#damaged(`a value of ${name} is expected`);
    setField(into, name, field, this.#value(field, depth));
  }

  #value(field: Field<unknown>, depth: number): unknown {
    const { type } = field;
    if (type === 'message') {
      const end = this.#open();
      return this.message(field.schema!(), end, depth + 1);
    }
    if (type === 'string') return new TextDecoder().decode(this.#string());
    if (type === 'bytes') return this.#string();
    if (type === 'dataType') {
      if (this.#next.kind === 'number') return this.#integer(Number);
      const name = this.#take('name');
      return dataTypeNumber(name) ?? 0; // a type that is not known here; who needs it says so
    }
    if (type === 'bool') return this.#boolean();
    if (type === 'float') return Math.fround(this.#float());
    if (type === 'double') return this.#float();
    return type === 'int64' || type === 'uint64' ? this.#integer(BigInt) : this.#integer(Number);
  }

  /** The bracket that closes the message that opens here. */
  #open(): string {
    const { text } = this.#advance();
    if (text === '{') return '}';
    if (text === '<') return '>';
    throw this.#damaged('a message is expected');
  }

  /** Strings one after the other are one. */
  #string(): Uint8Array {
    const parts = [unquote(this.#take('string'))];
    while (this.#next.kind === 'string') parts.push(unquote(this.#take('string')));
    const [first] = parts;
    if (first && parts.length === 1) return first;
    const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let position = 0;
    for (const part of parts) {
      joined.set(part, position);
      position += part.length;
    }
    return joined;
  }

  #boolean(): boolean {
    const { text } = this.#advance();
    if (/^(true|True|t|1)$/.test(text)) return true;
    if (/^(false|False|f|0)$/.test(text)) return false;
    throw this.#damaged(`true or false is expected, got ${text}`);
  }

  #float(): number {
    const sign = this.#minus() ? -1 : 1;
    const { text } = this.#advance();
    if (/^[+-]?(inf|infinity)f?$/i.test(text)) return sign * (text.startsWith('-') ? -1 : 1) * Number.POSITIVE_INFINITY;
    if (/^nanf?$/i.test(text)) return Number.NaN;
    const value = Number(/^[+-]?0x/i.test(text) ? text : text.replace(/f$/i, ''));
    if (Number.isNaN(value)) throw this.#damaged(`a number is expected, got ${text}`);
    return sign * value;
  }

  #integer<N extends number | bigint>(convert: (text: string) => N): N {
    const isNegative = this.#minus();
    const text = this.#take('number');
    const match = /^([+-]?)(0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9][0-9]{0,19})$/.exec(text);
    if (!match) throw this.#damaged(`a whole number is expected, got ${text}`);
    const digits = match[2]!; // the pattern has it
    const value = convert(/^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits);
    return isNegative !== (match[1] === '-') ? (-value as N) : value; // the same kind of number
  }

  #minus(): boolean {
    if (!this.#isSign('-')) return false;
    this.#advance();
    return true;
  }

  #skipField(depth: number): void {
    if (this.#isSign(':')) this.#advance();
    this.#skipValue(depth);
  }

  #skipValue(depth: number): void {
    if (depth > MAX_DEPTH) throw this.#damaged(`messages nest deeper than ${MAX_DEPTH}`);
    if (this.#isSign('{') || this.#isSign('<')) {
      this.message({}, this.#open(), depth + 1);
    } else if (this.#isSign('[')) {
      this.#advance();
      for (let isFirst = true; !this.#isSign(']'); isFirst = false) {
        if (!isFirst) this.#takeSign(',');
        this.#skipValue(depth + 1);
      }
      this.#advance();
    } else if (this.#next.kind === 'string') this.#string();
    else {
      this.#minus();
      if (this.#next.kind === 'sign') throw this.#damaged('a value is expected');
      this.#advance();
    }
  }

  #takeEnd(end: string): boolean {
    if (end === '' ? this.#next.kind === 'end' : this.#isSign(end)) {
      if (end !== '') this.#advance();
      return true;
    }
    return false;
  }

  #takeSign(text: string): void {
    if (!this.#isSign(text)) throw this.#damaged(`${text} is expected`);
    this.#advance();
  }

  #take(kind: TextToken['kind']): string {
    if (this.#next.kind !== kind) throw this.#damaged(`a ${kind} is expected, got ${this.#next.text.slice(0, 40) || 'the end'}`);
    return this.#advance().text;
  }

  #isSign(text: string): boolean {
    return this.#next.kind === 'sign' && this.#next.text === text;
  }

  #advance(): TextToken {
    const taken = this.#next;
    if (taken.kind === 'end') throw this.#damaged('the text ends early');
    this.#next = this.#read();
    return taken;
  }

  #read(): TextToken {
    const token = readTextToken(this.#text, this.#position);
    this.#position = token.start + token.text.length;
    if (token.kind === 'bad') throw this.#damaged('a character is not understood');
    return token;
  }

  #damaged(what: string): Error {
    const line = this.#text.slice(0, this.#position).split('\n').length;
    return damaged(`${what} (line ${line})`);
  }
}

/** Bytes of a quoted string. */
function unquote(quoted: string): Uint8Array {
  const bytes = unquoteText(quoted);
  if (bytes) return bytes;
  throw damaged(`a character of ${quoted.slice(0, 40)} does not exist`);
}

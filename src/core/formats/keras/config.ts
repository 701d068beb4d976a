import { damaged, unsupported } from './problems.ts';

export type Json = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws {NearfarError} `invalid-argument` when it is no JSON object. */
export function parseObject(bytes: Uint8Array, what: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(pythonJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch (cause) {
    throw damaged(`${what} is not JSON`, cause);
  }
  if (!isRecord(value)) throw damaged(`${what} is no JSON object`);
  assertDepth(value, what);
  return value;
}

/** Python writes `Infinity` and `NaN`, which JSON has not: numbers beyond all bounds say the first, null the second. */
function pythonJson(text: string): string {
  if (!/[:[,]\s*-?(?:Infinity|NaN)\b/.test(text)) return text;
  return text.replace(/"(?:[^"\\]|\\.)*"|-?Infinity\b|\bNaN\b/g, (token) => {
    if (token === 'NaN') return 'null';
    return token.endsWith('Infinity') ? token.replace('Infinity', '1e999') : token;
  });
}

const MAX_DEPTH = 200;

function assertDepth(root: unknown, what: string): void {
  let level: unknown[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) throw damaged(`${what} is nested more than ${MAX_DEPTH} deep`);
    level = level.flatMap((value) => (typeof value === 'object' && value !== null ? Object.values(value) : []));
  }
}

/** The config of a layer; every reader says which layer a wrong value belongs to. */
export class Config {
  readonly values: Json;
  readonly where: string;

  constructor(values: Json, where: string) {
    this.values = values;
    this.where = where;
  }

  /** Undefined for null too. */
  get(name: string): unknown {
    const value = Object.hasOwn(this.values, name) ? this.values[name] : undefined;
    return value === null ? undefined : value;
  }

  number(name: string, fallback?: number): number {
    return this.#required(name, this.optionalNumber(name) ?? fallback);
  }

  optionalNumber(name: string): number | undefined {
    const value = this.get(name);
    if (value === undefined || typeof value === 'number') return value;
    throw this.#wrong(name, 'a number', value);
  }

  /** A count of at least 1. */
  count(name: string, fallback?: number): number {
    const value = this.number(name, fallback);
    if (Number.isSafeInteger(value) && value >= 1) return value;
    throw this.#wrong(name, 'a whole number of at least 1', value);
  }

  bool(name: string, fallback: boolean): boolean {
    const value = this.get(name) ?? fallback;
    if (typeof value === 'boolean') return value;
    throw this.#wrong(name, 'a boolean', value);
  }

  string(name: string, fallback?: string): string {
    return this.#required(name, this.optionalString(name) ?? fallback);
  }

  optionalString(name: string): string | undefined {
    const value = this.get(name);
    if (value === undefined || typeof value === 'string') return value;
    throw this.#wrong(name, 'a string', value);
  }

  /** A list of whole numbers; one number stands for `rank` equal ones. */
  ints(name: string, rank?: number, fallback?: number): number[] {
    const value = this.get(name) ?? fallback;
    const list = typeof value === 'number' ? Array.from({ length: rank ?? 1 }, () => value) : value;
    if (!isInts(list) || (rank !== undefined && list.length !== rank)) throw this.#wrong(name, `${rank ?? 'some'} whole numbers`, value);
    return list;
  }

  /** Numbers in nested lists, flattened; undefined when there are none. Keras 3 wraps arrays in objects. */
  array(name: string): number[] | undefined {
    let value = this.get(name);
    if (isRecord(value) && isRecord(value['config'])) value = value['config']['value'];
    if (value === undefined) return undefined;
    const list = Array.isArray(value) ? value.flat(8) : [value];
    if (list.every((item): item is number => typeof item === 'number')) return list;
    throw this.#wrong(name, 'numbers', value);
  }

  /** An object's own `class_name` and `config`. */
  object(name: string): { readonly className: string; readonly config: Json; readonly json: Json } {
    const json = this.get(name);
    if (isRecord(json) && typeof json['class_name'] === 'string' && isRecord(json['config'])) {
      return { className: json['class_name'], config: json['config'], json };
    }
    throw this.#wrong(name, 'a layer', json);
  }

  isChannelsFirst(): boolean {
    return this.string('data_format', 'channels_last') === 'channels_first';
  }

  /** Refuses a setting that would change the answer; `allowed` lists those that do not. */
  refuse(name: string, allowed: readonly unknown[]): void {
    const value = this.get(name);
    if (value === undefined || allowed.includes(value)) return;
    throw unsupported(`${this.where} has ${name} = ${JSON.stringify(value)}, which is not supported`);
  }

  #required<T>(name: string, value: T | undefined): T {
    if (value !== undefined) return value;
    throw damaged(`${this.where} has no ${name}`);
  }

  #wrong(name: string, want: string, got: unknown) {
    return damaged(`${name} of ${this.where} should be ${want}, got ${JSON.stringify(got)?.slice(0, 80)}`);
  }
}

function isInts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item));
}

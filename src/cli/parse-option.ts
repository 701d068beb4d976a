import { InvalidArgumentError } from 'commander';

// Parsers for option values; what they refuse, commander reports with the option's name.

/** Adds to the values of an option that may be given several times. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

/** A number, or a fraction such as 1/255. */
export function parseNumber(text: string): number {
  const [numerator = '', denominator, ...rest] = text.split('/');
  const value = Number(numerator) / (denominator === undefined ? 1 : Number(denominator));
  if (numerator.trim() === '' || rest.length > 0 || !Number.isFinite(value))
    throw new InvalidArgumentError('expected a number or a fraction such as 1/255');
  return value;
}

export function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('expected a whole number of at least 1');
  return value;
}

export function parsePort(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 65_535) throw new InvalidArgumentError('expected a port from 0 to 65535');
  return value;
}

/** One number for all three channels, or three with commas. */
export function parseChannels(text: string): [number, number, number] {
  const [r, g, b, ...rest] = text.split(',').map(parseNumber);
  if (r !== undefined && g === undefined) return [r, r, r];
  if (r === undefined || g === undefined || b === undefined || rest.length > 0)
    throw new InvalidArgumentError('expected one number, or three with commas');
  return [r, g, b];
}

/** `224` or `240x320`: height and width. */
export function parseSize(text: string): [number, number] {
  const [height, width, ...rest] = text.split('x').map(parseCount);
  if (height === undefined || rest.length > 0) throw new InvalidArgumentError('expected one side, or height x width such as 240x320');
  return [height, width ?? height];
}

/** Precisions of weights, with commas. */
export function parsePrecisions(text: string): ('float32' | 'float16' | 'uint16' | 'uint8')[] {
  return parseChoices(text, ['float32', 'float16', 'uint16', 'uint8'] as const);
}

/** `tfjs` and `onnx`, with commas. */
export function parseFormats(text: string): ('tfjs-graph' | 'onnx')[] {
  return parseChoices(text, ['tfjs', 'onnx'] as const).map((format) => (format === 'tfjs' ? 'tfjs-graph' : format));
}

function parseChoices<T extends string>(text: string, known: readonly T[]): T[] {
  const found = text.split(',').map((word) => known.find((each) => each === word.trim()));
  const chosen = found.filter((each) => each !== undefined);
  if (chosen.length < found.length) throw new InvalidArgumentError(`expected ${known.join(', ')}, with commas`);
  return [...new Set(chosen)];
}

/** `absolute,relative`. */
export function parseTolerance(text: string): { absolute: number; relative: number } {
  const [absolute, relative, ...rest] = text.split(',').map(parseNumber);
  if (absolute === undefined || relative === undefined || rest.length > 0) throw new InvalidArgumentError('expected absolute,relative');
  return { absolute, relative };
}

/** `old=new`, adding to those before; the last = counts, as tensor names may hold one. */
export function collectPairs(text: string, previous: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.lastIndexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('expected OLD=NEW');
  return { ...previous, [text.slice(0, at)]: text.slice(at + 1) };
}

export interface Binding {
  readonly tensor: string;
  readonly activation?: 'softmax' | 'sigmoid';
}

/** `name=tensor` or `name=softmax(tensor)`, adding to those before. */
export function collectBindings(text: string, previous: Readonly<Record<string, Binding>> = {}): Record<string, Binding> {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('expected NAME=TENSOR or NAME=softmax(TENSOR)');
  const value = text.slice(at + 1);
  const [, activation, inner] = /^(softmax|sigmoid)\((.+)\)$/.exec(value) ?? [];
  const binding: Binding =
    inner !== undefined && (activation === 'softmax' || activation === 'sigmoid') ? { tensor: inner, activation } : { tensor: value };
  return { ...previous, [text.slice(0, at)]: binding };
}

/** `name`, `name@version` or `name@label`. */
export function parseModelChoice(text: string): { name: string; version?: string; label?: string } {
  const at = text.lastIndexOf('@');
  if (at < 1) return { name: text };
  const choice = text.slice(at + 1);
  return { name: text.slice(0, at), ...(/^[0-9]+$/.test(choice) ? { version: choice } : { label: choice }) };
}

/** Values with commas, each one of those that are known. */
export function parseList<T extends string>(known: readonly T[]): (text: string) => T[] {
  return (text) =>
    text.split(',').map((item) => {
      const found = known.find((each) => each === item.trim());
      if (found === undefined) throw new InvalidArgumentError(`expected some of ${known.join(',')}`);
      return found;
    });
}

const roles = ['predict', 'read', 'operate', 'admin'] as const;

/** What the holder of an API key may do. */
export function parseRole(text: string): (typeof roles)[number] {
  const found = roles.find((role) => role === text);
  if (!found) throw new InvalidArgumentError(`expected ${roles.join(', ')}`);
  return found;
}

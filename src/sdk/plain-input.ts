import { NearfarError, type TaskCall } from '../core/index.ts';

/**
 * The input of a task that takes no picture, checked before either leg sees it: a device must not take what JSON cannot carry, nor a server
 * what it would name otherwise.
 * @throws {NearfarError} `invalid-argument` that says what was expected and what came.
 */
export function checkPlainInput(task: TaskCall['task'], input: unknown): unknown {
  if (task === 'audio-classification') return checkSound(input);
  return task === 'tabular-classification' || task === 'tabular-regression' ? checkRow(input) : checkText(input);
}

function checkText(input: unknown): unknown {
  if (typeof input === 'string') return input;
  const { text, pair } = fieldsOf(input);
  if (typeof text === 'string' && pair === undefined) return text;
  return typeof text === 'string' && typeof pair === 'string' ? { text, pair } : refuse('a text, or { text, pair }', input);
}

function checkSound(input: unknown): unknown {
  const { sampleRate, channels } = fieldsOf(input);
  if (typeof sampleRate !== 'number' || !Array.isArray(channels)) return refuse('a sound as { sampleRate, channels }', input);
  for (const [index, channel] of channels.entries()) {
    if (!(channel instanceof Float32Array || channel instanceof Float64Array))
      refuse(`channel ${index} of the sound as Float32Array or Float64Array`, channel);
  }
  return { sampleRate, channels };
}

function checkRow(input: unknown): unknown {
  const row = Object.entries(fieldsOf(input, 'a row as { column: cell }'));
  for (const [name, cell] of row) {
    if (cell === null || cell === undefined || ['string', 'number', 'boolean'].includes(typeof cell)) continue;
    refuse(`the cell ${name} as a text, a number, true, false or null`, cell);
  }
  return Object.fromEntries(row);
}

function fieldsOf(input: unknown, want?: string): Readonly<Record<string, unknown>> {
  if (typeof input === 'object' && input !== null && !Array.isArray(input)) return input as Readonly<Record<string, unknown>>;
  return want === undefined ? {} : refuse(want, input);
}

function refuse(want: string, got: unknown): never {
  const kind = typeof got === 'object' ? Object.prototype.toString.call(got).slice(8, -1) : `${typeof got} ${String(got)}`;
  throw new NearfarError('invalid-argument', `input: expected ${want}, got ${kind}`, { details: { want, got: kind } });
}

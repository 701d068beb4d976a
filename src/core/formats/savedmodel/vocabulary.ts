import { type AnyTensor, createTensor } from '../../tensor/index.ts';
import { type GraphDType, toConstant } from '../graph/index.ts';
import type { Table } from './state.ts';

/** Where keys or values come from: -2 is the whole line, -1 the number of the line. */
interface Column {
  readonly column: number;
  readonly dtype: GraphDType | undefined;
}

export interface VocabularyLayout {
  readonly key: Column;
  readonly value: Column;
  /** Lines to read; -1 for all. */
  readonly size: number;
  /** Number of the first line. */
  readonly offset: number;
  readonly delimiter: string;
}

const WHOLE_LINE = -2;
const LINE_NUMBER = -1;

/**
 * The table that TensorFlow fills from a text file (InitializeTableFromTextFile in tensorflow/core/kernels/lookup_util.cc).
 * Words stay bytes, as they may be of any encoding.
 */
export function readVocabulary(file: Uint8Array, layout: VocabularyLayout): Table | { readonly reason: string } {
  const { key, value, size, offset } = layout;
  const lines = splitLines(file, size);
  const empty = lines.findIndex(({ length }) => length === 0);
  if (empty >= 0) return { reason: `has a vocabulary file whose line ${empty + 1} is empty` };
  if (lines.length < size) return { reason: `has a vocabulary file of ${lines.length} lines, expected ${size}` };
  const delimiter = layout.delimiter.charCodeAt(0);
  const rows = key.column >= 0 || value.column >= 0 ? lines.map((line) => splitAt(line, delimiter)) : [];
  const read = ({ column, dtype }: Column): AnyTensor | undefined => {
    if (column === LINE_NUMBER)
      return numbers(
        dtype,
        lines.map((_, index) => String(index + offset)),
      );
    const cells = column === WHOLE_LINE ? lines : rows.map((row) => row[column]);
    if (!cells.every((cell) => cell !== undefined)) return undefined;
    if (dtype === 'string') return createTensor('string', [cells.length], cells);
    return numbers(
      dtype,
      cells.map((cell) => new TextDecoder().decode(cell)),
    );
  };
  const [keys, values] = [read(key), read(value)];
  if (!keys || !values)
    return { reason: `has a vocabulary file without ${key.dtype} in column ${key.column} and ${value.dtype} in column ${value.column}` };
  return { keys: toConstant(keys), values: toConstant(values) };
}

/** Lines without their ends; TensorFlow drops every carriage return. */
function splitLines(file: Uint8Array, size: number): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start < file.length && (size < 0 || lines.length < size); ) {
    const found = file.indexOf(10, start);
    const end = found < 0 ? file.length : found;
    const line = file.subarray(start, end);
    lines.push(line.includes(13) ? line.filter((byte) => byte !== 13) : line);
    start = end + 1;
  }
  return lines;
}

function splitAt(line: Uint8Array, delimiter: number): Uint8Array[] {
  const cells: Uint8Array[] = [];
  let start = 0;
  for (let end = line.indexOf(delimiter); end >= 0; end = line.indexOf(delimiter, start)) {
    cells.push(line.subarray(start, end));
    start = end + 1;
  }
  cells.push(line.subarray(start));
  return cells;
}

/** Undefined when a text is no number of the dtype. */
function numbers(dtype: GraphDType | undefined, texts: readonly string[]): AnyTensor | undefined {
  const shape = [texts.length];
  const isWhole = texts.every((text) => /^[+-]?\d{1,18}$/.test(text));
  if (dtype === 'int64' && isWhole) return createTensor('int64', shape, BigInt64Array.from(texts, BigInt));
  if (dtype === 'int32' && isWhole) return createTensor('int32', shape, Int32Array.from(texts, Number));
  const values = texts.map((text) => (text.trim() === '' ? Number.NaN : Number(text)));
  if (values.some(Number.isNaN)) return undefined;
  if (dtype === 'float32') return createTensor('float32', shape, Float32Array.from(values));
  if (dtype === 'float64') return createTensor('float64', shape, Float64Array.from(values));
  return undefined;
}

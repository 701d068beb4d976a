import * as tf from '@tensorflow/tfjs-core';
import { NearfarError } from '../../core/index.ts';
import type { NodeFunction } from './custom-nodes.ts';
import { createParseExample } from './example-ops.ts';
import { type AttributeReader, type GraphNode, inputsOf, readAttributes } from './graph.ts';
import { createReplace } from './regex.ts';
import { bytesOf, moveStrings, stringTensor, toLatin1 } from './strings.ts';
import type { Table } from './tables.ts';

// Operators that TensorFlow.js lacks or gets wrong, over tensors of the CPU backend. Semantics and error texts are those of
// TensorFlow's kernels (tensorflow/core/kernels). Loaded by models that use one.

/** Computes a node's outputs; the inputs are the node's, controls at the end included. */
export type Execute = NodeFunction;

/** What an operator may need besides its node. */
export interface CustomOpContext {
  /** The table that a node looks into. */
  readonly tableOf: (node: string) => Table | undefined;
}

type Create = (attributes: AttributeReader, node: GraphNode, context: CustomOpContext) => Execute;

/**
 * The function of a node with an operator of ours.
 * @throws {NearfarError} `unsupported` for attributes that are not implemented.
 */
export function createCustomOp(node: GraphNode, context: CustomOpContext): Execute {
  const create = creators[node.op];
  if (create === undefined) throw new NearfarError('internal', `there is no implementation of ${node.op}`);
  return create(readAttributes(node), node, context);
}

const decoder = new TextDecoder('utf-8', { fatal: true });
const encoder = new TextEncoder();

/** Text of bytes that must be UTF-8: what TensorFlow does with others depends on the operator. */
function decode(op: string, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new NearfarError('invalid-argument', `${op} takes UTF-8, got ${JSON.stringify(toLatin1(bytes.subarray(0, 100)))}`, { cause });
  }
}

function mapStrings(input: tf.Tensor, convert: (bytes: Uint8Array) => Uint8Array): tf.Tensor {
  return stringTensor(bytesOf(input).map(convert), input.shape);
}

/** Lower or upper case: of ASCII letters alone, or of all where the encoding is said. */
function createCase(isAscii: (byte: number) => boolean, convert: (text: string) => string): Create {
  return (attributes, { op }) => {
    if (attributes.text('encoding') !== '') return ([input]) => mapStrings(input!, (bytes) => encoder.encode(convert(decode(op, bytes))));
    return ([input]) => mapStrings(input!, (bytes) => bytes.map((byte) => (isAscii(byte) ? byte ^ 0x20 : byte)));
  };
}

const isSpace = (byte: number) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

function strip(bytes: Uint8Array): Uint8Array {
  let start = 0;
  let end = bytes.length;
  while (start < end && isSpace(bytes[start]!)) start++;
  while (end > start && isSpace(bytes[end - 1]!)) end--;
  return bytes.subarray(start, end);
}

function replaceAll(op: string, input: tf.Tensor, pattern: string, rewrite: string, isGlobal: boolean): tf.Tensor {
  const replace = createReplace({ pattern, rewrite, isGlobal });
  return mapStrings(input, (bytes) => encoder.encode(replace(decode(op, bytes))));
}

const replaceStatic: Create = (attributes, { op }) => {
  const utf8 = (text: string) =>
    decode(
      op,
      Uint8Array.from(text, (character) => character.charCodeAt(0)),
    );
  const replace = createReplace({
    pattern: utf8(attributes.text('pattern')),
    rewrite: utf8(attributes.text('rewrite')),
    isGlobal: attributes.flag('replace_global', true),
  });
  return ([input]) => mapStrings(input!, (bytes) => encoder.encode(replace(decode(op, bytes))));
};

/** Pieces of one string; without a separator pieces lie between runs of white space. */
function splitBytes(bytes: Uint8Array, separator: Uint8Array, most: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let at = 0;
  if (separator.length === 0) {
    for (;;) {
      while (at < bytes.length && isSpace(bytes[at]!)) at++;
      if (at === bytes.length) return pieces;
      if (most >= 0 && pieces.length === most) return [...pieces, bytes.subarray(at)];
      const start = at;
      while (at < bytes.length && !isSpace(bytes[at]!)) at++;
      pieces.push(bytes.subarray(start, at));
    }
  }
  for (let end = indexOf(bytes, separator, at); end >= 0 && (most < 0 || pieces.length < most); end = indexOf(bytes, separator, at)) {
    pieces.push(bytes.subarray(at, end));
    at = end + separator.length;
  }
  return [...pieces, bytes.subarray(at)];
}

function indexOf(bytes: Uint8Array, wanted: Uint8Array, from: number): number {
  for (let at = from; at + wanted.length <= bytes.length; at++) {
    if (wanted.every((byte, index) => bytes[at + index] === byte)) return at;
  }
  return -1;
}

const splitV2: Create = (attributes) => {
  const most = attributes.number('maxsplit', -1);
  return ([input, separator]) => {
    const rows = bytesOf(input!).map((bytes) => splitBytes(bytes, bytesOf(separator!)[0]!, most));
    const indices = rows.flatMap((row, index) => row.flatMap((_, column) => [index, column]));
    const values = rows.flat();
    const widest = rows.reduce((most, { length }) => Math.max(most, length), 0);
    return [
      tf.tensor(Int32Array.from(indices), [values.length, 2], 'int32'),
      stringTensor(values, [values.length]),
      tf.tensor(Int32Array.of(rows.length, widest), [2], 'int32'),
    ];
  };
};

const join: Create = (attributes, node) => {
  const separator = Uint8Array.from(attributes.text('separator'), (character) => character.charCodeAt(0));
  const count = inputsOf(node).filter(({ isControl }) => !isControl).length;
  return (inputs) => {
    const parts = inputs.slice(0, count);
    const { shape, size } = parts.find(({ rank }) => rank > 0) ?? parts[0]!;
    const wrong = parts.find((part) => part.rank > 0 && !tf.util.arraysEqual(part.shape, shape));
    if (wrong) throw new NearfarError('invalid-argument', `Input shapes do not match: [${shape}] vs. [${wrong.shape}]`);
    const values = parts.map((part) => bytesOf(part));
    const joined = Array.from({ length: size }, (_, index) => {
      return concatenate(
        values.flatMap((strings, part) => [...(part > 0 ? [separator] : []), strings[parts[part]!.rank === 0 ? 0 : index]!]),
      );
    });
    return stringTensor(joined, shape);
  };
};

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const isUtf8 = (attributes: AttributeReader) => attributes.text('unit', 'BYTE') === 'UTF8_CHAR';

/** Where each character of UTF-8 begins: at every byte that continues none. */
function characterStarts(bytes: Uint8Array): number[] {
  const starts: number[] = [];
  for (let at = 0; at < bytes.length; at++) if ((bytes[at]! & 0xc0) !== 0x80) starts.push(at);
  return starts;
}

const lengthOf: Create = (attributes) => {
  const measure = isUtf8(attributes) ? (bytes: Uint8Array) => characterStarts(bytes).length : (bytes: Uint8Array) => bytes.length;
  return ([input]) => tf.tensor(Int32Array.from(bytesOf(input!), measure), input!.shape, 'int32');
};

const substr: Create = (attributes) => {
  const byCharacter = isUtf8(attributes);
  return ([input, pos, len]) => {
    for (const { rank, shape } of [pos!, len!]) {
      if (rank === 0 || tf.util.arraysEqual(shape, input!.shape)) continue;
      throw new NearfarError('unsupported', `Substr takes pos and len of shape [] or that of its input [${input!.shape}], got [${shape}]`);
    }
    const [positions, lengths] = [pos!.dataSync(), len!.dataSync()];
    const strings = bytesOf(input!).map((bytes, index) => {
      const at = positions[pos!.rank === 0 ? 0 : index]!;
      const length = lengths[len!.rank === 0 ? 0 : index]!;
      const starts = byCharacter ? characterStarts(bytes) : undefined;
      const size = starts?.length ?? bytes.length;
      if (at > size || at < -size) {
        throw new NearfarError('invalid-argument', `pos ${at} out of range for string b'${toLatin1(bytes)}' at index ${index}`);
      }
      const first = at < 0 ? at + size : at;
      const last = length < 0 ? size : Math.min(size, first + length);
      return starts ? bytes.subarray(starts[first] ?? bytes.length, starts[last] ?? bytes.length) : bytes.subarray(first, last);
    });
    return stringTensor(strings, input!.shape);
  };
};

/** Decimal digits of a number, ties to even, as C's printf writes them. */
export function formatFixed(value: number, digits: number): string {
  if (Number.isNaN(value)) return 'nan';
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  if (!Number.isFinite(value)) return `${sign}inf`;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, Math.abs(value));
  const bits = view.getBigUint64(0);
  const biased = bits >> 52n;
  const mantissa = (bits & (2n ** 52n - 1n)) | (biased === 0n ? 0n : 2n ** 52n);
  const exponent = (biased === 0n ? 1n : biased) - 1075n;
  const scaled = mantissa * 10n ** BigInt(digits);
  let whole = exponent >= 0n ? scaled << exponent : scaled >> -exponent;
  if (exponent < 0n) {
    const twice = (scaled - (whole << -exponent)) << 1n;
    const one = 1n << -exponent;
    if (twice > one || (twice === one && whole % 2n === 1n)) whole++;
  }
  const text = String(whole).padStart(digits + 1, '0');
  return sign + (digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`);
}

const asString: Create = (attributes) => {
  if (attributes.flag('scientific') || attributes.flag('shortest')) {
    throw new NearfarError('unsupported', 'it writes numbers in the scientific or the shortest form, only %f is implemented');
  }
  const precision = attributes.number('precision', -1);
  const width = attributes.number('width', -1);
  const fill = attributes.text('fill');
  const type = attributes.type('T');
  if (/COMPLEX|VARIANT/.test(type)) throw new NearfarError('unsupported', `it writes ${type}`);
  const isFloat = /FLOAT|DOUBLE|HALF/.test(type);
  const format = (value: number): string => {
    if (type === 'DT_BOOL') return value === 0 ? 'false' : 'true';
    const text = isFloat ? formatFixed(value, precision < 0 ? 6 : precision) : String(value);
    if (width < 0) return text;
    // As in printf's flags: 0 fills between sign and digits, - fills at the end, a blank and + stand for a sign.
    if (fill === '0' && /^-?\d/.test(text))
      return text.startsWith('-') ? `-${text.slice(1).padStart(width - 1, '0')}` : text.padStart(width, '0');
    if (fill === '-') return text.padEnd(width, ' ');
    return (fill === '+' || fill === ' ') && !text.startsWith('-') ? (fill + text).padStart(width, ' ') : text.padStart(width, ' ');
  };
  return ([input]) => {
    const strings = type === 'DT_STRING' ? bytesOf(input!) : Array.from(input!.dataSync(), (value) => encoder.encode(format(value)));
    return stringTensor(strings, input!.shape);
  };
};

const toNumber: Create = (attributes) => {
  const type = attributes.type('out_type');
  const isFloat = /FLOAT|DOUBLE/.test(type);
  const convert = (bytes: Uint8Array): number => {
    const text = toLatin1(strip(bytes));
    const value = isFloat ? parseFloatText(text) : /^[+-]?\d+$/.test(text) ? Number(text) : undefined;
    if (value === undefined || (type === 'DT_INT32' && value !== (value | 0))) {
      throw new NearfarError('invalid-argument', `StringToNumberOp could not correctly convert string: ${toLatin1(bytes)}`);
    }
    if (!isFloat && value !== (value | 0)) {
      throw new NearfarError('unsupported', `StringToNumber gives ${text}; TensorFlow.js has whole numbers of int32 only`);
    }
    return value;
  };
  return ([input]) => {
    const values = Array.from(bytesOf(input!), convert);
    return isFloat ? tf.tensor(Float32Array.from(values), input!.shape) : tf.tensor(Int32Array.from(values), input!.shape, 'int32');
  };
};

function parseFloatText(text: string): number | undefined {
  const [, sign, word] = /^([+-]?)(.+)$/s.exec(text.toLowerCase()) ?? [];
  if (word === undefined) return undefined;
  const factor = sign === '-' ? -1 : 1;
  if (/^(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(word) || /^0x[0-9a-f]+$/.test(word)) return factor * Number(word);
  if (word === 'inf' || word === 'infinity') return factor * Number.POSITIVE_INFINITY;
  return word === 'nan' ? Number.NaN : undefined;
}

/** Bytes of each string as numbers of one type, all strings of one length. */
const decodeRaw: Create = (attributes) => {
  const type = attributes.type('out_type');
  const readers: Readonly<Record<string, readonly [number, (view: DataView, at: number, little: boolean) => number]>> = {
    DT_FLOAT: [4, (view, at, little) => view.getFloat32(at, little)],
    DT_DOUBLE: [8, (view, at, little) => view.getFloat64(at, little)],
    DT_INT32: [4, (view, at, little) => view.getInt32(at, little)],
    DT_INT16: [2, (view, at, little) => view.getInt16(at, little)],
    DT_UINT16: [2, (view, at, little) => view.getUint16(at, little)],
    DT_INT8: [1, (view, at) => view.getInt8(at)],
    DT_UINT8: [1, (view, at) => view.getUint8(at)],
    DT_BOOL: [1, (view, at) => view.getUint8(at)],
  };
  const reader = readers[type];
  if (reader === undefined) throw new NearfarError('unsupported', `it reads ${type}`);
  const [size, read] = reader;
  const little = attributes.flag('little_endian', true);
  return ([input]) => {
    const strings = bytesOf(input!);
    const length = strings[0]?.length ?? 0;
    const wrong = strings.find((bytes) => bytes.length !== length || length % size !== 0);
    if (wrong) {
      throw new NearfarError(
        'invalid-argument',
        `DecodeRaw requires input strings to all be the same size, a multiple of ${size}; got ${wrong.length}`,
      );
    }
    const values = strings.flatMap((bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      return Array.from({ length: length / size }, (_, index) => read(view, index * size, little));
    });
    const dtype = /FLOAT|DOUBLE/.test(type) ? 'float32' : type === 'DT_BOOL' ? 'bool' : 'int32';
    const data = dtype === 'float32' ? Float32Array.from(values) : dtype === 'bool' ? Uint8Array.from(values) : Int32Array.from(values);
    return tf.tensor(data, [...input!.shape, length / size], dtype);
  };
};

/** A table is known when the model is loaded, so looking up waits for nothing. */
const withTable = (execute: (table: Table, inputs: readonly tf.Tensor[]) => tf.Tensor): Create => {
  return (_, node, { tableOf }) => {
    const table = tableOf(node.name);
    if (table === undefined) throw new NearfarError('unsupported', 'its table has no content that is known at load');
    return (inputs) => execute(table, inputs);
  };
};

const find = withTable((table, [keys, otherwise]) => table.find(keys!, otherwise!));
const sizeOf = withTable((table) => tf.scalar(table.size, 'int32'));

/** A vector as condition chooses rows; TensorFlow.js would lay it along the last axis. */
const select: Create = () => {
  return ([condition, yes, no]) => {
    const isOfRows = condition!.rank === 1 && yes!.rank > 1;
    return tf.where(isOfRows ? tf.reshape(condition!, [condition!.size, ...yes!.shape.slice(1).map(() => 1)]) : condition!, yes!, no!);
  };
};

/** Where a quotient is rounded down but TensorFlow rounds towards zero. */
function isRoundedWrong(x: tf.Tensor, y: tf.Tensor, rest: tf.Tensor): tf.Tensor {
  const differ = tf.notEqual(tf.cast(tf.less(x, 0), 'int32'), tf.cast(tf.less(y, 0), 'int32'));
  return tf.logicalAnd(tf.notEqual(rest, 0), differ);
}

/** The remainder has the sign of the dividend; the converter takes FloorMod for it. */
const mod: Create =
  () =>
  ([x, y]) =>
    tf.tidy(() => {
      const rest = tf.mod(x!, y!);
      return tf.where(isRoundedWrong(x!, y!, rest), tf.sub(rest, y!), rest);
    });

/** Of whole numbers, rounded towards zero; the converter takes FloorDiv for it. */
const div: Create = (attributes) => {
  const isWhole = /INT/.test(attributes.type('T'));
  return ([x, y]) =>
    tf.tidy(() => {
      if (!isWhole) return tf.div(x!, y!);
      const rest = tf.mod(x!, y!);
      return tf.add(tf.floorDiv(x!, y!), tf.cast(isRoundedWrong(x!, y!, rest), 'int32'));
    });
};

/** The converter hands the number of lower diagonals on as that of upper ones. */
const bandPart: Create = () => {
  return ([x, lower, upper]) => tf.linalg.bandPart(x!, lower as tf.Scalar, upper as tf.Scalar);
};

/** TensorFlow.js suppresses by the threshold even where scores are to be lowered softly, and leaves the third output out. */
const suppressV5: Create = () => {
  return async ([boxes, scores, maxOutputSize, iouThreshold, scoreThreshold, sigma]) => {
    const [most, iou, score, softness] = (
      await Promise.all([maxOutputSize!, iouThreshold!, scoreThreshold!, sigma!].map((tensor) => tensor.data()))
    ).map((data) => data[0]!);
    if (softness! > 0) throw new NearfarError('unsupported', `NonMaxSuppressionV5 with a soft_nms_sigma of ${softness} is not supported`);
    const { selectedIndices, selectedScores } = await tf.image.nonMaxSuppressionWithScoreAsync(
      boxes as tf.Tensor2D,
      scores as tf.Tensor1D,
      most!,
      iou!,
      score!,
      0,
    );
    return [selectedIndices!, selectedScores!, tf.scalar(selectedIndices!.size, 'int32')];
  };
};

const raggedToTensor: Create = (attributes) => {
  const types = attributes.texts('row_partition_types');
  const raggedRank = types.filter((type) => type !== 'FIRST_DIM_SIZE').length;
  return ([shape, values, otherwise, ...partitions]) =>
    tf.tidy(() => {
      // A scalar leaves everything open, which TensorFlow.js does not know.
      const sizes = shape!.rank > 0 ? shape! : tf.fill([raggedRank + values!.rank], -1, 'int32');
      return moveStrings([values!, otherwise!], ([movedValues, movedOtherwise]) =>
        tf.raggedTensorToTensor(sizes, movedValues!, movedOtherwise!, partitions.slice(0, types.length), [...types]),
      );
    });
};

// The following are for strings alone; TensorFlow.js has them for numbers.

const gatherStrings: Create = (attributes) => {
  const batchDims = attributes.number('batch_dims');
  return ([params, indices, axis]) =>
    moveStrings([params!], ([moved]) => tf.gather(moved!, indices!, axis === undefined ? 0 : axis.dataSync()[0]!, batchDims));
};

const padStrings: Create = () => {
  return ([x, paddings, constant]) =>
    tf.tidy(() => {
      const counts = paddings!.dataSync();
      const pairs = Array.from({ length: x!.rank }, (_, axis): [number, number] => [counts[2 * axis]!, counts[2 * axis + 1]!]);
      const fill = constant ?? stringTensor([new Uint8Array()], []);
      return moveStrings([x!, fill], ([moved]) => tf.pad(moved!, pairs, x!.size)); // the number of the constant, after those of x
    });
};

const reverseStrings: Create =
  () =>
  ([x, axes]) =>
    moveStrings([x!], ([moved]) => tf.reverse(moved!, [...axes!.dataSync()]));

const transposeStrings: Create =
  () =>
  ([x, order]) =>
    moveStrings([x!], ([moved]) => tf.transpose(moved!, [...order!.dataSync()]));

const selectStrings: Create =
  () =>
  ([condition, yes, no]) =>
    moveStrings([yes!, no!], ([t, e]) => tf.where(condition!, t!, e!));

const splitStrings: Create = (attributes, { op }) => {
  const count = attributes.number('num_split');
  return (inputs) => {
    const [value, sizes, axis] = op === 'Split' ? [inputs[1]!, count, inputs[0]!] : [inputs[0]!, [...inputs[1]!.dataSync()], inputs[2]!];
    return moveStrings([value], ([moved]) => tf.split(moved!, sizes, axis.dataSync()[0]!));
  };
};

/** TensorFlow.js takes the value as text. */
const fillStrings: Create = () => {
  return ([dims, value]) => {
    const sizes = [...dims!.dataSync()];
    return stringTensor(Array(tf.util.sizeFromShape(sizes)).fill(bytesOf(value!)[0]!), sizes);
  };
};

const raggedGather: Create = (attributes) => {
  const splits = attributes.number('PARAMS_RAGGED_RANK', 1);
  return (inputs) => {
    const { outputNestedSplits, outputDenseValues } = tf.raggedGather(
      inputs.slice(0, splits),
      inputs[splits]!,
      inputs[splits + 1]!,
      splits,
    );
    return [...outputNestedSplits, outputDenseValues];
  };
};

const raggedRange: Create = () => {
  return ([starts, limits, deltas]) => {
    const { rtNestedSplits, rtDenseValues } = tf.raggedRange(starts!, limits!, deltas!);
    return [rtNestedSplits!, rtDenseValues!];
  };
};

const creators: Readonly<Record<string, Create>> = {
  AsString: asString,
  DecodeRaw: decodeRaw,
  Div: div,
  Fill: fillStrings,
  Gather: gatherStrings,
  GatherV2: gatherStrings,
  LookupTableFind: find,
  LookupTableFindV2: find,
  LookupTableSize: sizeOf,
  LookupTableSizeV2: sizeOf,
  MatrixBandPart: bandPart,
  Mod: mod,
  NonMaxSuppressionV5: suppressV5,
  Pad: padStrings,
  PadV2: padStrings,
  ParseExample: (_, node) => createParseExample(node),
  ParseExampleV2: (_, node) => createParseExample(node),
  ParseSingleExample: (_, node) => createParseExample(node),
  RaggedGather: raggedGather,
  RaggedRange: raggedRange,
  RaggedTensorToTensor: raggedToTensor,
  RegexReplace: (attributes, { op }) => {
    const isGlobal = attributes.flag('replace_global', true);
    return ([input, pattern, rewrite]) =>
      replaceAll(op, input!, decode(op, bytesOf(pattern!)[0]!), decode(op, bytesOf(rewrite!)[0]!), isGlobal);
  },
  ReverseV2: reverseStrings,
  Select: select,
  SelectV2: selectStrings,
  Split: splitStrings,
  SplitV: splitStrings,
  StaticRegexReplace: replaceStatic,
  StringJoin: join,
  StringLength: lengthOf,
  StringLower: createCase(
    (byte) => byte >= 0x41 && byte <= 0x5a,
    (text) => text.toLowerCase(),
  ),
  StringSplitV2: splitV2,
  StringStrip:
    () =>
    ([input]) =>
      mapStrings(input!, strip),
  StringToNumber: toNumber,
  StringUpper: createCase(
    (byte) => byte >= 0x61 && byte <= 0x7a,
    (text) => text.toUpperCase(),
  ),
  Substr: substr,
  Transpose: transposeStrings,
};

/** Names of the operators there are, for the check that none is missing. */
export const customOpNames: readonly string[] = Object.keys(creators);

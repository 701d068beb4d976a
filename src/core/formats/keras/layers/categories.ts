import { type AnyTensor, createTensor, type DType } from '../../../tensor/index.ts';
import { attribute, type Constant, toConstant } from '../../graph/index.ts';
import type { GraphBuilder, Value } from '../builder.ts';
import type { Config } from '../config.ts';
import { damaged, unsupported } from '../problems.ts';
import { vocabularyOf } from '../vocabulary.ts';
import { any, type LayerKind, type Lowering, own } from './layer-kind.ts';

// Layers that turn text and categories into numbers (keras/src/layers/preprocessing). What they give of text begins as ragged rows, which
// are made dense as soon as words are numbers.

/** Stands between characters; a noncharacter of Unicode, kept free for such uses. */
const SEPARATOR = '\u{10ffff}';
const PUNCTUATION = '[!"#$%&()\\*\\+,-\\./:;<=>?@\\[\\\\\\]^_`{|}~\\\']';
/** More categories of unknown words, and longer n-grams, are no work of a model. */
const MAX_UNKNOWN = 1_000_000;
const MAX_NGRAM = 100;
/** Numbers no category: it is left out of every encoding. */
const NO_CATEGORY = -1;

type OutputMode = 'int' | 'one_hot' | 'multi_hot' | 'count' | 'tf_idf';

export const categoryLayers: Readonly<Record<string, LayerKind>> = {
  TextVectorization: { slots: idfSlots, lower: vectorize },
  StringLookup: { slots: idfSlots, lower: (call) => lookUpAll(call, readLookup(call, 'string', stringToken(call.config, 'mask_token'))) },
  IntegerLookup: { slots: idfSlots, lower: (call) => lookUpAll(call, readLookup(call, 'int64', integerToken(call.config, 'mask_token'))) },
  Hashing: { lower: hash },
  CategoryEncoding: {
    lower: (call) => {
      if (call.keywords.tensors('count_weights').length > 0) throw unsupported(`${call.config.where} is called with count_weights`);
      const mode = outputMode(call.config, 'multi_hot');
      if (mode === 'int' || mode === 'tf_idf')
        throw unsupported(`${call.config.where} has output_mode = "${mode}", which is not supported`);
      return encode(call, call.builder.cast(any(call), 'int32'), mode, call.config.count('num_tokens'));
    },
  },
  Discretization: { lower: discretize },
};

/** Weights of the categories, which the layer stores by name. */
function idfSlots({ config }: { readonly config: Config }) {
  return config.get('output_mode') === 'tf_idf' ? [{ path: '', index: 'idf_weights', name: 'idf_weights', trainable: false }] : own();
}

function outputMode(config: Config, fallback: OutputMode): OutputMode {
  config.refuse('sparse', [false]);
  config.refuse('ragged', [false]);
  const mode = config.string('output_mode', fallback);
  if (mode === 'int' || mode === 'one_hot' || mode === 'multi_hot' || mode === 'count' || mode === 'tf_idf') return mode;
  throw unsupported(`${config.where} has output_mode = "${mode}", which is not supported`);
}

function stringToken(config: Config, name: string): string | undefined {
  return config.optionalString(name);
}

function integerToken(config: Config, name: string): number | undefined {
  const token = config.optionalNumber(name);
  if (token === undefined || Number.isSafeInteger(token)) return token;
  throw damaged(`${config.where} has ${name} = ${token}, expected a whole number`);
}

/** How words or numbers become categories. */
interface Lookup {
  readonly mode: OutputMode;
  /** All categories, those of unknown words and of the mask included. */
  readonly depth: number;
  find(keys: Value): Value;
}

function readLookup(call: Lowering, keyType: 'string' | 'int64', mask: string | number | undefined): Lookup {
  const { builder: b, config, variables } = call;
  const mode = outputMode(config, 'int');
  const unknown = config.number('num_oov_indices', 1);
  if (!(Number.isSafeInteger(unknown) && unknown >= 1 && unknown <= MAX_UNKNOWN))
    throw unsupported(`${config.where} has num_oov_indices = ${unknown}, which is not supported`);
  const isInverse = config.bool('invert', false);
  if (isInverse && mode !== 'int') throw damaged(`${config.where} has invert with output_mode = "${mode}"`);
  if (unknown > 1) config.refuse('salt', []);
  const firstUnknown = mask !== undefined && mode === 'int' ? 1 : 0;
  const first = firstUnknown + unknown;
  const unknownToken = keyType === 'string' ? (stringToken(config, 'oov_token') ?? '[UNK]') : (integerToken(config, 'oov_token') ?? -1);
  const special = [...(firstUnknown === 1 ? [mask!] : []), ...Array.from({ length: unknown }, () => unknownToken)];
  const given = vocabularyOf(config, variables, keyType);
  const isWhole = special.every((token, index) => given[index] === token);
  const tokens = isWhole ? given.slice(special.length) : given;
  if (new Set(tokens).size !== tokens.length || tokens.includes(mask as never))
    throw damaged(`the vocabulary of ${config.where} repeats a term`);
  const indices = tokens.map((_, index) => index + first);
  const keys = tensorOf(keyType, firstUnknown === 1 ? [mask!, ...tokens] : tokens);
  const values = tensorOf('int64', firstUnknown === 1 ? [0, ...indices] : indices);
  const depth = config.bool('pad_to_max_tokens', false) ? config.count('max_tokens') : first + tokens.length;
  const find = (from: Value): Value => {
    if (isInverse) return lookUp(b, values, keys, tensorOf(keyType, [unknownToken], []), b.cast(from, 'int64'));
    const typed = keyType === 'string' ? from : b.cast(from, 'int64');
    // A number that no word has marks the words that are spread over several categories of unknown ones.
    const found = lookUp(b, keys, values, tensorOf('int64', [unknown > 1 ? NO_CATEGORY : firstUnknown], []), typed);
    if (unknown === 1) return found;
    const isHashed = keyType === 'string' || config.string('oov_method', 'floormod') === 'farmhash';
    const count = b.tensor(tensorOf('int64', [unknown], []));
    const spread = isHashed ? hashed(b, asText(b, typed), unknown) : b.binary('FloorMod', typed, count);
    const isUnknown = b.binary('Equal', found, b.tensor(tensorOf('int64', [NO_CATEGORY], [])), 'bool');
    return b.select(isUnknown, b.add(spread, b.tensor(tensorOf('int64', [firstUnknown], []))), found);
  };
  return { mode, depth, find };
}

function tensorOf(dtype: 'string' | 'int64', values: readonly (string | number)[], shape: readonly number[] = [values.length]): AnyTensor {
  if (dtype === 'int64')
    return createTensor(
      'int64',
      shape,
      BigInt64Array.from(values, (value) => BigInt(value)),
    );
  const encoder = new TextEncoder();
  return createTensor(
    'string',
    shape,
    values.map((value) => encoder.encode(String(value))),
  );
}

function lookUp(b: GraphBuilder, keys: AnyTensor, values: AnyTensor, otherwise: AnyTensor, from: Value): Value {
  const table = b.handle('HashTableV2', [], {
    key_dtype: attribute.type(keys.dtype),
    value_dtype: attribute.type(values.dtype),
    keys: attribute.tensor(toConstant(keys)),
    values: attribute.tensor(toConstant(values)),
  });
  const attributes = { Tin: attribute.type(keys.dtype), Tout: attribute.type(values.dtype) };
  return b.op('LookupTableFindV2', [table, from, b.tensor(otherwise, 'default')], attributes, values.dtype, from.shape);
}

function lookUpAll(call: Lowering, { mode, depth, find }: Lookup): Value {
  const found = find(any(call));
  return mode === 'int' ? found : encodeFound(call, call.builder.cast(found, 'int32'), mode, depth);
}

/** Keras 3 counts what is looked up in whole numbers. */
function encodeFound(call: Lowering, indices: Value, mode: Exclude<OutputMode, 'int'>, depth: number): Value {
  const encoded = encode(call, indices, mode, depth);
  return call.version === 3 && mode !== 'tf_idf' ? call.builder.cast(encoded, 'int64') : encoded;
}

/** Categories as vectors of `depth` numbers. */
function encode(call: Lowering, indices: Value, mode: Exclude<OutputMode, 'int'>, depth: number): Value {
  const { builder: b, config } = call;
  const rank = indices.shape.length;
  if (mode === 'one_hot') return oneHot(b, rank > 1 && indices.shape.at(-1) === 1 ? b.squeeze(indices, -1) : indices, depth);
  if (rank !== 2) throw unsupported(`${config.where} has output_mode = "${mode}" for an input of rank ${rank}, only rank 2 is supported`);
  const counts = b.reduce('Sum', oneHot(b, indices, depth), [1]);
  if (mode === 'count') return counts;
  if (mode === 'multi_hot') return b.cast(b.binary('Greater', counts, b.float(0), 'bool'), 'float32');
  const weights: Constant = call.variables.get('idf_weights', 1);
  if (weights.shape[0] !== depth) throw damaged(`${config.where} has ${weights.shape[0]} idf_weights, expected ${depth}`);
  return b.mul(counts, b.weight(weights, 'idf_weights'));
}

function oneHot(b: GraphBuilder, indices: Value, depth: number): Value {
  const attributes = { axis: attribute.int(-1), T: attribute.type('float32'), TI: attribute.type('int32') };
  return b.op('OneHot', [indices, b.int(depth), b.float(1), b.float(0)], attributes, 'float32', [...indices.shape, depth]);
}

/** FarmHash's fingerprint of the text. */
function hashed(b: GraphBuilder, text: Value, buckets: number): Value {
  return b.op('StringToHashBucketFast', [text], { num_buckets: attribute.int(buckets) }, 'int64', text.shape);
}

function asText(b: GraphBuilder, x: Value): Value {
  if (x.dtype === 'string') return x;
  const whole = b.cast(x, 'int64');
  return b.op('AsString', [whole], { T: attribute.type('int64') }, 'string', x.shape);
}

function hash(call: Lowering): Value {
  const { builder: b, config } = call;
  config.refuse('salt', []);
  const mode = outputMode(config, 'int');
  if (mode === 'tf_idf') throw unsupported(`${config.where} has output_mode = "tf_idf", which is not supported`);
  const bins = config.count('num_bins');
  const x = any(call);
  const mask = config.get('mask_value');
  const isMasked = mask !== undefined && bins > 1;
  let bin = hashed(b, asText(b, x), isMasked ? bins - 1 : bins);
  if (isMasked) {
    if (typeof mask !== (x.dtype === 'string' ? 'string' : 'number'))
      throw damaged(`${config.where} has the mask_value ${JSON.stringify(mask)}`);
    const token = x.dtype === 'string' ? b.tensor(tensorOf('string', [String(mask)], [])) : b.scalarLike(Number(mask), x);
    const one = b.tensor(tensorOf('int64', [1], []));
    const masked = b.binary('Equal', x, token, 'bool');
    // Zero for the mask, where a product does what a choice would.
    bin = b.mul(b.add(bin, one), b.cast(b.op('LogicalNot', [masked], {}, 'bool', masked.shape), 'int64'));
  }
  return mode === 'int' ? b.cast(bin, numberType(config, 'int64')) : encode(call, b.cast(bin, 'int32'), mode, bins);
}

/** The dtype that a layer's config says for numbers. */
function numberType(config: Config, fallback: DType): DType {
  const dtype = config.get('dtype');
  const name = typeof dtype === 'object' && dtype !== null && 'config' in dtype ? (dtype.config as { name?: unknown }).name : dtype;
  if (name === undefined || name === 'int64') return fallback;
  if (name === 'int32' || name === 'float32') return name;
  throw unsupported(`${config.where} gives ${String(name)}`);
}

function discretize(call: Lowering): Value {
  const { builder: b, config } = call;
  const mode = outputMode(config, 'int');
  if (mode === 'tf_idf') throw unsupported(`${config.where} has output_mode = "tf_idf", which is not supported`);
  const boundaries = config.array('bin_boundaries');
  if (!boundaries) throw unsupported(`${config.where} has no bin_boundaries: it was never adapted`);
  const x = b.expandDims(b.cast(any(call), 'float32'), -1);
  // Not "at least": NaN lies behind the last boundary, as in TensorFlow.
  const isBelow = b.binary('Less', x, b.floats(boundaries), 'bool');
  const isPast = b.op('LogicalNot', [isBelow], {}, 'bool', isBelow.shape);
  const bin = b.reduce('Sum', b.cast(isPast, 'int32'), [-1]);
  return mode === 'int' ? b.cast(bin, call.version === 3 ? 'int32' : 'int64') : encode(call, bin, mode, boundaries.length + 1);
}

function vectorize(call: Lowering): Value {
  const { builder: b, config } = call;
  const lookup = readLookup(call, 'string', '');
  const { mode } = lookup;
  if (mode === 'one_hot') throw damaged(`${config.where} has output_mode = "one_hot"`);
  const length = mode === 'int' && config.get('output_sequence_length') !== undefined ? config.count('output_sequence_length') : undefined;
  const widths = ngramWidths(config);
  const text = standardize(b, config, any(call));
  const split = config.optionalString('split');
  if (split === undefined) {
    if (widths) throw unsupported(`${config.where} makes ngrams without splitting, which is not supported`);
    if (length !== undefined && text.shape.at(-1) !== length)
      throw unsupported(`${config.where} fills up what it does not split, which is not supported`);
    const found = lookup.find(text);
    return mode === 'int' ? found : encodeFound(call, b.cast(found, 'int32'), mode, lookup.depth);
  }
  const words = splitWords(call, text, split, mode === 'int' && length === undefined);
  const tokens = widths ? ngrams(b, words, widths) : words;
  const numbers = lookup.find(tokens.values);
  if (mode === 'int') return toDense(b, numbers, tokens, 0, length);
  const empty = b.binary('Equal', tokens.values, b.tensor(tensorOf('string', [''], [])), 'bool');
  const counted = b.select(empty, b.tensor(tensorOf('int64', [NO_CATEGORY], [])), numbers);
  return encodeFound(call, b.cast(toDense(b, counted, tokens, NO_CATEGORY, undefined), 'int32'), mode, lookup.depth);
}

function standardize(b: GraphBuilder, config: Config, text: Value): Value {
  if (text.dtype !== 'string') throw damaged(`${config.where} is given ${text.dtype}`);
  const how = config.get('standardize');
  if (how === undefined) return text;
  if (how !== 'lower' && how !== 'strip_punctuation' && how !== 'lower_and_strip_punctuation') {
    throw unsupported(`${config.where} has standardize = ${JSON.stringify(how)}, which is not supported`);
  }
  const lower = how === 'strip_punctuation' ? text : b.op('StringLower', [text], { encoding: attribute.string('') }, 'string', text.shape);
  return how === 'lower' ? lower : replaceAll(b, lower, PUNCTUATION, '');
}

function replaceAll(b: GraphBuilder, text: Value, pattern: string, rewrite: string): Value {
  const attributes = { pattern: attribute.string(pattern), rewrite: attribute.string(rewrite), replace_global: attribute.bool(true) };
  return b.op('StaticRegexReplace', [text], attributes, 'string', text.shape);
}

function ngramWidths(config: Config): readonly number[] | undefined {
  const given = config.get('ngrams');
  if (given === undefined) return undefined;
  if (typeof given === 'number' && given > MAX_NGRAM) throw unsupported(`${config.where} makes ngrams of ${given} words`);
  if (typeof given === 'number') return Array.from({ length: config.count('ngrams') }, (_, index) => index + 1);
  return config.ints('ngrams');
}

/** Rows of words, one after another. */
interface Rows {
  readonly values: Value;
  /** How the values are shared out: the row of each, or where each row begins and the last one ends. */
  readonly partition: Value;
  readonly kind: 'VALUE_ROWIDS' | 'ROW_SPLITS';
  readonly count: Value;
}

function splitWords({ builder: b, config }: Lowering, input: Value, split: string, isOpen: boolean): Rows {
  const isColumn = input.shape.length === 2 && input.shape[1] === 1;
  if (input.shape.length !== 1 && !isColumn)
    throw unsupported(`${config.where} splits an input of shape [${input.shape}], expected [batch, 1]`);
  const text = isColumn ? b.squeeze(input, 1) : input;
  const count = b.op('Size', [text], { T: attribute.type('string'), out_type: attribute.type('int64') }, 'int64', []);
  if (split !== 'whitespace' && split !== 'character') throw unsupported(`${config.where} has split = "${split}", which is not supported`);
  // An empty text has no characters here but one empty one there, which only shows in the length of a batch of empty texts.
  if (split === 'character' && isOpen) throw unsupported(`${config.where} splits into characters without an output_sequence_length`);
  const separated = split === 'character' ? replaceAll(b, replaceAll(b, text, '(?s)(.)', `${SEPARATOR}\\1`), `^${SEPARATOR}`, '') : text;
  const separator = b.tensor(tensorOf('string', [split === 'character' ? SEPARATOR : ''], []), 'separator');
  const node = b.node('StringSplitV2', [separated, separator], { maxsplit: attribute.int(-1) });
  const indices: Value = { edge: { node, index: 0 }, dtype: 'int64', shape: [-1, 2] };
  const partition = b.stridedSlice(indices, [0, 0], [0, 1], { beginMask: 1, endMask: 1, shrink: 2 });
  return { values: { edge: { node, index: 1 }, dtype: 'string', shape: [-1] }, partition, kind: 'VALUE_ROWIDS', count };
}

function ngrams(b: GraphBuilder, { values, partition, count }: Rows, widths: readonly number[]): Rows {
  const rows = b.cast(count, 'int32');
  const weights = b.floats([], [0]);
  const types = { Tidx: attribute.type('int32'), T: attribute.type('float32'), binary_output: attribute.bool(false) };
  const lengths = b.op('DenseBincount', [b.cast(partition, 'int32'), rows, weights], types, 'float32', [-1]);
  const sums = {
    exclusive: attribute.bool(false),
    reverse: attribute.bool(false),
    T: attribute.type('float32'),
    Tidx: attribute.type('int32'),
  };
  const ends = b.op('Cumsum', [lengths, b.int(0)], sums, 'float32', [-1]);
  const splits = b.cast(b.concat([b.floats([0]), ends], 0), 'int64');
  const node = b.node('StringNGrams', [values, splits], {
    separator: attribute.string(' '),
    ngram_widths: attribute.ints(widths),
    left_pad: attribute.string(''),
    right_pad: attribute.string(''),
    pad_width: attribute.int(0),
    preserve_short_sequences: attribute.bool(false),
    Tsplits: attribute.type('int64'),
  });
  return {
    values: { edge: { node, index: 0 }, dtype: 'string', shape: [-1] },
    partition: { edge: { node, index: 1 }, dtype: 'int64', shape: [-1] },
    kind: 'ROW_SPLITS',
    count,
  };
}

/** Rows of the same length, filled up or cut. */
function toDense(b: GraphBuilder, numbers: Value, { partition, kind, count }: Rows, filler: number, length: number | undefined): Value {
  const sizes = [-1, length ?? -1];
  const partitions = kind === 'VALUE_ROWIDS' ? [count, partition] : [partition];
  const inputs = [b.tensor(tensorOf('int64', sizes), 'sizes'), numbers, b.tensor(tensorOf('int64', [filler], [])), ...partitions];
  return b.op(
    'RaggedTensorToTensor',
    inputs,
    {
      T: attribute.type('int64'),
      Tindex: attribute.type('int64'),
      Tshape: attribute.type('int64'),
      num_row_partition_tensors: attribute.int(partitions.length),
      row_partition_types: attribute.strings(kind === 'VALUE_ROWIDS' ? ['FIRST_DIM_SIZE', kind] : [kind]),
    },
    'int64',
    sizes,
  );
}

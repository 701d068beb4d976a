import * as v from 'valibot';
import { NearfarError } from '../../errors.ts';

// tokenizer.json of Hugging Face's tokenizers: the parts that encode; decoders and offsets are left out.
// https://github.com/huggingface/tokenizers, src/tokenizer/serialization.rs and the `Serialize` of each part.

const patternSchema = v.union([v.object({ String: v.string() }), v.object({ Regex: v.string() })]);

const simpleNormalizerSchema = v.variant('type', [
  v.object({
    type: v.literal('BertNormalizer'),
    clean_text: v.boolean(),
    handle_chinese_chars: v.boolean(),
    strip_accents: v.nullable(v.boolean()),
    lowercase: v.boolean(),
  }),
  v.object({ type: v.picklist(['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents']) }),
  v.object({ type: v.literal('Strip'), strip_left: v.boolean(), strip_right: v.boolean() }),
  v.object({ type: v.literal('Replace'), pattern: patternSchema, content: v.string() }),
  v.object({ type: v.literal('Prepend'), prepend: v.string() }),
]);

export type NormalizerJson =
  | v.InferOutput<typeof simpleNormalizerSchema>
  | { readonly type: 'Sequence'; readonly normalizers: NormalizerJson[] };

const normalizerSchema: v.GenericSchema<unknown, NormalizerJson> = v.lazy((input) =>
  isSequence(input) ? v.object({ type: v.literal('Sequence'), normalizers: v.array(normalizerSchema) }) : simpleNormalizerSchema,
);

const simplePreTokenizerSchema = v.variant('type', [
  v.object({ type: v.picklist(['BertPreTokenizer', 'Whitespace', 'WhitespaceSplit']) }),
  v.object({ type: v.literal('ByteLevel'), add_prefix_space: v.boolean(), use_regex: v.optional(v.boolean(), true) }),
]);

export type PreTokenizerJson =
  | v.InferOutput<typeof simplePreTokenizerSchema>
  | { readonly type: 'Sequence'; readonly pretokenizers: PreTokenizerJson[] };

const preTokenizerSchema: v.GenericSchema<unknown, PreTokenizerJson> = v.lazy((input) =>
  isSequence(input) ? v.object({ type: v.literal('Sequence'), pretokenizers: v.array(preTokenizerSchema) }) : simplePreTokenizerSchema,
);

const specialSchema = v.tuple([v.string(), v.number()]);
const pieceSchema = v.union([
  v.object({ SpecialToken: v.object({ id: v.string(), type_id: v.number() }) }),
  v.object({ Sequence: v.object({ id: v.picklist(['A', 'B']), type_id: v.number() }) }),
]);

const simplePostProcessorSchema = v.variant('type', [
  v.object({ type: v.literal('BertProcessing'), sep: specialSchema, cls: specialSchema }),
  v.object({ type: v.literal('RobertaProcessing'), sep: specialSchema, cls: specialSchema }),
  v.object({
    type: v.literal('TemplateProcessing'),
    single: v.array(pieceSchema),
    pair: v.array(pieceSchema),
    special_tokens: v.record(v.string(), v.object({ ids: v.array(v.number()) })),
  }),
  v.object({ type: v.literal('ByteLevel') }),
]);

export type Piece = v.InferOutput<typeof pieceSchema>;
export type PostProcessorJson =
  | v.InferOutput<typeof simplePostProcessorSchema>
  | { readonly type: 'Sequence'; readonly processors: PostProcessorJson[] };

const postProcessorSchema: v.GenericSchema<unknown, PostProcessorJson> = v.lazy((input) =>
  isSequence(input) ? v.object({ type: v.literal('Sequence'), processors: v.array(postProcessorSchema) }) : simplePostProcessorSchema,
);

// Tens of thousands of entries: a check per entry by the schema takes longer than reading them.
const vocabularySchema = v.custom<Readonly<Record<string, number>>>(
  (value) => typeof value === 'object' && value !== null && Object.values(value).every((id) => Number.isSafeInteger(id) && Number(id) >= 0),
  'expected an object of token → id',
);
const mergesSchema = v.custom<readonly (string | readonly [string, string])[]>(
  (value) =>
    Array.isArray(value) &&
    value.every(
      (merge) =>
        typeof merge === 'string' || (Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === 'string')),
    ),
  'expected a list of pairs of tokens',
);

const optionalText = v.optional(v.nullable(v.string()));
const modelSchema = v.variant('type', [
  v.object({
    type: v.literal('WordPiece'),
    unk_token: v.string(),
    continuing_subword_prefix: v.string(),
    max_input_chars_per_word: v.number(),
    vocab: vocabularySchema,
  }),
  v.object({
    type: v.literal('BPE'),
    unk_token: optionalText,
    continuing_subword_prefix: optionalText,
    end_of_word_suffix: optionalText,
    fuse_unk: v.optional(v.boolean(), false),
    byte_fallback: v.optional(v.literal(false), false),
    ignore_merges: v.optional(v.boolean(), false),
    vocab: vocabularySchema,
    merges: mergesSchema,
  }),
]);

export type ModelJson = v.InferOutput<typeof modelSchema>;
export type WordPieceJson = Extract<ModelJson, { type: 'WordPiece' }>;
export type BytePairJson = Extract<ModelJson, { type: 'BPE' }>;

const addedTokenSchema = v.object({
  id: v.number(),
  content: v.pipe(v.string(), v.minLength(1)),
  single_word: v.boolean(),
  lstrip: v.boolean(),
  rstrip: v.boolean(),
  normalized: v.boolean(),
});

export type AddedToken = v.InferOutput<typeof addedTokenSchema>;

const tokenizerSchema = v.object({
  version: v.literal('1.0'),
  truncation: v.optional(v.nullable(v.object({ max_length: v.number() }))),
  padding: v.optional(v.nullable(v.object({ pad_id: v.number(), pad_type_id: v.number() }))),
  added_tokens: v.array(addedTokenSchema),
  normalizer: v.optional(v.nullable(normalizerSchema)),
  pre_tokenizer: v.optional(v.nullable(preTokenizerSchema)),
  post_processor: v.optional(v.nullable(postProcessorSchema)),
  model: modelSchema,
});

export type TokenizerJson = v.InferOutput<typeof tokenizerSchema>;

function isSequence(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'Sequence';
}

/**
 * Reads a tokenizer.json.
 * @throws {NearfarError} `invalid-argument` for bytes that are no JSON; `unsupported` that names the first part nearfar does not have.
 */
export function parseTokenizerJson(bytes: Uint8Array): TokenizerJson {
  const result = v.safeParse(tokenizerSchema, parseJson(bytes));
  if (result.success) return result.output;
  const issue = result.issues[0];
  const path = v.getDotPath(issue) ?? '(root)';
  throw new NearfarError('unsupported', `the tokenizer is none that nearfar has, at ${path}: ${issue.message}`, {
    details: { path, message: issue.message },
  });
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new NearfarError('invalid-argument', 'the tokenizer is not JSON', { cause });
  }
}

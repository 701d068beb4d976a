import { NearfarError } from '../../errors.ts';
import type { TextInputSpec } from '../../manifest/index.ts';
import { parseTokenizer, type TextInput, type Tokenizer } from '../../preprocess/text/index.ts';
import { createTensor, type Tensor } from '../../tensor/index.ts';
import { assertNotEmpty, declaredInput, type EncodedBatch, type TaskSource } from '../task.ts';

/** Texts → the token ids a model reads. */
export type EncodeTexts = (texts: readonly TextInput[]) => EncodedBatch;

/** Tokens that a model of text may look for where neither manifest nor tokenizer names the one that fills up. */
const usualPadding = ['[PAD]', '<pad>'];

/**
 * @throws {NearfarError} `invalid-argument`, `unsupported` for a tokenizer that does not fit the manifest or that nearfar does not have;
 * `unsupported` for an input of a dtype that holds no ids.
 */
export async function openTextEncoder({ manifest, readFile }: TaskSource, signature: string, spec: TextInputSpec): Promise<EncodeTexts> {
  const tokenizer = parseTokenizer(await readFile(spec.tokenizer));
  const maxLength = spec.maxLength ?? tokenizer.maxLength;
  if (spec.padding === 'max-length' && maxLength === undefined) {
    throw new NearfarError('invalid-argument', `the task fills texts up to maxLength, which neither it nor ${spec.tokenizer} has`);
  }
  const padId = paddingOf(tokenizer, spec);
  const integers = (name: string) => createIntegers(name, declaredInput(manifest, signature, name).dtype);
  const writeIds = integers(spec.ids);
  const writeMask = spec.attentionMask === undefined ? undefined : integers(spec.attentionMask);
  const writeTypes = spec.tokenTypeIds === undefined ? undefined : integers(spec.tokenTypeIds);

  return (texts) => {
    assertNotEmpty(texts);
    const encodings = texts.map((text) => tokenizer.encode(text, maxLength));
    const longest = Math.max(...encodings.map(({ ids }) => ids.length));
    const length = spec.padding === 'max-length' ? (maxLength ?? longest) : longest;
    const fill = padId ?? (encodings.every(({ ids }) => ids.length === length) ? 0 : undefined);
    if (fill === undefined) {
      throw new NearfarError(
        'invalid-argument',
        `texts of different lengths need a padToken, which neither the task nor ${spec.tokenizer} has`,
      );
    }
    const shape = [texts.length, length];
    const rows = (rowOf: (encoding: (typeof encodings)[number]) => readonly number[], filling: number) =>
      encodings.flatMap((encoding) => {
        const row = rowOf(encoding);
        return [...row, ...Array<number>(length - row.length).fill(filling)];
      });
    const entries = [
      [
        spec.ids,
        writeIds(
          shape,
          rows(({ ids }) => ids, fill),
        ),
      ],
      writeMask && [
        spec.attentionMask,
        writeMask(
          shape,
          rows(({ ids }) => ids.map(() => 1), 0),
        ),
      ],
      writeTypes && [
        spec.tokenTypeIds,
        writeTypes(
          shape,
          rows(({ typeIds }) => typeIds, tokenizer.padTypeId),
        ),
      ],
    ];
    return { tensors: Object.fromEntries(entries.filter((entry) => entry !== undefined)), count: texts.length };
  };
}

function paddingOf(tokenizer: Tokenizer, { padToken, tokenizer: file }: TextInputSpec): number | undefined {
  if (padToken === undefined) return tokenizer.padId ?? usualPadding.map(tokenizer.idOf).find((id) => id !== undefined);
  const id = tokenizer.idOf(padToken);
  if (id !== undefined) return id;
  throw new NearfarError('invalid-argument', `${file} has no token ${padToken}, which the task fills up with`, {
    details: { token: padToken },
  });
}

function createIntegers(name: string, dtype: string): (shape: readonly number[], values: readonly number[]) => Tensor<'int32' | 'int64'> {
  if (dtype === 'int32') return (shape, values) => createTensor('int32', shape, Int32Array.from(values));
  if (dtype === 'int64') return (shape, values) => createTensor('int64', shape, BigInt64Array.from(values, BigInt));
  throw new NearfarError('unsupported', `input "${name}" takes token ids as int32 or int64, the signature says ${dtype}`, {
    details: { name, dtype },
  });
}

import { NearfarError } from '../../errors.ts';
import { meanOfRows, normaliseLength } from '../../postprocess/index.ts';
import type { Pixels } from '../../preprocess/index.ts';
import type { TextInput } from '../../preprocess/text/index.ts';
import { encodeImages } from '../image-classification.ts';
import { parseTask } from '../parse-task.ts';
import { type PreparedPicture, preparePicture } from '../picture/index.ts';
import { assertCount, assertNotEmpty, type EncodedBatch, floatOutput, type OpenedTask, type TaskSource } from '../task.ts';

/** Embeddings: a text or a picture → a vector that lies near those of what resembles it. */
export async function openEmbeddings(source: TaskSource): Promise<OpenedTask<TextInput | Pixels | PreparedPicture, object, Float32Array>> {
  const { signature, input, output } = parseTask(source.manifest, 'embeddings');
  const { name, pooling, normalise } = output;
  return {
    signature,
    outputs: [name],
    encode: await openEncoder(source),
    decode: (outputs, batch) => {
      const { shape, data } = floatOutput(outputs, name, pooling === 'none' ? [2] : [3]);
      assertCount(name, shape, batch);
      const length = data.length / batch.count;
      const width = shape.at(-1)!;
      const isToken = tokensOf(batch, input.tokenizer === undefined ? undefined : input.attentionMask, shape[1]!);
      return Array.from({ length: batch.count }, (_, index) => {
        const rows = data.subarray(index * length, (index + 1) * length);
        const vector = pooling === 'mean' ? meanOfRows(rows, width, (row) => isToken(index, row)) : rows.slice(0, width);
        return normalise ? normaliseLength(vector) : vector;
      });
    },
  };
}

async function openEncoder(source: TaskSource): Promise<OpenedTask<TextInput | Pixels | PreparedPicture, object, Float32Array>['encode']> {
  const { signature, input } = parseTask(source.manifest, 'embeddings');
  if (input.tokenizer !== undefined) {
    const { openTextEncoder } = await import('../text/index.ts');
    const encode = await openTextEncoder(source, signature, input);
    return (inputs) => encode(inputs.map((given) => (isText(given) ? given : refuse('a text'))));
  }
  return (inputs) => {
    assertNotEmpty(inputs);
    const images = inputs.map((given) => {
      if (isText(given)) return refuse('a picture');
      return ('image' in given ? given : preparePicture(given, input)).image;
    });
    return { tensors: { [input.name]: encodeImages(images, input) }, count: inputs.length };
  };
}

function isText(input: TextInput | Pixels | PreparedPicture): input is TextInput {
  return typeof input === 'string' || 'text' in input;
}

function refuse(want: string): never {
  throw new NearfarError('invalid-argument', `the model makes embeddings of ${want}, got something else`);
}

/** Which tokens of a text are no filling: by the attention mask, where the model takes one. */
function tokensOf({ tensors }: EncodedBatch, mask: string | undefined, width: number): (index: number, token: number) => boolean {
  const data = mask === undefined ? undefined : tensors[mask]?.data;
  return (index, token) => !data || Number(data[index * width + token]) !== 0;
}

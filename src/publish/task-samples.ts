import { type ColumnSpec, type PictureInput, parseLabels, type RgbImage, type TaskName, type TaskSpecs } from '../core/index.ts';
import { createPicture, GOLDEN_EXAMPLES, GOLDEN_SEED, unit, xorshift32 } from './golden.ts';
import type { NamedTensors } from './signature.ts';

/** What a task reads. */
interface TaskInput {
  /** As the manifest has it, checked. */
  readonly input: unknown;
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly tensors: NamedTensors;
}

/** Made-up inputs for a task, equal on every machine: such as an application would give it. */
export function createSamples(task: TaskName, about: TaskInput): readonly unknown[] {
  return Array.from({ length: GOLDEN_EXAMPLES }, (_, index) => createSample(task, about, index));
}

const texts = ['It was a bright day, and nobody near or far had seen 12 clocks like these.', 'Is this one any good?'];

function createSample(task: TaskName, about: TaskInput, index: number): unknown {
  const { input } = about;
  const next = xorshift32(GOLDEN_SEED + index);
  switch (task) {
    case 'text-classification':
      return texts[index % texts.length];
    case 'audio-classification': {
      const { sampleRate, samples = sampleRate } = input as TaskSpecs['audio-classification']['input'];
      return { sampleRate, channels: [Float32Array.from({ length: samples }, () => unit(next()) - 0.5)] };
    }
    case 'tabular-classification':
    case 'tabular-regression': {
      const { columns } = input as TaskSpecs['tabular-regression']['input'];
      return Object.fromEntries(columns.map((column) => [column.name, createCell(column, about, index)]));
    }
    case 'embeddings':
      if ((input as { tokenizer?: string }).tokenizer !== undefined) return texts[index % texts.length];
      return asPicture(createPicture((input as { crop: [number, number] }).crop, next));
    default: {
      const { resize } = input as PictureInput;
      return asPicture(createPicture(resize.letterbox ?? resize.size, next));
    }
  }
}

function createCell({ input, transform }: ColumnSpec, { files, tensors }: TaskInput, index: number): string | number {
  switch (transform.kind) {
    case 'none':
      return tensors.inputs.find(({ name }) => name === input)?.dtype === 'string' ? `word${index}` : index;
    case 'standard':
      return transform.mean + index * transform.std;
    case 'min-max':
      return index === 0 ? transform.min : transform.max;
    case 'bucketise':
      return transform.boundaries[index] ?? 0;
    case 'hash':
      return `word${index}`;
    case 'vocabulary': {
      const terms = typeof transform.terms === 'string' ? parseLabels(files.get(transform.terms) ?? new Uint8Array()) : transform.terms;
      return terms[index % terms.length] ?? '';
    }
  }
}

function asPicture(image: RgbImage): { image: RgbImage; picture: RgbImage } {
  return { image, picture: image };
}

import {
  type AnyTensor,
  createData,
  createTensor,
  type DType,
  dataFromBytes,
  type ExampleFeature,
  elementCount,
  encodeExample,
  encodeImages,
  type ImageInput,
  itemsPerElement,
  NearfarError,
  type RgbImage,
  type TensorMap,
} from '../core/index.ts';
import type { NamedTensor } from './signature.ts';
import type { FeaturePlan, StringPlan } from './string-inputs.ts';

/** Seed of example i is this plus i: "near" in ASCII. Part of the importer's format. */
export const GOLDEN_SEED = 0x6e656172;
export const GOLDEN_EXAMPLES = 2;

/** 256 MiB of float32; what takes more is hardly meant. */
const MAX_ELEMENTS = 2 ** 26;

/** Stands in for an open dimension that is not the batch. */
const OPEN_SIZE = 32;

/** Size of an open batch of texts, so that known ones and an unknown one are among them. */
const TEXT_BATCH = 4;
const UNKNOWN_WORD = 'nearfar-unknown';

/** What stands in where an input's rank is not declared, tried in this order: a batch of values, one value, rows, pictures. */
const guessedShapes: readonly (readonly number[])[] = [[-1], [], [-1, 1], [-1, OPEN_SIZE], [-1, OPEN_SIZE, OPEN_SIZE, 3]];

/** What is known of a signature's inputs beside their shapes. */
export interface InputPlans {
  /** The input that takes pictures. */
  readonly image?: ImageInput | undefined;
  /** By the names of inputs of texts. */
  readonly strings?: ReadonlyMap<string, StringPlan> | undefined;
}

/**
 * Made-up inputs for the golden examples of one signature, equal on every machine: pictures go through the task's own encoding; floats are
 * in [0, 1), whole numbers and booleans 0 or 1; texts are what the model knows, or short words. The batch is 1, of texts that the model
 * looks up 4.
 * @returns Sets of examples, to be tried in this order: more than one where shapes are not declared.
 * @throws {NearfarError} `unsupported` for an input of more than 2^26 elements.
 * @remarks Numbers come from xorshift32 (Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14), 2003).
 */
export function createGoldenInputs(inputs: readonly NamedTensor[], plans: InputPlans = {}): TensorMap[][] {
  const guesses = inputs.some(({ shape }) => !shape) ? guessedShapes : [[]];
  const hasWords = [...(plans.strings?.values() ?? [])].some(({ kind }) => kind === 'words');
  return guesses.flatMap((guess) =>
    (hasWords ? [TEXT_BATCH, 1] : [1]).map((batch) =>
      Array.from({ length: GOLDEN_EXAMPLES }, (_, index) => createExample(inputs, plans, guess, batch, GOLDEN_SEED + index)),
    ),
  );
}

function createExample(
  inputs: readonly NamedTensor[],
  { image, strings }: InputPlans,
  guess: readonly number[],
  batch: number,
  seed: number,
): TensorMap {
  const next = xorshift32(seed);
  return Object.fromEntries(
    inputs.map(({ name, dtype, shape = guess }) => {
      if (image?.name === name) return [name, encodeImages([createPicture(image.crop, next)], image)];
      const sizes = shape.map((size, axis) => (size >= 0 ? size : axis === 0 ? batch : OPEN_SIZE));
      assertSmall(name, elementCount(sizes));
      const plan = strings?.get(name);
      return [name, dtype === 'string' && plan ? createTexts(plan, sizes, next) : createInput(dtype, sizes, next)];
    }),
  );
}

function assertSmall(name: string, elements: number): void {
  if (elements <= MAX_ELEMENTS) return;
  throw new NearfarError('unsupported', `input ${name} of ${elements} elements is too large to make one up; give golden inputs`, {
    details: { name, elements },
  });
}

function createTexts(plan: StringPlan, sizes: readonly number[], next: () => number): AnyTensor {
  const count = elementCount(sizes);
  const texts = Array.from({ length: count }, (_, index) => {
    if (plan.kind === 'examples')
      return encodeExample(new Map(plan.features.map((feature) => [feature.key, createFeature(feature, next)])));
    return index > 0 && index === count - 1 ? new TextEncoder().encode(UNKNOWN_WORD) : plan.words[next() % plan.words.length]!;
  });
  return createTensor('string', sizes, texts);
}

function createFeature({ key, kind, size, words }: FeaturePlan, next: () => number): ExampleFeature {
  assertSmall(key, size);
  const values = Array.from({ length: size }, () => next());
  switch (kind) {
    case 'float':
      return { kind, values: values.map(unit) };
    case 'int64':
      return { kind, values: values.map((value) => BigInt(value & 1)) };
    case 'bytes':
      return {
        kind,
        values: values.map((value) => (words.length > 0 ? words[value % words.length]! : new TextEncoder().encode(`word${value % 10}`))),
      };
  }
}

function createInput(dtype: DType, sizes: readonly number[], next: () => number): AnyTensor {
  const length = elementCount(sizes) * itemsPerElement(dtype);
  const values = Array.from({ length }, () => next());
  switch (dtype) {
    case 'string':
      return createTensor(
        'string',
        sizes,
        values.map((value) => new TextEncoder().encode(`word${value % 10}`)),
      );
    case 'float32':
    case 'complex64':
      return { dtype, shape: sizes, data: Float32Array.from(values, unit) };
    case 'float64':
    case 'complex128':
      return { dtype, shape: sizes, data: Float64Array.from(values, unit) };
    case 'float16':
      // 0x3800 is 0.5, so these are in [0.5, 1).
      return createTensor(
        'float16',
        sizes,
        Uint16Array.from(values, (value) => 0x3800 | (value & 0x3ff)),
      );
    case 'bfloat16':
      return createTensor(
        'bfloat16',
        sizes,
        Uint16Array.from(values, (value) => 0x3f00 | (value & 0x7f)),
      );
    default: {
      const bytes = new Uint8Array(createData(dtype, length).buffer);
      const step = bytes.byteLength / Math.max(length, 1);
      for (const [index, value] of values.entries()) bytes[index * step] = value & 1;
      return { dtype, shape: sizes, data: dataFromBytes(dtype, bytes) } as AnyTensor; // the dtype names the data's array
    }
  }
}

/** A picture like a photograph in its statistics: 8 x 8 areas of one colour with some noise on top. */
export function createPicture([height, width]: readonly [number, number], next: () => number): RgbImage {
  const colours = Uint8Array.from({ length: 8 * 8 * 3 }, () => 16 + (next() % 224));
  const data = new Uint8Array(height * width * 3);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const area = Math.floor((y * 8) / height) * 8 + Math.floor((x * 8) / width);
      for (let channel = 0; channel < 3; channel++) data[to++] = colours[area * 3 + channel]! + (next() % 33) - 16;
    }
  }
  return { width, height, data };
}

/** Uniform in [0, 1), of 24 bits, so exact in float32. */
export function unit(value: number): number {
  return (value >>> 8) / 2 ** 24;
}

export function xorshift32(seed: number): () => number {
  let state = seed | 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  // Neighbouring seeds begin alike.
  for (let skipped = 0; skipped < 16; skipped++) next();
  return next;
}

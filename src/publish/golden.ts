import {
  type AnyTensor,
  createData,
  createTensor,
  dataFromBytes,
  elementCount,
  encodeImages,
  type ImageInput,
  itemsPerElement,
  NearfarError,
  type RgbImage,
  type TensorMap,
} from '../core/index.ts';
import type { NamedTensor } from './signature.ts';

/** Seed of example i is this plus i: "near" in ASCII. Part of the importer's format. */
export const GOLDEN_SEED = 0x6e656172;
export const GOLDEN_EXAMPLES = 2;

/** 256 MiB of float32; what takes more is hardly meant. */
const MAX_ELEMENTS = 2 ** 26;

/** Stands in for an open dimension that is not the batch. */
const OPEN_SIZE = 32;

/**
 * Made-up inputs for one golden example, equal on every machine: pictures go through the task's own encoding; floats are in [0, 1),
 * whole numbers and booleans 0 or 1, strings short words; the batch is 1.
 * @throws {NearfarError} `unsupported` for an input of more than 2^26 elements.
 * @remarks Numbers come from xorshift32 (Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14), 2003).
 */
export function createGoldenInputs(inputs: readonly NamedTensor[], image: ImageInput | undefined, seed: number): TensorMap {
  const next = xorshift32(seed);
  return Object.fromEntries(
    inputs.map((input) => [
      input.name,
      image?.name === input.name ? encodeImages([createPicture(image.crop, next)], image) : createInput(input, next),
    ]),
  );
}

function createInput({ name, dtype, shape = [] }: NamedTensor, next: () => number): AnyTensor {
  const sizes = shape.map((size, axis) => (size >= 0 ? size : axis === 0 ? 1 : OPEN_SIZE));
  if (elementCount(sizes) > MAX_ELEMENTS) {
    throw new NearfarError('unsupported', `input ${name} of [${shape}] is too large to make one up; give golden inputs`, {
      details: { name, shape: [...shape] },
    });
  }
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
function createPicture([height, width]: readonly [number, number], next: () => number): RgbImage {
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
function unit(value: number): number {
  return (value >>> 8) / 2 ** 24;
}

function xorshift32(seed: number): () => number {
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

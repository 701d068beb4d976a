import { NearfarError } from '../errors.ts';
import type { ImageInput } from '../manifest/index.ts';
import { type Activation, activate, topK } from '../postprocess/index.ts';
import {
  assertPixels,
  centreCrop,
  compositeOnWhite,
  normalise,
  type Pixels,
  type RgbImage,
  resizeBilinear,
  type Size,
  sizeByShorterSide,
} from '../preprocess/index.ts';
import { type AnyTensor, createTensor, isTensorOf, type Tensor } from '../tensor/index.ts';

/** One class of an answer. */
export interface Classification {
  readonly label: string;
  /** Index of the class in the model's output. */
  readonly index: number;
  readonly score: number;
}

export interface ClassificationOptions {
  readonly activation: Activation;
  /** Name of each class; the index as a decimal string stands in where there are none. */
  readonly labels?: readonly string[] | undefined;
  /** How many classes per image, the highest scores first. */
  readonly topK: number;
  /** Name of the model output, for errors. */
  readonly output?: string | undefined;
}

/**
 * Decoded pixels → the pixels the model sees: alpha laid on white, resized, cropped. The same pixels give the same bytes
 * on every machine.
 * @returns uint8 RGB of exactly the manifest's crop.
 * @throws {NearfarError} `invalid-argument` for a picture without pixels; `shape-mismatch` when its bytes do not fit its
 * size, or the crop does not fit into the resized picture.
 */
export function prepareImage(pixels: Pixels, { resize, crop: [height, width] }: ImageInput): RgbImage {
  assertPixels(pixels);
  const size = resizedSize(pixels, resize);
  const region = centreCrop(size, { width, height });
  return resizeBilinear(compositeOnWhite(pixels), size, region);
}

/** The pixels the model sees: of an image that is prepared already, or as {@link prepareImage} makes them of decoded pixels. */
export function toPrepared(image: RgbImage | Pixels, input: ImageInput): RgbImage {
  return 'channels' in image ? prepareImage(image, input) : image;
}

function resizedSize(picture: Size, resize: ImageInput['resize']): Size {
  if (resize.shorterSide !== undefined) return sizeByShorterSide(picture, resize.shorterSide);
  const [height, width] = resize.size;
  return { width, height };
}

/**
 * Prepared images → the batch the model reads.
 * @param into Memory for the batch, overwritten; new where it is absent.
 * @returns float32, shape `[images, height, width, 3]` or `[images, 3, height, width]` as the manifest's layout says.
 * @throws {NearfarError} `invalid-argument` without an image; `shape-mismatch` when an image is not of the manifest's crop.
 */
export function encodeImages(images: readonly RgbImage[], input: ImageInput, into?: Float32Array): Tensor<'float32'> {
  for (const image of images) assertCropped(image, input);
  return normalise(images, input, into);
}

function assertCropped({ width, height, data }: RgbImage, { name, crop }: ImageInput): void {
  const [wantHeight, wantWidth] = crop;
  if (height === wantHeight && width === wantWidth && data.length === wantHeight * wantWidth * 3) return;
  throw new NearfarError(
    'shape-mismatch',
    `input "${name}" takes images of ${wantWidth}x${wantHeight} RGB pixels, got ${width}x${height} in ${data.length} bytes`,
    { details: { name, want: [wantHeight, wantWidth, 3], got: [height, width, 3], bytes: data.length } },
  );
}

/**
 * The model's output → the best classes of each image.
 * @param tensor float32, shape `[images, classes]`; dimensions of 1 in between are left out.
 * @returns One list per image, highest score first, ties by lower index.
 * @throws {NearfarError} `dtype-mismatch`, `shape-mismatch` (also when there are more or fewer labels than classes, since
 * each name might then be wrong), `invalid-argument` for a bad `topK`, `internal` when a score is NaN.
 */
export function decodeClassification(tensor: AnyTensor, options: ClassificationOptions): Classification[][] {
  const { activation, labels, output = 'scores' } = options;
  const { data, images, classes } = asRows(tensor, output);
  if (labels && labels.length !== classes) {
    throw new NearfarError('shape-mismatch', `model output "${output}" has ${classes} classes, there are ${labels.length} labels`, {
      details: { output, want: classes, got: labels.length },
    });
  }
  const scores = activate(data, activation, classes);
  return Array.from({ length: images }, (_, image) => {
    const row = scores.subarray(image * classes, (image + 1) * classes);
    return topK(row, options.topK, output).map((index) => ({ label: labels?.[index] ?? String(index), index, score: row[index]! }));
  });
}

function asRows(tensor: AnyTensor, output: string): { data: Float32Array; images: number; classes: number } {
  if (!isTensorOf(tensor, 'float32')) {
    throw new NearfarError('dtype-mismatch', `model output "${output}" is expected as float32, got ${tensor.dtype}`, {
      details: { output, want: 'float32', got: tensor.dtype },
    });
  }
  const { shape, data } = tensor;
  const [images, ...rest] = shape;
  const classes = rest.pop();
  if (images === undefined || !classes || rest.some((size) => size !== 1)) {
    throw new NearfarError('shape-mismatch', `model output "${output}" is expected as [images, classes], got [${shape}]`, {
      details: { output, want: [-1, -1], got: [...shape] },
    });
  }
  createTensor('float32', shape, data);
  return { data, images, classes };
}

/** Image classification: both legs and the server call exactly these three steps, around a run of the signature. */
export const imageClassification = { name: 'image-classification', prepareImage, encodeImages, decodeClassification } as const;

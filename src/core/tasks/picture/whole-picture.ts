import { NearfarError } from '../../errors.ts';
import type { ImageInput, PictureInput } from '../../manifest/index.ts';
import {
  assertPixels,
  compositeOnWhite,
  letterbox,
  normalise,
  type Pixels,
  placeInFrame,
  type Region,
  type RgbImage,
  resizeBilinear,
  type Size,
} from '../../preprocess/index.ts';
import { prepareImage } from '../image-classification.ts';
import { parseTask } from '../parse-task.ts';
import { assertNotEmpty, type EncodedBatch } from '../task.ts';
import type { PictureTask, TaskManifest } from '../task-of.ts';

/** A picture as the model sees it, with the size it had: what crosses to a worker or to the server. */
export interface PreparedPicture {
  readonly image: RgbImage;
  readonly picture: Size;
}

/**
 * Decoded pixels → what the model sees of the picture: alpha laid on white, resized; cropped where the task crops, else whole, filled up.
 * @throws {NearfarError} as `prepareImage`.
 */
export function preparePicture(pixels: Pixels, input: ImageInput | PictureInput): PreparedPicture {
  const picture = { width: pixels.width, height: pixels.height };
  if (isCropped(input)) return { image: prepareImage(pixels, input), picture };
  assertPixels(pixels);
  const { resize } = input;
  const frame = frameOf(resize);
  const region = regionOf(picture, resize);
  const resized = resizeBilinear(compositeOnWhite(pixels), { width: region.width, height: region.height });
  return { image: placeInFrame(resized, frame, region, resize.letterbox === undefined ? 0 : resize.fill), picture };
}

/**
 * How a task of a version takes pictures.
 * @throws {NearfarError} `unsupported` when the model does not have the task, or the task takes no picture.
 */
export function pictureInputOf(version: TaskManifest, task: PictureTask): ImageInput | PictureInput {
  if (task !== 'embeddings') return parseTask(version, task).input;
  const { input } = parseTask(version, task);
  if (input.tokenizer === undefined) return input;
  throw new NearfarError('unsupported', `the task embeddings of ${version.name} version ${version.version} takes texts, no pictures`);
}

function isCropped(input: ImageInput | PictureInput): input is ImageInput {
  return input['crop'] !== undefined;
}

/** Pictures → the batch the model reads. */
export function encodePictures(pictures: readonly (Pixels | PreparedPicture)[], input: PictureInput): EncodedBatch {
  assertNotEmpty(pictures);
  const prepared = pictures.map((picture) => ('image' in picture ? picture : preparePicture(picture, input)));
  const frame = frameOf(input.resize);
  for (const { image } of prepared) assertFrame(input.name, image, frame);
  const tensor = normalise(
    prepared.map(({ image }) => image),
    input,
  );
  return { tensors: { [input.name]: tensor }, count: prepared.length, pictures: prepared.map(({ picture }) => picture) };
}

/** Sides of what the model sees, in pixels. */
export function frameOf(resize: PictureInput['resize']): Size {
  const [height, width] = resize.letterbox ?? resize.size;
  return { width, height };
}

/** Where a picture lies in what the model sees. */
export function regionOf(picture: Size, resize: PictureInput['resize']): Region {
  const frame = frameOf(resize);
  return resize.letterbox === undefined ? { left: 0, top: 0, ...frame } : letterbox(picture, frame, resize.align);
}

/** The pictures that the answers are about. */
export function picturesOf({ pictures }: EncodedBatch): readonly Size[] {
  if (pictures) return pictures;
  throw new NearfarError('invalid-argument', 'the batch to decode by was not encoded from pictures');
}

function assertFrame(name: string, { width, height, data }: RgbImage, frame: Size): void {
  if (width === frame.width && height === frame.height && data.length === width * height * 3) return;
  throw new NearfarError(
    'shape-mismatch',
    `input "${name}" takes pictures of ${frame.width}x${frame.height} RGB pixels, got ${width}x${height} in ${data.length} bytes`,
    { details: { name, want: [frame.height, frame.width, 3], got: [height, width, 3], bytes: data.length } },
  );
}

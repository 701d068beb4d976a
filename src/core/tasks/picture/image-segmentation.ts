import type { PictureInput, TaskSpecs } from '../../manifest/index.ts';
import { argMax, type ClassMask, resizeNearest } from '../../postprocess/index.ts';
import type { Pixels, Size } from '../../preprocess/index.ts';
import type { AnyTensor } from '../../tensor/index.ts';
import { readLabels } from '../classes.ts';
import { parseTask } from '../parse-task.ts';
import { assertCount, floatOutput, type OpenedTask, outputOf, type TaskSource, wrongShape } from '../task.ts';
import { encodePictures, frameOf, type PreparedPicture, picturesOf, regionOf } from './whole-picture.ts';

/** Which class each pixel of a picture is of. */
export interface Segmentation {
  /** Of the size of the picture. */
  readonly mask: ClassMask;
  /** The classes that occur, the most frequent first. */
  readonly segments: readonly { readonly label: string; readonly index: number; readonly pixels: number }[];
}

/** Image segmentation: a picture → a class for each of its pixels. */
export async function openImageSegmentation(source: TaskSource): Promise<OpenedTask<Pixels | PreparedPicture, object, Segmentation>> {
  const { signature, input, output } = parseTask(source.manifest, 'image-segmentation');
  const labels = await readLabels(source, output.labels);
  return {
    signature,
    outputs: [output.name],
    encode: (pictures) => encodePictures(pictures, input),
    decode: (outputs, batch) => {
      const tensor = outputOf(outputs, output.name);
      assertCount(output.name, tensor.shape, batch);
      const masksOf = isClassIds(tensor) ? readIds(tensor, output.name) : readScores(outputs, output);
      return picturesOf(batch).map((picture, index) => {
        const mask = fitPicture(masksOf(index), picture, input);
        return { mask, segments: countSegments(mask, labels) };
      });
    },
  };
}

type Output = TaskSpecs['image-segmentation']['output'];
type ClassIds = Extract<AnyTensor, { dtype: 'int32' | 'int64' | 'uint8' }>;

/** A model may have taken the best class itself. */
function isClassIds(tensor: AnyTensor): tensor is ClassIds {
  return tensor.dtype === 'int32' || tensor.dtype === 'int64' || tensor.dtype === 'uint8';
}

function readIds({ shape, data }: ClassIds, name: string): (picture: number) => ClassMask {
  const [, ...sides] = shape;
  // A channel dimension of 1 may stand on either side.
  if (sides.length === 3) sides.splice(sides[2] === 1 ? 2 : 0, 1);
  const [height, width] = sides;
  if (sides.length !== 2 || !height || !width || data.length !== shape[0]! * height * width)
    throw wrongShape(name, 'as [images, height, width]', shape);
  const area = height * width;
  return (picture) => ({ width, height, data: Uint16Array.from({ length: area }, (_, pixel) => Number(data[picture * area + pixel]!)) });
}

function readScores(outputs: Parameters<typeof outputOf>[0], { name, layout, threshold }: Output): (picture: number) => ClassMask {
  const { shape, data } = floatOutput(outputs, name, [4]);
  const [, a = 0, b = 0, c = 0] = shape;
  const [height, width, classes] = layout === 'NHWC' ? [a, b, c] : [b, c, a];
  const area = height * width;
  if (area * classes === 0) throw wrongShape(name, 'with pixels and classes', shape);
  if (threshold !== undefined && classes !== 1) throw wrongShape(name, 'of one channel, as the task has a threshold', shape);
  return (picture) => {
    const own = data.subarray(picture * area * classes, (picture + 1) * area * classes);
    if (threshold !== undefined) return { width, height, data: Uint8Array.from(own, (value) => Number(value > threshold)) };
    const [pixelStep, classStep] = layout === 'NHWC' ? [classes, 1] : [1, area];
    return { width, height, data: argMax(own, area, classes, pixelStep, classStep) };
  };
}

/** The part of the mask that shows the picture, at the picture's size; a mask may be smaller than what the model saw. */
function fitPicture(mask: ClassMask, picture: Size, { resize }: PictureInput): ClassMask {
  const frame = frameOf(resize);
  const region = regionOf(picture, resize);
  const [across, down] = [mask.width / frame.width, mask.height / frame.height];
  const left = Math.min(mask.width - 1, Math.round(region.left * across));
  const top = Math.min(mask.height - 1, Math.round(region.top * down));
  const width = Math.max(1, Math.min(mask.width - left, Math.round(region.width * across)));
  const height = Math.max(1, Math.min(mask.height - top, Math.round(region.height * down)));
  return resizeNearest(mask, { left, top, width, height }, picture);
}

function countSegments({ data }: ClassMask, labels: readonly string[] | undefined): Segmentation['segments'] {
  const counts = new Map<number, number>();
  for (const index of data) counts.set(index, (counts.get(index) ?? 0) + 1);
  return [...counts]
    .sort(([a, pixelsOfA], [b, pixelsOfB]) => pixelsOfB - pixelsOfA || a - b)
    .map(([index, pixels]) => ({ label: labels?.[index] ?? String(index), index, pixels }));
}

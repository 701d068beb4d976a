import { NearfarError } from '../../errors.ts';
import type { DetectionOutput, PictureInput } from '../../manifest/index.ts';
import { activate, type Corners, suppressNonMax, toCorners } from '../../postprocess/index.ts';
import type { Pixels, Size } from '../../preprocess/index.ts';
import type { TensorMap } from '../../tensor/index.ts';
import { readLabels } from '../classes.ts';
import { parseTask } from '../parse-task.ts';
import { assertCount, floatOutput, numberOutput, type OpenedTask, type TaskSource, wrongShape } from '../task.ts';
import { encodePictures, frameOf, type PreparedPicture, picturesOf, regionOf } from './whole-picture.ts';

/** Something found in a picture. */
export interface Detection {
  readonly label: string;
  /** Index of its class. */
  readonly index: number;
  readonly score: number;
  /** In pixels of the picture, from its top left corner; inside it. */
  readonly box: { readonly xmin: number; readonly ymin: number; readonly xmax: number; readonly ymax: number };
}

export interface DetectionOptions {
  /** Scores at or below are left out; the manifest's where absent. */
  readonly threshold?: number | undefined;
  /** At most so many; the manifest's where absent. */
  readonly maxDetections?: number | undefined;
}

/** Object detection: a picture → what is in it and where, the highest score first. */
export async function openObjectDetection(
  source: TaskSource,
): Promise<OpenedTask<Pixels | PreparedPicture, DetectionOptions, readonly Detection[]>> {
  const { signature, input, output } = parseTask(source.manifest, 'object-detection');
  const labels = await readLabels(source, output.labels);
  const { tensors } = output;
  const names = tensors.predictions === undefined ? [tensors.boxes, tensors.scores, tensors.classes, tensors.count] : [tensors.predictions];
  return {
    signature,
    outputs: names.filter((name) => name !== undefined),
    encode: (pictures) => encodePictures(pictures, input),
    decode: (outputs, batch, options) => {
      const read = tensors.predictions === undefined ? separate(outputs, tensors, output) : joined(outputs, tensors, output);
      for (const name of names) if (name !== undefined) assertCount(name, outputs[name]?.shape ?? [], batch);
      return picturesOf(batch).map((picture, index) => detect(read(index), picture, input, output, labels, options));
    },
  };
}

/** The boxes of one picture, each with its best class. */
interface Candidates {
  readonly boxes: Float32Array;
  readonly scores: Float32Array;
  readonly classes: readonly number[];
}

type SeparateTensors = Extract<DetectionOutput['tensors'], { predictions?: undefined }>;
type JoinedTensors = Exclude<DetectionOutput['tensors'], { predictions?: undefined }>;

function separate(outputs: TensorMap, names: SeparateTensors, output: DetectionOutput): (picture: number) => Candidates {
  const boxes = floatOutput(outputs, names.boxes, [3]);
  const scores = floatOutput(outputs, names.scores, names.classes === undefined ? [3] : [2]);
  const numbers = names.classes === undefined ? undefined : numberOutput(outputs, names.classes, [2]);
  const counts = names.count === undefined ? undefined : numberOutput(outputs, names.count, [1, 2]);
  const [, total = 0, four] = boxes.shape;
  if (four !== 4) throw wrongShape(names.boxes, 'as [images, boxes, 4]', boxes.shape);
  for (const [name, tensor] of [
    [names.scores, scores],
    [names.classes, numbers],
  ] as const) {
    if (tensor && tensor.shape[1] !== total) throw wrongShape(name!, `with ${total} boxes`, tensor.shape);
  }
  return (picture) => {
    const count = counts ? Math.min(total, Math.max(0, Math.trunc(counts.data[picture]!))) : total;
    const own = boxes.data.subarray(picture * total * 4, (picture * total + count) * 4);
    if (!numbers) {
      const classes = scores.shape[2]!;
      return {
        boxes: own,
        ...bestClasses(scores.data.subarray(picture * total * classes, (picture * total + count) * classes), classes, output),
      };
    }
    const from = picture * total;
    const first = names.firstClass ?? 0;
    const row = scores.data.slice(from, from + count);
    return {
      boxes: own,
      scores: activate(row, output.activation, 1),
      classes: Array.from(numbers.data.subarray(from, from + count), (number) => Math.round(number) - first),
    };
  };
}

function joined(
  outputs: TensorMap,
  { predictions, order, objectness }: JoinedTensors,
  output: DetectionOutput,
): (picture: number) => Candidates {
  const { shape, data } = floatOutput(outputs, predictions, [3]);
  const [, a = 0, b = 0] = shape;
  const [total, values] = order === 'boxes-values' ? [a, b] : [b, a];
  const head = objectness ? 5 : 4;
  const classes = values - head;
  if (classes < 1) throw wrongShape(predictions, `with more than ${head} values per box`, shape);
  const [boxStep, valueStep] = order === 'boxes-values' ? [values, 1] : [1, total];
  return (picture) => {
    const at = (box: number, value: number) => data[picture * total * values + box * boxStep + value * valueStep]!;
    const boxes = Float32Array.from({ length: total * 4 }, (_, index) => at(index >> 2, index & 3));
    const rows = Float32Array.from({ length: total * classes }, (_, index) => at(Math.floor(index / classes), head + (index % classes)));
    const best = bestClasses(rows, classes, output);
    if (!objectness) return { boxes, ...best };
    const certainty = activate(
      Float32Array.from({ length: total }, (_, box) => at(box, 4)),
      output.activation === 'softmax' ? 'none' : output.activation,
      1,
    );
    return { boxes, ...best, scores: best.scores.map((score, box) => score * certainty[box]!) };
  };
}

/** The best class of each box, the lower index of equal ones, where the background is no class. */
function bestClasses(rows: Float32Array, width: number, { activation, background }: DetectionOutput): Omit<Candidates, 'boxes'> {
  const activated = activate(rows, activation, width);
  const first = background === 'first' ? 1 : 0;
  const end = background === 'last' ? width - 1 : width;
  const count = rows.length / width;
  const scores = new Float32Array(count);
  const classes = Array.from({ length: count }, (_, box) => {
    let best = first;
    for (let index = first + 1; index < end; index++) if (activated[box * width + index]! > activated[box * width + best]!) best = index;
    scores[box] = activated[box * width + best]!;
    return best - first;
  });
  return { scores, classes };
}

function detect(
  { boxes, scores, classes }: Candidates,
  picture: Size,
  input: PictureInput,
  output: DetectionOutput,
  labels: readonly string[] | undefined,
  options: DetectionOptions,
): Detection[] {
  const corners = toCorners(boxes, output.boxFormat);
  const scoreThreshold = options.threshold ?? output.scoreThreshold;
  const maxBoxes = options.maxDetections ?? output.maxDetections;
  const place = placer(picture, input, output.coordinates);
  return keep(corners, scores, classes, output, scoreThreshold, maxBoxes).map((index) => {
    const number = classes[index]!;
    return { label: labelOf(labels, number), index: number, score: scores[index]!, box: place(corners.subarray(4 * index, 4 * index + 4)) };
  });
}

/** Indices of the boxes to answer, the highest score first. */
function keep(
  corners: Corners,
  scores: Float32Array,
  classes: readonly number[],
  { suppression }: DetectionOutput,
  scoreThreshold: number,
  maxBoxes: number,
): number[] {
  // With nothing dropped for its overlap, the suppression only sorts and cuts.
  if (suppression?.across !== 'class') {
    return suppressNonMax(corners, scores, {
      iouThreshold: suppression?.iouThreshold ?? Number.POSITIVE_INFINITY,
      scoreThreshold,
      maxBoxes,
    });
  }
  const ofEachClass = [...new Set(classes)].flatMap((wanted) => {
    const own = scores.map((score, index) => (classes[index] === wanted ? score : Number.NaN));
    return suppressNonMax(corners, own, { iouThreshold: suppression.iouThreshold, scoreThreshold, maxBoxes });
  });
  return ofEachClass.sort((a, b) => scores[b]! - scores[a]! || a - b).slice(0, maxBoxes);
}

/** From the model's frame to pixels of the picture. */
function placer(
  picture: Size,
  { resize }: PictureInput,
  coordinates: DetectionOutput['coordinates'],
): (corners: Float32Array) => Detection['box'] {
  const frame = frameOf(resize);
  const region = regionOf(picture, resize);
  const [unitX, unitY] = coordinates === 'relative' ? [frame.width, frame.height] : [1, 1];
  const across = (x: number) => Math.min(picture.width, Math.max(0, ((x * unitX - region.left) * picture.width) / region.width));
  const down = (y: number) => Math.min(picture.height, Math.max(0, ((y * unitY - region.top) * picture.height) / region.height));
  return ([a = 0, b = 0, c = 0, d = 0]) => ({
    xmin: across(Math.min(a, c)),
    ymin: down(Math.min(b, d)),
    xmax: across(Math.max(a, c)),
    ymax: down(Math.max(b, d)),
  });
}

function labelOf(labels: readonly string[] | undefined, index: number): string {
  if (!labels) return String(index);
  const label = labels[index];
  if (label !== undefined) return label;
  throw new NearfarError('shape-mismatch', `the model found class ${index}, there are ${labels.length} labels`, {
    details: { want: labels.length, got: index },
  });
}

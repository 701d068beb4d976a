import * as v from 'valibot';
import { countSchema, divisorSchema, filePathSchema, layoutSchema } from './fields.ts';
import type { TaskName } from './task-schemas/index.ts';

export const activationSchema = v.picklist(['none', 'softmax', 'sigmoid']);
export const sizeSchema = v.tuple([countSchema, countSchema]);
export const filter = { filter: v.literal('bilinear'), antialias: v.literal(true) };

/** Tensor value = (pixel * scale - mean) / std, per channel; std is never 0, since pixels are divided by it. */
export const normalisation = {
  layout: layoutSchema,
  scale: v.number(),
  mean: v.pipe(v.array(v.number()), v.length(3)),
  std: v.pipe(v.array(divisorSchema), v.length(3)),
};

export const imageInputSchema = v.looseObject({
  /** Name of the signature's input. */
  name: v.string(),
  resize: v.union([
    v.looseObject({ shorterSide: countSchema, ...filter }),
    v.looseObject({
      /** Only tells the two apart. */
      shorterSide: v.optional(v.never()),
      /** Height and width in pixels; the aspect ratio is not kept. */
      size: sizeSchema,
      ...filter,
    }),
  ]),
  /** Height and width of the centre crop, in pixels. */
  crop: sizeSchema,
  ...normalisation,
});

/** Scores of classes, one row per input. */
export const classesSchema = v.looseObject({ name: v.string(), activation: activationSchema, labels: v.optional(filePathSchema) });

export const imageClassificationSchema = v.looseObject({ signature: v.string(), input: imageInputSchema, output: classesSchema });

/**
 * The tasks of a version. Image classification is checked with the manifest; the other tasks nearfar knows are checked by their schemas in
 * task-schemas/ when a model is opened for them, so that their schemas load with their code. Unknown ones are kept.
 */
export const tasksSchema = v.looseObject({ 'image-classification': v.optional(imageClassificationSchema) });

export type ImageInput = v.InferOutput<typeof imageInputSchema>;
export type ImageClassification = v.InferOutput<typeof imageClassificationSchema>;
export type Tasks = v.InferOutput<typeof tasksSchema>;

export const taskNames: readonly TaskName[] = [
  'image-classification',
  'object-detection',
  'image-segmentation',
  'image-to-image',
  'text-classification',
  'audio-classification',
  'tabular-classification',
  'tabular-regression',
  'embeddings',
];

/** The signature that a task runs and the files it reads beside the model, as far as it says so: it may not be checked yet. */
export interface TaskReferences {
  readonly name: TaskName;
  readonly signature: string | undefined;
  /** Layout of the picture it takes. */
  readonly layout: 'NHWC' | 'NCHW' | undefined;
  readonly files: readonly string[];
}

/** What the known tasks of a version refer to. */
export function taskReferences(tasks: Tasks = {}): readonly TaskReferences[] {
  return taskNames
    .filter((name) => tasks[name] !== undefined)
    .map((name) => {
      const { signature, input, output } = objectOf(tasks[name]);
      const { layout, tokenizer, columns } = objectOf(input);
      const terms = Array.isArray(columns) ? columns.map((column) => objectOf(objectOf(column)['transform'])['terms']) : [];
      return {
        name,
        signature: typeof signature === 'string' ? signature : undefined,
        layout: layout === 'NHWC' || layout === 'NCHW' ? layout : undefined,
        files: [objectOf(output)['labels'], tokenizer, ...terms].filter((file) => typeof file === 'string'),
      };
    });
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

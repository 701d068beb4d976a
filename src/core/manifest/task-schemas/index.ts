import * as v from 'valibot';
import { countSchema, divisorSchema, filePathSchema, layoutSchema } from '../fields.ts';
import { manifestSchema } from '../manifest.ts';
import {
  activationSchema,
  classesSchema,
  filter,
  imageClassificationSchema,
  imageInputSchema,
  normalisation,
  sizeSchema,
} from '../tasks.ts';

/** A picture that the model sees whole, so that its answer can be laid over the picture. */
const pictureInputSchema = v.looseObject({
  name: v.string(),
  resize: v.union([
    v.looseObject({
      letterbox: v.optional(v.never()),
      /** Height and width in pixels; the aspect ratio is not kept. */
      size: sizeSchema,
      ...filter,
    }),
    v.looseObject({
      /** Height and width in pixels; the picture keeps its aspect ratio, the rest has the grey of `fill`. */
      letterbox: sizeSchema,
      fill: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(255)),
      align: v.picklist(['centre', 'top-left']),
      ...filter,
    }),
  ]),
  ...normalisation,
});

const textInputSchema = v.looseObject({
  /** A tokenizer.json of Hugging Face's tokenizers. */
  tokenizer: filePathSchema,
  /** Most tokens of a text, special ones included; what the tokenizer says where absent. */
  maxLength: v.optional(countSchema),
  /** Fill up to the longest text of a batch, or always to maxLength. */
  padding: v.picklist(['longest', 'max-length']),
  /** Token that fills up; what the tokenizer says where absent. */
  padToken: v.optional(v.string()),
  /** Names of the signature's inputs: token ids, 1 for tokens and 0 for filling, 0 or 1 for the first or the second text. */
  ids: v.string(),
  attentionMask: v.optional(v.string()),
  tokenTypeIds: v.optional(v.string()),
});

const hertzSchema = v.pipe(v.number(), v.minValue(0));

const spectralSchema = v.pipe(
  v.looseObject({
    /** Samples of a frame, from one frame to the next, and of the transform. */
    frameLength: countSchema,
    hop: countSchema,
    fft: countSchema,
    window: v.picklist(['hann', 'hamming', 'none']),
    edges: v.picklist(['none', 'end', 'reflect', 'zeros']),
    /** 1 for magnitudes, 2 for power. */
    power: v.picklist([1, 2]),
    mel: v.optional(
      v.looseObject({
        bins: countSchema,
        lowHz: hertzSchema,
        highHz: hertzSchema,
        scale: v.picklist(['htk', 'slaney']),
        triangles: v.picklist(['mel', 'hertz']),
        norm: v.picklist(['none', 'slaney']),
      }),
    ),
    log: v.optional(
      v.union([
        v.looseObject({ kind: v.literal('natural'), offset: v.pipe(v.number(), v.minValue(0)) }),
        v.looseObject({
          kind: v.literal('decibels'),
          floor: v.pipe(v.number(), v.gtValue(0)),
          range: v.optional(v.pipe(v.number(), v.gtValue(0))),
        }),
      ]),
    ),
    mfcc: v.optional(v.looseObject({ coefficients: countSchema, norm: v.picklist(['htk', 'ortho']) })),
  }),
  v.check(({ frameLength, fft }) => frameLength <= fft, 'expected a frame no longer than the transform'),
);

const audioInputSchema = v.looseObject({
  name: v.string(),
  /** Samples per second that the model was trained on. */
  sampleRate: countSchema,
  /** Samples the model takes: longer sounds are cut, shorter ones end in silence. Any number where absent. */
  samples: v.optional(countSchema),
  /** What is made of the samples; absent: the model takes them as they are. */
  features: v.optional(spectralSchema),
  /** Order of the two dimensions of features. */
  order: v.optional(v.picklist(['frames-bins', 'bins-frames'])),
  /** Value = (x - mean) / std. */
  mean: v.optional(v.number()),
  std: v.optional(divisorSchema),
});

const columnSchema = v.looseObject({
  name: v.string(),
  /** Name of the signature's input; the columns of one input stand side by side, in the order of the list. */
  input: v.string(),
  transform: v.union([
    v.looseObject({ kind: v.literal('none') }),
    v.looseObject({ kind: v.literal('standard'), mean: v.number(), std: divisorSchema }),
    v.looseObject({ kind: v.literal('min-max'), min: v.number(), max: v.number() }),
    v.looseObject({ kind: v.literal('bucketise'), boundaries: v.array(v.number()) }),
    v.looseObject({ kind: v.literal('hash'), buckets: countSchema }),
    v.looseObject({
      kind: v.literal('vocabulary'),
      /** The terms, or a file with one per line. */
      terms: v.union([v.array(v.string()), filePathSchema]),
      first: v.optional(v.pipe(v.number(), v.safeInteger())),
      unknown: v.optional(v.pipe(v.number(), v.safeInteger())),
    }),
  ]),
  oneHot: v.optional(countSchema),
  missing: v.optional(v.union([v.string(), v.number()])),
});

const tableInputSchema = v.looseObject({ columns: v.pipe(v.array(columnSchema), v.minLength(1)) });

const detectionSchema = v.looseObject({
  /** Corners or centre and size; `x` across, `y` down. */
  boxFormat: v.picklist(['xyxy', 'yxyx', 'xywh', 'cxcywh']),
  /** Parts of the model's input, or its pixels. */
  coordinates: v.picklist(['relative', 'pixels']),
  activation: activationSchema,
  /** A class that means nothing was found. */
  background: v.optional(v.picklist(['first', 'last'])),
  /** Drop boxes that overlap a better one by more; class by class, or over all of them. Absent where the model has done it. */
  suppression: v.optional(
    v.looseObject({ iouThreshold: v.pipe(v.number(), v.minValue(0), v.maxValue(1)), across: v.picklist(['class', 'all']) }),
  ),
  /** Scores at or below are left out. */
  scoreThreshold: v.number(),
  maxDetections: countSchema,
  labels: v.optional(filePathSchema),
  tensors: v.union([
    v.looseObject({
      predictions: v.optional(v.never()),
      /** [images, boxes, 4] */
      boxes: v.string(),
      /** [images, boxes, classes], or [images, boxes] beside `classes`. */
      scores: v.string(),
      classes: v.optional(v.string()),
      /** Number of the first class in `classes`; 0 where absent. */
      firstClass: v.optional(v.pipe(v.number(), v.safeInteger())),
      /** How many of the boxes count. */
      count: v.optional(v.string()),
    }),
    v.looseObject({
      /** Boxes and scores in one: [images, boxes, 4 + classes], or [images, 4 + classes, boxes]. */
      predictions: v.string(),
      order: v.picklist(['boxes-values', 'values-boxes']),
      /** A number between box and scores that these are multiplied by. */
      objectness: v.boolean(),
    }),
  ]),
});

const taskSchema = <Input extends v.GenericSchema, Output extends v.GenericSchema>(input: Input, output: Output) =>
  v.looseObject({ signature: v.string(), input, output });

export const taskSchemas = {
  'image-classification': imageClassificationSchema,
  'object-detection': taskSchema(pictureInputSchema, detectionSchema),
  'image-segmentation': taskSchema(
    pictureInputSchema,
    v.looseObject({
      name: v.string(),
      layout: layoutSchema,
      /** Of one channel: values above are class 1, others class 0. */
      threshold: v.optional(v.number()),
      labels: v.optional(filePathSchema),
    }),
  ),
  'image-to-image': taskSchema(
    pictureInputSchema,
    /** As for the input: value = (pixel * scale - mean) / std. `picture`: back to the size of the picture. */
    v.looseObject({ name: v.string(), size: v.picklist(['model', 'picture']), ...normalisation }),
  ),
  'text-classification': taskSchema(textInputSchema, classesSchema),
  'audio-classification': taskSchema(
    audioInputSchema,
    /** `mean`: the rows of a sound, one per stretch of it, are averaged. */
    v.looseObject({ ...classesSchema.entries, pooling: v.optional(v.picklist(['none', 'mean'])) }),
  ),
  'tabular-classification': taskSchema(tableInputSchema, classesSchema),
  'tabular-regression': taskSchema(
    tableInputSchema,
    /** Answer = value * scale + offset. */
    v.looseObject({ name: v.string(), scale: v.optional(v.number()), offset: v.optional(v.number()) }),
  ),
  embeddings: taskSchema(
    v.union([v.looseObject({ tokenizer: v.optional(v.never()), ...imageInputSchema.entries }), textInputSchema]),
    /** [inputs, dimensions]; of [inputs, tokens, dimensions] the first token's, or the mean over tokens that are no filling. */
    v.looseObject({ name: v.string(), pooling: v.picklist(['none', 'first', 'mean']), normalise: v.boolean() }),
  ),
};

/** Manifest schema with all tasks, for editors and for those who write manifests. */
export const completeManifestSchema = v.looseObject({
  ...manifestSchema.entries,
  tasks: v.optional(
    v.looseObject({
      'image-classification': v.optional(taskSchemas['image-classification']),
      'object-detection': v.optional(taskSchemas['object-detection']),
      'image-segmentation': v.optional(taskSchemas['image-segmentation']),
      'image-to-image': v.optional(taskSchemas['image-to-image']),
      'text-classification': v.optional(taskSchemas['text-classification']),
      'audio-classification': v.optional(taskSchemas['audio-classification']),
      'tabular-classification': v.optional(taskSchemas['tabular-classification']),
      'tabular-regression': v.optional(taskSchemas['tabular-regression']),
      embeddings: v.optional(taskSchemas.embeddings),
    }),
  ),
});

export type TaskName = keyof typeof taskSchemas;
/** What a manifest says about each task. */
export type TaskSpecs = { readonly [Name in TaskName]: v.InferOutput<(typeof taskSchemas)[Name]> };

export type PictureInput = v.InferOutput<typeof pictureInputSchema>;
export type TextInputSpec = v.InferOutput<typeof textInputSchema>;
export type AudioInput = v.InferOutput<typeof audioInputSchema>;
export type ColumnSpec = v.InferOutput<typeof columnSchema>;
export type DetectionOutput = v.InferOutput<typeof detectionSchema>;

import * as v from 'valibot';
import { type ImageClassification, type ImageInput, NearfarError, parseLabels, type TensorMap } from '../core/index.ts';
import type { NamedTensor, NamedTensors } from './signature.ts';

/** How pictures become the input of an image-classification model and its output becomes classes; what is left out follows the model. */
export interface ImageClassificationOptions {
  readonly task: 'image-classification';
  /** @default `serving_default`, else the only one */
  readonly signature?: string | undefined;
  /** Bytes of a labels file: text, one per line, or JSON, a list or an object index → label (`id2label` of a Hugging Face config.json). */
  readonly labels?: Uint8Array | undefined;
  /** Bytes of a Hugging Face preprocessor_config.json; the fields below win over it. */
  readonly preprocessor?: Uint8Array | undefined;
  /** The input's name. @default the only input */
  readonly input?: string | undefined;
  /** The output's name. @default the only output, else `probabilities`, else `logits` */
  readonly output?: string | undefined;
  /** @default `none` when the golden outputs are probabilities already (each row adds up to 1), else `softmax` */
  readonly activation?: ImageClassification['output']['activation'] | undefined;
  /** Pixels the shorter side is resized to. @default the crop's, when that is square; else the picture is stretched to the crop */
  readonly shorterSide?: number | undefined;
  /** Height and width of the centre crop. @default the input's */
  readonly crop?: readonly [number, number] | undefined;
  /** Order of the input's axes, where its shape does not tell where the colours are. */
  readonly layout?: ImageInput['layout'] | undefined;
  /** @default 1 / 255 */
  readonly scale?: number | undefined;
  /** @default [0, 0, 0] */
  readonly mean?: readonly [number, number, number] | undefined;
  /** @default [1, 1, 1] */
  readonly std?: readonly [number, number, number] | undefined;
}

/**
 * The picture input of the task.
 * @throws {NearfarError} `invalid-argument`, `shape-mismatch` when the input takes no RGB pictures; `unsupported` for a preprocessing step
 * that nearfar does not have.
 */
export function resolveImageInput({ inputs }: NamedTensors, options: ImageClassificationOptions): ImageInput {
  const input = pickTensor('input', inputs, options.input, []);
  const { layout, height, width } = imageShape(input, options.layout);
  const config = options.preprocessor ? parsePreprocessor(options.preprocessor) : {};
  const crop = options.crop ?? config.crop ?? (height > 0 && width > 0 ? [height, width] : config.size);
  if (!crop)
    throw new NearfarError('invalid-argument', `input ${input.name} takes any size, say the crop`, { details: { name: input.name } });
  const [cropHeight, cropWidth] = crop;
  if ((height > 0 && height !== cropHeight) || (width > 0 && width !== cropWidth)) {
    throw new NearfarError(
      'shape-mismatch',
      `input ${input.name} takes ${height}x${width} pixels, the crop is ${cropHeight}x${cropWidth}`,
      {
        details: { name: input.name, want: [height, width], got: [cropHeight, cropWidth] },
      },
    );
  }
  const shorterSide = options.shorterSide ?? config.shorterSide ?? (config.size || cropHeight !== cropWidth ? undefined : cropHeight);
  if (shorterSide !== undefined && shorterSide < Math.max(cropHeight, cropWidth)) {
    throw new NearfarError(
      'invalid-argument',
      `a crop of ${cropHeight}x${cropWidth} does not fit in pictures whose shorter side is ${shorterSide}`,
      {
        details: { shorterSide, crop: [...crop] },
      },
    );
  }
  const filter = { filter: 'bilinear', antialias: true } as const;
  return {
    name: input.name,
    resize: shorterSide === undefined ? { size: config.size ?? [cropHeight, cropWidth], ...filter } : { shorterSide, ...filter },
    crop: [cropHeight, cropWidth],
    layout,
    scale: options.scale ?? config.scale ?? 1 / 255,
    mean: [...(options.mean ?? config.mean ?? [0, 0, 0])],
    std: [...(options.std ?? config.std ?? [1, 1, 1])],
  };
}

/**
 * The whole task.
 * @param results Golden outputs by the names of the signature; they tell the number of classes and whether they are probabilities.
 * @throws {NearfarError} `shape-mismatch` when there are more or fewer labels than classes; `invalid-argument`.
 */
export function resolveImageClassification(
  signature: string,
  input: ImageInput,
  { outputs }: NamedTensors,
  results: readonly TensorMap[],
  labels: readonly string[] | undefined,
  options: ImageClassificationOptions,
): ImageClassification {
  const { name } = pickTensor('output', outputs, options.output, ['probabilities', 'logits']);
  const classes = results[0]?.[name]?.shape.at(-1) ?? 0;
  if (labels && labels.length !== classes) {
    throw new NearfarError('shape-mismatch', `output ${name} has ${classes} classes, there are ${labels.length} labels`, {
      details: { name, want: classes, got: labels.length },
    });
  }
  const activation = options.activation ?? (results.every((outputsOf) => isDistribution(outputsOf, name, classes)) ? 'none' : 'softmax');
  return { signature, input, output: { name, activation, ...(labels && { labels: 'labels.txt' }) } };
}

/**
 * Labels from a text or JSON file.
 * @throws {NearfarError} `invalid-argument` when a label is missing, no string, or holds a line break.
 */
export function readLabels(bytes: Uint8Array): string[] {
  const labels = labelList(bytes);
  const wrong = labels.findIndex((label) => typeof label !== 'string' || /[\r\n]/.test(label));
  if (wrong >= 0) throw new NearfarError('invalid-argument', `label ${wrong} is missing or no line of text`, { details: { index: wrong } });
  return labels;
}

function labelList(bytes: Uint8Array): string[] {
  const lines = parseLabels(bytes);
  if (!/^\s*[[{]/.test(lines[0] ?? '')) return lines;
  const schema = v.union([
    v.array(v.string()),
    v.looseObject({ id2label: v.record(v.string(), v.string()) }),
    v.record(v.string(), v.string()),
  ]);
  const parsed = v.safeParse(schema, parseJson('labels', bytes));
  if (!parsed.success) throw new NearfarError('invalid-argument', 'labels are no JSON list of names and no object index → name');
  if (Array.isArray(parsed.output)) return parsed.output;
  const byIndex = 'id2label' in parsed.output && typeof parsed.output.id2label === 'object' ? parsed.output.id2label : parsed.output;
  const names = new Map(Object.entries(byIndex));
  return Array.from({ length: names.size }, (_, index) => String(names.get(String(index)) ?? missingLabel(index)));
}

function missingLabel(index: number): never {
  throw new NearfarError('invalid-argument', `label ${index} is missing`, { details: { index } });
}

function isDistribution(outputs: TensorMap, name: string, classes: number): boolean {
  const data = outputs[name]?.data ?? [];
  for (let start = 0; start < data.length; start += classes) {
    const row = Array.from(data.slice(start, start + classes), Number);
    if (row.some((value) => !(value >= 0)) || Math.abs(row.reduce((sum, value) => sum + value, 0) - 1) > 1e-3) return false;
  }
  return data.length > 0;
}

export function pickTensor(
  kind: string,
  tensors: readonly NamedTensor[],
  name: string | undefined,
  preferred: readonly string[],
): NamedTensor {
  const wanted = name === undefined ? preferred : [name];
  const named = wanted.map((want) => tensors.find((tensor) => tensor.name === want)).find((tensor) => tensor !== undefined);
  const found = named ?? (name === undefined && tensors.length === 1 ? tensors[0] : undefined);
  if (found) return found;
  const known = tensors.map((tensor) => tensor.name);
  throw new NearfarError('invalid-argument', `name the ${kind} of the task (${name ?? 'none given'}); the model has: ${known.join(', ')}`, {
    details: { kind, known },
  });
}

export function imageShape(
  { name, dtype, shape = [] }: NamedTensor,
  wanted: ImageInput['layout'] | undefined,
): { layout: ImageInput['layout']; height: number; width: number } {
  const [, a = 0, b = 0, c = 0] = shape;
  if (dtype === 'float32' && shape.length === 4 && c === 3) return { layout: 'NHWC', height: a, width: b };
  if (dtype === 'float32' && shape.length === 4 && a === 3) return { layout: 'NCHW', height: b, width: c };
  if (dtype === 'float32' && shape.length === 4 && wanted === 'NHWC' && c < 0) return { layout: wanted, height: a, width: b };
  if (dtype === 'float32' && shape.length === 4 && wanted === 'NCHW' && a < 0) return { layout: wanted, height: b, width: c };
  throw new NearfarError('shape-mismatch', `input ${name} takes no RGB pictures as float32: it is ${dtype} [${shape}]`, {
    details: { name, dtype, got: [...shape] },
  });
}

interface Preprocessing {
  readonly shorterSide?: number;
  readonly size?: [number, number];
  readonly crop?: [number, number];
  readonly scale?: number;
  readonly mean?: [number, number, number];
  readonly std?: [number, number, number];
}

const pixelsSchema = v.pipe(v.number(), v.integer(), v.minValue(1));
const sidesSchema = v.union([
  pixelsSchema,
  v.looseObject({ shortest_edge: pixelsSchema }),
  v.looseObject({ height: pixelsSchema, width: pixelsSchema }),
]);
const perChannelSchema = v.union([v.number(), v.tuple([v.number(), v.number(), v.number()])]);
const preprocessorSchema = v.looseObject({
  do_resize: v.optional(v.boolean(), true),
  size: v.optional(sidesSchema),
  resample: v.optional(v.nullable(v.number())),
  crop_pct: v.optional(v.nullable(v.number())),
  do_center_crop: v.optional(v.boolean(), false),
  crop_size: v.optional(sidesSchema),
  do_rescale: v.optional(v.boolean(), true),
  rescale_factor: v.optional(v.number(), 1 / 255),
  rescale_offset: v.optional(v.boolean(), false),
  do_normalize: v.optional(v.boolean(), true),
  image_mean: v.optional(perChannelSchema),
  image_std: v.optional(perChannelSchema),
  do_flip_channel_order: v.optional(v.boolean(), false),
  do_pad: v.optional(v.boolean(), false),
});

/** The image processor fields of Hugging Face Transformers (preprocessor_config.json). */
function parsePreprocessor(bytes: Uint8Array): Preprocessing {
  const parsed = v.safeParse(preprocessorSchema, parseJson('the preprocessor config', bytes));
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new NearfarError(
      'invalid-argument',
      `the preprocessor config is not valid at ${v.getDotPath(issue) ?? '(root)'}: ${issue.message}`,
    );
  }
  const config = parsed.output;
  assertSupported(config);
  const size = config.size === undefined ? undefined : sides(config.size);
  const crop = config.do_center_crop && config.crop_size !== undefined ? sides(config.crop_size) : undefined;
  return {
    ...(size && (Array.isArray(size) ? { size } : { shorterSide: size.shorterSide })),
    ...(crop && { crop: Array.isArray(crop) ? crop : [crop.shorterSide, crop.shorterSide] }),
    scale: config.do_rescale ? config.rescale_factor : 1,
    ...(config.do_normalize && config.image_mean !== undefined && { mean: perChannel(config.image_mean) }),
    ...(config.do_normalize && config.image_std !== undefined && { std: perChannel(config.image_std) }),
  };
}

function assertSupported(config: v.InferOutput<typeof preprocessorSchema>): void {
  const problems = [
    !config.do_resize && 'do_resize: false (every picture is resized to the model here)',
    config.resample !== undefined && config.resample !== null && config.resample !== 2 && `resample: ${config.resample} (only 2, bilinear)`,
    config.crop_pct !== undefined && config.crop_pct !== null && 'crop_pct',
    config.rescale_offset && 'rescale_offset',
    config.do_flip_channel_order && 'do_flip_channel_order (BGR)',
    config.do_pad && 'do_pad',
  ].filter((problem) => problem !== false);
  if (problems.length === 0) return;
  throw new NearfarError('unsupported', `the preprocessor config asks for what nearfar does not do: ${problems.join('; ')}`, {
    details: { problems },
  });
}

/** A plain number is the shorter side when resizing, and a square when cropping. */
function sides(value: v.InferOutput<typeof sidesSchema>): [number, number] | { shorterSide: number } {
  if (typeof value === 'number') return { shorterSide: value };
  return 'height' in value ? [Number(value.height), Number(value.width)] : { shorterSide: Number(value['shortest_edge']) };
}

function perChannel(value: number | [number, number, number]): [number, number, number] {
  return typeof value === 'number' ? [value, value, value] : value;
}

function parseJson(what: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new NearfarError('invalid-argument', `${what} is not JSON`, { cause });
  }
}

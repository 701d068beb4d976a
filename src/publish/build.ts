import {
  describeFile,
  encodeSafetensors,
  type ImageClassification,
  type ImageInput,
  type Manifest,
  type ManifestFile,
  NearfarError,
  type SignatureBindings,
  type TensorMap,
  type Variant,
} from '../core/index.ts';
import { bindDecider, bindInputs, bindOutputs, type GivenBindings, writeBindings } from './bindings.ts';
import { createGoldenInputs, GOLDEN_EXAMPLES, GOLDEN_SEED } from './golden.ts';
import { type ImageClassificationOptions, readLabels, resolveImageClassification, resolveImageInput } from './image-task.ts';
import { type OpenEngine, openRawModel, referenceBackends } from './run.ts';
import { completeSignature, decidingSource, type NamedTensors, nameTensors, SIGNATURE } from './signature.ts';
import type { Source, SourceFile } from './source.ts';

/** Raised when the same sources and options would give other manifest bytes than before. */
export const IMPORTER_FORMAT = 1;

/** What shapes the content of a version. */
export interface BuildOptions {
  readonly name: string;
  readonly license?: string | undefined;
  readonly description?: string | undefined;
  readonly task?: ImageClassificationOptions | undefined;
  /** New names of inputs and outputs, by the names the deciding source gives them. */
  readonly rename?: Readonly<Record<string, string>> | undefined;
  /** Tensors of the other sources by the names of the signature, where they cannot be found by shape and by trying. */
  readonly bind?: GivenBindings | undefined;
  /** Inputs of the golden examples, instead of made-up ones. */
  readonly goldenInputs?: readonly TensorMap[] | undefined;
  /** Tolerance of every variant, instead of its precision's. */
  readonly tolerance?: Variant['tolerance'] | undefined;
}

/** A version in memory, whole but for its number. */
export interface BuiltVersion {
  /** The manifest of this content under a version number. */
  readonly manifest: (version: string) => Manifest;
  readonly files: ReadonlyMap<string, SourceFile>;
}

/** By precision of the weights: what the arithmetic of different backends and the rounding of the weights may change. */
const tolerances: Readonly<Record<Variant['precision'], Variant['tolerance']>> = {
  float32: { absolute: 1e-4, relative: 1e-3 },
  float16: { absolute: 1e-2, relative: 1e-2 },
  uint16: { absolute: 1e-2, relative: 1e-2 },
  uint8: { absolute: 1e-1, relative: 1e-1 },
  int8: { absolute: 1e-1, relative: 1e-1 },
};

/**
 * Turns sources into one version: names the signature, records the golden examples on the reference backend, binds every source to
 * them, cuts the files into chunks. The same sources and options give the same content on every machine.
 * @throws {NearfarError} `invalid-argument`, `shape-mismatch`, `unsupported`, `self-test-failed`.
 */
export async function buildVersion(
  sources: readonly Source[],
  options: BuildOptions,
  openEngine: OpenEngine,
  context: { signal?: AbortSignal | undefined } = {},
): Promise<BuiltVersion> {
  const decider = decidingSource(sources);
  const named = nameTensors(decider, options.rename ?? {});
  const image = options.task && resolveImageInput(named, options.task);
  const layout = image?.layout ?? 'NHWC';
  const deciding = bindDecider(named, layout);

  const examples = await recordExamples(decider, named, deciding, image, options, openEngine, context);
  const signature = completeSignature(named, examples[0]?.outputs ?? {});
  const labels = options.task?.labels && readLabels(options.task.labels);
  const task =
    image &&
    options.task &&
    resolveImageClassification(
      image,
      named,
      examples.map(({ outputs }) => outputs),
      labels,
      options.task,
    );

  const files = new Map<string, SourceFile>();
  const variants: Variant[] = [];
  for (const source of sources) {
    const tolerance = options.tolerance ?? tolerances[source.precision];
    const bindings =
      source === decider ? deciding : await bindSource(source, named, examples, layout, tolerance, options, openEngine, context);
    const ranks = new Map(
      [...Object.entries(signature.inputs), ...Object.entries(signature.outputs)].map(([name, { shape }]) => [name, shape.length]),
    );
    variants.push(addVariant(files, variants, source, tolerance, writeBindings(bindings, ranks)));
  }
  if (labels) files.set('labels.txt', { bytes: new TextEncoder().encode(`${labels.join('\n')}\n`), tensors: [] });
  const golden = examples.map(({ inputs, outputs }, index) => addExample(files, index, inputs, outputs));
  const described: [string, ManifestFile][] = [];
  for (const [path, { bytes, tensors }] of files) described.push([path, await describeFile(bytes, tensors)]);

  const content = {
    schemaVersion: 1,
    name: options.name,
    ...(options.license !== undefined && { license: options.license }),
    ...(options.description !== undefined && { description: options.description }),
    signatures: { [SIGNATURE]: signature },
    ...(task && { tasks: { 'image-classification': task } }),
    variants,
    files: Object.fromEntries(described),
    golden,
    provenance: provenanceOf(sources, decider, variants, options, task),
  } as const;
  return { manifest: (version) => ({ ...content, version }), files };
}

interface Example {
  readonly inputs: TensorMap;
  readonly outputs: TensorMap;
}

async function recordExamples(
  decider: Source,
  named: NamedTensors,
  bindings: SignatureBindings,
  image: ImageInput | undefined,
  options: BuildOptions,
  openEngine: OpenEngine,
  context: { signal?: AbortSignal | undefined },
): Promise<Example[]> {
  for (const { name, shape } of named.inputs) {
    if (shape || options.goldenInputs) continue;
    throw new NearfarError('unsupported', `input ${name} has no declared shape; give golden inputs`, { details: { name } });
  }
  const made = Array.from({ length: GOLDEN_EXAMPLES }, (_, index) => createGoldenInputs(named.inputs, image, GOLDEN_SEED + index));
  await using model = await openRawModel(decider, openEngine, context);
  const examples: Example[] = [];
  for (const inputs of options.goldenInputs ?? made) {
    const own = await model.run(inputs, bindings);
    const outputs = named.outputs.map(({ name, tensor }) => [name, own[tensor]] as const);
    const missing = outputs.find(([, output]) => output === undefined);
    if (missing) throw new NearfarError('internal', `the reference run gave no output ${missing[0]}`, { details: { output: missing[0] } });
    examples.push({ inputs, outputs: Object.fromEntries(outputs.flatMap(([name, output]) => (output ? [[name, output]] : []))) });
  }
  return examples;
}

async function bindSource(
  source: Source,
  named: NamedTensors,
  examples: readonly Example[],
  layout: ImageInput['layout'],
  tolerance: Variant['tolerance'],
  options: BuildOptions,
  openEngine: OpenEngine,
  context: { signal?: AbortSignal | undefined },
): Promise<SignatureBindings> {
  const given = options.bind ?? {};
  const inputs = bindInputs(named, source, layout, given);
  await using model = await openRawModel(source, openEngine, context);
  const trials = [];
  for (const example of examples) trials.push({ expected: example.outputs, own: await model.run(example.inputs, { inputs }) });
  return { inputs, outputs: bindOutputs(named, source, trials, layout, tolerance, given) };
}

/** `tfjs-float32`, its files under `tfjs/`; a second source of a format has its precision in its folder's name too. */
function addVariant(
  files: Map<string, SourceFile>,
  variants: readonly Variant[],
  source: Source,
  tolerance: Variant['tolerance'],
  bindings: NonNullable<Variant['bindings']>,
): Variant {
  const family = source.format === 'onnx' ? 'onnx' : 'tfjs';
  const taken = variants.map(({ id }) => id);
  const base = `${family}-${source.precision}`;
  let id = base;
  for (let next = 2; taken.includes(id); next++) id = `${base}-${next}`;
  const folder = variants.some(({ format }) => format === source.format) ? id : family;
  for (const [name, file] of source.files) files.set(`${folder}/${name}`, file);
  return {
    id,
    format: source.format,
    precision: source.precision,
    entry: `${folder}/${source.entry}`,
    files: [...source.files.keys()].map((name) => `${folder}/${name}`),
    // Half-precision graphs compute in half precision; TensorFlow.js turns stored halves into float32 when it loads them.
    requires: source.format === 'onnx' && source.precision === 'float16' ? ['shader-f16'] : [],
    bindings,
    tolerance: { ...tolerance },
  };
}

function addExample(files: Map<string, SourceFile>, index: number, inputs: TensorMap, outputs: TensorMap): Manifest['golden'][number] {
  const example = { signature: SIGNATURE, inputs: `golden/${index}.in.safetensors`, outputs: `golden/${index}.out.safetensors` };
  files.set(example.inputs, { bytes: encodeSafetensors(inputs), tensors: [] });
  files.set(example.outputs, { bytes: encodeSafetensors(outputs), tensors: [] });
  return example;
}

/** Where the version came from: digests and options, no path, no time. */
function provenanceOf(
  sources: readonly Source[],
  decider: Source,
  variants: readonly Variant[],
  options: BuildOptions,
  task: ImageClassification | undefined,
): Manifest['provenance'] {
  return {
    importerFormat: IMPORTER_FORMAT,
    sources: sources.map(({ format, originals }, index) => ({ variant: variants[index]?.id, format, files: originals })),
    golden: { backend: referenceBackends[decider.format], ...(options.goldenInputs ? { inputs: 'given' } : { seed: GOLDEN_SEED }) },
    options: {
      ...(options.rename && { rename: options.rename }),
      ...(options.bind && { bind: options.bind }),
      ...(options.tolerance && { tolerance: options.tolerance }),
      ...(task && { task: 'image-classification' }),
    },
  };
}

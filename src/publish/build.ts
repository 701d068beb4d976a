import {
  encodeSafetensors,
  type ImageInput,
  type Manifest,
  type ManifestFile,
  NearfarError,
  type SavedModelSignature,
  type Signature,
  type SignatureBindings,
  type TensorMap,
  type Variant,
  type WarmupRequest,
} from '../core/index.ts';
import { bindDecider, bindInputs, bindOutputs, bindSibling, type GivenBindings, writeBindings } from './bindings.ts';
import { type DeclaredTasks, type ResolvedTasks, resolveDeclaredTasks } from './declared-tasks.ts';
import { createGoldenInputs, GOLDEN_SEED } from './golden.ts';
import { type ImageClassificationOptions, readLabels, resolveImageClassification, resolveImageInput } from './image-task.ts';
import { type OpenEngine, openRawModel, referenceBackends } from './run.ts';
import { completeSignature, decidingSource, mainSignature, type NamedSignature, type NamedTensor, nameSignatures } from './signature.ts';
import type { Source, SourceFile, SourceSignature } from './source.ts';
import { collect, describeSource, fileOfBytes } from './source-file.ts';
import { planStrings, type StringPlan } from './string-inputs.ts';
import { readWarmup, warmupInputs } from './warm-up-inputs.ts';

/** Raised when the same sources and options would give other manifest bytes than before. */
export const IMPORTER_FORMAT = 1;

/** What shapes the content of a version. */
export interface BuildOptions {
  readonly name: string;
  readonly license?: string | undefined;
  readonly description?: string | undefined;
  readonly task?: ImageClassificationOptions | undefined;
  /** What else the model is for. */
  readonly tasks?: DeclaredTasks | undefined;
  /** New names of inputs and outputs, by the names the deciding source gives them. */
  readonly rename?: Readonly<Record<string, string>> | undefined;
  /** Tensors of the other sources by the names of the signature, where they cannot be found by shape and by trying. */
  readonly bind?: GivenBindings | undefined;
  /** Inputs of the golden examples, instead of made-up ones. */
  readonly goldenInputs?: readonly TensorMap[] | undefined;
  /** How the variants were made and chosen, for the provenance. */
  readonly making?: Readonly<Record<string, unknown>> | undefined;
  /** Tolerance of every variant, instead of its precision's. */
  readonly tolerance?: Variant['tolerance'] | undefined;
}

/** What a version is built from. */
export interface BuildSources {
  readonly sources: readonly Source[];
  /** Files that are published beside the variants, by their paths. */
  readonly kept?: ReadonlyMap<string, SourceFile> | undefined;
  /** Warm-up records with inputs for golden examples. */
  readonly warmup?: SourceFile | undefined;
  /** The signatures as the SavedModel declares them that the sources were written from. */
  readonly declared?: Readonly<Record<string, SavedModelSignature>> | undefined;
}

/** A version, whole but for its number. */
export interface BuiltVersion {
  /** The manifest of this content under a version number, without the variants of some ids. */
  readonly manifest: (version: string, without?: ReadonlySet<string>) => Manifest;
  readonly files: ReadonlyMap<string, SourceFile>;
  /** The source of each variant, by the variant's id. */
  readonly sources: ReadonlyMap<string, Source>;
  /** Id of the variant that gave the golden outputs. */
  readonly decider: string;
}

/**
 * By precision of the weights: what the arithmetic of different backends and the rounding of the weights may change. Less precision is
 * judged by the size of the outputs: what rounded weights change in a logit of 10 they change in a logit of 0.1 beside it, too.
 */
const tolerances: Readonly<Record<Variant['precision'], Variant['tolerance']>> = {
  float32: { absolute: 1e-4, relative: 1e-3 },
  float16: { absolute: 1e-2, relative: 1e-2 },
  uint16: { absolute: 1e-2, relative: 1e-2 },
  uint8: { absolute: 1e-1, relative: 1e-1 },
  int8: { absolute: 1e-1, relative: 1e-1 },
};

function toleranceOf(precision: Variant['precision'], examples: readonly Example[]): Variant['tolerance'] {
  const { absolute, relative } = tolerances[precision];
  if (precision === 'float32') return { absolute, relative };
  let largest = 1;
  for (const { outputs } of examples) {
    for (const output of Object.values(outputs)) {
      if (output.dtype !== 'float32') continue;
      for (const value of output.data) if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value));
    }
  }
  return { absolute: absolute * 2 ** Math.ceil(Math.log2(largest)), relative };
}

/**
 * Turns sources into one version: names the signatures, records the golden examples on the reference backend, binds every source to
 * them, cuts the files into chunks. The same sources and options give the same content on every machine.
 * @throws {NearfarError} `invalid-argument`, `shape-mismatch`, `unsupported`, `self-test-failed`.
 */
export async function buildVersion(
  { sources, kept = new Map(), warmup, declared }: BuildSources,
  options: BuildOptions,
  openEngine: OpenEngine,
  context: { signal?: AbortSignal | undefined } = {},
): Promise<BuiltVersion> {
  const decider = decidingSource(sources);
  const named = nameSignatures(decider, options.rename ?? {});
  const pictures = options.task && resolvePictures(named, options.task);
  const others = options.tasks && (await resolveDeclaredTasks(named, options.tasks));
  const layoutOf = (signature: string) =>
    (signature === pictures?.signature ? pictures.input.layout : others?.layoutOf(signature)) ?? 'NHWC';

  const requests = warmup ? readWarmup(await collect(warmup)) : [];
  const examples = await recordExamples(decider, named, { pictures, others }, requests, layoutOf, options, openEngine, context);
  const signatures = completeSignatures(named, examples);
  await others?.check(signatures, examples);
  const savedModel = decider.origin === 'saved-model' && declared ? { signatures: declaredSignatures(named, declared) } : undefined;
  const labels = options.task?.labels && readLabels(options.task.labels);
  const task =
    pictures &&
    options.task &&
    resolveImageClassification(
      pictures.signature,
      pictures.input,
      pictures.named,
      examples.filter(({ signature }) => signature === pictures.signature).map(({ outputs }) => outputs),
      labels,
      options.task,
    );

  const files = new Map<string, SourceFile>();
  const variants: Variant[] = [];
  for (const source of sources) {
    const tolerance = options.tolerance ?? toleranceOf(source.precision, examples);
    const bindings = await bindSource(source, decider, named, examples, layoutOf, tolerance, options, openEngine, context);
    const written = [...bindings].map(([signature, bound]) => [signature, writeBindings(bound, ranksOf(signatures[signature]))]);
    variants.push(addVariant(files, variants, source, tolerance, Object.fromEntries(written)));
  }
  if (labels) files.set('labels.txt', fileOfBytes(new TextEncoder().encode(`${labels.join('\n')}\n`)));
  const golden = examples.map((example, index) => addExample(files, index, example));
  for (const [path, file] of kept) files.set(path, file);
  for (const [path, bytes] of options.tasks?.files ?? []) addTaskFile(files, path, bytes);
  const described: [string, ManifestFile][] = [];
  for (const [path, file] of files) {
    context.signal?.throwIfAborted();
    described.push([path, await describeSource(file)]);
  }

  const manifest = (version: string, without: ReadonlySet<string> = new Set()): Manifest => {
    const isIn = ({ id }: Variant) => !without.has(id);
    const keptVariants = variants.filter(isIn);
    const ofOthers = new Set(variants.filter((variant) => !isIn(variant)).flatMap((variant) => variant.files));
    return {
      schemaVersion: 1,
      name: options.name,
      version,
      ...(options.license !== undefined && { license: options.license }),
      ...(options.description !== undefined && { description: options.description }),
      signatures,
      ...(savedModel && { savedModel }),
      ...((task || others) && { tasks: { ...(task && { 'image-classification': task }), ...others?.specs } }),
      variants: keptVariants,
      files: Object.fromEntries(described.filter(([path]) => !ofOthers.has(path))),
      golden,
      provenance: provenanceOf(
        sources.filter((_, index) => variants[index] && isIn(variants[index])),
        decider,
        keptVariants,
        examples,
        options,
        [...(task ? ['image-classification'] : []), ...Object.keys(others?.specs ?? {})],
      ),
    };
  };
  const ids = variants.map(({ id }) => id);
  return {
    manifest,
    files,
    sources: new Map(ids.flatMap((id, index) => (sources[index] ? [[id, sources[index]] as const] : []))),
    decider: ids[sources.indexOf(decider)] ?? '',
  };
}

/** The version without some of its variants, and without the files that only they have. */
export function withoutVariants(built: BuiltVersion, rejected: readonly { readonly variant: string }[]): BuiltVersion {
  if (rejected.length === 0) return built;
  const ids = new Set(rejected.map(({ variant }) => variant));
  const { files } = built.manifest('1', ids);
  return {
    ...built,
    manifest: (version) => built.manifest(version, ids),
    files: new Map([...built.files].filter(([path]) => Object.hasOwn(files, path))),
  };
}

interface Example {
  readonly signature: string;
  readonly inputs: TensorMap;
  readonly outputs: TensorMap;
  readonly origin: 'given' | 'warm-up' | 'seed';
}

/** Where the task's pictures go. */
interface Pictures {
  readonly signature: string;
  readonly named: NamedSignature;
  readonly input: ImageInput;
}

interface TasksOfBuild {
  readonly pictures: Pictures | undefined;
  readonly others: ResolvedTasks | undefined;
}

type Signatures = ReadonlyMap<string, NamedSignature>;
type LayoutOf = (signature: string) => ImageInput['layout'];

function resolvePictures(named: Signatures, task: ImageClassificationOptions): Pictures {
  const [signature, tensors] = mainSignature(named, task.signature);
  return { signature, named: tensors, input: resolveImageInput(tensors, task) };
}

/**
 * The right answers of every signature to given inputs (which are those of the main signature), to recorded warm-up requests, or to made-up
 * inputs, in this order.
 * @throws {NearfarError} what a run of the main signature throws; another signature that refuses all inputs goes without.
 */
async function recordExamples(
  decider: Source,
  named: Signatures,
  tasks: TasksOfBuild,
  requests: readonly WarmupRequest[],
  layoutOf: LayoutOf,
  options: BuildOptions,
  openEngine: OpenEngine,
  context: { signal?: AbortSignal | undefined },
): Promise<Example[]> {
  await using model = await openRawModel(decider, openEngine, context);
  const given = options.goldenInputs;
  const main = given && mainSignature(named, options.task?.signature)[0];
  const examples: Example[] = [];
  const failures: NearfarError[] = [];
  for (const [signature, tensors] of named) {
    const bindings = bindDecider(tensors, layoutOf(signature));
    const run = async (origin: Example['origin'], set: readonly TensorMap[]) => {
      const recorded: Example[] = [];
      for (const inputs of set)
        recorded.push({ signature, inputs, outputs: pickOutputs(tensors, await model.run(signature, inputs, bindings)), origin });
      return recorded;
    };
    if (given && signature === main) {
      examples.push(...(await run('given', given)));
      continue;
    }
    const refusals: NearfarError[] = [];
    const sets = await makeInputs(decider, signature, tensors, tasks, requests).catch((error: unknown) => {
      if (!(error instanceof NearfarError)) throw error;
      refusals.push(error);
      return [];
    });
    for (const { origin, inputs } of sets) {
      try {
        examples.push(...(await run(origin, inputs)));
        break;
      } catch (error) {
        if (!(error instanceof NearfarError) || context.signal?.aborted) throw error;
        refusals.push(error);
      }
    }
    const [refusal] = refusals;
    if (!refusal || refusals.length < sets.length) continue;
    const failure = refusedAll(tensors, refusal);
    if (named.size === 1) throw failure;
    failures.push(failure);
  }
  if (examples.length === 0 && failures[0]) throw failures[0];
  return examples;
}

/** Sets of examples in the order in which they are tried. */
async function makeInputs(
  { graph }: Source,
  signature: string,
  tensors: NamedSignature,
  { pictures, others }: TasksOfBuild,
  requests: readonly WarmupRequest[],
): Promise<{ origin: Example['origin']; inputs: readonly TensorMap[] }[]> {
  const image = pictures?.signature === signature ? pictures.input : undefined;
  const strings = new Map<string, StringPlan>();
  for (const { name, key, dtype } of tensors.inputs) {
    const node = dtype === 'string' ? graph?.signatures[signature]?.inputs[key]?.node : undefined;
    const plan = graph && node !== undefined ? await planStrings(graph, node) : undefined;
    if (plan) strings.set(name, plan);
  }
  const recorded = warmupInputs(requests, signature, tensors);
  const ofTask = image ? undefined : await others?.goldenInputs(signature);
  return [
    ...(recorded.length > 0 ? [{ origin: 'warm-up' as const, inputs: recorded }] : []),
    ...(ofTask ? [{ origin: 'seed' as const, inputs: ofTask }] : []),
    ...createGoldenInputs(tensors.inputs, { image, strings }).map((inputs) => ({ origin: 'seed' as const, inputs })),
  ];
}

function refusedAll({ inputs }: NamedSignature, cause: NearfarError): NearfarError {
  const open = inputs.find(({ shape }) => !shape);
  if (!open) return cause;
  return new NearfarError('unsupported', `input ${open.name} has no declared shape, and none that was tried runs; give golden inputs`, {
    cause,
    details: { name: open.name },
  });
}

function pickOutputs({ outputs }: NamedSignature, own: TensorMap): TensorMap {
  return Object.fromEntries(
    outputs.map(({ name, tensor }) => {
      const output = own[tensor];
      if (output) return [name, output];
      throw new NearfarError('internal', `the reference run gave no output ${name}`, { details: { output: name } });
    }),
  );
}

function completeSignatures(named: Signatures, examples: readonly Example[]): Manifest['signatures'] {
  return Object.fromEntries(
    [...named].map(([signature, tensors]) => [
      signature,
      completeSignature(
        tensors,
        examples.find((example) => example.signature === signature),
      ),
    ]),
  );
}

/** What the SavedModel declares of the signatures that can be run, under the names they have now. */
function declaredSignatures(
  named: Signatures,
  declared: Readonly<Record<string, SavedModelSignature>>,
): NonNullable<Manifest['savedModel']>['signatures'] {
  const rename = (tensors: readonly NamedTensor[], own: SavedModelSignature['inputs']) =>
    tensors.map(({ name, key, dtype }) => {
      const tensor = own[key];
      const declares = tensor?.dtype === 'resource' || tensor?.dtype === 'variant' ? undefined : tensor?.dtype;
      return [name, { tensor: tensor?.name ?? '', dtype: declares ?? dtype, shape: tensor?.shape ? [...tensor.shape] : null }] as const;
    });
  return Object.fromEntries(
    [...named].flatMap(([signature, { inputs, outputs }]) => {
      const own = declared[signature];
      if (!own) return [];
      const tensors = { inputs: rename(inputs, own.inputs), outputs: rename(outputs, own.outputs) };
      return [
        [
          signature,
          { methodName: own.methodName, inputs: Object.fromEntries(tensors.inputs), outputs: Object.fromEntries(tensors.outputs) },
        ],
      ];
    }),
  );
}

/** How a source's own tensors meet the signatures: known when both were written from one graph, else found by trying. */
async function bindSource(
  source: Source,
  decider: Source,
  named: Signatures,
  examples: readonly Example[],
  layoutOf: LayoutOf,
  tolerance: Variant['tolerance'],
  options: BuildOptions,
  openEngine: OpenEngine,
  context: { signal?: AbortSignal | undefined },
): Promise<ReadonlyMap<string, SignatureBindings>> {
  if (source === decider) return mapSignatures(named, (signature, tensors) => bindDecider(tensors, layoutOf(signature)));
  if (source.graph !== undefined && source.graph === decider.graph) {
    return mapSignatures(named, (signature, tensors) => bindSibling(tensors, ownSignature(source, signature), layoutOf(signature)));
  }
  const [signature, tensors] = mainSignature(named);
  if (named.size > 1) {
    const names = [...named.keys()].join(', ');
    throw new NearfarError('invalid-argument', `a model with several signatures (${names}) cannot be joined with another source`, {
      details: { signatures: [...named.keys()] },
    });
  }
  const [ownName] = mainSignature(nameSignatures(source, {}));
  const own = ownSignature(source, ownName);
  const given = options.bind ?? {};
  const layout = layoutOf(signature);
  const inputs = bindInputs(tensors, source, own, layout, given);
  await using model = await openRawModel(source, openEngine, context);
  const trials = [];
  for (const example of examples) trials.push({ expected: example.outputs, own: await model.run(ownName, example.inputs, { inputs }) });
  return new Map([[signature, { inputs, outputs: bindOutputs(tensors, source, own, trials, layout, tolerance, given) }]]);
}

function mapSignatures<T>(named: Signatures, map: (signature: string, tensors: NamedSignature) => T): ReadonlyMap<string, T> {
  return new Map([...named].map(([signature, tensors]) => [signature, map(signature, tensors)]));
}

function ownSignature({ signatures, format }: Source, name: string): SourceSignature {
  const own = signatures[name];
  if (own) return own;
  throw new NearfarError('internal', `the ${format} source has no signature ${name}`, { details: { name } });
}

function ranksOf(signature: Signature | undefined): ReadonlyMap<string, number> {
  const tensors = signature ? [...Object.entries(signature.inputs), ...Object.entries(signature.outputs)] : [];
  return new Map(tensors.map(([name, { shape }]) => [name, shape.length]));
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

/** What the version directory has beside the files of the manifest. */
const reserved: ReadonlySet<string> = new Set(['manifest.json', 'manifest.sig', 'report.json']);

/** @throws {NearfarError} `invalid-argument` for a path that another file of the version has. */
function addTaskFile(files: Map<string, SourceFile>, path: string, bytes: Uint8Array<ArrayBuffer>): void {
  if (files.has(path) || reserved.has(path)) {
    throw new NearfarError('invalid-argument', `the version has a file ${path} already; call that of the task otherwise`, {
      details: { path },
    });
  }
  files.set(path, fileOfBytes(bytes));
}

function addExample(files: Map<string, SourceFile>, index: number, { signature, inputs, outputs }: Example): Manifest['golden'][number] {
  const example = { signature, inputs: `golden/${index}.in.safetensors`, outputs: `golden/${index}.out.safetensors` };
  files.set(example.inputs, fileOfBytes(encodeSafetensors(inputs)));
  files.set(example.outputs, fileOfBytes(encodeSafetensors(outputs)));
  return example;
}

/** Where the version came from: digests and options, no path, no time. */
function provenanceOf(
  sources: readonly Source[],
  decider: Source,
  variants: readonly Variant[],
  examples: readonly Example[],
  options: BuildOptions,
  tasks: readonly string[],
): Manifest['provenance'] {
  const origins = new Set(examples.map(({ origin }) => origin));
  return {
    importerFormat: IMPORTER_FORMAT,
    sources: sources.map(({ origin, originals }, index) => ({ variant: variants[index]?.id, format: origin, files: originals })),
    golden: {
      backend: referenceBackends[decider.format],
      ...(options.goldenInputs ? { inputs: 'given' } : origins.has('warm-up') && { inputs: 'warm-up' }),
      ...(!options.goldenInputs && (origins.has('seed') || origins.size === 0) && { seed: GOLDEN_SEED }),
    },
    options: {
      ...(options.rename && { rename: options.rename }),
      ...(options.bind && { bind: options.bind }),
      ...(options.tolerance && { tolerance: options.tolerance }),
      ...options.making,
      ...(tasks.length === 1 && { task: tasks[0] }),
      ...(tasks.length > 1 && { tasks }),
    },
  };
}

import { createHash } from 'node:crypto';
import {
  checkOnnxOps,
  checkTfjsOps,
  describeSavedModel,
  type EmittedFile,
  encodeTfjsGraphModel,
  type FoundModel,
  findModel,
  locateTfjsWeights,
  type ModelFile,
  type ModelFolder,
  NearfarError,
  type OnnxModel,
  optimize,
  parseOnnxModel,
  parseTfjsGraphModel,
  quantizationOf,
  quantizeOnnx,
  readModelGraph,
  readOnnx,
  type SavedModelSignature,
  shareInputs,
  type Variant,
  warmupPath,
  writeOnnx,
  writeTfjsGraph,
} from '../core/index.ts';
import { type GraphWriter, type SkippedVariant, writeGraphSources } from './graph-source.ts';
import { type ModelLayout, resolveLayout } from './layout.ts';
import { openModelPath } from './node-folder.ts';
import { SIGNATURE, type Source, type SourceFile } from './source.ts';
import { collect, fileOfBytes, fileOfParts, type KeepFile } from './source-file.ts';

export type Precision = Variant['precision'];

/** What is written from a model, beside the files that stay as they are. */
export interface WriteOptions {
  /** @default both */
  readonly formats?: readonly Source['format'][] | undefined;
  /** @default float32, in each format that is not given as a file of its own */
  readonly precisions?: readonly Precision[] | undefined;
  /** `none` writes a graph as it was read. @default 'all' */
  readonly optimize?: 'all' | 'none' | undefined;
  /** Share of the elements of each large weight that become zero, the smallest ones; at least 0 and below 1. @default 0 */
  readonly prune?: number | undefined;
  /** Tags of the graph to take of a SavedModel. @default ['serve'], or none where no graph has that */
  readonly savedModelTags?: readonly string[] | undefined;
}

/** The variants-to-be of some model files. */
export interface ReadSources {
  readonly sources: readonly Source[];
  /** Variants that were wanted and cannot be. */
  readonly skipped: readonly SkippedVariant[];
  /** Signatures that cannot be run, with every reason. */
  readonly unusable: Readonly<Record<string, readonly string[]>>;
}

/** What was read from paths, with what lies beside the models. */
export interface ReadModels extends ReadSources {
  /** Files of SavedModels as they are, by their paths in the version, so that TensorFlow's tools can read it. */
  readonly kept: ReadonlyMap<string, SourceFile>;
  /** The warm-up records of a SavedModel. */
  readonly warmup: SourceFile | undefined;
  /** The signatures as a SavedModel declares them. */
  readonly declared: Readonly<Record<string, SavedModelSignature>> | undefined;
  /** What a folder of Hugging Face Transformers says about pictures and classes. */
  readonly task: ModelLayout['task'];
}

/** A model file or folder, recognised by its content. */
export interface OpenedModel {
  /** As it was given. */
  readonly path: string;
  readonly folder: ModelFolder;
  readonly found: FoundModel;
  readonly task: ModelLayout['task'];
}

/**
 * Opens a model file, or the folder that holds one: nothing but its beginning is read yet.
 * @throws {NearfarError} `not-found`, `unsupported` for formats that cannot be read, `invalid-argument`.
 */
export async function openModel(path: string): Promise<OpenedModel> {
  const layout = await resolveLayout(path);
  const { folder, file } = await openModelPath(layout.path);
  try {
    return { path, folder, found: await findModel(folder, file), task: layout.task };
  } catch (error) {
    throw at(path, error);
  }
}

/**
 * Reads models into variants: GraphModels and ONNX files stay as they are; what is wanted beside them, in another format or precision,
 * is written from a graph, and so is everything of the other formats. Pruning writes GraphModels anew, too.
 * @param keep Where written files go until they are published; without it they are written each time they are read.
 * @throws {NearfarError} `not-found`, `unsupported`, `invalid-argument`, `integrity-mismatch`.
 */
export async function readSources(
  paths: readonly string[],
  options: WriteOptions = {},
  keep: KeepFile = async (file) => file,
): Promise<ReadModels> {
  const { formats = ['tfjs-graph', 'onnx'], prune = 0 } = options;
  if (!(prune >= 0 && prune < 1)) throw new NearfarError('invalid-argument', `the share to prune is at least 0 and below 1, got ${prune}`);
  const opened: OpenedModel[] = [];
  for (const path of paths) opened.push(await openModel(path));
  const asTheyAre = new Map<OpenedModel, Source>();
  for (const model of opened) {
    if (prune > 0 && model.found.format === 'onnx') throw unprunable(model);
    if (isRunAsIs(model) && prune === 0) asTheyAre.set(model, await within(model, () => readAsIs(model, keep)));
  }
  const given = [...asTheyAre.values()];
  const sources: Source[] = [];
  const skipped: SkippedVariant[] = [];
  const unusable: Record<string, readonly string[]> = {};
  for (const model of opened) {
    const asIs = asTheyAre.get(model);
    if (asIs) sources.push(asIs);
    // What is there already, as a file of its own, is not written once more.
    const missing = (format: Source['format']) => {
      const wanted = options.precisions ?? (given.some((source) => source.format === format) ? [] : ['float32' as const]);
      return wanted.filter((precision) => ![...given, ...sources].some((each) => each.format === format && each.precision === precision));
    };
    const made = await within(model, () => writeMissing(model, asIs, formats, missing, keep, { ...options, prune }));
    sources.push(...made.sources);
    skipped.push(...made.skipped);
    Object.assign(unusable, made.unusable);
  }
  const savedModel = opened.find(({ found }) => found.format === 'saved-model');
  const warmup = savedModel?.folder.get(warmupPath);
  return {
    // The float32 twins last: they take no name from what is published.
    sources: [...sources.filter(({ isHidden }) => !isHidden), ...sources.filter(({ isHidden }) => isHidden)],
    skipped,
    unusable,
    kept: savedModel ? keptFiles(savedModel.folder) : new Map(),
    warmup: warmup && fileOfParts([warmup]),
    declared: savedModel && (await declaredSignatures(savedModel.folder)),
    task: opened.find(({ task }) => task)?.task,
  };
}

/** Of the graph that `readSavedModel` takes: the one for serving, or the one without tags. */
async function declaredSignatures(folder: ModelFolder): Promise<Readonly<Record<string, SavedModelSignature>> | undefined> {
  const { graphs } = await describeSavedModel(folder);
  const found = ['serve', ''].map((tag) => graphs.find(({ tags }) => tags.join() === tag));
  return (found[0] ?? found[1])?.signatures;
}

/** The files of a SavedModel, and not what else lies in its folder. */
function keptFiles(folder: ModelFolder): ReadonlyMap<string, SourceFile> {
  const isPart = (name: string) => /^(saved_model\.pb(txt)?|fingerprint\.pb|(variables|assets|assets\.extra)\/.+)$/.test(name);
  return new Map([...folder].filter(([name]) => isPart(name)).map(([name, file]) => [name, fileOfParts([file])]));
}

function unprunable({ path }: OpenedModel): NearfarError {
  return new NearfarError('unsupported', `${path}: an ONNX file is published as it is; prune the model it was made from`, {
    details: { path },
  });
}

/** Whether an engine runs the model file without any change. */
function isRunAsIs({ found }: OpenedModel): boolean {
  return found.format === 'tfjs-graph' || found.format === 'onnx';
}

/** A GraphModel or an ONNX file as it is. */
export function readAsIs({ folder, found: { format, entry = '' } }: OpenedModel, keep: KeepFile = async (file) => file): Promise<Source> {
  return format === 'onnx' ? readOnnxSource(folder, entry, keep) : readTfjsSource(folder, entry);
}

async function writeMissing(
  model: OpenedModel,
  asIs: Source | undefined,
  formats: readonly Source['format'][],
  missing: (format: Source['format']) => readonly Precision[],
  keep: KeepFile,
  { optimize: passes = 'all', prune, savedModelTags }: WriteOptions & { readonly prune: number },
): Promise<ReadSources> {
  if (model.found.format === 'onnx') return writeOnnxPrecisions(asIs, formats.includes('onnx') ? missing('onnx') : [], keep);
  const wanted = formats
    .map((format) => ({ writer: writers[format], precisions: missing(format) }))
    .filter(({ precisions }) => precisions.length > 0);
  if (wanted.length === 0) return { sources: [], skipped: [], unusable: {} };
  const graph = await optimize(shareInputs(await readModelGraph(model.folder, model.found, { savedModelTags })), { passes });
  const about = { origin: model.found.format, originals: asIs?.originals ?? (await digestOriginals(model)), prune, keep };
  try {
    const made = await writeGraphSources(graph, wanted, about);
    return { ...made, unusable: made.graph.unusable };
  } catch (error) {
    // A GraphModel runs as it is, whatever else it cannot become.
    if (!asIs || !(error instanceof NearfarError) || error.code !== 'unsupported') throw error;
    const variants = wanted.flatMap(({ writer, precisions }) =>
      precisions.map((precision) => `${writer.format === 'onnx' ? 'onnx' : 'tfjs'}-${precision}`),
    );
    return { sources: [], skipped: variants.map((variant) => ({ variant, code: error.code, message: error.message })), unusable: {} };
  }
}

const writers: Readonly<Record<Source['format'], GraphWriter>> = {
  'tfjs-graph': {
    format: 'tfjs-graph',
    check: checkTfjsOps,
    write: (graph, precision) => writeTfjsGraph(graph, { precision: assertOneOf(['float32', 'float16', 'uint16', 'uint8'], precision) }),
  },
  onnx: {
    format: 'onnx',
    check: async (graph) => {
      const problems: Record<string, readonly string[]> = {};
      for (const [name, signature] of Object.entries(graph.signatures)) {
        const found = await checkOnnxOps({ ...graph, signatures: { [name]: signature } });
        if (found.length > 0) problems[name] = found.map(({ op, node, reason }) => `${op} "${node}" ${reason}`);
      }
      return problems;
    },
    write: (graph, precision) => writeOnnx(graph, { precision: assertOneOf(['float32', 'float16', 'uint8'], precision) }),
  },
};

function assertOneOf<P extends Precision>(known: readonly P[], precision: Precision): P {
  const found = known.find((each) => each === precision);
  if (found) return found;
  throw new NearfarError('unsupported', `the precision ${precision} is none of ${known.join(', ')} here`, { details: { precision } });
}

async function readTfjsSource(folder: ModelFolder, entry: string): Promise<Source> {
  const bytes = await readWhole(fileOf(folder, entry));
  const model = parseTfjsGraphModel(bytes);
  const originals: [string, string][] = [[entry, await digestFile(fileOf(folder, entry))]];
  const shards: ModelFile[] = [];
  for (const shard of model.shards) {
    assertInside(entry, shard);
    const file = fileOf(folder, besideEntry(entry, shard));
    originals.push([shard, await digestFile(file)]);
    shards.push(file);
  }
  // Only to find where strings end; the weights are read again by part.
  const tensors = locateTfjsWeights(model.weights, await collect(fileOfParts(shards)));
  return {
    origin: 'tfjs-graph',
    format: 'tfjs-graph',
    precision: tfjsPrecision(model.weights),
    signatures: { [SIGNATURE]: { method: 'predict', inputs: model.inputs, outputs: model.outputs } },
    ops: model.ops,
    entry: 'model.json',
    files: new Map([
      ['model.json', fileOfBytes(encodeTfjsGraphModel(model, 'weights.bin'))],
      ['weights.bin', fileOfParts(shards, tensors)],
    ]),
    originals: Object.fromEntries(originals),
  };
}

async function readOnnxSource(folder: ModelFolder, entry: string, keep: KeepFile): Promise<Source> {
  const { folder: watched, used } = watchReads(folder);
  const { model, emitted } = await readOnnx(watched, entry);
  const source = await toOnnxSource(model, emitted.files.get(emitted.entry), keep);
  const originals: [string, string][] = [];
  for (const name of [...used].sort()) originals.push([name, await digestFile(fileOf(folder, name))]);
  return {
    ...source,
    precision: onnxPrecision(model.initializers),
    originals: Object.fromEntries(originals),
  };
}

/** A folder that remembers which of its files were read. */
function watchReads(folder: ModelFolder): { folder: ModelFolder; used: ReadonlySet<string> } {
  const used = new Set<string>();
  const watch = (name: string, file: ModelFile): ModelFile => ({
    byteLength: file.byteLength,
    read: (start, end) => {
      used.add(name);
      return file.read(start, end);
    },
  });
  return { folder: new Map([...folder].map(([name, file]) => [name, watch(name, file)])), used };
}

/** The same file with its weights in fewer bits. */
async function writeOnnxPrecisions(asIs: Source | undefined, precisions: readonly Precision[], keep: KeepFile): Promise<ReadSources> {
  const sources: Source[] = [];
  const skipped: SkippedVariant[] = [];
  const file = asIs?.files.get(asIs.entry);
  if (!asIs || !file) return { sources, skipped, unusable: {} };
  for (const precision of precisions) {
    try {
      if (asIs.precision !== 'float32') {
        throw new NearfarError('unsupported', `the weights of the ONNX file are ${asIs.precision} already`);
      }
      const written = quantizeOnnx(await collect(file), assertOneOf(['float16', 'uint8'], precision));
      const kept = await keep(written);
      const source = await toOnnxSource(parseOnnxModel(await collect(kept)), kept, async (same) => same);
      sources.push({ ...source, precision, originals: asIs.originals });
    } catch (error) {
      if (!(error instanceof NearfarError) || error.code !== 'unsupported') throw error;
      skipped.push({ variant: `onnx-${precision}`, code: error.code, message: error.message });
    }
  }
  return { sources, skipped, unusable: {} };
}

async function toOnnxSource(
  { inputs, outputs, ops }: OnnxModel,
  file: EmittedFile | undefined,
  keep: KeepFile,
): Promise<Omit<Source, 'precision' | 'originals'>> {
  if (!file) throw new NearfarError('internal', 'an ONNX model has one file');
  return {
    origin: 'onnx',
    format: 'onnx',
    signatures: { [SIGNATURE]: { method: 'predict', inputs, outputs } },
    ops,
    entry: 'model.onnx',
    files: new Map([['model.onnx', await keep(file)]]),
  };
}

/** The stored precision of the quantised weights; float32 where none is. */
function tfjsPrecision(weights: ReturnType<typeof parseTfjsGraphModel>['weights']): Precision {
  const quantized = weights.map(quantizationOf);
  return (['uint8', 'uint16', 'float16'] as const).find((precision) => quantized.includes(precision)) ?? 'float32';
}

/** The element type that most weight bytes have, among those a network computes with. */
function onnxPrecision(initializers: OnnxModel['initializers']): Precision {
  const precisions = new Map<number, Precision>([
    [1, 'float32'],
    [10, 'float16'],
    [3, 'int8'],
    [2, 'uint8'],
  ]);
  const bytes = new Map<Precision, number>([['float32', 0]]);
  for (const { dataType, start, end } of initializers) {
    const precision = precisions.get(dataType);
    if (precision) bytes.set(precision, (bytes.get(precision) ?? 0) + end - start);
  }
  return [...bytes].reduce((most, entry) => (entry[1] > most[1] ? entry : most))[0];
}

/** Digests of the files a model was read from: of a SavedModel all but what other tools left beside it. */
async function digestOriginals({ folder, found: { format, entry } }: OpenedModel): Promise<Record<string, string>> {
  const isPart = (name: string) => {
    if (entry === undefined) return true;
    if (format === 'saved-model') return name === entry || name === warmupPath || /^(variables|assets)\//.test(name);
    return name === entry || (format === 'tfjs-layers' && !name.includes('/') && name.endsWith('.bin'));
  };
  const originals: [string, string][] = [];
  for (const [name, file] of folder) if (isPart(name)) originals.push([name, await digestFile(file)]);
  return Object.fromEntries(originals);
}

const READ_AT_ONCE_BYTES = 4 * 2 ** 20;

async function digestFile(file: ModelFile): Promise<string> {
  const hash = createHash('sha256');
  for (let start = 0; start < file.byteLength; start += READ_AT_ONCE_BYTES) {
    hash.update(await file.read(start, Math.min(start + READ_AT_ONCE_BYTES, file.byteLength)));
  }
  return `sha256:${hash.digest('hex')}`;
}

function besideEntry(entry: string, name: string): string {
  return `${entry.slice(0, entry.lastIndexOf('/') + 1)}${name}`;
}

/** Shards come from the model file: a path that leaves its folder is refused, not looked for. */
function assertInside(entry: string, shard: string): void {
  const leaves = /^([/\\]|[A-Za-z]:)/.test(shard) || shard.split(/[/\\]/).includes('..');
  if (!leaves) return;
  throw new NearfarError('invalid-argument', `${entry} names the shard ${shard} outside its folder`, { details: { file: entry, shard } });
}

function fileOf(folder: ModelFolder, name: string): ModelFile {
  const file = folder.get(name);
  if (file) return file;
  throw new NearfarError('not-found', `the model's folder has no file ${name}`, { details: { file: name } });
}

function readWhole(file: ModelFile): Promise<Uint8Array<ArrayBuffer>> {
  return file.read(0, file.byteLength);
}

/** What reading a model throws names the model. */
async function within<T>({ path }: OpenedModel, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw at(path, error);
  }
}

function at(path: string, error: unknown): unknown {
  if (!(error instanceof NearfarError)) return error;
  return new NearfarError(error.code, `${path}: ${error.message}`, { cause: error, details: { ...error.details, path } });
}

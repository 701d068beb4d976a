import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import {
  digestOf,
  type FoundModel,
  type GraphSignature,
  listChunks,
  type Manifest,
  type ModelFile,
  type ModelFolder,
  type ModelGraph,
  type ModelTensor,
  NearfarError,
  type PartialShape,
  parseManifest,
  parseVersions,
  readModelGraph,
  readOnnxOutline,
  type Variant,
  type VersionChoice,
  type Versions,
} from '../core/index.ts';
import { countOps, type Diagram, diagramOfOnnx, diagramsOfGraph } from './diagram.ts';
import { writeGraphPage } from './graph-page.ts';
import { openModel, readAsIs } from './read-source.ts';
import { type Repository, readManifest } from './repository.ts';
import type { SourceSignature } from './source.ts';

/** What a path turned out to be. */
export type Inspection =
  | { readonly kind: 'model'; readonly versions: Versions }
  | ({ readonly kind: 'version' } & VersionSummary)
  | ({ readonly kind: 'source' } & SourceSummary);

export interface SourceSummary {
  readonly format: string;
  readonly precision: string;
  /** Of all files in its folder, or of the one file. */
  readonly bytes: number;
  readonly signatures: Readonly<Record<string, SourceSignature>>;
  /** How often each operator occurs, the most frequent first; constants are counted as `weights`. */
  readonly ops: Readonly<Record<string, number>>;
  readonly weights: { readonly tensors: number; readonly bytes: number };
  /** Signatures that cannot be run, with every reason. */
  readonly unusable: Readonly<Record<string, readonly string[]>>;
}

export interface VersionSummary {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly license?: string | undefined;
  readonly description?: string | undefined;
  readonly signatures: Manifest['signatures'];
  readonly tasks: readonly string[];
  readonly golden: number;
  readonly variants: readonly VariantSummary[];
  /** What it was published from, and how. */
  readonly provenance?: Manifest['provenance'];
}

export interface VariantSummary {
  readonly id: string;
  readonly format: Variant['format'];
  readonly precision: Variant['precision'];
  readonly bytes: number;
  readonly chunks: number;
  /** How often each operator occurs. */
  readonly ops: Readonly<Record<string, number>>;
  readonly weights: { readonly tensors: number; readonly bytes: number };
}

/**
 * Says what a path is: a published model (it holds versions.json), a version (manifest.json), or a model file that can be published.
 * @throws {NearfarError} `not-found`, `unsupported`, `invalid-argument`.
 */
export async function inspect(path: string): Promise<Inspection> {
  const versions = await readIfThere(path, 'versions.json');
  if (versions) return { kind: 'model', versions: parseVersions(versions) };
  const version = await openVersionFolder(path);
  if (version) return { kind: 'version', ...(await summarizeVersion(version)) };
  return { kind: 'source', ...(await summarizeSource(path)) };
}

/**
 * Says what a published version is.
 * @throws {NearfarError} `not-found`, `network`, `integrity-mismatch`, `invalid-argument`.
 */
export async function inspectVersion(repository: Repository, choice: VersionChoice & { readonly name: string }): Promise<Inspection> {
  return { kind: 'version', ...(await summarizeVersion(await openVersion(repository, choice))) };
}

/**
 * Draws the graph of a model file or of a version's folder, with what `inspect` says of it, as one HTML page that needs nothing else.
 * @param variant Which variant of a version. @default the first of TensorFlow.js, else the first
 * @throws {NearfarError} as `inspect`; `not-found` for a variant that is not there; `unsupported` for a folder of versions.
 */
export async function drawModel(path: string, variant?: string): Promise<string> {
  if (await readIfThere(path, 'versions.json')) {
    throw new NearfarError('unsupported', `${path} holds versions, and one graph is drawn: name the folder of a version`, {
      details: { path },
    });
  }
  const version = await openVersionFolder(path);
  if (version) return drawOpened(version, variant);
  const model = await openModel(path);
  const summary = await summarizeSource(path);
  // The folder of a version says little without the model's.
  const [parent, name = path] = resolve(path).split(sep).slice(-2);
  const title = /^\d+$/.test(name) && parent ? `${parent}/${name}` : name;
  return writeGraphPage({ title, inspection: { kind: 'source', ...summary }, diagrams: await diagramsOf(model.folder, model.found) });
}

/** As `drawModel`, for a published version. */
export async function drawVersion(
  repository: Repository,
  choice: VersionChoice & { readonly name: string },
  variant?: string,
): Promise<string> {
  return drawOpened(await openVersion(repository, choice), variant);
}

async function drawOpened(version: OpenedVersion, id: string | undefined): Promise<string> {
  const { variants, name, version: number } = version.manifest;
  const variant =
    id === undefined ? (variants.find(({ format }) => format === 'tfjs-graph') ?? variants[0]) : variants.find((each) => each.id === id);
  if (!variant) {
    throw new NearfarError(
      'not-found',
      `${name} version ${number} has no variant ${id}; it has ${variants.map((each) => each.id).join(', ')}`,
      {
        details: { variant: id ?? '' },
      },
    );
  }
  return writeGraphPage({
    title: `${name} version ${number}`,
    variant: variant.id,
    inspection: { kind: 'version', ...(await summarizeVersion(version)) },
    diagrams: await diagramsOf(folderOf(version, variant), foundIn(variant)),
  });
}

async function diagramsOf(folder: ModelFolder, found: FoundModel): Promise<Diagram[]> {
  if (found.format !== 'onnx') return diagramsOfGraph(await readModelGraph(folder, found));
  return [diagramOfOnnx(readOnnxOutline(await readEntry(folder, found)))];
}

/** A version whose manifest was read. */
interface OpenedVersion {
  readonly manifest: Manifest;
  readonly digest: string;
  /** A file of the version, by its path in it. */
  readonly read: (path: string) => Promise<Uint8Array<ArrayBuffer>>;
}

async function openVersion(repository: Repository, { name, ...choice }: VersionChoice & { readonly name: string }): Promise<OpenedVersion> {
  const { pin, manifest } = await readManifest(repository, name, choice);
  return { manifest, digest: pin.digest, read: (path) => repository.read(name, pin.version, ...path.split('/')) };
}

async function openVersionFolder(path: string): Promise<OpenedVersion | undefined> {
  const bytes = await readIfThere(path, 'manifest.json');
  if (!bytes) return undefined;
  const folder = basename(path) === 'manifest.json' ? dirname(path) : path;
  const read = async (file: string) => {
    try {
      return new Uint8Array(await readFile(join(folder, file)));
    } catch (cause) {
      throw new NearfarError('not-found', `the version has no file ${file}`, { cause, details: { path: file } });
    }
  };
  return { manifest: parseManifest(bytes), digest: await digestOf(bytes), read };
}

async function summarizeSource(path: string): Promise<SourceSummary> {
  const model = await openModel(path);
  const { folder, found } = model;
  const { format } = found;
  const bytes = [...folder.values()].reduce((sum, file) => sum + file.byteLength, 0);
  if (format === 'onnx') {
    const { signatures, precision } = await readAsIs(model);
    return { format, precision, bytes, signatures, ...(await contentsOf(folder, found)), unusable: {} };
  }
  const graph = await readModelGraph(folder, found);
  return {
    format,
    // What TensorFlow.js stores in fewer bits is restored when it is read.
    precision: format === 'tfjs-graph' ? (await readAsIs(model)).precision : 'float32',
    bytes,
    signatures: Object.fromEntries(Object.entries(graph.signatures).map(([name, signature]) => [name, describe(signature)])),
    ...contentsOfGraph(graph),
    unusable: graph.unusable,
  };
}

function describe({ method, inputs, outputs }: GraphSignature): SourceSignature {
  const tensors = (of: Readonly<Record<string, { dtype: ModelTensor['dtype']; shape: PartialShape }>>) =>
    Object.fromEntries(Object.entries(of).map(([name, { dtype, shape }]) => [name, { tensor: name, dtype, shape }]));
  return { method, inputs: tensors(inputs), outputs: tensors(outputs) };
}

async function summarizeVersion(opened: OpenedVersion): Promise<VersionSummary> {
  const { manifest, digest } = opened;
  const variants: VariantSummary[] = [];
  for (const variant of manifest.variants) {
    const { id, format, precision, files } = variant;
    const chunks = listChunks(manifest, files);
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.bytes, 0);
    const contents = await contentsOf(folderOf(opened, variant), foundIn(variant));
    variants.push({ id, format, precision, bytes, chunks: chunks.length, ...contents });
  }
  const { name, version, license, description, signatures, tasks = {}, golden, provenance } = manifest;
  return {
    name,
    version,
    digest,
    ...(license !== undefined && { license }),
    ...(description !== undefined && { description }),
    signatures,
    tasks: Object.keys(tasks),
    golden: golden.length,
    variants,
    ...(provenance && { provenance }),
  };
}

type Contents = Pick<SourceSummary, 'ops' | 'weights'>;

async function contentsOf(folder: ModelFolder, found: FoundModel): Promise<Contents> {
  if (found.format !== 'onnx') return contentsOfGraph(await readModelGraph(folder, found));
  const { nodes, weights } = readOnnxOutline(await readEntry(folder, found));
  const bytes = [...weights.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  return { ops: countOps(nodes.map(({ op }) => op)), weights: { tensors: weights.size, bytes } };
}

function contentsOfGraph({ nodes, functions }: ModelGraph): Contents {
  const all = [nodes, ...[...functions.values()].map((body) => body.nodes)].flatMap((some) => [...some.values()]);
  const tensors = all.flatMap(({ attributes }) => Object.values(attributes));
  // The same weight may be read in several places.
  const weights = new Set(tensors.flatMap((attribute) => (attribute.kind === 'tensor' ? [attribute.value] : [])));
  const bytes = [...weights].reduce((sum, { byteLength }) => sum + byteLength, 0);
  const ops = all.flatMap(({ op }) => (op === 'Const' ? [] : [op]));
  return { ops: countOps(ops), weights: { tensors: weights.size, bytes } };
}

function foundIn({ format, entry }: Variant): FoundModel {
  return { format, entry };
}

/** The files of a variant; each is read when the first part of it is asked for. */
function folderOf({ manifest, read }: OpenedVersion, { files }: Variant): ModelFolder {
  return new Map(
    files.map((path) => {
      let whole: Promise<Uint8Array<ArrayBuffer>> | undefined;
      const file: ModelFile = {
        byteLength: manifest.files[path]?.bytes ?? 0,
        read: async (start, end) => {
          whole ??= read(path);
          return (await whole).slice(start, end);
        },
      };
      return [path, file];
    }),
  );
}

async function readEntry(folder: ModelFolder, { entry = '' }: FoundModel): Promise<Uint8Array<ArrayBuffer>> {
  const file = folder.get(entry);
  if (!file) throw new NearfarError('not-found', `there is no file ${entry}`, { details: { file: entry } });
  return file.read(0, file.byteLength);
}

/** The document, when `path` is it or is the folder that holds it. */
async function readIfThere(path: string, name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const file = basename(path) === name ? path : join(path, name);
  const info = await stat(file).catch(() => undefined);
  return info?.isFile() ? new Uint8Array(await readFile(file)) : undefined;
}

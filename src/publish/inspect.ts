import { readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  digestOf,
  type GraphSignature,
  listChunks,
  type Manifest,
  type ModelTensor,
  type PartialShape,
  parseManifest,
  parseVersions,
  readModelGraph,
  type Variant,
  type Versions,
} from '../core/index.ts';
import { openModel, readAsIs } from './read-source.ts';
import type { SourceSignature } from './source.ts';

/** What a path turned out to be. */
export type Inspection =
  | { readonly kind: 'model'; readonly versions: Versions }
  | ({ readonly kind: 'version' } & VersionSummary)
  | {
      readonly kind: 'source';
      readonly format: string;
      readonly precision: string;
      readonly bytes: number;
      readonly signatures: Readonly<Record<string, SourceSignature>>;
      readonly ops: readonly string[];
      /** Signatures that cannot be run, with every reason. */
      readonly unusable: Readonly<Record<string, readonly string[]>>;
    };

export interface VersionSummary {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly signatures: Manifest['signatures'];
  readonly tasks: readonly string[];
  readonly variants: readonly {
    readonly id: string;
    readonly format: Variant['format'];
    readonly precision: Variant['precision'];
    readonly bytes: number;
    readonly chunks: number;
  }[];
}

/**
 * Says what a path is: a published model (it holds versions.json), a version (manifest.json), or a model file that can be published.
 * @throws {NearfarError} `not-found`, `unsupported`, `invalid-argument`.
 */
export async function inspect(path: string): Promise<Inspection> {
  const versions = await readIfThere(path, 'versions.json');
  if (versions) return { kind: 'model', versions: parseVersions(versions) };
  const manifest = await readIfThere(path, 'manifest.json');
  if (manifest) return { kind: 'version', ...(await summarizeVersion(manifest)) };
  return inspectSource(path);
}

/** What is published as it is says so; of what becomes a graph first, the graph is described. */
async function inspectSource(path: string): Promise<Inspection> {
  const model = await openModel(path);
  const { format } = model.found;
  const bytes = [...model.folder.values()].reduce((sum, file) => sum + file.byteLength, 0);
  if (format === 'onnx') {
    const { signatures, ops, precision } = await readAsIs(model);
    return { kind: 'source', format, precision, bytes, signatures, ops, unusable: {} };
  }
  const graph = await readModelGraph(model.folder, model.found);
  const functions = [...graph.functions.values()].flatMap(({ nodes }) => [...nodes.values()]);
  const ops = new Set([...graph.nodes.values(), ...functions].map(({ op }) => op));
  return {
    kind: 'source',
    format,
    precision: 'float32',
    bytes,
    signatures: Object.fromEntries(Object.entries(graph.signatures).map(([name, signature]) => [name, describe(signature)])),
    ops: [...ops].sort(),
    unusable: graph.unusable,
  };
}

function describe({ method, inputs, outputs }: GraphSignature): SourceSignature {
  const tensors = (of: Readonly<Record<string, { dtype: ModelTensor['dtype']; shape: PartialShape }>>) =>
    Object.fromEntries(Object.entries(of).map(([name, { dtype, shape }]) => [name, { tensor: name, dtype, shape }]));
  return { method, inputs: tensors(inputs), outputs: tensors(outputs) };
}

/** The main facts of a version, from the bytes of its manifest.json. */
export async function summarizeVersion(bytes: Uint8Array<ArrayBuffer>): Promise<VersionSummary> {
  const manifest = parseManifest(bytes);
  return {
    name: manifest.name,
    version: manifest.version,
    digest: await digestOf(bytes),
    signatures: manifest.signatures,
    tasks: Object.keys(manifest.tasks ?? {}),
    variants: manifest.variants.map(({ id, format, precision, files }) => {
      const chunks = listChunks(manifest, files);
      return { id, format, precision, bytes: chunks.reduce((sum, chunk) => sum + chunk.bytes, 0), chunks: chunks.length };
    }),
  };
}

/** The document, when `path` is it or is the folder that holds it. */
async function readIfThere(path: string, name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const file = basename(path) === name ? path : join(path, name);
  const info = await stat(file).catch(() => undefined);
  return info?.isFile() ? new Uint8Array(await readFile(file)) : undefined;
}

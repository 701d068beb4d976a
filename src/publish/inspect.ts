import { readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { digestOf, listChunks, type Manifest, parseManifest, parseVersions, type Variant, type Versions } from '../core/index.ts';
import { readSource } from './read-source.ts';
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
  const { format, precision, signatures, ops, files } = await readSource(path);
  const bytes = [...files.values()].reduce((sum, file) => sum + file.bytes.byteLength, 0);
  return { kind: 'source', format, precision, bytes, signatures, ops };
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

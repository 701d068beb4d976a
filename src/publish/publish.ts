import * as v from 'valibot';
import { encodeManifest, type Manifest, modelNameSchema, NearfarError, type Pin, versionSchema } from '../core/index.ts';
import { openEngine as openOnPlatform } from '../engines/index.ts';
import { openNodePlatform } from '../engines/node/index.ts';
import { isBucket } from './bucket.ts';
import { commitToBucket } from './bucket-commit.ts';
import { type BuildOptions, type BuiltVersion, buildVersion } from './build.ts';
import { commitVersion } from './commit.ts';
import { readSource } from './read-source.ts';
import type { OpenEngine } from './run.ts';
import { type BackendCheck, checkVariants } from './self-check.ts';
import { openSigner } from './sign.ts';

export interface PublishOptions extends BuildOptions {
  /** Folder of the repository, made when it is not there; or `s3://bucket/prefix`, with the environment variables of AWS's tools. */
  readonly repository: string;
  /** Version number. @default the next free one */
  readonly version?: string | undefined;
  /** Labels that shall point at the new version; the first version of a model is `stable` too. */
  readonly labels?: readonly string[] | undefined;
  /** Private key in PEM (P-256, P-384 or P-521) that signs the manifest. */
  readonly signingKey?: string | Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((step: PublishStep) => void) | undefined;
}

/** What publishing is at. */
export type PublishStep = 'read' | 'build' | 'check' | 'write';

export interface PublishReport {
  readonly pin: Pin;
  readonly manifest: Manifest;
  /** Of all files of the version but report.json. */
  readonly bytes: number;
  readonly chunks: number;
  readonly checks: readonly BackendCheck[];
}

/**
 * Publishes model files as one version: GraphModel directories and ONNX files that share one signature.
 * @param sources Paths of .onnx files, of model.json files, or of directories that hold one of these.
 * @throws {NearfarError} `not-found`, `unsupported`, `invalid-argument`, `shape-mismatch` (sources or options), `self-test-failed` (a variant does
 * not give the golden outputs), `already-exists`; rejects with `signal.reason` when aborted. Nothing is published then.
 */
export async function publish(sources: readonly string[], options: PublishOptions): Promise<PublishReport> {
  const { repository, signal, onProgress } = options;
  assertNames(options);
  const sign = options.signingKey === undefined ? undefined : openSigner(options.signingKey);
  const openEngine = await openLocalEngines();
  onProgress?.('read');
  const read = [];
  for (const source of sources) read.push(await readSource(source));
  signal?.throwIfAborted();
  onProgress?.('build');
  const built = await buildVersion(read, options, openEngine, { signal });
  onProgress?.('check');
  const checks = await checkBuilt(built, options.version ?? '1', openEngine, signal);
  signal?.throwIfAborted();
  onProgress?.('write');
  const files = new Map([...built.files].map(([path, { bytes }]) => [path, bytes]));
  files.set('report.json', encodeReport(built.manifest(options.version ?? '1'), checks));
  const commit = isBucket(repository) ? commitToBucket : commitVersion;
  const pin = await commit({ ...options, repository, labels: options.labels ?? [], manifest: built.manifest, files, sign });
  return { pin, ...measure(built.manifest(pin.version)), checks };
}

/** Engines of this machine's processor; the reference run is single-threaded, so that nothing depends on the number of cores. */
export async function openLocalEngines(): Promise<OpenEngine> {
  const platform = await openNodePlatform({ gpu: false, threads: 1 });
  return (backend, options) => openOnPlatform(backend, platform, options);
}

export function checkBuilt(
  built: BuiltVersion,
  version: string,
  openEngine: OpenEngine,
  signal: AbortSignal | undefined,
): Promise<BackendCheck[]> {
  const readFile = async (path: string) => {
    const file = built.files.get(path);
    if (!file) throw new NearfarError('not-found', `the version has no file ${path}`, { details: { path } });
    return file.bytes;
  };
  return checkVariants(built.manifest(version), readFile, openEngine, { signal });
}

function assertNames({ name, version, labels = [] }: PublishOptions): void {
  if (!v.is(modelNameSchema, name))
    throw new NearfarError('invalid-argument', `"${name}" is no model name: one path segment without / or :`);
  if (version !== undefined && !v.is(versionSchema, version)) {
    throw new NearfarError('invalid-argument', `"${version}" is no version: a positive int64 as a decimal number`);
  }
  const bad = labels.find((label) => label === '');
  if (bad !== undefined) throw new NearfarError('invalid-argument', 'a label is not empty');
}

function measure(manifest: Manifest): Pick<PublishReport, 'manifest' | 'bytes' | 'chunks'> {
  const files = Object.values(manifest.files);
  const bytes = files.reduce((sum, file) => sum + file.bytes, encodeManifest(manifest).byteLength);
  return { manifest, bytes, chunks: files.reduce((sum, file) => sum + file.chunks.length, 0) };
}

/** report.json: what was measured while publishing; no part of the digest. */
function encodeReport(manifest: Manifest, checks: readonly BackendCheck[]): Uint8Array<ArrayBuffer> {
  const sizes = manifest.variants.map(({ id, files }) => ({
    variant: id,
    bytes: files.reduce((sum, path) => sum + (manifest.files[path]?.bytes ?? 0), 0),
    chunks: files.reduce((sum, path) => sum + (manifest.files[path]?.chunks.length ?? 0), 0),
  }));
  return new TextEncoder().encode(`${JSON.stringify({ schemaVersion: 1, checks, sizes }, null, 2)}\n`);
}

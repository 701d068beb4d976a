import * as v from 'valibot';
import {
  encodeImages,
  encodeManifest,
  type Manifest,
  modelNameSchema,
  NearfarError,
  type Pin,
  type Pixels,
  prepareImage,
  type TensorMap,
  versionSchema,
} from '../core/index.ts';
import { openEngine as openOnPlatform } from '../engines/index.ts';
import { openNodePlatform } from '../engines/node/index.ts';
import { isBucket } from './bucket.ts';
import { commitToBucket } from './bucket-commit.ts';
import { type BuildOptions, type BuiltVersion, buildVersion, withoutVariants } from './build.ts';
import { commitVersion } from './commit.ts';
import type { SkippedVariant } from './graph-source.ts';
import { measureVariants, type VariantMeasure } from './measure.ts';
import { readSources, type WriteOptions } from './read-source.ts';
import type { OpenEngine } from './run.ts';
import { type BackendCheck, checkVariants } from './self-check.ts';
import { openSigner } from './sign.ts';

export interface PublishOptions extends BuildOptions, WriteOptions {
  /** Folder of the repository, made when it is not there; or `s3://bucket/prefix`, with the environment variables of AWS's tools. */
  readonly repository: string;
  /** Version number. @default the next free one */
  readonly version?: string | undefined;
  /** Labels that shall point at the new version; the first version of a model is `stable` too. */
  readonly labels?: readonly string[] | undefined;
  /** Private key in PEM (P-256, P-384 or P-521) that signs the manifest. */
  readonly signingKey?: string | Uint8Array | undefined;
  /** Decoded pictures that variants of less precision are compared on, beside the golden examples. */
  readonly samples?: readonly Pixels[] | undefined;
  /** A variant of less precision whose best class is that of float32 less often than this (0 to 1) is not published. @default 0 */
  readonly minAgreement?: number | undefined;
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
  /** Variants of less precision beside their float32 siblings. */
  readonly measures: readonly VariantMeasure[];
  /** Variants that were wanted and are not published, and why. */
  readonly skipped: readonly SkippedVariant[];
  /** Signatures of the sources that cannot be run, with every reason. */
  readonly unusable: Readonly<Record<string, readonly string[]>>;
}

/**
 * Publishes model files as one version. SavedModels, frozen graphs, Keras models and LayersModels are written as TensorFlow.js GraphModel and
 * as ONNX; GraphModels and ONNX files stay as they are. Several sources share the signatures.
 * @param sources Paths of model files or of folders that hold one; what they are is told by their content.
 * @throws {NearfarError} `not-found`, `unsupported`, `invalid-argument`, `integrity-mismatch`, `shape-mismatch` (sources or options),
 * `self-test-failed` (a variant does not give the golden outputs), `already-exists`; rejects with `signal.reason` when aborted. Nothing is
 * published then.
 */
export async function publish(sources: readonly string[], options: PublishOptions): Promise<PublishReport> {
  const { repository, signal, onProgress } = options;
  assertNames(options);
  const sign = options.signingKey === undefined ? undefined : openSigner(options.signingKey);
  const openEngine = await openLocalEngines();
  onProgress?.('read');
  const read = await readSources(sources, options);
  signal?.throwIfAborted();
  onProgress?.('build');
  const everything = await buildVersion(read.sources, options, openEngine, { signal });
  onProgress?.('check');
  const samples = encodeSamples(everything.manifest('1'), options.samples ?? []);
  const { measures, rejected } = await measureVariants(everything, {
    openEngine,
    samples,
    minAgreement: options.minAgreement ?? 0,
    signal,
  });
  const built = withoutVariants(everything, rejected);
  const checks = await checkBuilt(built, options.version ?? '1', openEngine, signal);
  signal?.throwIfAborted();
  onProgress?.('write');
  const { unusable } = read;
  const report = { checks, measures, skipped: [...read.skipped, ...rejected], unusable };
  const files = new Map([...built.files].map(([path, { bytes }]) => [path, bytes]));
  files.set('report.json', encodeReport(built.manifest(options.version ?? '1'), report));
  const commit = isBucket(repository) ? commitToBucket : commitVersion;
  const pin = await commit({ ...options, repository, labels: options.labels ?? [], manifest: built.manifest, files, sign });
  return { pin, ...measure(built.manifest(pin.version)), ...report };
}

/** Pictures as inputs of the task's signature. */
function encodeSamples({ tasks }: Manifest, samples: readonly Pixels[]): { signature: string; inputs: TensorMap }[] {
  const task = tasks?.['image-classification'];
  if (samples.length === 0) return [];
  if (!task) throw new NearfarError('invalid-argument', 'samples are pictures for a task; add the task image-classification');
  return samples.map((pixels) => ({
    signature: task.signature,
    inputs: { [task.input.name]: encodeImages([prepareImage(pixels, task.input)], task.input) },
  }));
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
function encodeReport(
  manifest: Manifest,
  report: Pick<PublishReport, 'checks' | 'measures' | 'skipped' | 'unusable'>,
): Uint8Array<ArrayBuffer> {
  const sizes = manifest.variants.map(({ id, files }) => ({
    variant: id,
    bytes: files.reduce((sum, path) => sum + (manifest.files[path]?.bytes ?? 0), 0),
    chunks: files.reduce((sum, path) => sum + (manifest.files[path]?.chunks.length ?? 0), 0),
  }));
  return new TextEncoder().encode(`${JSON.stringify({ schemaVersion: 1, ...report, sizes }, null, 2)}\n`);
}

import { createHash } from 'node:crypto';
import {
  encodeImages,
  encodeManifest,
  type Manifest,
  NearfarError,
  type Pin,
  type Pixels,
  prepareImage,
  type TensorMap,
} from '../core/index.ts';
import { openEngine as openOnPlatform } from '../engines/index.ts';
import { openNodePlatform } from '../engines/node/index.ts';
import { isBucket } from './bucket.ts';
import { commitToBucket } from './bucket-commit.ts';
import { type BuildOptions, type BuiltVersion, buildVersion, withoutVariants } from './build.ts';
import { assertCanCommit, commitVersion } from './commit.ts';
import type { SkippedVariant } from './graph-source.ts';
import type { ImageClassificationOptions } from './image-task.ts';
import { measurePruning, measureVariants, type PruningMeasure, readBuilt, type VariantMeasure } from './measure.ts';
import { assertNames } from './names.ts';
import { type ReadModels, readSources, type WriteOptions } from './read-source.ts';
import { type OpenEngine, referenceBackends } from './run.ts';
import { type BackendCheck, type CheckOptions, checkVariants } from './self-check.ts';
import { openSigner } from './sign.ts';
import { fileOfBytes, openSpool } from './source-file.ts';
import { measureSpeeds, type VariantSpeed } from './speed.ts';

export interface PublishOptions extends Omit<BuildOptions, 'task' | 'making'>, WriteOptions {
  /** Folder of the repository, made when it is not there; or `s3://bucket/prefix`, with the environment variables of AWS's tools. */
  readonly repository: string;
  /**
   * What the model is for. What is left out comes from the config files of a folder of Hugging Face Transformers, which alone are enough
   * for an image classifier; `none` leaves the task out.
   */
  readonly task?: ImageClassificationOptions | 'none' | undefined;
  /** Version number. @default the next free one */
  readonly version?: string | undefined;
  /** Labels that shall point at the new version; the first version of a model is `stable` too. */
  readonly labels?: readonly string[] | undefined;
  /** Private key in PEM (P-256, P-384 or P-521) that signs the manifest. */
  readonly signingKey?: string | Uint8Array | undefined;
  /** Decoded pictures that variants of less precision are compared on, beside the golden examples. */
  readonly samples?: readonly Pixels[] | undefined;
  /**
   * A variant of less precision whose best class is that of float32 less often than this (0 to 1) is not published; nothing is, when a
   * pruned model's is that of the whole one less often. @default 0
   */
  readonly minAgreement?: number | undefined;
  /** Whether the files of a SavedModel are published beside the variants, for TensorFlow's tools. @default true */
  readonly original?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((step: PublishStep, detail?: StepDetail) => void) | undefined;
}

/** What publishing is at, in this order. */
export const publishSteps = ['read', 'build', 'measure', 'check', 'time', 'write'] as const;
export type PublishStep = (typeof publishSteps)[number];

/** How far a step is. */
export interface StepDetail {
  readonly what: string;
  readonly done: number;
  readonly total: number;
}

export interface PublishReport {
  readonly pin: Pin;
  readonly manifest: Manifest;
  /** Of all files of the version but report.json. */
  readonly bytes: number;
  readonly chunks: number;
  readonly checks: readonly BackendCheck[];
  /** Variants of less precision beside their float32 siblings. */
  readonly measures: readonly VariantMeasure[];
  /** What pruning did; absent without it. */
  readonly pruning?: PruningMeasure | undefined;
  /** Which variant is how fast on which backend of this machine. */
  readonly speeds: readonly VariantSpeed[];
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
 * `self-test-failed` (a variant does not give the golden outputs, or pruning changed too many answers), `already-exists`; rejects with
 * `signal.reason` when aborted. Nothing is published then.
 * @remarks The golden outputs of a pruned model are its own, so that devices are held to what was published; how far they are from those
 * of the whole model is in the report.
 */
export async function publish(sources: readonly string[], options: PublishOptions): Promise<PublishReport> {
  const { repository, signal, onProgress, version = '1', minAgreement = 0, original = true } = options;
  assertNames(options);
  if (!(minAgreement >= 0 && minAgreement <= 1)) {
    throw new NearfarError('invalid-argument', `the least agreement is a share from 0 to 1, got ${minAgreement}`);
  }
  const sign = options.signingKey === undefined ? undefined : openSigner(options.signingKey);
  if (!isBucket(repository)) await assertCanCommit(repository, options.name, options.version);
  const openEngine = await openLocalEngines();
  const progressOf = (step: PublishStep) => (what: string, done: number, total: number) => onProgress?.(step, { what, done, total });

  onProgress?.('read');
  await using spool = openSpool();
  const read = await readSources(sources, options, spool.keep);
  signal?.throwIfAborted();

  onProgress?.('build');
  const content = { ...options, task: resolveTask(options.task, read.task), making: makingOf(options) };
  const everything = await buildVersion({ ...read, kept: original ? read.kept : undefined }, content, openEngine, { signal });

  onProgress?.('measure');
  const samples = encodeSamples(everything.manifest('1'), options.samples ?? []);
  const measuring = { openEngine, samples, minAgreement, signal, onProgress: progressOf('measure') };
  const pruning = await measurePruning(everything, measuring);
  const { measures, rejected } = await measureVariants(everything, measuring);
  const hidden = [...everything.sources].filter(([, { isHidden }]) => isHidden).map(([variant]) => ({ variant }));
  const built = withoutVariants(everything, [...rejected, ...hidden]);

  onProgress?.('check');
  const checks = await checkBuilt(built, version, openEngine, { signal, onProgress: progressOf('check') });

  onProgress?.('time');
  const speeds = await measureSpeeds(built, { openEngine, signal, onProgress: progressOf('time') });
  signal?.throwIfAborted();

  onProgress?.('write');
  const { unusable } = read;
  const report = { checks, measures, ...(pruning && { pruning }), speeds, skipped: [...read.skipped, ...rejected], unusable };
  const files = new Map(built.files);
  files.set('report.json', fileOfBytes(encodeReport(built.manifest(version), report)));
  const commit = isBucket(repository) ? commitToBucket : commitVersion;
  const pin = await commit({ ...options, repository, labels: options.labels ?? [], manifest: built.manifest, files, sign });
  return { pin, ...measure(built.manifest(pin.version)), ...report };
}

/** What the caller says wins over what the model's folder says. */
function resolveTask(given: PublishOptions['task'], found: ReadModels['task']): ImageClassificationOptions | undefined {
  if (given === 'none' || (!given && !found)) return undefined;
  const said = Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined));
  return { ...found, ...said, task: 'image-classification' };
}

/** The options that decide what the variants are and which there are, as the provenance tells them. */
function makingOf({ optimize, formats, precisions, prune, minAgreement, samples, original }: PublishOptions): Record<string, unknown> {
  return {
    ...(optimize && { optimize }),
    ...(formats && { formats }),
    ...(precisions && { precisions }),
    ...(prune && { prune }),
    ...(minAgreement && { minAgreement, ...(samples && { samples: samples.map(digestPixels) }) }),
    ...(original === false && { original }),
  };
}

function digestPixels({ width, height, channels, data }: Pixels): string {
  return `sha256:${createHash('sha256').update(`${width}x${height}x${channels}`).update(data).digest('hex')}`;
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

function checkBuilt(built: BuiltVersion, version: string, openEngine: OpenEngine, options: CheckOptions): Promise<BackendCheck[]> {
  const recordedOn = referenceBackends[built.sources.get(built.decider)?.format ?? 'tfjs-graph'];
  return checkVariants(built.manifest(version), (path) => readBuilt(built, path), openEngine, {
    ...options,
    // The variant's own answers would be compared with themselves; and TensorFlow.js on the CPU, slow as it is, serves nobody.
    isNeedless: ({ id }, backend) => backend === recordedOn && (id === built.decider || backend === 'tfjs-cpu'),
  });
}

function measure(manifest: Manifest): Pick<PublishReport, 'manifest' | 'bytes' | 'chunks'> {
  const files = Object.values(manifest.files);
  const bytes = files.reduce((sum, file) => sum + file.bytes, encodeManifest(manifest).byteLength);
  return { manifest, bytes, chunks: files.reduce((sum, file) => sum + file.chunks.length, 0) };
}

/** report.json: what was measured while publishing; no part of the digest. */
function encodeReport(
  manifest: Manifest,
  report: Pick<PublishReport, 'checks' | 'measures' | 'pruning' | 'speeds' | 'skipped' | 'unusable'>,
): Uint8Array<ArrayBuffer> {
  const sizes = manifest.variants.map(({ id, files }) => ({
    variant: id,
    bytes: files.reduce((sum, path) => sum + (manifest.files[path]?.bytes ?? 0), 0),
    chunks: files.reduce((sum, path) => sum + (manifest.files[path]?.chunks.length ?? 0), 0),
  }));
  return new TextEncoder().encode(`${JSON.stringify({ schemaVersion: 1, ...report, sizes }, null, 2)}\n`);
}

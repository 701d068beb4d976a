import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  digestOf,
  filesOfVariant,
  listChunks,
  type Manifest,
  NearfarError,
  notSigned,
  type Pin,
  type SignedManifest,
  serializeError,
  verifySignature,
} from '../core/index.ts';
import { openEngine } from '../engines/index.ts';
import { openNodePlatform } from '../engines/node/index.ts';
import { openLocalEngines } from './publish.ts';
import { connectRepository, type Repository, readManifest, readVersions } from './repository.ts';
import type { OpenEngine } from './run.ts';
import { allBackends, type BackendCheck, checkVariants } from './self-check.ts';

export interface VerifyOptions {
  /** @default the engines of this machine's processor */
  readonly openEngine?: OpenEngine | undefined;
  /** Where golden examples are run: on the processor, or on everything that `openEngine` opens. @default 'processor' */
  readonly backends?: 'processor' | 'all' | undefined;
  /** Public keys in PEM, one of which must have signed the manifest. */
  readonly trust?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called after each file. */
  readonly onProgress?: ((checkedBytes: number, totalBytes: number) => void) | undefined;
}

export interface VerifyReport {
  readonly name: string;
  readonly pin: Pin;
  readonly files: number;
  readonly chunks: number;
  readonly bytes: number;
  readonly checks: readonly BackendCheck[];
}

/**
 * Checks a published version as a device would, and more: versions.json names the manifest, every file has its length and digest, every
 * chunk its digest, and every variant gives the golden outputs on each backend that is there.
 * @param repository A folder, the http(s) URL of a static host, or `s3://bucket/prefix`.
 * @throws {NearfarError} `signature-invalid`; `integrity-mismatch` with all `details.problems`, when the manifest or files differ; `self-test-failed` when they are right and
 * an answer is not; `not-found`, `network`, `invalid-argument`; rejects with `signal.reason` when aborted.
 */
export async function verify(repository: string, name: string, version: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  const files = connectRepository(repository);
  const { pin, manifest } = await readManifest(files, name, { version });
  if (options.trust && options.trust.length > 0) await checkSignature(files, { manifest, digest: pin.digest }, options.trust);
  const contents = await verifyFiles(files, manifest, options);
  const readFile = async (path: string) => {
    const bytes = contents.get(path);
    if (!bytes) throw new NearfarError('not-found', `the version has no file ${path}`, { details: { path } });
    return bytes;
  };
  const checks = await checkVariants(manifest, readFile, options.openEngine ?? (await openLocalEngines()), {
    signal: options.signal,
    backends: options.backends === 'all' ? allBackends : undefined,
  });
  return {
    name,
    pin,
    files: Object.keys(manifest.files).length,
    chunks: listChunks(manifest, Object.keys(manifest.files)).length,
    bytes: totalBytes(manifest),
    checks,
  };
}

/** Engines of this machine's processor and of its GPU, as far as it has them. */
export async function openAllEngines(options: { readonly allowSoftwareAdapter?: boolean | undefined } = {}): Promise<OpenEngine> {
  const platform = await openNodePlatform({ allowSoftwareAdapter: options.allowSoftwareAdapter ?? false });
  return (backend, { signal }) => openEngine(backend, platform, { signal });
}

async function checkSignature(repository: Repository, signed: SignedManifest, keys: readonly string[]): Promise<void> {
  const { name, version } = signed.manifest;
  const signature = await repository.read(name, version, 'manifest.sig').catch((cause: unknown) => {
    throw cause instanceof NearfarError && cause.code === 'not-found' ? notSigned(signed, cause) : cause;
  });
  await verifySignature(signature, signed, keys);
}

/** What lies beside the versions of a model in a folder and is no published version: left by a publisher that was killed, or never listed. */
export async function findStrays(folder: string, name: string): Promise<string[]> {
  const listed = (await readVersions(connectRepository(folder), name)).versions.map(({ version }) => version);
  const entries = await readdir(join(folder, name));
  return entries.filter((entry) => entry.startsWith('.publish') || (/^\d+$/.test(entry) && !listed.includes(entry))).sort();
}

async function verifyFiles(
  repository: Repository,
  manifest: Manifest,
  { signal, onProgress }: VerifyOptions,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const contents = new Map<string, Uint8Array<ArrayBuffer>>();
  // The original, which no engine reads, is not kept in memory.
  const wanted = new Set(manifest.variants.flatMap((variant) => filesOfVariant(manifest, variant)));
  const problems: { file: string; message: string; chunk?: number }[] = [];
  let checkedBytes = 0;
  for (const [file, entry] of Object.entries(manifest.files)) {
    signal?.throwIfAborted();
    try {
      const bytes = await repository.read(manifest.name, manifest.version, ...file.split('/'));
      if (wanted.has(file)) contents.set(file, bytes);
      problems.push(...(await compareFile(manifest, file, bytes)));
    } catch (error) {
      if (!(error instanceof NearfarError) || error.code !== 'not-found') throw error;
      problems.push({ file, message: serializeError(error).message });
    }
    checkedBytes += entry.bytes;
    onProgress?.(checkedBytes, totalBytes(manifest));
  }
  if (problems.length === 0) return contents;
  const all = problems.map(({ message }) => message).join('; ');
  throw new NearfarError('integrity-mismatch', `${manifest.name} version ${manifest.version} is damaged: ${all}`, {
    details: { problems },
  });
}

async function compareFile(
  manifest: Manifest,
  file: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<{ file: string; message: string; chunk?: number }[]> {
  const entry = manifest.files[file];
  if (entry && bytes.byteLength !== entry.bytes) {
    return [{ file, message: `${file} has ${bytes.byteLength} bytes, the manifest says ${entry.bytes}` }];
  }
  const problems: { file: string; message: string; chunk?: number }[] = [];
  for (const { index, start, bytes: length, digest } of listChunks(manifest, [file])) {
    if ((await digestOf(bytes.subarray(start, start + length))) !== digest) {
      problems.push({ file, chunk: index, message: `chunk ${index} of ${file} (bytes ${start} to ${start + length}) has another digest` });
    }
  }
  const digest = await digestOf(bytes);
  if (problems.length === 0 && digest !== entry?.digest)
    problems.push({ file, message: `${file} has digest ${digest}, the manifest says ${entry?.digest}` });
  return problems;
}

function totalBytes(manifest: Manifest): number {
  return Object.values(manifest.files).reduce((sum, { bytes }) => sum + bytes, 0);
}

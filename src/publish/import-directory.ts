import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { digestOf, encodeManifest, NearfarError, type Pin } from '../core/index.ts';
import { buildVersion } from './build.ts';
import { openLocalEngines } from './publish.ts';
import { findModelIn, readSource } from './read-source.ts';
import type { OpenEngine } from './run.ts';

export interface ImportOptions {
  readonly name: string;
  readonly version: string;
  readonly signal?: AbortSignal | undefined;
  /** @default the engines of this machine's processor, in this thread */
  readonly openEngine?: OpenEngine | undefined;
}

/**
 * Makes a version with a manifest from a plain TensorFlow Serving version directory, which holds `model.onnx` (or one other .onnx file), a
 * GraphModel's `model.json`, or both (the latter in a folder of its own, `tfjs/`; the former may lie in `onnx/`). Every machine makes the
 * same bytes of the same directory.
 * @param directory Is only read.
 * @param out A directory that is empty or not there; gets manifest.json and all files it names.
 * @throws {NearfarError} `unsupported` for a SavedModel and other formats, `not-found`, `invalid-argument`; rejects with `signal.reason` when aborted.
 * @remarks Reference runs block this thread for as long as they take; call it in a worker thread where that matters.
 */
export async function importDirectory(directory: string, out: string, options: ImportOptions): Promise<Pin> {
  const { name, version, signal } = options;
  const openEngine = options.openEngine ?? (await openLocalEngines());
  const sources = [];
  for (const path of await findSources(directory)) sources.push(await readSource(path));
  const built = await buildVersion(sources, { name }, openEngine, { signal });
  signal?.throwIfAborted();
  const bytes = encodeManifest(built.manifest(version));
  for (const [path, file] of built.files) await writeNew(join(out, path), file.bytes);
  await writeNew(join(out, 'manifest.json'), bytes);
  return { version, digest: await digestOf(bytes) };
}

/** The directory's own model first, then those in `tfjs/` and `onnx/`. */
async function findSources(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  // In this order on every machine: the order of the variants is part of the digest.
  const folders = ['tfjs', 'onnx'].filter((name) => entries.some((entry) => entry.isDirectory() && entry.name === name));
  const found: string[] = findModelIn(entries).map((file) => join(directory, file));
  for (const folder of folders.map((name) => join(directory, name))) {
    found.push(...findModelIn(await readdir(folder, { withFileTypes: true })).map((file) => join(folder, file)));
  }
  const usable = found.filter((path) => !path.endsWith('saved_model.pb'));
  if (usable.length > 0) return usable;
  if (found[0] !== undefined) return found;
  throw new NearfarError('not-found', `${directory} holds no model.json, no .onnx file and no saved_model.pb`, { details: { directory } });
}

async function writeNew(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes, { flag: 'wx' });
}

import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { digestOf, encodeManifest, NearfarError, type Pin } from '../core/index.ts';
import { buildVersion } from './build.ts';
import { openLocalEngines } from './publish.ts';
import { readSources } from './read-source.ts';
import type { OpenEngine } from './run.ts';
import { openSpool, storeFile } from './source-file.ts';

export interface ImportOptions {
  readonly name: string;
  readonly version: string;
  /** Tags of the graph to take of a SavedModel. @default ['serve'], or none where no graph has that */
  readonly savedModelTags?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** @default the engines of this machine's processor, in this thread */
  readonly openEngine?: OpenEngine | undefined;
}

/**
 * Makes a version with a manifest from a plain TensorFlow Serving version directory, which holds a model of any format that can be published;
 * also a GraphModel in a folder of its own, `tfjs/`, and an ONNX file in `onnx/`. Every machine makes the same bytes of the same directory.
 * @param directory Is only read.
 * @param out A directory that is empty or not there; gets manifest.json and all files it names.
 * @throws {NearfarError} `not-found`, `unsupported`, `invalid-argument`, `integrity-mismatch`; rejects with `signal.reason` when aborted.
 * @remarks Reference runs block this thread for as long as they take; call it in a worker thread where that matters.
 */
export async function importDirectory(directory: string, out: string, options: ImportOptions): Promise<Pin> {
  const { name, version, savedModelTags, signal } = options;
  const openEngine = options.openEngine ?? (await openLocalEngines());
  await using spool = openSpool();
  const { sources, warmup, declared } = await readSources(await findModels(directory), { savedModelTags }, spool.keep);
  signal?.throwIfAborted();
  // The original stays where it is: a server needs it once.
  const built = await buildVersion({ sources, warmup, declared }, { name }, openEngine, { signal });
  signal?.throwIfAborted();
  const manifest = built.manifest(version);
  const bytes = encodeManifest(manifest);
  for (const [path, file] of built.files) {
    await mkdir(dirname(join(out, path)), { recursive: true });
    await storeFile(join(out, path), file, manifest.files[path]);
  }
  await writeFile(join(out, 'manifest.json'), bytes, { flag: 'wx' });
  return { version, digest: await digestOf(bytes) };
}

/** The directory's own model first, then those in `tfjs/` and `onnx/`. */
async function findModels(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  if (entries.length === 0) throw new NearfarError('not-found', `${directory} is empty`, { details: { directory } });
  // In this order on every machine: the order of the variants is part of the digest.
  const folders = ['tfjs', 'onnx'].filter((name) => entries.some((entry) => entry.isDirectory() && entry.name === name));
  const hasOwn = folders.length === 0 || entries.some((entry) => !entry.isDirectory() && looksLikeModel(entry.name));
  return [...(hasOwn ? [directory] : []), ...folders.map((name) => join(directory, name))];
}

/** Beside `tfjs/` and `onnx/`, notes and licences are no model. */
function looksLikeModel(name: string): boolean {
  return /^(model\.json|saved_model\.pb(txt)?)$|\.(onnx|keras|h5|pb|pbtxt)$/.test(name);
}

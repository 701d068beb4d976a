import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { NearfarError } from '../../core/index.ts';
import { type BackOff, backOff, retryNote } from '../back-off.ts';
import type { Logger } from '../log.ts';
import { isMissing, readVersionDirectory, underWay, type VersionOnDisk } from './version-directory.ts';

/** A plain TensorFlow Serving version, no longer being copied. */
export interface PlainVersion {
  readonly name: string;
  readonly version: string;
  readonly directory: string;
  /** Of its files; another one is another version's content. */
  readonly fingerprint: string;
  /** How many newer ones of the model there are: what is served soonest is imported first. */
  readonly rank: number;
  /** Tags of the graph to take of a SavedModel; those of TensorFlow Serving where it is not said. */
  readonly savedModelTags?: readonly string[] | undefined;
}

/** Writes the version with its manifest into `out`, an empty directory; an abort ends it. */
export type ImportVersion = (source: PlainVersion, out: string, signal: AbortSignal) => Promise<void>;

type Import =
  | { readonly state: 'running'; readonly previous: NearfarError | undefined }
  | { readonly state: 'done'; readonly version: VersionOnDisk }
  | { readonly state: 'failed'; readonly error: NearfarError; readonly attempts: number; readonly retryAt: number };

export interface ImportCacheOptions {
  readonly folder: string;
  readonly importVersion: ImportVersion;
  /** Another graph of the same files is another import. */
  readonly savedModelTags?: readonly string[] | undefined;
  readonly backOff: BackOff;
  readonly log: Logger;
  /** @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Whether a version that lies in this directory may be loaded or fetched. */
  readonly isUsed: (directory: string) => boolean;
  /** Called when `lookUp` has another version of a model to tell of. */
  readonly onImported?: ((name: string) => void) | undefined;
}

/**
 * Counts up when an import has to be made anew because of what the importer writes now, such as a new field of the manifest that the server
 * depends on. 2: `savedModel`.
 */
const importRevision = 2;

/** How often servers say of an import that they use it, in milliseconds. */
const tidyIntervalMs = 3_600_000;

/** An import that no server used for so long, in milliseconds, goes. */
const keepMs = 24 * tidyIntervalMs;

/**
 * Plain TensorFlow Serving versions with their manifests, kept in a cache folder under the fingerprint of the original, so that
 * a restart finds them again. The time of an import's folder says when a server used it last: several may share the cache.
 */
export class ImportCache {
  /** Of this revision, and of all. */
  readonly #folder: string;
  readonly #allRevisions: string;
  readonly #isUsed: (directory: string) => boolean;
  readonly #tidying: NodeJS.Timeout;
  readonly #importVersion: ImportVersion;
  readonly #backOff: BackOff;
  readonly #savedModelTags: readonly string[] | undefined;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #onImported: (name: string) => void;
  readonly #imports = new Map<string, Import>();
  readonly #running = new Set<Promise<void>>();
  readonly #closing = new AbortController();

  constructor(options: ImportCacheOptions) {
    this.#allRevisions = options.folder;
    this.#folder = join(options.folder, String(importRevision));
    this.#isUsed = options.isUsed;
    // Not at the start: what was used before it is not known to be used yet.
    this.#tidying = setInterval(() => void this.tidy(), tidyIntervalMs).unref();
    // Every import that runs listens.
    setMaxListeners(0, this.#closing.signal);
    this.#importVersion = options.importVersion;
    this.#savedModelTags = options.savedModelTags;
    this.#backOff = options.backOff;
    this.#log = options.log;
    this.#now = options.now ?? Date.now;
    this.#onImported = options.onImported ?? (() => {});
  }

  /** The imported version, or why there is none yet; starts the import, or starts it again after a failure. */
  lookUp(plain: PlainVersion): VersionOnDisk | NearfarError {
    const fingerprint = plain.fingerprint.slice('sha256:'.length, 'sha256:'.length + 16);
    const tags = this.#savedModelTags;
    const key = join(plain.name, plain.version, tags ? `${fingerprint}-${encodeURIComponent([...tags].sort().join(','))}` : fingerprint);
    const known = this.#imports.get(key);
    if (known?.state === 'done') return known.version;
    if (known?.state === 'failed' && this.#now() < known.retryAt) return known.error;
    const previous = known?.state === 'failed' ? known.error : known?.previous;
    if (known?.state !== 'running' && !this.#closing.signal.aborted) this.#start(key, plain, known?.attempts ?? 0, previous);
    // While it is tried again what went wrong still is the news.
    return previous ?? underWay('the version is being imported', { isImporting: true });
  }

  #start(key: string, plain: PlainVersion, attempts: number, previous: NearfarError | undefined): void {
    this.#imports.set(key, { state: 'running', previous });
    const running = this.#openOrImport(key, plain)
      .then(
        (version) => {
          this.#imports.set(key, { state: 'done', version });
          this.#onImported(plain.name);
        },
        (cause: unknown) => {
          if (this.#closing.signal.aborted) return;
          const reason = cause instanceof Error ? cause.message : String(cause);
          const pauseMs = backOff(this.#backOff, attempts);
          const error = new NearfarError(
            cause instanceof NearfarError ? cause.code : 'internal',
            `the import failed: ${reason} (${retryNote(attempts + 1, pauseMs)})`,
            { cause },
          );
          this.#log.error({ model: plain.name, version: plain.version, code: error.code, attempt: attempts + 1 }, error.message);
          this.#imports.set(key, {
            state: 'failed',
            error,
            attempts: attempts + 1,
            retryAt: this.#now() + pauseMs,
          });
        },
      )
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #openOrImport(key: string, plain: PlainVersion): Promise<VersionOnDisk> {
    const final = join(this.#folder, key);
    const known = await readImported(final, plain.version);
    if (known && (await touch(final))) return { ...known, original: plain.directory };
    // A name of its own: another server, in a container where it has the same process id, may share the folder.
    const work = `${final}.${randomUUID()}`;
    await mkdir(dirname(final), { recursive: true });
    try {
      this.#log.info({ model: plain.name, version: plain.version, directory: plain.directory }, 'importing a TensorFlow Serving version');
      await this.#importVersion({ ...plain, savedModelTags: this.#savedModelTags }, work, this.#closing.signal);
      await rename(work, final).catch(async () => {
        // What that server made meanwhile may be in use, and is the same; half an import is not.
        if (await readImported(final, plain.version)) return;
        await rm(final, { recursive: true, force: true });
        await rename(work, final);
      });
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    return { ...(await readVersionDirectory(final, plain.version)), original: plain.directory };
  }

  /** Says which imports are used here, and removes those that no server used for a day: an original that is gone or changed leaves one behind. */
  async tidy(): Promise<void> {
    for (const [key, known] of this.#imports) {
      // What is forgotten here is found in its folder again.
      const isForgotten =
        known.state === 'failed' ? this.#now() >= known.retryAt + keepMs : known.state === 'done' && !(await this.#keep(known));
      if (isForgotten) this.#imports.delete(key);
    }
    try {
      for (const directory of await listImports(this.#allRevisions)) await this.#removeUnused(directory);
    } catch (error) {
      this.#log.warn({ err: error }, 'old imports cannot be removed');
    }
  }

  async #keep({ version: { directory } }: Extract<Import, { state: 'done' }>): Promise<boolean> {
    return this.#isUsed(directory) && (await touch(directory).catch(() => true));
  }

  async #removeUnused(directory: string): Promise<void> {
    if (!(await isUnused(directory))) return;
    const going = `${directory}.${randomUUID()}`;
    await rename(directory, going);
    // A server may have begun to use it just now.
    if (!(await isUnused(going))) return rename(going, directory);
    await rm(going, { recursive: true, force: true });
    this.#log.info({ directory }, 'removed an import that was not used for a day');
  }

  /** Waits for the imports that run. */
  async settle(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Ends the imports that run. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#tidying);
    this.#closing.abort();
    await this.settle();
  }
}

/** An import that is whole; undefined where there is none, or half of one. */
async function readImported(directory: string, version: string): Promise<VersionOnDisk | undefined> {
  try {
    return await readVersionDirectory(directory, version);
  } catch (error) {
    if (isMissing(error) || error instanceof NearfarError) return undefined;
    throw error;
  }
}

/** @returns false when it is not there. */
async function touch(directory: string): Promise<boolean> {
  const now = new Date();
  try {
    await utimes(directory, now, now);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function isUnused(directory: string): Promise<boolean> {
  return Date.now() - (await stat(directory)).mtimeMs >= keepMs;
}

/** The folders of imports, also of those that ended with their server. */
async function listImports(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  if (entries.some(({ name }) => name === 'manifest.json')) return [folder];
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const found = folders.map((name) =>
    /^[0-9a-f]{16}.*\.[0-9a-f-]{36}$/.test(name) ? [join(folder, name)] : listImports(join(folder, name)),
  );
  return (await Promise.all(found)).flat();
}

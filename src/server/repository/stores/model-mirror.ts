import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { digestOf, type Manifest, NearfarError, parseManifest, parseVersions, type Versions } from '../../../core/index.ts';
import { type BackOff, backOff, retryNote } from '../../back-off.ts';
import type { Logger } from '../../log.ts';
import type { ModelSource } from '../model-source.ts';
import { isMissing, readVersionDirectory, underWay } from '../version-directory.ts';
import { selectVersions, type VersionPolicy } from '../version-policy.ts';
import type { Blob, Blobs, OpenContent } from './blobs.ts';
import { groupVersions, type PlainFiles } from './plain-versions.ts';
import { joinPath, type RepositoryStore, readAll, type StoreContent } from './store.ts';

const longestVersionsBytes = 16 * 2 ** 20;
const longestManifestBytes = 64 * 2 ** 20;
const longestSignatureBytes = 2 ** 20;

/** Files of one version that are read side by side. */
const readsAtOnce = 4;

/** What a question found out. */
export interface Answer {
  /** For how long it holds, in milliseconds. */
  readonly freshForMs: number;
  /** Whether another one, soon, tells more: somebody may be copying. */
  readonly isUnsettled?: boolean | undefined;
}

/** A version as the store lists it. */
type ListedVersion =
  /** By versions.json. */
  | { readonly kind: 'pinned'; readonly digest: string }
  /** By its manifest.json alone. */
  | { readonly kind: 'unlisted'; readonly fingerprint: string }
  | ({ readonly kind: 'plain' } & PlainFiles);

/** What the store holds of the model, by the last answer. */
interface Listing {
  readonly versions: ReadonlyMap<string, ListedVersion>;
  readonly labels: Readonly<Record<string, string>>;
  /** Undefined where the versions are folders alone. */
  readonly versionsFile: Uint8Array<ArrayBuffer> | undefined;
}

interface Failure {
  readonly error: NearfarError;
  readonly attempts: number;
  readonly retryAt: number;
  /** Of what was tried. */
  readonly key: string;
}

export interface ModelMirrorOptions {
  readonly store: RepositoryStore;
  /** The model's folder in the store; `''` is all of it. */
  readonly path: string;
  /** Where the mirror lies. */
  readonly folder: string;
  readonly blobs: Blobs;
  /** Makes room for a version. */
  readonly makeRoom: (blobs: readonly Blob[]) => Promise<void>;
  readonly backOff: BackOff;
  readonly log: Logger;
  readonly now: () => number;
  /** Called when the mirror's folder holds something else than before. */
  readonly onChange: () => void;
}

/**
 * The folder of one model as a store has it, kept on this machine: of its versions those that are to be loaded. A version comes into the
 * folder whole; `versions.json` follows when all that its labels name is there, so that browsers never learn here of what they cannot have.
 */
export class ModelMirror {
  readonly folder: string;
  /** Where the original is, for people. */
  readonly location: string;
  readonly #options: ModelMirrorOptions;
  #etag: string | undefined;
  #listing: Listing | undefined;
  #isStale = false;
  /** What is configured for the model. */
  #policy: VersionPolicy | undefined;
  #labels: Readonly<Record<string, string>> = {};
  /** Keys of what lies in the folder, by version. */
  readonly #here = new Map<string, string>();
  readonly #failures = new Map<string, Failure>();
  #current: { readonly version: string; readonly controller: AbortController; got: number; total: number } | undefined;
  #fetching: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();

  constructor(options: ModelMirrorOptions) {
    this.#options = options;
    this.folder = options.folder;
    this.location = joinPath(options.store.location, options.path);
  }

  /** Whether the store has versions of it, by its last answer. */
  get isModel(): boolean {
    return (this.#listing?.versions.size ?? 0) > 0;
  }

  has(version: string): boolean {
    return this.#listing?.versions.has(version) ?? false;
  }

  /** What is to be loaded; what is not here yet begins to be fetched. */
  want({ policy, labels = {} }: Pick<ModelSource, 'policy' | 'labels'>): void {
    if (JSON.stringify([policy, labels]) === JSON.stringify([this.#policy, this.#labels])) return;
    this.#policy = policy;
    this.#labels = labels;
    this.#fetchWanted();
  }

  isWanted(version: string): boolean {
    return this.#wanted().includes(version);
  }

  /** Versions that are to be loaded and not here, and why. */
  missing(): ReadonlyMap<string, NearfarError> {
    const missing = this.#wanted().filter((version) => !this.#isHere(version));
    return new Map(
      missing.map((version) => {
        const failure = this.#failures.get(version)?.error;
        const current = this.#current?.version === version ? this.#current : undefined;
        const progress = current && current.total > 0 ? `: ${current.got} of ${current.total} bytes` : '';
        return [version, failure ?? underWay(`the version is being fetched from ${this.location}${progress}`)] as const;
      }),
    );
  }

  /**
   * Asks the store what is there, and begins to fetch what is to be loaded.
   * @throws what the store throws; `not-found` when it has no such model: what is here stays.
   */
  async ask(signal: AbortSignal): Promise<Answer> {
    const { store, path } = this.#options;
    const file = joinPath(path, 'versions.json');
    const answer = await store.read(file, { ifNoneMatch: this.#etag, isFresh: this.#isStale, signal });
    this.#isStale = false;
    if (answer.kind === 'content') {
      const bytes = await readAll(file, answer, longestVersionsBytes);
      const { versions, labels }: Versions = parseVersions(bytes);
      this.#listing = {
        versions: new Map(versions.map(({ version, digest }) => [version, { kind: 'pinned', digest }])),
        labels,
        versionsFile: bytes,
      };
      this.#etag = answer.etag;
    } else if (answer.kind === 'missing') {
      this.#etag = undefined;
      this.#listing = await this.#listFolders(signal);
    }
    if (this.#current && !this.#wanted().includes(this.#current.version)) this.#current.controller.abort();
    this.#fetchWanted();
    const isUnsettled = this.#wanted().some((version) => {
      const listed = this.#listing?.versions.get(version);
      return listed?.kind === 'plain' && !listed.isSettled;
    });
    return { freshForMs: answer.freshForMs, isUnsettled };
  }

  async #listFolders(signal: AbortSignal): Promise<Listing> {
    const { store, path } = this.#options;
    const entries = await store.list(path, { isDeep: true, signal }).catch((error: unknown) => {
      if (error instanceof NearfarError && error.code === 'unsupported') return [];
      throw error;
    });
    const versions = new Map<string, ListedVersion>();
    for (const [version, files] of groupVersions(entries)) {
      const before = this.#listing?.versions.get(version);
      const isManifest = files.files.some((file) => file.path === 'manifest.json');
      if (isManifest) versions.set(version, { kind: 'unlisted', fingerprint: files.fingerprint });
      else {
        const isSettled = before?.kind === 'plain' && before.fingerprint === files.fingerprint;
        versions.set(version, { kind: 'plain', ...files, isSettled });
      }
    }
    if (versions.size === 0)
      throw new NearfarError('not-found', `${this.location} has no versions`, { details: { location: this.location } });
    return { versions, labels: {}, versionsFile: undefined };
  }

  #wanted(): readonly string[] {
    if (!this.#listing) return [];
    const { versions, labels } = this.#listing;
    const policy = this.#policy ?? { kind: 'latest', count: 1 };
    if (policy.kind === 'specific' && policy.versions.length === 0) return [];
    const named = Object.values({ ...labels, ...this.#labels });
    return selectVersions(policy, [...versions.keys()], named).filter((version) => versions.has(version));
  }

  #keyOf(version: string): string | undefined {
    const listed = this.#listing?.versions.get(version);
    return listed?.kind === 'pinned' ? listed.digest : listed?.fingerprint;
  }

  #isHere(version: string): boolean {
    const key = this.#keyOf(version);
    return key !== undefined && this.#here.get(version) === key;
  }

  #fetchWanted(): void {
    clearTimeout(this.#retry);
    if (this.#closing.signal.aborted) return;
    this.#fetching ??= this.#fetchAll().finally(() => {
      this.#fetching = undefined;
      this.#scheduleRetry();
    });
  }

  async #fetchAll(): Promise<void> {
    const { log, now } = this.#options;
    try {
      await this.#publish();
      for (;;) {
        const next = this.#wanted().find((version) => !this.#isHere(version) && this.#mayTry(version, now()));
        const key = next === undefined ? undefined : this.#keyOf(next);
        if (next === undefined || key === undefined || this.#closing.signal.aborted) return;
        await this.#tryVersion(next, key);
        await this.#publish();
      }
    } catch (error) {
      log.error({ err: error, location: this.location }, 'the mirror of a model cannot be written');
    }
  }

  #mayTry(version: string, now: number): boolean {
    const listed = this.#listing?.versions.get(version);
    if (listed?.kind === 'plain' && !listed.isSettled) return false;
    const failure = this.#failures.get(version);
    return failure === undefined || failure.key !== this.#keyOf(version) || now >= failure.retryAt;
  }

  #scheduleRetry(): void {
    const due = [...this.#failures].flatMap(([version, { retryAt }]) => (this.isWanted(version) ? [retryAt] : []));
    if (due.length === 0 || this.#closing.signal.aborted) return;
    this.#retry = setTimeout(() => this.#fetchWanted(), Math.max(0, Math.min(...due) - this.#options.now())).unref();
  }

  async #tryVersion(version: string, key: string): Promise<void> {
    const { log, now, backOff: pauses, onChange } = this.#options;
    const controller = new AbortController();
    this.#current = { version, controller, got: 0, total: 0 };
    const signal = AbortSignal.any([controller.signal, this.#closing.signal]);
    try {
      await this.#fetchVersion(version, signal);
      this.#here.set(version, key);
      this.#failures.delete(version);
      onChange();
    } catch (cause) {
      // It is wanted no more, or the server closes.
      if (signal.aborted) return;
      const before = this.#failures.get(version);
      const attempts = before?.key === key ? before.attempts : 0;
      const pauseMs = Math.max(backOff(pauses, attempts), retryAfterOf(cause));
      const reason = cause instanceof Error ? cause.message : String(cause);
      const error = new NearfarError(
        cause instanceof NearfarError ? cause.code : 'unavailable',
        `the version cannot be fetched: ${reason} (${retryNote(attempts + 1, pauseMs)})`,
        { cause, details: { location: this.location } },
      );
      this.#failures.set(version, { error, attempts: attempts + 1, retryAt: now() + pauseMs, key });
      // What is wrong may be what a cache on the way remembers of versions.json.
      this.#isStale = true;
      this.#etag = undefined;
      log.error({ location: this.location, version, code: error.code, attempt: attempts + 1 }, error.message);
      onChange();
    } finally {
      this.#current = undefined;
    }
  }

  async #fetchVersion(version: string, signal: AbortSignal): Promise<void> {
    const { folder } = this;
    const listed = this.#listing?.versions.get(version);
    if (!listed) return;
    const final = join(folder, version);
    if (listed.kind === 'pinned' && (await holds(final, version, listed.digest))) {
      // Of this process's last run, or of another one's.
      const now = new Date();
      return utimes(final, now, now);
    }
    // Files without a manifest say nothing of themselves.
    const marker = join(folder, `.${version}.listed`);
    if (listed.kind !== 'pinned' && (await readFile(marker, 'utf8').catch(() => undefined)) === listed.fingerprint) {
      if (await isDirectory(final)) return;
    }
    const work = join(folder, `.${version}.${randomUUID()}`);
    try {
      if (listed.kind === 'plain') await this.#fetchPlain(version, listed, work, signal);
      else await this.#fetchPublished(version, listed.kind === 'pinned' ? listed.digest : undefined, work, signal);
      await mkdir(folder, { recursive: true });
      await rm(marker, { force: true });
      await this.#replace(work, final);
      if (listed.kind !== 'pinned') await writeFile(marker, listed.fingerprint);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    this.#options.log.info({ location: this.location, version, folder: final }, 'fetched a version');
  }

  /** A directory is put in place of another one; what has files of that one open keeps them. */
  async #replace(work: string, final: string): Promise<void> {
    const old = join(this.folder, `.old.${randomUUID()}`);
    await rename(final, old).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
    await rename(work, final);
    await rm(old, { recursive: true, force: true });
  }

  async #fetchPublished(version: string, digest: string | undefined, work: string, signal: AbortSignal): Promise<void> {
    const { path } = this.#options;
    const folder = joinPath(path, version);
    const manifestPath = `${folder}/manifest.json`;
    let bytes = await this.#readSmall(manifestPath, longestManifestBytes, { isFresh: false, signal });
    if (digest !== undefined && (await digestOf(bytes)) !== digest) {
      bytes = await this.#readSmall(manifestPath, longestManifestBytes, { isFresh: true, signal });
      const got = await digestOf(bytes);
      if (got !== digest) {
        throw new NearfarError('integrity-mismatch', `manifest.json has digest ${got}, versions.json lists ${digest}`, {
          details: { version, want: digest, got },
        });
      }
    }
    const manifest: Manifest = parseManifest(bytes);
    const files = Object.entries(manifest.files).map(([file, entry]) => ({
      path: file,
      blob: { id: entry.digest.slice('sha256:'.length), bytes: entry.bytes, digest: entry.digest },
      etag: undefined,
    }));
    await this.#fetchFiles(folder, files, work, signal);
    const signature = await this.#options.store.read(`${folder}/manifest.sig`, { signal });
    if (signature.kind === 'content') {
      await writeFile(join(work, 'manifest.sig'), await readAll(`${folder}/manifest.sig`, signature, longestSignatureBytes));
    }
    await mkdir(work, { recursive: true });
    await writeFile(join(work, 'manifest.json'), bytes);
  }

  async #fetchPlain(version: string, { files, originalName }: PlainFiles, work: string, signal: AbortSignal): Promise<void> {
    const folder = joinPath(this.#options.path, originalName);
    const blobs = await Promise.all(
      files.map(async ({ path, bytes = 0, etag }) => {
        const key = new TextEncoder().encode(`${this.location}\0${version}\0${path}\0${bytes}\0${etag}`);
        return { path, blob: { id: (await digestOf(key)).slice('sha256:'.length), bytes, digest: undefined }, etag };
      }),
    );
    await mkdir(work, { recursive: true });
    await this.#fetchFiles(folder, blobs, work, signal);
  }

  async #fetchFiles(
    folder: string,
    files: readonly { readonly path: string; readonly blob: Blob; readonly etag: string | undefined }[],
    work: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { blobs, makeRoom } = this.#options;
    await makeRoom(files.map(({ blob }) => blob));
    const current = this.#current;
    if (current) current.total = files.reduce((sum, { blob }) => sum + blob.bytes, 0);
    const queue = [...files];
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const reader = async () => {
      for (let file = queue.shift(); file; file = queue.shift()) {
        const { path, blob, etag } = file;
        try {
          await blobs.fetch(blob, this.#opener(`${folder}/${path}`, etag), either);
          await blobs.place(blob, join(work, ...path.split('/')));
          if (current) current.got += blob.bytes;
        } catch (error) {
          if (either.aborted || !(error instanceof NearfarError)) throw error;
          throw new NearfarError(error.code, `${path}: ${error.message}`, { cause: error, details: { ...error.details, path } });
        }
      }
    };
    const readers = Array.from({ length: Math.min(readsAtOnce, files.length) }, () =>
      reader().catch((error: unknown) => {
        failed.abort(error);
        throw error;
      }),
    );
    // All of them end before the folder that they write into goes.
    const outcomes = await Promise.allSettled(readers);
    if (outcomes.some(({ status }) => status === 'rejected')) throw signal.aborted ? signal.reason : failed.signal.reason;
  }

  #opener(path: string, etag: string | undefined): OpenContent {
    return async (start, isFresh, signal) => {
      const content = await this.#open(path, { start, ifRange: etag, isFresh, signal });
      if (etag === undefined || content.etag === undefined || content.etag === etag) return content;
      throw new NearfarError('unavailable', 'the file is another one by now', { details: { want: etag, got: content.etag } });
    };
  }

  async #readSmall(path: string, maxBytes: number, options: { isFresh: boolean; signal: AbortSignal }): Promise<Uint8Array<ArrayBuffer>> {
    return readAll(path, await this.#open(path, options), maxBytes);
  }

  async #open(path: string, options: Parameters<RepositoryStore['read']>[1]): Promise<StoreContent> {
    const answer = await this.#options.store.read(path, options);
    if (answer.kind === 'content') return answer;
    throw new NearfarError('unavailable', `the store has no ${path}: the version is not complete there`, { details: { path } });
  }

  /** Puts versions.json into the folder, once what its labels name, or without labels its newest version, is there. */
  async #publish(): Promise<void> {
    const { versionsFile, versions, labels } = this.#listing ?? {};
    if (!versions || !labels) return;
    const file = join(this.folder, 'versions.json');
    if (!versionsFile) return rm(file, { force: true });
    const named = Object.values(labels);
    const needed = named.length > 0 ? named : selectVersions({ kind: 'latest', count: 1 }, [...versions.keys()], []);
    if (!needed.every((version) => this.#isHere(version) || !this.isWanted(version))) return;
    const before = await readFile(file).catch(() => undefined);
    if (before?.equals(versionsFile)) return;
    const work = `${file}.${randomUUID()}`;
    await mkdir(dirname(file), { recursive: true });
    await writeFile(work, versionsFile);
    await rename(work, file);
    this.#options.onChange();
  }

  /** A directory of the mirror was removed to make room. */
  forget(version: string): void {
    this.#here.delete(version);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#retry);
    await this.#fetching;
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** How long a store asks to be left alone, in milliseconds. */
export function retryAfterOf(error: unknown): number {
  const asked = error instanceof NearfarError ? error.details['retryAfterMs'] : undefined;
  return typeof asked === 'number' ? asked : 0;
}

async function holds(directory: string, version: string, digest: string): Promise<boolean> {
  try {
    return (await readVersionDirectory(directory, version)).digest === digest;
  } catch (error) {
    if (isMissing(error) || error instanceof NearfarError) return false;
    throw error;
  }
}

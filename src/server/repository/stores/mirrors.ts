import { createHash } from 'node:crypto';
import { readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { NearfarError } from '../../../core/index.ts';
import { type BackOff, backOff, retryNote } from '../../back-off.ts';
import type { Logger } from '../../log.ts';
import type { ModelSource } from '../model-source.ts';
import { listVersions } from '../version-directory.ts';
import { type Blob, Blobs } from './blobs.ts';
import { type Answer, ModelMirror, retryAfterOf } from './model-mirror.ts';
import type { RepositoryStore } from './store.ts';

/** A store may say that its answer holds long; so long, in milliseconds, at most it is not asked. */
const longestFreshMs = 3_600_000;

/** How often servers say of a version that they use it, in milliseconds. */
const tidyIntervalMs = 3_600_000;

/** A version that no server used for so long, in milliseconds, may go when there is no room. */
const keepMs = 2 * tidyIntervalMs;

export interface StoreMetrics {
  recordStoreRequest(location: string, outcome: 'answered' | 'failed'): void;
  setStoreUp(location: string, isUp: boolean): void;
  /** It is asked no more. */
  forgetStore(location: string): void;
  recordStoreBytes(bytes: number): void;
  setStoreCacheBytes(bytes: number): void;
}

/** How a store, or a model's folder in it, answers. */
export interface StoreStatus {
  readonly location: string;
  /** Undefined before the first answer. */
  readonly lastAnswerAt: string | undefined;
  readonly nextAskAt: string | undefined;
  /** Why it cannot be read now: what is here serves on. */
  readonly error: string | undefined;
  readonly failingSince: string | undefined;
}

export interface MirrorsOptions {
  /** Where mirrors are kept. */
  readonly folder: string;
  /** Each folder in it that holds versions is a model. */
  readonly root: RepositoryStore | undefined;
  readonly openStore: (location: string) => RepositoryStore;
  /** Pause between two questions; 0 and less ask once. */
  readonly pollIntervalMs: number;
  readonly backOff: BackOff;
  /** Largest size of what is kept. */
  readonly budgetBytes: number;
  readonly log: Logger;
  readonly metrics: StoreMetrics;
  /** @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Whether a version that lies in this directory is loaded. */
  readonly isUsed: (directory: string) => boolean;
  /** Models that are configured or found, with what is set for them. */
  readonly sourceOf: (name: string) => ModelSource | undefined;
  /** Called when a mirror holds something else than before; without a name the models of the root are others. */
  readonly onChange: (name: string | undefined) => void;
}

interface Mirrored {
  readonly mirror: ModelMirror;
  readonly beat: Beat;
  /** The model that is served from it. */
  readonly name: string;
}

/**
 * Model folders that are elsewhere, kept as folders on this machine's disk, from where they are loaded as any other. What is here serves on
 * while a store is away.
 */
export class Mirrors implements AsyncDisposable {
  readonly #options: MirrorsOptions;
  readonly #blobs: Blobs;
  readonly #now: () => number;
  /** By base path. */
  readonly #mirrors = new Map<string, Mirrored>();
  readonly #rootBeat: Beat | undefined;
  readonly #rootFolder: string | undefined;
  #rootNames: ReadonlySet<string> = new Set();
  /** Whether the root answered. */
  #hasListed = false;
  readonly #watches: Disposable[] = [];
  readonly #tidying: NodeJS.Timeout;
  #isClosed = false;

  constructor(options: MirrorsOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#blobs = new Blobs({ folder: join(options.folder, 'blobs'), onBytes: (bytes) => options.metrics.recordStoreBytes(bytes) });
    const { root } = options;
    this.#rootFolder = root && this.#folderFor(root.location);
    this.#rootBeat = root && this.#createBeat(root.location, (signal) => this.#listRoot(root, signal));
    this.#tidying = setInterval(() => void this.tidy(), tidyIntervalMs).unref();
  }

  /** The mirror of the folder of all models; undefined where that is on disk. */
  get rootFolder(): string | undefined {
    return this.#rootFolder;
  }

  /** Begins to ask. */
  open(): void {
    this.#rootBeat?.now();
    const watch = this.#options.root?.watch?.((path) => void this.refresh(path?.split('/', 1)[0]));
    if (watch) this.#watches.push(watch);
  }

  /** The base path of a model that was found in the root. */
  basePathOf(name: string): string {
    return `${this.#options.root?.location}/${name}`;
  }

  /** Names of the root's folders by its last answer, and whether they hold models. */
  async rootNames(): Promise<readonly string[]> {
    await this.#rootBeat?.first;
    return [...this.#rootNames];
  }

  /** Whether a folder of the root holds versions, as soon as its first question is answered, or failed. */
  async isModel(name: string): Promise<boolean> {
    const known = this.#mirrors.get(this.basePathOf(name));
    await known?.beat.first;
    return known?.mirror.isModel ?? false;
  }

  /** The mirror of a model whose base path is elsewhere, with what is wanted of it; opened when it is not yet. */
  of(source: ModelSource): ModelMirror | undefined {
    const known = this.#mirrors.get(source.basePath);
    if (known) {
      known.mirror.want(source);
      return known.mirror;
    }
    // What left the root is about to be removed; a look that ends after the server was closed opens nothing.
    if (this.#isClosed || !isRemote(source.basePath) || !this.#mayBeThere(source)) return undefined;
    return this.#open(source).mirror;
  }

  /** Names of the models that are read from a place in a store, by its location. */
  namesAt(location: string): readonly string[] {
    const isAt = ({ mirror }: Mirrored) => location === mirror.location || location.startsWith(`${mirror.location}/`);
    const known = [...this.#mirrors.values()].filter(isAt).map(({ name }) => name);
    const root = this.#options.root?.location;
    const isInRoot = root !== undefined && location.startsWith(`${root}/`);
    // A model may be new.
    return known.length === 0 && isInRoot ? [location.slice(root.length + 1).split('/', 1)[0] ?? ''] : known;
  }

  /** Resolves when a mirror's first question is answered, or failed. */
  async asked({ basePath }: ModelSource): Promise<void> {
    await this.#mirrors.get(basePath)?.beat.first;
  }

  /** Why a model's store cannot be read now. */
  failure({ basePath }: ModelSource): NearfarError | undefined {
    return this.#mirrors.get(basePath)?.beat.failure;
  }

  status({ basePath }: ModelSource): StoreStatus | undefined {
    return this.#mirrors.get(basePath)?.beat.status();
  }

  /** How every store that is asked answers, that of all models first. */
  statuses(): readonly StoreStatus[] {
    const beats = [...(this.#rootBeat ? [this.#rootBeat] : []), ...[...this.#mirrors.values()].map(({ beat }) => beat)];
    return beats.map((beat) => beat.status());
  }

  /** Asks now, for one model or for all, and resolves when that is answered or failed. */
  async refresh(name?: string): Promise<void> {
    const meant = [...this.#mirrors.values()].filter((mirrored) => name === undefined || mirrored.name === name);
    // A model that is not known yet is found in the root.
    const isRoot = name === undefined || meant.length === 0;
    await Promise.all([...(isRoot && this.#rootBeat ? [this.#rootBeat.now()] : []), ...meant.map(({ beat }) => beat.now())]);
  }

  /** Removes what no server used for some time, oldest first, while there is more than the budget. */
  async tidy(): Promise<void> {
    try {
      await this.#touchUsed();
      await this.#evict(0);
    } catch (error) {
      this.#options.log.warn({ err: error }, 'the cache of stores cannot be tidied');
    }
  }

  /** False for a model of the root that the root does not list. */
  #mayBeThere({ name, basePath }: Pick<ModelSource, 'name' | 'basePath'>): boolean {
    const isInRoot = this.#options.root !== undefined && basePath === this.basePathOf(name);
    return !isInRoot || !this.#hasListed || this.#rootNames.has(name);
  }

  #folderFor(location: string): string {
    return join(this.#options.folder, createHash('sha256').update(location).digest('hex').slice(0, 16));
  }

  #open(source: Pick<ModelSource, 'name' | 'basePath'> & Partial<ModelSource>): Mirrored {
    const { root, openStore, backOff: pauses, log } = this.#options;
    const { name, basePath } = source;
    const isInRoot = root !== undefined && basePath === this.basePathOf(name);
    const store = isInRoot ? root : openStore(basePath);
    const mirror = new ModelMirror({
      store,
      path: isInRoot ? name : '',
      folder: isInRoot && this.#rootFolder !== undefined ? join(this.#rootFolder, name) : join(this.#folderFor(basePath), name),
      blobs: this.#blobs,
      makeRoom: (blobs) => this.#makeRoom(blobs),
      backOff: pauses,
      log,
      now: this.#now,
      onChange: () => this.#options.onChange(name),
    });
    mirror.want(source);
    let hasAsked = false;
    const beat = this.#createBeat(mirror.location, (signal) => {
      const asking = this.#askModel({ name, basePath, mirror, hasAsked }, signal);
      hasAsked = true;
      return asking;
    });
    const mirrored: Mirrored = { mirror, beat, name };
    this.#mirrors.set(basePath, mirrored);
    if (!isInRoot) {
      const watch = store.watch?.(() => void beat.now());
      if (watch) this.#watches.push(watch);
    }
    void beat.now();
    return mirrored;
  }

  async #askModel(
    { name, basePath, mirror, hasAsked }: { name: string; basePath: string; mirror: ModelMirror; hasAsked: boolean },
    signal: AbortSignal,
  ): Promise<Answer> {
    const source = this.#options.sourceOf(name);
    const isWanted = (source?.basePath === basePath || this.#rootNames.has(name)) && this.#mayBeThere({ name, basePath });
    // At the first question a change that names it is still being checked.
    if (!isWanted && hasAsked) {
      void this.#close(basePath);
      return { freshForMs: 0 };
    }
    const wasModel = mirror.isModel;
    const answer = await mirror.ask(signal);
    if (!wasModel) this.#options.onChange(undefined);
    return answer;
  }

  async #listRoot(root: RepositoryStore, signal: AbortSignal): Promise<Answer> {
    const entries = await root.list('', { signal });
    signal.throwIfAborted();
    const names = entries.flatMap(({ path }) => (path.endsWith('/') && isFolderName(path.slice(0, -1)) ? [path.slice(0, -1)] : []));
    if (names.length === 0 && this.#rootNames.size > 0) {
      throw new NearfarError(
        'not-found',
        `${root.location} lists no model any more, where there were ${this.#rootNames.size}: what is here stays`,
      );
    }
    const gone = [...this.#rootNames].filter((name) => !names.includes(name));
    this.#rootNames = new Set(names);
    this.#hasListed = true;
    for (const name of gone) await this.#removeFromRoot(name);
    signal.throwIfAborted();
    for (const name of names) if (!this.#mirrors.has(this.basePathOf(name))) this.#open({ name, basePath: this.basePathOf(name) });
    this.#options.onChange(undefined);
    return { freshForMs: 0 };
  }

  async #removeFromRoot(name: string): Promise<void> {
    const known = this.#mirrors.get(this.basePathOf(name));
    await this.#close(this.basePathOf(name));
    if (known) await rm(known.mirror.folder, { recursive: true, force: true });
  }

  async #close(basePath: string): Promise<void> {
    const known = this.#mirrors.get(basePath);
    this.#mirrors.delete(basePath);
    known?.beat[Symbol.dispose]();
    if (known) this.#options.metrics.forgetStore(known.mirror.location);
    await known?.mirror[Symbol.asyncDispose]();
  }

  #createBeat(location: string, ask: (signal: AbortSignal) => Promise<Answer>): Beat {
    const { pollIntervalMs, backOff: pauses, log, metrics } = this.#options;
    return new Beat({ location, ask, pollIntervalMs, backOff: pauses, log, metrics, now: this.#now });
  }

  async #makeRoom(blobs: readonly Blob[]): Promise<void> {
    const bytes = blobs.reduce((sum, blob) => sum + blob.bytes, 0);
    try {
      await this.#evict(bytes);
      await this.#blobs.assertRoom(blobs);
    } catch (error) {
      if (!(error instanceof NearfarError)) throw error;
      await this.#evict(Number.POSITIVE_INFINITY);
      await this.#blobs.assertRoom(blobs);
    }
  }

  /** Removes versions that nobody uses until so many more bytes fit into the budget. */
  async #evict(moreBytes: number): Promise<void> {
    const { budgetBytes, metrics, log } = this.#options;
    const now = this.#now();
    let usage = await this.#blobs.usage();
    if (usage + moreBytes > budgetBytes) {
      await this.#blobs.removeUnlinked(now);
      for (const { directory, version, mirror } of await this.#unused(now)) {
        usage = await this.#blobs.usage();
        if (usage + moreBytes <= budgetBytes) break;
        const going = join(directory, '..', `.going.${basename(directory)}`);
        await rename(directory, going);
        await rm(going, { recursive: true, force: true });
        mirror?.forget(version);
        await this.#blobs.removeUnlinked(now);
        log.info({ directory }, 'removed a version of a store that is not served, for want of room');
      }
      usage = await this.#blobs.usage();
    }
    metrics.setStoreCacheBytes(usage);
  }

  /** Directories of versions that no server used lately, the oldest first. */
  async #unused(now: number) {
    const found = (await this.#directories()).filter(({ directory, version, mirror }) => {
      return !mirror?.isWanted(version) && !this.#options.isUsed(directory);
    });
    const aged = await Promise.all(
      found.map(async (each) => ({ ...each, usedAt: (await stat(each.directory).catch(() => undefined))?.mtimeMs ?? now })),
    );
    return aged.filter(({ usedAt }) => now - usedAt >= keepMs).sort((a, b) => a.usedAt - b.usedAt);
  }

  /** Of all mirrors of the folder, also of those that ended with their server. */
  async #directories() {
    const byFolder = new Map([...this.#mirrors.values()].map(({ mirror }) => [mirror.folder, mirror]));
    const stores = await readdir(this.#options.folder).catch(() => []);
    const models = await Promise.all(
      stores
        .filter((store) => store !== 'blobs')
        .map(async (store) => {
          const names = await readdir(join(this.#options.folder, store)).catch(() => []);
          return names.map((name) => join(this.#options.folder, store, name));
        }),
    );
    const directories = await Promise.all(
      models.flat().map(async (folder) => {
        const versions = await listVersions(folder).catch(() => new Map<string, string>());
        return [...versions].map(([version, directory]) => ({ version, directory, mirror: byFolder.get(folder) }));
      }),
    );
    return directories.flat();
  }

  async #touchUsed(): Promise<void> {
    const now = new Date(this.#now());
    for (const { directory, version, mirror } of await this.#directories()) {
      if (mirror?.isWanted(version) || this.#options.isUsed(directory)) await utimes(directory, now, now).catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#tidying);
    for (const watch of this.#watches) watch[Symbol.dispose]();
    this.#rootBeat?.[Symbol.dispose]();
    await Promise.all([...this.#mirrors.keys()].map((basePath) => this.#close(basePath)));
  }
}

/** Pause between two questions while something settles, in milliseconds. */
const settleIntervalMs = 5000;

interface BeatOptions {
  readonly location: string;
  readonly ask: (signal: AbortSignal) => Promise<Answer>;
  readonly pollIntervalMs: number;
  readonly backOff: BackOff;
  readonly log: Logger;
  readonly metrics: StoreMetrics;
  readonly now: () => number;
}

/** Asks again and again: after a pause, a longer one for each failure in a row, and at once when told to. */
class Beat implements Disposable {
  /** Settles with the first answer, or failure. */
  readonly first: Promise<void>;
  failure: NearfarError | undefined;
  readonly #options: BeatOptions;
  readonly #closing = new AbortController();
  #settleFirst: () => void = () => {};
  #asking: Promise<void> | undefined;
  #again: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #lastAnswerAt: number | undefined;
  #failingSince: number | undefined;
  #nextAskAt: number | undefined;

  constructor(options: BeatOptions) {
    this.#options = options;
    this.first = new Promise((resolve) => {
      this.#settleFirst = resolve;
    });
  }

  /** A question that begins now, or after the one that is under way; several at once are one. */
  now(): Promise<void> {
    if (!this.#asking) return this.#ask();
    this.#again ??= this.#asking.then(() => {
      this.#again = undefined;
      return this.#ask();
    });
    return this.#again;
  }

  status(): StoreStatus {
    const iso = (time: number | undefined) => (time === undefined ? undefined : new Date(time).toISOString());
    return {
      location: this.#options.location,
      lastAnswerAt: iso(this.#lastAnswerAt),
      nextAskAt: iso(this.#nextAskAt),
      error: this.failure?.message,
      failingSince: iso(this.#failingSince),
    };
  }

  #ask(): Promise<void> {
    clearTimeout(this.#timer);
    this.#nextAskAt = undefined;
    this.#asking ??= this.#askOnce().finally(() => {
      this.#asking = undefined;
      this.#settleFirst();
    });
    return this.#asking;
  }

  async #askOnce(): Promise<void> {
    const { ask, location, pollIntervalMs, log, metrics, now } = this.#options;
    const { signal } = this.#closing;
    if (signal.aborted) return;
    try {
      const { freshForMs, isUnsettled = false } = await ask(signal);
      if (signal.aborted) return;
      if (this.failure) log.info({ location }, 'the store answers again');
      this.failure = undefined;
      this.#failures = 0;
      this.#failingSince = undefined;
      this.#lastAnswerAt = now();
      metrics.recordStoreRequest(location, 'answered');
      metrics.setStoreUp(location, true);
      if (isUnsettled) this.#schedule(Math.min(pollIntervalMs || settleIntervalMs, settleIntervalMs));
      else if (pollIntervalMs > 0) this.#schedule(jitter(Math.max(pollIntervalMs, Math.min(freshForMs, longestFreshMs))));
    } catch (cause) {
      if (signal.aborted) return;
      const error = cause instanceof NearfarError ? cause : new NearfarError('unavailable', String(cause), { cause });
      const pauseMs = Math.max(backOff(this.#options.backOff, this.#failures), retryAfterOf(error));
      this.#failures++;
      this.#failingSince ??= now();
      metrics.recordStoreRequest(location, 'failed');
      metrics.setStoreUp(location, false);
      if (this.failure?.message !== error.message) {
        log.error(
          { location, code: error.code },
          `the store cannot be read, what is here serves on: ${error.message} (${retryNote(this.#failures, pauseMs)})`,
        );
      }
      this.failure = error;
      if (pollIntervalMs >= 0) this.#schedule(pauseMs);
    }
  }

  #schedule(pauseMs: number): void {
    this.#nextAskAt = this.#options.now() + pauseMs;
    this.#timer = setTimeout(() => void this.#ask(), pauseMs).unref();
  }

  [Symbol.dispose](): void {
    this.#closing.abort(new NearfarError('unavailable', 'the server is closing'));
    clearTimeout(this.#timer);
    this.#settleFirst();
  }
}

/** So that servers that started together do not ask together for ever. */
function jitter(pauseMs: number): number {
  return pauseMs * (0.9 + 0.2 * Math.random());
}

/** Whether a base path is not on this machine's disk. */
export function isRemote(basePath: string): boolean {
  return /^[a-z][a-z0-9+.-]+:\/\//i.test(basePath) && !basePath.startsWith('file:');
}

function isFolderName(name: string): boolean {
  return name !== '' && !name.startsWith('.') && !/[/\\\0:]/.test(name);
}

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { NearfarError, type Versions } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import { FolderHints } from './folder-hints.ts';
import type { ImportCache } from './import-cache.ts';
import { ModelDirectory, type ModelSnapshot } from './model-directory.ts';
import type { ModelSource } from './model-source.ts';
import type { Mirrors, StoreStatus } from './stores/index.ts';
import { fileStamp, isMissing, listVersions } from './version-directory.ts';

export interface RepositoryOptions {
  readonly models: readonly ModelSource[];
  /** Each folder in it that holds versions is a model; undefined where that is a store's, or there is none. */
  readonly modelsRoot: string | undefined;
  /** Folders of models that are not on this machine's disk. */
  readonly mirrors?: Mirrors | undefined;
  /** 0 looks until everything that is there has settled, below 0 never. */
  readonly pollIntervalMs: number;
  readonly imports: ImportCache;
  /** Public keys in PEM, one of which must have signed each version; none: signatures are not looked at. */
  readonly trust: readonly string[];
  readonly log: Logger;
  /** Names of what is in a folder of the root. @default readdir of node:fs/promises */
  readonly listFolder?: ((path: string) => Promise<readonly string[]>) | undefined;
  /** The clock that file times are compared with. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Versions that versions.json asks for beside those that labels name. @default none */
  readonly alsoWanted?: ((versions: Versions) => readonly string[]) | undefined;
  /** Called after each look at a model that could be read. */
  readonly onModel: (snapshot: ModelSnapshot) => void;
  /** Called after each look that could not be had. */
  readonly onFailure?: ((name: string, error: NearfarError) => void) | undefined;
  /** Called when a model is configured no more, or its folder left the root. */
  readonly onModelRemoved: (name: string) => void;
}

interface Watched {
  readonly directory: ModelDirectory;
  looking: Promise<void> | undefined;
  snapshot: ModelSnapshot | undefined;
  /** Why the last look could not be had. */
  failure: NearfarError | undefined;
  /** The last trouble that was logged, so that each is logged once. */
  trouble: string;
}

/** Pause between two looks while something settles and the poll interval is longer, or says to look once only. */
const settleIntervalMs = 1000;

/** So long, in milliseconds, it may take at the start until it is known which folders of the root are models. */
const longestDiscoveryMs = 10_000;

/**
 * All model folders on disk, looked at in a steady beat, and earlier where the system says that one changed. Each folder has its own
 * turn: one that hangs or fails holds up no other, and what was known of it stays.
 */
export class Repository {
  readonly #options: RepositoryOptions;
  readonly #models = new Map<string, Watched>();
  readonly #hints = new FolderHints();
  #configured: ReadonlySet<string> = new Set();
  #timer: NodeJS.Timeout | undefined;
  /** The listing of the root that runs. */
  #listing: Promise<void> | undefined;
  /** Folders of the root that are asked whether they are models. */
  readonly #asking = new Map<string, Promise<void>>();
  #isClosed = false;
  #rootTrouble = '';

  constructor(options: RepositoryOptions) {
    this.#options = options;
    this.configure(options.models);
  }

  /**
   * Begins to look at every model, again and again. Resolves when it is known which models there are, but for folders that do not answer in
   * ten seconds.
   */
  async open(): Promise<void> {
    const { pollIntervalMs, log, mirrors } = this.#options;
    const modelsRoot = this.#rootFolder();
    if (pollIntervalMs < 0) return;
    mirrors?.open();
    this.#beginLook();
    // Not after that look: a folder that hangs, on a dead network drive, would hold up all others.
    this.#schedule();
    if (pollIntervalMs > 0 && modelsRoot !== undefined) this.#hints.watch(modelsRoot, () => this.#beginLook());
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        const folders = [...this.#asking.keys()];
        log.warn({ modelsRoot, folders }, 'folders do not answer; the others are served without them');
        resolve();
      }, longestDiscoveryMs);
    });
    await Promise.race([this.#discovered(), limit]).finally(() => clearTimeout(timer));
  }

  /**
   * Takes over which models are configured, and what for: those that are gone are removed, those that stay keep what is known of them.
   * The next look finds what it means.
   */
  configure(models: readonly ModelSource[]): void {
    const before = this.#configured;
    this.#configured = new Set(models.map(({ name }) => name));
    for (const name of before) if (!this.#configured.has(name)) this.#remove(name);
    for (const source of models) {
      const known = this.#models.get(source.name);
      if (known?.directory.source.basePath === source.basePath) known.directory.source = source;
      else this.#watch(source);
    }
  }

  /** Names of the models that are configured or found, in order. */
  names(): readonly string[] {
    return [...this.#models.keys()].sort();
  }

  /** What is configured for a model, or was found for it. */
  source(name: string): ModelSource | undefined {
    return this.#models.get(name)?.directory.source;
  }

  /** Why the last look at a model's folder could not be had; undefined where it could. */
  failure(name: string): NearfarError | undefined {
    return this.#models.get(name)?.failure;
  }

  snapshot(name: string): ModelSnapshot | undefined {
    return this.#models.get(name)?.snapshot;
  }

  /** Whether a version that was found at the last look at its model lies in this directory. */
  usesDirectory(directory: string): boolean {
    return [...this.#models.values()].some(({ snapshot }) => {
      return snapshot && [...snapshot.versions.values(), ...snapshot.wanted].some((version) => version.directory === directory);
    });
  }

  /** One look at every model, or the one that runs. */
  async look(): Promise<void> {
    this.#beginLook();
    await this.#discovered();
    await Promise.all([...this.#models.values()].map(({ looking }) => looking));
  }

  #beginLook(): void {
    for (const [name, watched] of this.#models) if (this.#configured.has(name)) void this.#lookAt(name, watched);
    this.#listing ??= this.#listRoot().finally(() => {
      this.#listing = undefined;
    });
  }

  async #discovered(): Promise<void> {
    await this.#listing;
    await Promise.all(this.#asking.values());
  }

  /** A look at one model that begins now, after the one that may run. */
  async lookAfresh(name: string): Promise<void> {
    await this.#models.get(name)?.looking;
    const watched = this.#models.get(name);
    if (watched) await this.#lookAt(name, watched);
  }

  /**
   * Looks now, also into stores: at one model, or at all.
   * @throws {NearfarError} `not-found`.
   */
  async refresh(name?: string): Promise<void> {
    await this.#options.mirrors?.refresh(name);
    // It may be a new one.
    if (name === undefined || !this.#models.has(name)) await this.look();
    if (name === undefined) return;
    if (!this.#models.has(name)) {
      throw new NearfarError('not-found', `Could not find any versions of model ${name}`, { details: { name } });
    }
    await this.lookAfresh(name);
  }

  /** How the store of a model answers; undefined for one on disk. */
  storeStatus(name: string): StoreStatus | undefined {
    const source = this.source(name);
    return source && this.#options.mirrors?.status(source);
  }

  /** How every store answers. */
  storeStatuses(): readonly StoreStatus[] {
    return this.#options.mirrors?.statuses() ?? [];
  }

  /** Names of the models that are read from a place in a store. */
  namesAt(location: string): readonly string[] {
    return this.#options.mirrors?.namesAt(location) ?? [];
  }

  #schedule(): void {
    const { pollIntervalMs } = this.#options;
    if (this.#isClosed) return;
    const pauseMs = this.#isSettled() ? pollIntervalMs : Math.min(pollIntervalMs || settleIntervalMs, settleIntervalMs);
    this.#timer = setTimeout(() => {
      if (pollIntervalMs === 0 && this.#isSettled()) return;
      // Not awaited: a look that hangs must not stop the others.
      this.#beginLook();
      this.#schedule();
    }, pauseMs);
  }

  #isSettled(): boolean {
    const isQuiet = this.#listing === undefined && this.#asking.size === 0;
    return isQuiet && [...this.#models.values()].every(({ snapshot, looking }) => !looking && snapshot?.pending.size === 0);
  }

  #watch(source: ModelSource): void {
    const { imports, mirrors, trust, pollIntervalMs, now = Date.now, alsoWanted } = this.#options;
    const settleMs = Math.max(0, Math.min(pollIntervalMs || settleIntervalMs, settleIntervalMs));
    const directory = new ModelDirectory(source, { imports, mirrorOf: (own) => mirrors?.of(own), trust, settleMs, now, alsoWanted });
    this.#models.set(source.name, { directory, looking: undefined, snapshot: undefined, failure: undefined, trouble: '' });
  }

  #remove(name: string): void {
    const watched = this.#models.get(name);
    if (!watched) return;
    this.#models.delete(name);
    this.#hints.forget(this.#folderOf(watched.directory.source));
    this.#options.onModelRemoved(name);
  }

  async #listRoot(): Promise<void> {
    const { log, mirrors } = this.#options;
    const modelsRoot = this.#rootFolder();
    if (modelsRoot === undefined) return;
    const listed = (await mirrors?.rootNames()) ?? [];
    const entries = await readdir(modelsRoot).catch((error: Error) => {
      if (mirrors?.rootFolder !== undefined && isMissing(error)) return [];
      if (this.#rootTrouble !== error.message) log.error({ modelsRoot }, `the folder of models cannot be read: ${error.message}`);
      this.#rootTrouble = error.message;
      return undefined;
    });
    if (!entries || this.#isClosed) return;
    this.#rootTrouble = '';
    const there = new Set([...entries, ...listed].filter((name) => !name.startsWith('.') && !name.includes(':')));
    for (const name of this.#models.keys()) if (!there.has(name) && !this.#configured.has(name)) this.#remove(name);
    for (const name of [...there].sort()) {
      // One thread of the file system hangs with a folder, not one more at every beat.
      if (this.#configured.has(name) || this.#asking.has(name) || this.#models.get(name)?.looking) continue;
      const asking = this.#ask(name, join(modelsRoot, name)).finally(() => this.#asking.delete(name));
      this.#asking.set(name, asking);
    }
  }

  /** Looks at a folder of the root when it is a model, which it need not be for ever. */
  async #ask(name: string, folder: string): Promise<void> {
    const { mirrors, listFolder } = this.#options;
    const basePath = mirrors?.rootFolder === undefined ? folder : mirrors.basePathOf(name);
    const isModel = (await mirrors?.isModel(name)) || (await isModelFolder(folder, listFolder));
    if (this.#isClosed || this.#configured.has(name)) return;
    if (isModel === false) return this.#remove(name);
    if (isModel && !this.#models.has(name)) this.#watch({ name, basePath });
    const watched = this.#models.get(name);
    if (watched) void this.#lookAt(name, watched);
  }

  #lookAt(name: string, watched: Watched): Promise<void> {
    watched.looking ??= this.#lookOnce(name, watched).finally(() => {
      watched.looking = undefined;
    });
    return watched.looking;
  }

  async #lookOnce(name: string, watched: Watched): Promise<void> {
    const { log, onModel, pollIntervalMs } = this.#options;
    const { source } = watched.directory;
    try {
      const snapshot = await this.#snapshotOf(watched.directory);
      if (this.#isClosed || this.#models.get(name) !== watched) return;
      if (!watched.snapshot) await this.#noteTritonConfig(name, this.#folderOf(source));
      watched.snapshot = snapshot;
      watched.failure = undefined;
      this.#report(watched, [...snapshot.pending].map(([version, { message }]) => `version ${version}: ${message}`).join('; '), (text) =>
        log.info({ model: name }, `not loaded: ${text}`),
      );
      onModel(snapshot);
      if (pollIntervalMs > 0) this.#hints.watch(this.#folderOf(source), () => void this.#lookAt(name, watched));
    } catch (error) {
      watched.failure = toFailure(error, watched.directory.source);
      if (!this.#isClosed) this.#options.onFailure?.(name, watched.failure);
      this.#report(watched, watched.failure.message, (text) =>
        log.error({ model: name }, `the model's folder cannot be read, what is loaded stays: ${text}`),
      );
    }
  }

  /** @throws what the store throws where nothing of it is here. */
  async #snapshotOf(directory: ModelDirectory): Promise<ModelSnapshot> {
    const { mirrors } = this.#options;
    const { source } = directory;
    const snapshot = await directory.look();
    if (!mirrors?.of(source) || snapshot.versions.size > 0 || snapshot.pending.size > 0) return snapshot;
    await mirrors.asked(source);
    const failure = mirrors.failure(source);
    if (failure) throw failure;
    return directory.look();
  }

  /** Where a model's folder lies on this machine. */
  #folderOf(source: ModelSource): string {
    return this.#options.mirrors?.of(source)?.folder ?? source.basePath;
  }

  #rootFolder(): string | undefined {
    return this.#options.mirrors?.rootFolder ?? this.#options.modelsRoot;
  }

  /**
   * The versions that a model could load, here or in its store.
   * @throws when that cannot be known.
   */
  async versionsOf(source: ModelSource): Promise<{ has(version: string): boolean }> {
    const mirror = this.#options.mirrors?.of(source);
    if (!mirror) return listVersions(source.basePath);
    await this.#options.mirrors?.asked(source);
    const failure = this.#options.mirrors?.failure(source);
    const here = await listVersions(mirror.folder).catch(() => new Map<string, string>());
    if (failure && here.size === 0) throw failure;
    return { has: (version) => here.has(version) || mirror.has(version) };
  }

  async #noteTritonConfig(name: string, basePath: string): Promise<void> {
    const stamp = await fileStamp(join(basePath, 'config.pbtxt'));
    if (stamp !== undefined)
      this.#options.log.info({ model: name }, "Triton's config.pbtxt is not read: the model itself says what it takes");
  }

  #report(watched: Watched, trouble: string, write: (text: string) => void): void {
    if (trouble !== '' && trouble !== watched.trouble) write(trouble);
    watched.trouble = trouble;
  }

  /** Stops looking. A look that still runs changes nothing any more; it is not waited for, as a dead network drive may hold it for ever. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#hints[Symbol.dispose]();
  }
}

/** A folder that is not there in the words of TensorFlow Serving. */
function toFailure(cause: unknown, { name, basePath }: ModelSource): NearfarError {
  if (cause instanceof NearfarError) return cause;
  if (isMissing(cause)) return new NearfarError('not-found', `Could not find base path ${basePath} for servable ${name}`, { cause });
  return new NearfarError('unavailable', cause instanceof Error ? cause.message : String(cause), { cause });
}

/**
 * A folder that holds a version directory or a versions.json; others (training scripts, notes) are no models.
 * @returns undefined where it cannot be read (`lost+found` of a volume): it stays what it was.
 */
async function isModelFolder(path: string, listFolder: RepositoryOptions['listFolder'] = readdir): Promise<boolean | undefined> {
  const children = await listFolder(path).catch((error: unknown) => (isMissing(error) ? [] : undefined));
  return children?.some((child) => child === 'versions.json' || /^\d+$/.test(child));
}

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { NearfarError } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import { FolderHints } from './folder-hints.ts';
import type { ImportCache } from './import-cache.ts';
import { ModelDirectory, type ModelSnapshot } from './model-directory.ts';
import type { ModelSource } from './model-source.ts';
import { isMissing } from './version-directory.ts';

export interface RepositoryOptions {
  readonly models: readonly ModelSource[];
  /** Each folder in it that holds versions is a model. */
  readonly modelsRoot: string | undefined;
  /** 0 looks until everything that is there has settled, below 0 never. */
  readonly pollIntervalMs: number;
  readonly imports: ImportCache;
  /** Public keys in PEM, one of which must have signed each version; none: signatures are not looked at. */
  readonly trust: readonly string[];
  readonly log: Logger;
  /** The clock that file times are compared with. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Called after each look at a model that could be read. */
  readonly onModel: (snapshot: ModelSnapshot) => void;
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

/**
 * All model folders on disk, looked at in a steady beat, and earlier where the system says that one changed. Each model has its own
 * turn: one that hangs or fails holds up no other, and what was known of it stays.
 */
export class Repository {
  readonly #options: RepositoryOptions;
  readonly #models = new Map<string, Watched>();
  readonly #hints = new FolderHints();
  #configured: ReadonlySet<string> = new Set();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #rootTrouble = '';

  constructor(options: RepositoryOptions) {
    this.#options = options;
    this.configure(options.models);
  }

  /** Looks at every model once, then goes on in the background. */
  async open(): Promise<void> {
    const { pollIntervalMs, modelsRoot } = this.#options;
    if (pollIntervalMs < 0) return;
    await this.look();
    this.#schedule();
    if (pollIntervalMs > 0 && modelsRoot !== undefined) this.#hints.watch(modelsRoot, () => void this.look());
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

  /** One look at every model; a model whose last look still runs is left alone. */
  async look(): Promise<void> {
    await this.#discover();
    await Promise.all([...this.#models].map(([name, watched]) => this.#lookAt(name, watched)));
  }

  /** A look at one model that begins now, after the one that may run. */
  async lookAfresh(name: string): Promise<void> {
    await this.#models.get(name)?.looking;
    const watched = this.#models.get(name);
    if (watched) await this.#lookAt(name, watched);
  }

  #schedule(): void {
    const { pollIntervalMs } = this.#options;
    const isSettled = this.#isSettled();
    if (this.#isClosed || (pollIntervalMs === 0 && isSettled)) return;
    const pauseMs = isSettled ? pollIntervalMs : Math.min(pollIntervalMs || settleIntervalMs, settleIntervalMs);
    this.#timer = setTimeout(() => {
      // Not awaited together with the next beat: a look that hangs must not stop the others.
      void this.look();
      this.#schedule();
    }, pauseMs);
  }

  #isSettled(): boolean {
    return [...this.#models.values()].every(({ snapshot, looking }) => !looking && snapshot?.pending.size === 0);
  }

  #watch(source: ModelSource): void {
    const { imports, trust, pollIntervalMs, now = Date.now } = this.#options;
    const settleMs = Math.max(0, Math.min(pollIntervalMs || settleIntervalMs, settleIntervalMs));
    const directory = new ModelDirectory(source, { imports, trust, settleMs, now });
    this.#models.set(source.name, { directory, looking: undefined, snapshot: undefined, failure: undefined, trouble: '' });
  }

  #remove(name: string): void {
    const watched = this.#models.get(name);
    if (!watched) return;
    this.#models.delete(name);
    this.#hints.forget(watched.directory.source.basePath);
    this.#options.onModelRemoved(name);
  }

  async #discover(): Promise<void> {
    const { modelsRoot, log } = this.#options;
    if (modelsRoot === undefined) return;
    const found = await findModels(modelsRoot).catch((error: Error) => {
      if (this.#rootTrouble !== error.message) log.error({ modelsRoot }, `the folder of models cannot be read: ${error.message}`);
      this.#rootTrouble = error.message;
      return undefined;
    });
    if (!found || this.#isClosed) return;
    this.#rootTrouble = '';
    for (const name of found) if (!this.#models.has(name)) this.#watch({ name, basePath: join(modelsRoot, name) });
    for (const name of this.#models.keys()) if (!found.includes(name) && !this.#configured.has(name)) this.#remove(name);
  }

  #lookAt(name: string, watched: Watched): Promise<void> {
    watched.looking ??= this.#lookOnce(name, watched).finally(() => {
      watched.looking = undefined;
    });
    return watched.looking;
  }

  async #lookOnce(name: string, watched: Watched): Promise<void> {
    const { log, onModel, pollIntervalMs } = this.#options;
    const { basePath } = watched.directory.source;
    try {
      const snapshot = await watched.directory.look();
      if (this.#isClosed || this.#models.get(name) !== watched) return;
      watched.snapshot = snapshot;
      watched.failure = undefined;
      this.#report(watched, [...snapshot.pending].map(([version, { message }]) => `version ${version}: ${message}`).join('; '), (text) =>
        log.info({ model: name }, `not loaded: ${text}`),
      );
      onModel(snapshot);
      if (pollIntervalMs > 0) this.#hints.watch(basePath, () => void this.#lookAt(name, watched));
    } catch (error) {
      watched.failure = toFailure(error, watched.directory.source);
      this.#report(watched, watched.failure.message, (text) =>
        log.error({ model: name }, `the model's folder cannot be read, what is loaded stays: ${text}`),
      );
    }
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

/** Folders that hold a version directory or a versions.json; others (training scripts, notes) are no models. */
async function findModels(root: string): Promise<readonly string[]> {
  const entries = await readdir(root);
  const isModel = await Promise.all(
    entries.map(async (name) => {
      if (name.startsWith('.') || name.includes(':')) return false;
      const children = await readdir(join(root, name)).catch((error: unknown) => {
        if (isMissing(error)) return [];
        throw error;
      });
      return children.some((child) => child === 'versions.json' || /^\d+$/.test(child));
    }),
  );
  return entries.filter((_, index) => isModel[index]).sort();
}

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { LoggingConfig } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import type { ModelOptions } from '../model-options.ts';
import type { ImportCache } from './import-cache.ts';
import { ModelDirectory, type ModelSnapshot } from './model-directory.ts';
import { isMissing } from './version-directory.ts';
import type { VersionPolicy } from './version-policy.ts';

const defaultPolicy: VersionPolicy = { kind: 'latest', count: 1 };

/** One model: the name it is served by and the folder that holds its version directories. */
export interface ModelSource {
  readonly name: string;
  readonly basePath: string;
  /** @default the latest version */
  readonly policy?: VersionPolicy | undefined;
  /** Which requests are written down, and where. */
  readonly logging?: LoggingConfig | undefined;
  /** What differs from the server's defaults for all models. */
  readonly options?: Partial<ModelOptions> | undefined;
}

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
  /** Called after each look at a model that could be read. */
  readonly onModel: (snapshot: ModelSnapshot) => void;
  /** Called when a model's folder left the root. */
  readonly onModelRemoved: (name: string) => void;
}

interface Watched {
  readonly directory: ModelDirectory;
  looking: Promise<void> | undefined;
  snapshot: ModelSnapshot | undefined;
  /** The last trouble that was logged, so that each is logged once. */
  trouble: string;
}

/** Pause between two looks while something settles and the poll interval says to look once only. */
const settleIntervalMs = 1000;

/**
 * All model folders on disk, looked at in a steady beat. Each model has its own turn: one that hangs or fails holds up no other,
 * and what was known of it stays.
 */
export class Repository {
  readonly #options: RepositoryOptions;
  readonly #models = new Map<string, Watched>();
  readonly #configured: ReadonlySet<string>;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #rootTrouble = '';

  constructor(options: RepositoryOptions) {
    this.#options = options;
    this.#configured = new Set(options.models.map(({ name }) => name));
    for (const { name, basePath, policy } of options.models) this.#watch(name, basePath, policy ?? defaultPolicy);
  }

  /** Looks at every model once, then goes on in the background. */
  async open(): Promise<void> {
    if (this.#options.pollIntervalMs < 0) return;
    await this.look();
    this.#schedule();
  }

  /** Names of the models that are configured or found, in order. */
  names(): readonly string[] {
    return [...this.#models.keys()].sort();
  }

  snapshot(name: string): ModelSnapshot | undefined {
    return this.#models.get(name)?.snapshot;
  }

  /** One look at every model; a model whose last look still runs is left alone. */
  async look(): Promise<void> {
    await this.#discover();
    await Promise.all([...this.#models].map(([name, watched]) => this.#lookAt(name, watched)));
  }

  #schedule(): void {
    const { pollIntervalMs } = this.#options;
    if (this.#isClosed || (pollIntervalMs === 0 && this.#isSettled())) return;
    this.#timer = setTimeout(() => {
      // Not awaited together with the next beat: a look that hangs must not stop the others.
      void this.look();
      this.#schedule();
    }, pollIntervalMs || settleIntervalMs);
  }

  #isSettled(): boolean {
    return [...this.#models.values()].every(({ snapshot, looking }) => !looking && snapshot?.pending.size === 0);
  }

  #watch(name: string, basePath: string, policy: VersionPolicy): void {
    const directory = new ModelDirectory(name, basePath, policy, this.#options.imports, this.#options.trust);
    this.#models.set(name, { directory, looking: undefined, snapshot: undefined, trouble: '' });
  }

  async #discover(): Promise<void> {
    const { modelsRoot, log, onModelRemoved } = this.#options;
    if (modelsRoot === undefined) return;
    const found = await findModels(modelsRoot).catch((error: Error) => {
      if (this.#rootTrouble !== error.message) log.error({ modelsRoot }, `the folder of models cannot be read: ${error.message}`);
      this.#rootTrouble = error.message;
      return undefined;
    });
    if (!found || this.#isClosed) return;
    this.#rootTrouble = '';
    for (const name of found) if (!this.#models.has(name)) this.#watch(name, join(modelsRoot, name), defaultPolicy);
    for (const name of this.#models.keys()) {
      if (found.includes(name) || this.#configured.has(name)) continue;
      this.#models.delete(name);
      onModelRemoved(name);
    }
  }

  #lookAt(name: string, watched: Watched): Promise<void> {
    watched.looking ??= this.#lookOnce(name, watched).finally(() => {
      watched.looking = undefined;
    });
    return watched.looking;
  }

  async #lookOnce(name: string, watched: Watched): Promise<void> {
    const { log, onModel } = this.#options;
    try {
      const snapshot = await watched.directory.look();
      if (this.#isClosed || this.#models.get(name) !== watched) return;
      watched.snapshot = snapshot;
      this.#report(watched, [...snapshot.pending].map(([version, { message }]) => `version ${version}: ${message}`).join('; '), (text) =>
        log.info({ model: name }, `not loaded: ${text}`),
      );
      onModel(snapshot);
    } catch (error) {
      this.#report(watched, error instanceof Error ? error.message : String(error), (text) =>
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
  }
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

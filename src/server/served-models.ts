import { NearfarError, type Traffic, type Versions } from '../core/index.ts';
import { type Actor, type Change, type History, labelBefore, modelChanges, type Settings } from './history/index.ts';
import type { Logger } from './log.ts';
import { assertNamesDiffer, assertPlatformsStay, describeModel } from './model-config.ts';
import type { PublishedModels } from './published-models.ts';
import {
  compareVersions,
  isRemote,
  isUnderWay,
  type ModelSource,
  type Repository,
  type StoreStatus,
  type VersionOnDisk,
  type VersionPolicy,
} from './repository/index.ts';
import { isInside } from './security/index.ts';
import type { LoadedVersion, Servables, VersionStatus } from './servables/index.ts';

/** What is served, as it can be changed while the server runs; every change is checked whole before any of it is made. */
export interface ModelAdmin {
  /** The models that are configured now. */
  readonly models: readonly ModelSource[];
  /** What is configured for a model, or was found for it in the folder of all models. */
  source(name: string): ModelSource | undefined;
  /** Why a model's folder cannot be looked at; undefined where it can. */
  failure(name: string): NearfarError | undefined;
  /**
   * Serves these models and no others, and resolves when the versions of those that are new are available. What loads goes on loading when it rejects.
   * @throws {NearfarError} `invalid-argument` and `failed-precondition` when nothing was changed; `unavailable` when a new model
   * cannot be loaded now: it is tried again for as long as it is configured. Rejects with `signal.reason` when aborted.
   */
  replaceAll(models: readonly ModelSource[], options?: ChangeOptions): Promise<void>;
  /**
   * Adds a model, or changes what is configured for it.
   * @throws as {@link replaceAll}; `not-found` when it is new and its folder is not there.
   */
  put(model: ModelSource, options?: ChangeOptions): Promise<void>;
  /** @throws {NearfarError} `not-found`; `failed-precondition` for a model that is there because of its folder. */
  remove(name: string, options?: Pick<ChangeOptions, 'by'>): Promise<void>;
  /**
   * Points a label at a version, which is loaded if it is not, or takes it away for undefined: in versions.json, which browsers follow too,
   * where the model has one, else in what is configured here.
   * @throws as {@link put}.
   */
  setLabel(name: string, label: string, version: string | undefined, options?: ChangeOptions): Promise<void>;
  /**
   * Points a label at the version that it had before its last change, as the history knows it.
   * @throws as {@link put}; `failed-precondition` where it had no other one.
   */
  rollBack(name: string, label: string, options?: ChangeOptions): Promise<void>;
  /**
   * Writes shares of clients by label into the model's versions.json, which browsers follow too; all get `stable` for an empty object.
   * @throws {NearfarError} `not-found`; `failed-precondition` for a model whose folder has no versions.json; `invalid-argument` for shares above 100 %
   * or of a label that it does not have.
   */
  setTraffic(name: string, traffic: Traffic, options?: ChangeOptions): Promise<void>;
  /**
   * Loads a version beside those that are loaded, or unloads one: from then on the model's policy is `specific`.
   * @throws as {@link put}; `not-found` for a version that is not there.
   */
  setLoaded(name: string, version: string, isLoaded: boolean, options?: ChangeOptions): Promise<void>;
  /**
   * As {@link put}, also for a model that was there before, and resolves when one of the versions that are wanted then is available.
   * @throws {NearfarError} `unavailable` when none of them can be loaded now.
   */
  load(model: ModelSource, options?: ChangeOptions): Promise<void>;
  /**
   * Looks for changes now, also in stores, in which else is looked seldom.
   * @param name All models without it.
   * @throws {NearfarError} `not-found`.
   */
  refresh(name?: string): Promise<void>;
  /** How the store of a model answers; undefined for a model on disk. */
  storeStatus(name: string): StoreStatus | undefined;
  /** How every store answers. */
  storeStatuses(): readonly StoreStatus[];
  /** Numbers of the versions that can be loaded, newest first: those in the model's folder, and those that its versions.json lists. */
  published(name: string): readonly string[];
  /** What a version is, and what holds it; as far as it is here, and loaded. */
  version(name: string, version: string): { readonly source?: VersionOnDisk | undefined; readonly loaded?: LoadedVersion | undefined };
  /** Names of the models that are read from a place in a store, such as `s3://bucket/prefix/model/versions.json`. */
  namesAt(location: string): readonly string[];
  /** Whether the history has a change that failed with this error. */
  isRecorded(error: unknown): boolean;
  /** The labels of a model as they are written: in versions.json, and those that are configured here, which win. */
  labels(name: string): Readonly<Record<string, string>>;
  /** Keeps a model configured with none of its versions loaded, and resolves when none answers. @throws as {@link put}. */
  unload(model: ModelSource, options?: Pick<ChangeOptions, 'by'>): Promise<void>;
}

export interface ChangeOptions {
  readonly signal?: AbortSignal | undefined;
  /** Who asks for it, for the history. @default the server itself */
  readonly by?: Actor | undefined;
}

export interface ServedModelsOptions {
  readonly models: readonly ModelSource[];
  readonly repository: Repository;
  readonly servables: Servables;
  readonly published: PublishedModels;
  readonly allowsLabelsOfMissingVersions: boolean;
  /** Stores that models may be read from by calls, besides those that models are configured for: where the server can go, its callers need not be able to. */
  readonly storeRoots: readonly string[];
  /** Folders that the models of calls must be in, where they may not be anywhere. */
  readonly folderRoots: readonly string[] | undefined;
  /** Throws for a model whose requests cannot be logged as its config asks. */
  readonly assertLogging: (model: ModelSource) => void;
  readonly log: Logger;
  /** Where changes are written down. */
  readonly history: Pick<History, 'record' | 'list'>;
  /** Resolves when the condition, asked after every change of a version, holds; rejects with `signal.reason` and when the server closes. */
  readonly waitUntil: (holds: () => boolean, signal: AbortSignal | undefined) => Promise<void>;
}

/** What a change asks for, for the history of one that fails. */
type Asked = Pick<Change, 'model' | 'version' | 'to'> & Partial<Pick<Change, 'action'>>;

const byServer: Actor = { who: 'server', way: 'server' };

export class ServedModels implements ModelAdmin {
  readonly #options: ServedModelsOptions;
  #models: readonly ModelSource[];
  /** Changes are checked and made one after the other; that new models load is waited for beside it. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ServedModelsOptions) {
    this.#options = options;
    this.#models = options.models;
  }

  get models(): readonly ModelSource[] {
    return this.#models;
  }

  source(name: string): ModelSource | undefined {
    return this.#options.repository.source(name);
  }

  failure(name: string): NearfarError | undefined {
    return this.#options.repository.failure(name);
  }

  /** Whether a model cannot answer requests that name no version, and one is being looked for, copied, imported or loaded. */
  isOnItsWay(name: string): boolean {
    return !this.#isSettled(name, undefined) && !this.#options.servables.canAnswer(name);
  }

  /**
   * Checks the models that the server starts with.
   * @throws {NearfarError} `failed-precondition` for a label of a version that is not there.
   */
  async check(): Promise<void> {
    await this.#assertLabels(this.#models);
  }

  refresh(name?: string): Promise<void> {
    return this.#options.repository.refresh(name);
  }

  storeStatus(name: string): StoreStatus | undefined {
    return this.#options.repository.storeStatus(name);
  }

  storeStatuses(): readonly StoreStatus[] {
    return this.#options.repository.storeStatuses();
  }

  published(name: string): readonly string[] {
    const { versions, published } = this.#options.repository.snapshot(name) ?? {};
    const numbers = new Set([...(versions?.keys() ?? []), ...(published?.versions.map(({ version }) => version) ?? [])]);
    return [...numbers].sort((a, b) => compareVersions(b, a));
  }

  version(name: string, version: string): ReturnType<ModelAdmin['version']> {
    const { repository, servables } = this.#options;
    const loaded = servables.loaded(name, version);
    return { source: loaded?.source ?? repository.snapshot(name)?.versions.get(version), loaded };
  }

  namesAt(location: string): readonly string[] {
    return this.#options.repository.namesAt(location);
  }

  async replaceAll(models: readonly ModelSource[], options: ChangeOptions = {}): Promise<void> {
    await this.#change(async () => models, options, { model: '', to: { models: models.map(({ name }) => name) } });
  }

  async put(model: ModelSource, options: ChangeOptions = {}): Promise<void> {
    await this.#change(() => this.#withPut(model, options.by), options, asked(model));
  }

  async remove(name: string, options: Pick<ChangeOptions, 'by'> = {}): Promise<void> {
    const next = async () => {
      this.#sourceOf(name);
      const others = this.#models.filter((model) => model.name !== name);
      if (others.length < this.#models.length) return others;
      throw new NearfarError('failed-precondition', `model ${name} is served because its folder is among all models; remove the folder`, {
        details: { name },
      });
    };
    await this.#change(next, options, { action: 'remove', model: name });
  }

  async setLabel(name: string, label: string, version: string | undefined, options: ChangeOptions = {}): Promise<void> {
    const { published, allowsLabelsOfMissingVersions } = this.#options;
    if (published.versions(name)) await this.#publishLabel(name, label, version, options);
    else await this.#configureLabel(name, label, version, options);
    if (version !== undefined && !allowsLabelsOfMissingVersions) await this.#waitFor([name], options.signal, version);
  }

  async rollBack(name: string, label: string, options: ChangeOptions = {}): Promise<void> {
    const { by = byServer } = options;
    const version = await this.#versionBefore(name, label).catch(async (error: unknown) => {
      await this.#recordFailure({ ...by, action: 'change', model: name, to: { rollback: label } }, error);
      throw error;
    });
    await this.setLabel(name, label, version, options);
  }

  async #publishLabel(name: string, label: string, version: string | undefined, { signal, by = byServer }: ChangeOptions): Promise<void> {
    const edit = (versions: Versions): Versions => {
      const { [label]: before, ...others } = versions.labels;
      if (version === undefined && before === undefined) throw noLabel(name, label);
      if (version !== undefined && !versions.versions.some((known) => known.version === version)) throw notAvailable(name, version);
      if (version === undefined && versions.traffic && Object.hasOwn(versions.traffic, label)) {
        throw new NearfarError('failed-precondition', `label ${label} of model ${name} has a share of the traffic; take that away first`, {
          details: { name, label, traffic: versions.traffic },
        });
      }
      return { ...versions, labels: version === undefined ? others : { ...others, [label]: version } };
    };
    await this.#options.published.change(name, { by, to: { labels: { [label]: version ?? null } }, signal, edit });
    // What is configured here would hide it.
    if (this.#sourceOf(name).labels?.[label] !== undefined) await this.#configureLabel(name, label, undefined, { signal, by });
  }

  async #configureLabel(name: string, label: string, version: string | undefined, options: ChangeOptions): Promise<void> {
    const next = async () => {
      const { [label]: before, ...others } = this.#sourceOf(name).labels ?? {};
      if (version === undefined && before === undefined) throw noLabel(name, label);
      return this.#with({ ...this.#sourceOf(name), labels: version === undefined ? others : { ...others, [label]: version } });
    };
    await this.#change(next, options, { model: name, version, to: { version_labels: { [label]: version ?? null } } });
  }

  /** @throws {NearfarError} `failed-precondition` for a label that had no other one. */
  async #versionBefore(name: string, label: string): Promise<string> {
    const { history, published } = this.#options;
    const { basePath: folder } = this.#sourceOf(name);
    const versions = published.versions(name);
    const labels = this.labels(name);
    const current = Object.hasOwn(labels, label) ? labels[label] : undefined;
    const before = await labelBefore(history, { model: name, folder }, { label, current });
    const isThere = before !== undefined && (!versions || versions.versions.some(({ version }) => version === before));
    if (isThere) return before;
    const what = before === undefined ? 'had no other version before' : `was version ${before} before, which is published no more`;
    throw new NearfarError('failed-precondition', `label ${label} of model ${name} ${what}`, {
      details: { name, label, current },
    });
  }

  async setTraffic(name: string, traffic: Traffic, { signal, by = byServer }: ChangeOptions = {}): Promise<void> {
    const edit = ({ traffic: _, ...versions }: Versions): Versions => {
      const unknown = Object.keys(traffic).find((label) => !Object.hasOwn(versions.labels, label));
      if (unknown === undefined) return Object.keys(traffic).length === 0 ? versions : { ...versions, traffic };
      throw new NearfarError('invalid-argument', `versions.json of ${name} has no label ${unknown}`, { details: { name, label: unknown } });
    };
    await this.#options.published.change(name, { by, to: { traffic }, signal, edit });
  }

  async setLoaded(name: string, version: string, isLoaded: boolean, options: ChangeOptions = {}): Promise<void> {
    const next = async () => {
      const source = this.#sourceOf(name);
      if (isLoaded && !(await this.#options.repository.versionsOf(source)).has(version)) {
        throw new NearfarError('not-found', `Could not find version ${version} of model ${name}`, { details: { name, version } });
      }
      const wanted = new Set(this.#options.repository.snapshot(name)?.wanted.map((found) => found.version));
      if (!isLoaded && !wanted.has(version)) {
        throw new NearfarError('not-found', `version ${version} of model ${name} is not loaded`, { details: { name, version } });
      }
      if (isLoaded) wanted.add(version);
      else wanted.delete(version);
      const policy: VersionPolicy = { kind: 'specific', versions: [...wanted] };
      return this.#with({ ...source, policy });
    };
    await this.#change(next, options, { model: name, version, to: { [isLoaded ? 'load' : 'unload']: version } });
    if (isLoaded) await this.#waitFor([name], options.signal, version);
  }

  labels(name: string): Readonly<Record<string, string>> {
    return { ...this.#options.published.versions(name)?.labels, ...this.source(name)?.labels };
  }

  isRecorded(error: unknown): boolean {
    return error instanceof Error && this.#options.published.told.has(error);
  }

  async load(model: ModelSource, options: ChangeOptions = {}): Promise<void> {
    const { waitUntil, repository } = this.#options;
    await this.#apply(() => this.#withPut({ ...model }, options.by), options, asked(model));
    // By digest: a version of the same number may answer until the wanted one does.
    const found = () => this.#wanted(model.name);
    await waitUntil(
      () => this.#hasLooked(model.name) && found().every(({ state, errorCode }) => state === 'AVAILABLE' || errorCode !== 0),
      options.signal,
    );
    const statuses = found();
    if (statuses.some(({ state }) => state === 'AVAILABLE')) return;
    const pending = [...(repository.snapshot(model.name)?.pending ?? [])].map(([version, error]) => `version ${version}: ${error.message}`);
    const errors = [...statuses.map(({ version, errorMessage }) => `version ${version}: ${errorMessage}`), ...pending];
    const reason = this.failure(model.name)?.message ?? (errors.join('; ') || this.#whyNot(model.name, undefined));
    throw new NearfarError('unavailable', `failed to load '${model.name}', no version is available: ${reason}`, {
      details: { name: model.name },
    });
  }

  async unload(model: ModelSource, options: Pick<ChangeOptions, 'by'> = {}): Promise<void> {
    const nothing: ModelSource = { ...model, policy: { kind: 'specific', versions: [] } };
    await this.#apply(async () => this.#with(nothing), options, asked(nothing));
    await this.#options.waitUntil(
      () => !this.#statuses(model.name).some(({ state }) => state === 'AVAILABLE' || state === 'UNLOADING'),
      undefined,
    );
  }

  #wanted(name: string): readonly VersionStatus[] {
    const { repository, servables } = this.#options;
    return (repository.snapshot(name)?.wanted ?? []).map(({ version, digest }) => {
      const status = servables.statusOf(name, digest);
      return status ?? { version, digest, state: 'START', errorCode: 0, errorMessage: '' };
    });
  }

  /** Whether a model's folder was looked at and nothing in it is being copied or imported. */
  #hasLooked(name: string): boolean {
    const { repository } = this.#options;
    if (repository.source(name) === undefined || this.failure(name)) return true;
    const snapshot = repository.snapshot(name);
    return snapshot !== undefined && ![...snapshot.pending.values()].some(isUnderWay);
  }

  /** The models with one of them added or changed. */
  async #withPut(model: ModelSource, by: Actor = byServer): Promise<readonly ModelSource[]> {
    // Before anything is asked of where it leads.
    this.#assertStores([model], by);
    if (!this.#models.some(({ name }) => name === model.name)) await this.#assertFolder(model);
    return this.#with(model);
  }

  /** @throws {NearfarError} `not-found`; what its store throws. */
  async #assertFolder(model: ModelSource): Promise<void> {
    const { name, basePath } = model;
    await this.#options.repository.versionsOf(model).catch((cause) => {
      if (cause instanceof NearfarError && cause.code !== 'not-found') throw cause;
      throw new NearfarError('not-found', `Could not find base path ${basePath} for servable ${name}`, {
        cause,
        details: { name, basePath },
      });
    });
  }

  /** The models with one of them changed. */
  #with(changed: ModelSource): readonly ModelSource[] {
    return [...this.#models.filter(({ name }) => name !== changed.name), changed];
  }

  #sourceOf(name: string): ModelSource {
    const source = this.source(name);
    if (source) return source;
    throw new NearfarError('not-found', `Could not find any versions of model ${name}`, { details: { name } });
  }

  /** Makes a change, and waits for the models that are new. */
  async #change(next: () => Promise<readonly ModelSource[]>, options: ChangeOptions, what: Asked): Promise<void> {
    await this.#waitFor(await this.#apply(next, options, what), options.signal);
  }

  /** @returns the names of the models that are new. */
  async #apply(
    next: () => Promise<readonly ModelSource[]>,
    { signal, by = byServer }: ChangeOptions,
    what: Asked,
  ): Promise<readonly string[]> {
    const { history } = this.#options;
    const change = this.#last.then(async () => {
      const before = settingsOf(this.#models);
      try {
        signal?.throwIfAborted();
        const models = await next();
        this.#assertStores(models, by);
        const made = await this.#make(models);
        await history.record(...modelChanges(before, settingsOf(this.#models), by));
        return made;
      } catch (error) {
        const name = error instanceof NearfarError ? error.details['name'] : undefined;
        const model = what.model !== '' || typeof name !== 'string' ? what.model : name;
        await this.#recordFailure({ ...by, action: 'change', ...what, model }, error);
        throw error;
      }
    });
    this.#last = change.catch(() => undefined);
    const { added, changed } = await change;
    await this.#lookAfresh(changed, signal);
    return added;
  }

  /**
   * Checks that a call names no store that the operator did not, and no folder where that is bound too.
   * @throws {NearfarError} `permission-denied`.
   */
  #assertStores(models: readonly ModelSource[], { way }: Actor): void {
    if (way === 'server' || way === 'config-file') return;
    const known = [...this.#options.storeRoots, ...this.#models.map(({ basePath }) => basePath)];
    for (const { name, basePath } of models) {
      if (isRemote(basePath) ? known.some((root) => isBelow(root, basePath)) : this.#mayReadFolder(basePath)) continue;
      throw new NearfarError(
        'permission-denied',
        `model base path ${basePath} of ${name} is in no ${isRemote(basePath) ? 'store' : 'folder'} that --models, the model config file${isRemote(basePath) ? '' : ' or --allowed_model_roots'} names`,
        { details: { name, basePath } },
      );
    }
  }

  #mayReadFolder(basePath: string): boolean {
    const { folderRoots } = this.#options;
    if (!folderRoots || this.#models.some((model) => model.basePath === basePath)) return true;
    return isInside(basePath, folderRoots);
  }

  async #recordFailure(change: Omit<Change, 'outcome' | 'message' | 'folder'>, error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof Error) this.#options.published.told.add(error);
    await this.#options.history.record({ ...change, folder: this.source(change.model)?.basePath, outcome: 'failed', message });
  }

  /** @returns the names of the models that are new, and of all that are not as they were. */
  async #make(models: readonly ModelSource[]): Promise<{ added: readonly string[]; changed: readonly string[] }> {
    const { repository, log } = this.#options;
    assertNamesDiffer(models);
    assertPlatformsStay(this.#models, models);
    for (const model of models) this.#options.assertLogging(model);
    await this.#assertLabels(models);
    const before = new Map(this.#models.map((model) => [model.name, model]));
    const added = models.filter(({ name, basePath }) => repository.source(name)?.basePath !== basePath).map(({ name }) => name);
    const changed = models.filter((model) => before.get(model.name) !== model).map(({ name }) => name);
    const removed = [...before.keys()].filter((name) => !models.some((model) => model.name === name));
    this.#models = models;
    repository.configure(models);
    log.info({ added, changed: changed.filter((name) => !added.includes(name)), removed }, 'models reconfigured');
    return { added, changed };
  }

  /** Outside of the queue of changes: a folder on a dead drive holds up who waits for it, and no other change. */
  async #lookAfresh(names: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    let isDone = false;
    const looking = Promise.all(names.map((name) => this.#options.repository.lookAfresh(name))).then(() => {
      isDone = true;
    });
    await Promise.race([looking, this.#options.waitUntil(() => isDone, signal)]);
  }

  /** A label may name a version that loads by the same change, but not one that is nowhere. */
  async #assertLabels(models: readonly ModelSource[]): Promise<void> {
    if (this.#options.allowsLabelsOfMissingVersions) return;
    for (const model of models) {
      const { name, labels = {} } = model;
      const targets = Object.values(labels).filter((version) => !this.#isAvailable(name, version));
      if (targets.length === 0) continue;
      const there = await this.#options.repository.versionsOf(model).catch(() => new Map<string, string>());
      const missing = targets.find((version) => !there.has(version));
      if (missing === undefined) continue;
      throw notAvailable(name, missing);
    }
  }

  #isAvailable(name: string, version: string): boolean {
    return this.#statuses(name).some((status) => status.version === version && status.state === 'AVAILABLE');
  }

  /**
   * Waits until every version that is wanted of some models, or the given one, is available or cannot be loaded now.
   * @throws {NearfarError} `unavailable` when one of the models has no available version then.
   */
  async #waitFor(names: readonly string[], signal: AbortSignal | undefined, version?: string): Promise<void> {
    const { waitUntil } = this.#options;
    const missing = new Map<string, string>();
    for (const name of names) {
      await waitUntil(() => this.#isSettled(name, version), signal);
      const isThere = this.#statuses(name).some(({ state, version: number }) => {
        return state === 'AVAILABLE' && (version === undefined || number === version);
      });
      if (!isThere) missing.set(name, this.#whyNot(name, version));
    }
    if (missing.size === 0) return;
    const reasons = [...missing].map(([name, reason]) => `{name: ${name} version: ${version ?? 'latest'} due to error: ${reason}}`);
    throw new NearfarError('unavailable', `${missing.size} servable(s) did not become available: {${reasons.join(', ')}}`, {
      details: { models: Object.fromEntries(missing) },
    });
  }

  /** Whether nothing is on its way: being copied, imported or loaded for the first time. */
  #isSettled(name: string, version: string | undefined): boolean {
    const { repository } = this.#options;
    if (repository.source(name) === undefined || this.failure(name)) return true;
    const snapshot = repository.snapshot(name);
    if (!snapshot) return false;
    const isMeant = (candidate: string) => version === undefined || candidate === version;
    if ([...snapshot.pending].some(([candidate, error]) => isMeant(candidate) && isUnderWay(error))) return false;
    const statuses = this.#statuses(name);
    return snapshot.wanted.every(({ version: wanted }) => {
      const status = statuses.find((candidate) => candidate.version === wanted);
      return !isMeant(wanted) || status?.state === 'AVAILABLE' || (status !== undefined && status.errorCode !== 0);
    });
  }

  #whyNot(name: string, version: string | undefined): string {
    const source = this.source(name);
    if (!source) return 'it was removed meanwhile';
    const failed = this.#statuses(name).filter(({ version: number, errorCode }) => {
      return errorCode !== 0 && (version === undefined || number === version);
    });
    const errors = failed.map(({ version: number, errorMessage }) => `version ${number}: ${errorMessage}`);
    return this.failure(name)?.message ?? (errors.join('; ') || `No versions of servable ${name} found under base path ${source.basePath}`);
  }

  #statuses(name: string): readonly VersionStatus[] {
    try {
      return this.#options.servables.status({ name });
    } catch {
      return [];
    }
  }
}

/** Whether a location is that of a store, or below it, asked with the same keys. */
function isBelow(root: string, location: string): boolean {
  const [rootPath = '', rootQuery] = root.split('?', 2);
  const [path = '', query] = location.split('?', 2);
  return rootQuery === query && (path === rootPath || path.startsWith(`${rootPath}/`));
}

function settingsOf(models: readonly ModelSource[]): ReadonlyMap<string, Settings> {
  return new Map(models.map((model) => [model.name, describeModel(model)]));
}

function asked(model: ModelSource): Asked {
  return { model: model.name, to: describeModel(model) };
}

function noLabel(name: string, label: string): NearfarError {
  return new NearfarError('not-found', `label ${label} of model ${name} is not configured here`, { details: { name, label } });
}

/** The text of TensorFlow Serving. */
function notAvailable(name: string, version: string): NearfarError {
  return new NearfarError(
    'failed-precondition',
    `Request to assign label to version ${version} of model ${name}, which is not currently available for inference`,
    { details: { name, version } },
  );
}

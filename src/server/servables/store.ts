import { labelOfClient, NearfarError, type Traffic } from '../../core/index.ts';
import type { ModelSnapshot } from '../repository/index.ts';
import { ModelServables, type ModelServablesOptions } from './model-servables.ts';
import type { ServableFallback, ServableHandle, ServableSpec, ServableStore, VersionStatus } from './servable.ts';
import type { LoadedVersion, ServableVersion } from './servable-version.ts';

export interface ServablesOptions extends ModelServablesOptions {
  /** Names of the models that are configured, also of those whose folder could never be read. */
  readonly names: () => readonly string[];
}

/** Every servable of the server: what the repository asks for is loaded, what it drops is drained and unloaded. */
export class Servables implements ServableStore {
  readonly #options: ServablesOptions;
  readonly #models = new Map<string, ModelServables>();
  readonly #removals = new Set<Promise<void>>();
  readonly #listeners = new Set<() => void>();
  /** What the last look at a model found, as far as it is shown. */
  readonly #found = new Map<string, string>();
  /** Labels of models whose version is down, as far as requests have met it. */
  readonly #fallenBack = new Map<string, string>();
  #phase: 'starting' | 'serving' | 'draining' | 'closed' = 'starting';

  constructor(options: ServablesOptions) {
    const onChange = () => {
      options.onChange();
      for (const listener of this.#listeners) listener();
    };
    this.#options = { ...options, onChange };
  }

  /** Takes over what one look at a model's folder found. */
  apply(snapshot: ModelSnapshot): void {
    if (this.#phase === 'closed') return;
    const model = this.#models.get(snapshot.name) ?? new ModelServables(snapshot.name, this.#options);
    this.#models.set(snapshot.name, model);
    model.apply(snapshot);
    const { labels, traffic, versions, pending } = snapshot;
    const found = JSON.stringify([labels, traffic, [...versions.keys()], [...pending.keys()]]);
    // None of that need be a change of a version's state.
    if (this.#found.get(snapshot.name) !== found) for (const listener of this.#listeners) listener();
    this.#found.set(snapshot.name, found);
  }

  /** Drains and unloads a model that is no longer configured. */
  remove(name: string): void {
    const model = this.#models.get(name);
    if (!model) return;
    this.#models.delete(name);
    this.#found.delete(name);
    this.#options.onChange();
    const removal = model.close().finally(() => {
      this.#removals.delete(removal);
      if (!this.#models.has(name)) this.#options.metrics.forgetModel(name);
    });
    this.#removals.add(removal);
  }

  lend(spec: ServableSpec): ServableHandle {
    if (this.#phase === 'closed') throw new NearfarError('unavailable', 'the server is shutting down');
    const model = this.#models.get(spec.name);
    const { version, fallback } = findVersion(model, spec);
    const handle = version?.lend(model?.labelsOf(version.source.version) ?? [], fallback);
    if (!handle) throw notFound(spec, model);
    if (fallback || this.#fallenBack.size > 0) this.#tellFallback(spec.name, fallback);
    if (spec.digest === undefined || spec.digest === handle.digest) return handle;
    handle[Symbol.dispose]();
    throw new NearfarError(
      'version-mismatch',
      `${spec.name} version ${handle.version} has digest ${handle.digest}, ${spec.digest} was asked for`,
      {
        details: { name: spec.name, version: handle.version, want: spec.digest, got: handle.digest },
      },
    );
  }

  /** Counts each, and logs the first of them. */
  #tellFallback(name: string, fallback: ServableFallback | undefined): void {
    const { log, metrics } = this.#options;
    if (!fallback) {
      const version = this.#fallenBack.get(name);
      const isBack = version !== undefined && this.#models.get(name)?.find(version) !== undefined;
      if (!isBack) return;
      this.#fallenBack.delete(name);
      log.info({ model: name, version }, 'the version that a label names answers again');
      return;
    }
    const { label, version, message } = fallback;
    metrics.recordFallback({ model: name, label });
    if (this.#fallenBack.get(name) === version) return;
    this.#fallenBack.set(name, version);
    log.warn({ model: name, label, version }, message);
  }

  status({ name, version }: { name: string; version?: string | undefined }): readonly VersionStatus[] {
    const statuses = this.#models.get(name)?.statuses() ?? [];
    const asked = version === undefined ? statuses : statuses.filter((status) => status.version === version);
    if (asked.length > 0) return asked;
    const text =
      version === undefined ? `Could not find any versions of model ${name}` : `Could not find version ${version} of model ${name}`;
    throw new NearfarError('not-found', text, { details: { name, version } });
  }

  /** The version of a digest, also while another one of its number answers in its place; undefined when it is not wanted. */
  statusOf(name: string, digest: string): VersionStatus | undefined {
    return this.#models.get(name)?.statusOf(digest);
  }

  /** Whether a version that lies in this directory is loaded, or is to be, also one that is there no more. */
  usesDirectory(directory: string): boolean {
    return [...this.#models.values()].some((model) => model.usesDirectory(directory));
  }

  /** A version of a model that is available; undefined where it is not. */
  loaded(name: string, version: string): LoadedVersion | undefined {
    return this.#models.get(name)?.find(version)?.loaded;
  }

  labels(name: string): Readonly<Record<string, string>> {
    return this.#models.get(name)?.labels() ?? {};
  }

  traffic(name: string): Traffic | undefined {
    return this.#models.get(name)?.traffic;
  }

  names(): readonly string[] {
    return this.#options.names();
  }

  isReady(name?: string): boolean {
    const names = name === undefined ? this.names() : [name];
    const isReady = (model: ModelServables | undefined) => model?.canAnswer === true || (name === undefined && model?.isUnloaded === true);
    return this.#phase === 'serving' && names.every((asked) => isReady(this.#models.get(asked)));
  }

  /** Whether requests of a model that name no version are answered. */
  canAnswer(name: string): boolean {
    return this.#models.get(name)?.canAnswer === true;
  }

  watch(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** From here on the server may be ready: every model has been looked for. */
  startServing(): void {
    if (this.#phase === 'starting') this.#phase = 'serving';
    this.#options.onChange();
  }

  /** From here on the server is not ready, so that balancers turn away; requests that still come are answered. */
  startDraining(): void {
    if (this.#phase !== 'closed') this.#phase = 'draining';
    this.#options.onChange();
  }

  /** Lends no more, waits for every handle and unloads everything. */
  async close(): Promise<void> {
    this.#phase = 'closed';
    this.#options.onChange();
    await Promise.all([...[...this.#models.values()].map((model) => model.close()), ...this.#removals]);
  }
}

/** A digest alone is enough to name a version; with a number or a label it only checks. */
function findVersion(model: ModelServables | undefined, { name, version, label, digest, client }: ServableSpec): Found {
  if (version !== undefined) return { version: model?.find(version) };
  if (label !== undefined) {
    const target = model?.versionOf(label);
    if (model && target === undefined) {
      throw new NearfarError('invalid-argument', `Unrecognized servable version label: ${label}`, { details: { label } });
    }
    return { version: target === undefined ? undefined : model?.find(target) };
  }
  if (!model) return { version: undefined };
  if (digest !== undefined) return { version: model.findDigest(digest) ?? model.find() };
  const share = model.traffic && client && labelOfClient(model.traffic, name, client());
  // The share of a label that is gone is nobody's.
  const shared = share === undefined ? undefined : model.versionOf(share);
  const stable = model.followsStable ? model.versionOf('stable') : undefined;
  const wanted = shared ?? stable;
  if (wanted === undefined) return { version: model.find() };
  const found = model.find(wanted);
  if (found) return { version: found };
  const instead = (stable === undefined ? undefined : model.find(stable)) ?? (model.canAnswer ? model.find() : undefined);
  const meant = shared !== undefined && share !== undefined ? share : 'stable';
  return { version: instead, ...(instead && { fallback: fallbackFrom(name, meant, wanted, instead) }) };
}

interface Found {
  readonly version: ServableVersion | undefined;
  readonly fallback?: ServableFallback;
}

function fallbackFrom(name: string, label: string, version: string, { source }: ServableVersion): ServableFallback {
  const message = `version ${version} of ${name}, which label ${label} names, is not available: version ${source.version} answers`;
  return { label, version, code: 'unavailable', message };
}

/** The text of TensorFlow Serving, which clients know. */
function notFound({ name, version, label }: ServableSpec, model: ModelServables | undefined): NearfarError {
  const specific = version ?? (label === undefined ? undefined : model?.versionOf(label));
  const request = specific === undefined ? `Latest(${name})` : `Specific(${name}, ${specific})`;
  return new NearfarError('not-found', `Servable not found for request: ${request}`, { details: { name, version, label } });
}

import { labelOfClient, NearfarError, type Traffic } from '../../core/index.ts';
import type { ModelSnapshot } from '../repository/index.ts';
import { ModelServables, type ModelServablesOptions } from './model-servables.ts';
import type { ServableHandle, ServableSpec, ServableStore, VersionStatus } from './servable.ts';
import type { ServableVersion } from './servable-version.ts';

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
  }

  /** Drains and unloads a model that is no longer configured. */
  remove(name: string): void {
    const model = this.#models.get(name);
    if (!model) return;
    this.#models.delete(name);
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
    const version = findVersion(model, spec);
    const handle = version?.lend(model?.labelsOf(version.source.version) ?? []);
    if (!handle) throw notFound(spec, model);
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
    const isReady = (model: ModelServables | undefined) =>
      model?.find() !== undefined || (name === undefined && model?.isUnloaded === true);
    return this.#phase === 'serving' && names.every((asked) => isReady(this.#models.get(asked)));
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
function findVersion(
  model: ModelServables | undefined,
  { name, version, label, digest, client }: ServableSpec,
): ServableVersion | undefined {
  if (version !== undefined) return model?.find(version);
  if (label !== undefined) {
    const target = model?.versionOf(label);
    if (model && target === undefined) {
      throw new NearfarError('invalid-argument', `Unrecognized servable version label: ${label}`, { details: { label } });
    }
    return target === undefined ? undefined : model?.find(target);
  }
  if (digest !== undefined) return model?.findDigest(digest) ?? model?.find();
  const share = model?.traffic && client && labelOfClient(model.traffic, name, client());
  const target = share === undefined ? undefined : model?.versionOf(share);
  return (target === undefined ? undefined : model?.find(target)) ?? model?.find();
}

/** The text of TensorFlow Serving, which clients know. */
function notFound({ name, version, label }: ServableSpec, model: ModelServables | undefined): NearfarError {
  const specific = version ?? (label === undefined ? undefined : model?.versionOf(label));
  const request = specific === undefined ? `Latest(${name})` : `Specific(${name}, ${specific})`;
  return new NearfarError('not-found', `Servable not found for request: ${request}`, { details: { name, version, label } });
}

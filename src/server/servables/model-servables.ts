import { errorStatuses, NearfarError, signatureChanges, type Traffic } from '../../core/index.ts';
import type { ModelOptions } from '../model-options.ts';
import { compareVersions, isUnderWay, type ModelSnapshot, type VersionOnDisk } from '../repository/index.ts';
import type { VersionStatus } from './servable.ts';
import { ServableVersion, type ServableVersionOptions } from './servable-version.ts';

export interface ModelServablesOptions extends Omit<ServableVersionOptions, 'onChange'> {
  /** Called after every change of a version's state. */
  readonly onChange: () => void;
  /** How a model, by its name, changes versions; asked for at every step, as it may change. */
  readonly optionsOf: (model: string) => Pick<ModelOptions, 'transition' | 'signatureChange'>;
}

const noLabels: readonly string[] = [];

/** The versions of one model on the server, brought step by step to what the repository asks for. */
export class ModelServables {
  readonly #name: string;
  readonly #options: Omit<ModelServablesOptions, 'onChange'> & ServableVersionOptions;
  #isClosed = false;
  #snapshot: ModelSnapshot | undefined;
  /** Wanted ones, ones that serve on until another takes over, and ones that drain. */
  readonly #versions = new Set<ServableVersion>();
  /** The last version that ended. Older ones are forgotten: they would pile up in the status for ever. */
  #ended: VersionStatus | undefined;
  /** Where each label points now: where the repository says, but not before that version is available. */
  readonly #labels = new Map<string, string>();

  constructor(name: string, options: ModelServablesOptions) {
    this.#name = name;
    this.#options = {
      ...options,
      onChange: (version) => {
        this.#recordState(version);
        this.#reconcile();
        options.onChange();
      },
    };
  }

  /** Takes over what one look at the repository found. */
  apply(snapshot: ModelSnapshot): void {
    this.#snapshot = snapshot;
    const live = [...this.#versions].filter(({ isRetired }) => !isRetired);
    const isSame = (a: VersionOnDisk, b: VersionOnDisk) => a.version === b.version && a.digest === b.digest;
    for (const version of live) version.isWanted = snapshot.wanted.some((source) => isSame(source, version.source));
    const added = snapshot.wanted.filter((source) => !live.some((version) => isSame(source, version.source)));
    for (const source of added) this.#versions.add(new ServableVersion(this.#name, source, this.#options));
    this.#reconcile();
  }

  /** Whether nothing is to be loaded of it. */
  get isUnloaded(): boolean {
    return this.#snapshot?.isUnloaded ?? false;
  }

  /** Retires every version. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#versions].map((version) => this.#retire(version)));
  }

  /** The version to lend: of a number, or the highest one. */
  find(version?: string): ServableVersion | undefined {
    let found: ServableVersion | undefined;
    for (const candidate of this.#versions) {
      if (candidate.state !== 'AVAILABLE' || (version !== undefined && candidate.source.version !== version)) continue;
      // Two of one number are there only while a directory that was written anew replaces its former self: the wanted one counts.
      const order = found ? compareVersions(candidate.source.version, found.source.version) : 1;
      if (order > 0 || (order === 0 && candidate.isWanted && found?.isWanted === false)) found = candidate;
    }
    return found;
  }

  findDigest(digest: string): ServableVersion | undefined {
    return [...this.#versions].find(({ state, source }) => state === 'AVAILABLE' && source.digest === digest);
  }

  /** Whether requests that name no version are answered. A version that nobody has made `stable` does not stand in for one that still loads. */
  get canAnswer(): boolean {
    const stable = this.followsStable ? this.versionOf('stable') : undefined;
    return this.find(stable) !== undefined || (stable !== undefined && !this.isComing(stable) && this.find() !== undefined);
  }

  /** Whether a version is being loaded, and nothing has gone wrong with it. */
  isComing(version: string): boolean {
    return [...this.#versions].some(({ source, isRetired, status: { state, errorCode } }) => {
      return source.version === version && !isRetired && (state === 'START' || state === 'LOADING') && errorCode === 0;
    });
  }

  /** The version a label means; undefined when there is no such label. */
  versionOf(label: string): string | undefined {
    return this.#labels.get(label);
  }

  get traffic(): Traffic | undefined {
    return this.#snapshot?.traffic;
  }

  /** Whether requests that name nothing mean `stable`, as in browsers: the model has a versions.json. */
  get followsStable(): boolean {
    return this.#snapshot?.published !== undefined;
  }

  labels(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#labels);
  }

  labelsOf(version: string): readonly string[] {
    return this.#labels.size === 0 ? noLabels : [...this.#labels].filter(([, target]) => target === version).map(([label]) => label);
  }

  /** The version of a digest that is there or loads. */
  statusOf(digest: string): VersionStatus | undefined {
    return [...this.#versions].find(({ source, isRetired }) => source.digest === digest && !isRetired)?.status;
  }

  usesDirectory(directory: string): boolean {
    return [...this.#versions].some(({ source }) => source.directory === directory);
  }

  /** Every known version, newest first. */
  statuses(): readonly VersionStatus[] {
    const statuses = new Map<string, VersionStatus>();
    if (this.#ended) statuses.set(this.#ended.version, this.#ended);
    for (const [version, error] of this.#snapshot?.pending ?? []) {
      const errorCode = isUnderWay(error) ? 0 : errorStatuses[error.code].grpc;
      statuses.set(version, { version, state: 'START', errorCode, errorMessage: error.message });
    }
    for (const { source, status } of [...this.#versions].sort((a, b) => Number(a.isWanted) - Number(b.isWanted))) {
      if (statuses.get(source.version)?.state !== 'AVAILABLE') statuses.set(source.version, status);
    }
    return [...statuses.values()].sort((a, b) => compareVersions(b.version, a.version));
  }

  async #retire(version: ServableVersion): Promise<void> {
    await version.retire();
    if (!this.#versions.delete(version)) return;
    const isThere = (number: string) => [...this.#versions].some(({ source }) => source.version === number);
    const before = this.#ended?.version;
    // One that came back is not forgotten: it may serve again.
    if (before !== undefined && before !== version.source.version && !isThere(before)) {
      this.#options.metrics.forgetVersion(this.#name, before);
    }
    this.#ended = version.status;
    this.#reconcile();
  }

  #recordState({ source: { version: number }, state }: ServableVersion): void {
    // The model may be configured anew already, and counted again.
    if (this.#isClosed) return;
    const shown = this.statuses().find(({ version }) => version === number);
    this.#options.metrics.setState(this.#name, number, shown?.state ?? state);
  }

  /** Takes the next steps: what may go goes, what may load loads. */
  #reconcile(): void {
    if (this.#isClosed) return;
    this.#moveLabels();
    const { transition } = this.#options.optionsOf(this.#name);
    const live = [...this.#versions].filter(({ isRetired }) => !isRetired);
    const wanted = live.filter(({ isWanted }) => isWanted);
    const unwanted = live.filter(({ isWanted }) => !isWanted);
    const loadable = wanted.filter((version) => !this.#isRefused(version));
    for (const version of unwanted) {
      const mayGo =
        transition === 'resource-preserving' ? wanted.length === 0 || loadable.length > 0 : this.#isDispensable(version, wanted, unwanted);
      if (version.state !== 'AVAILABLE' || mayGo) void this.#retire(version);
    }
    const isRoomMade =
      transition === 'availability-preserving' || [...this.#versions].every(({ isWanted, isRetired }) => isWanted && !isRetired);
    if (!isRoomMade) return;
    // Newest first, as the snapshot lists them.
    for (const version of loadable) if (version.state === 'START' || version.isRefused) version.start();
  }

  /**
   * Availability-preserving: what is no longer wanted goes only when something wanted is available, nothing is wanted at all, or a newer
   * one serves on beside it; and never while a label still points at it.
   */
  #isDispensable(version: ServableVersion, wanted: readonly ServableVersion[], unwanted: readonly ServableVersion[]): boolean {
    if (wanted.length === 0) return true;
    if (this.labelsOf(version.source.version).length > 0) return false;
    const isNewer = (other: ServableVersion) =>
      other.state === 'AVAILABLE' && compareVersions(other.source.version, version.source.version) > 0;
    return wanted.some(({ state }) => state === 'AVAILABLE') || unwanted.some(isNewer);
  }

  /** Compares a version that is about to load with the one before it, which clients know. */
  #isRefused(version: ServableVersion): boolean {
    if (version.state !== 'START' && !version.isRefused) return false;
    const { source } = version;
    const [before] = [...this.#versions]
      .filter((other) => {
        // The same number: what the directory was before it was written anew.
        const isEarlier = other !== version && compareVersions(other.source.version, source.version) <= 0;
        return isEarlier && other.hasServed && !other.isRetired;
      })
      .sort((a, b) => compareVersions(b.source.version, a.source.version));
    const changes = before ? signatureChanges(before.source.manifest.signatures, source.manifest.signatures) : [];
    if (!before || changes.length === 0) return false;
    const text = `clients of version ${before.source.version} cannot use version ${source.version} unchanged: ${changes.join('; ')}`;
    if (this.#options.optionsOf(this.#name).signatureChange === 'report') {
      version.report(text);
      return false;
    }
    version.refuse(new NearfarError('failed-precondition', text, { details: { before: before.source.version, changes } }));
    return true;
  }

  #moveLabels(): void {
    const labels = this.#snapshot?.labels ?? {};
    for (const label of this.#labels.keys()) if (!Object.hasOwn(labels, label)) this.#labels.delete(label);
    for (const [label, target] of Object.entries(labels)) {
      const current = this.#labels.get(label);
      if (current === undefined || this.find(target)) this.#labels.set(label, target);
    }
  }
}

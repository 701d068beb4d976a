import { errorStatuses } from '../../core/index.ts';
import { compareVersions, type ModelSnapshot, type VersionOnDisk } from '../repository/index.ts';
import type { VersionStatus } from './servable.ts';
import { ServableVersion, type ServableVersionOptions } from './servable-version.ts';

/** The versions of one model on the server, brought step by step to what the repository asks for. */
export class ModelServables {
  readonly #name: string;
  readonly #options: ServableVersionOptions;
  #snapshot: ModelSnapshot | undefined;
  /** Wanted ones, ones that serve on until another takes over, and ones that drain. */
  readonly #versions = new Set<ServableVersion>();
  /** The last version that ended. Older ones are forgotten: they would pile up in the status for ever. */
  #ended: VersionStatus | undefined;
  /** Where each label points now: where the repository says, but not before that version is available. */
  readonly #labels = new Map<string, string>();

  constructor(name: string, options: ServableVersionOptions) {
    this.#name = name;
    this.#options = {
      ...options,
      onChange: () => {
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
    const added = snapshot.wanted
      .filter((source) => !live.some((version) => isSame(source, version.source)))
      .map((source) => new ServableVersion(this.#name, source, this.#options));
    for (const version of added) this.#versions.add(version);
    for (const version of added) void version.start();
    this.#reconcile();
  }

  /** Whether nothing is to be loaded of it. */
  get isUnloaded(): boolean {
    return this.#snapshot?.isUnloaded ?? false;
  }

  /** Retires every version. */
  async close(): Promise<void> {
    await Promise.all([...this.#versions].map((version) => this.#retire(version)));
  }

  /** The version to lend: of a number, or the highest one. */
  find(version?: string): ServableVersion | undefined {
    const available = [...this.#versions].filter(({ state, source }) => {
      return state === 'AVAILABLE' && (version === undefined || source.version === version);
    });
    // Two of one number are there only while a directory that was written anew replaces its former self: the wanted one counts.
    return available.sort((a, b) => compareVersions(b.source.version, a.source.version) || Number(b.isWanted) - Number(a.isWanted))[0];
  }

  findDigest(digest: string): ServableVersion | undefined {
    return [...this.#versions].find(({ state, source }) => state === 'AVAILABLE' && source.digest === digest);
  }

  /** The version a label means; undefined when there is no such label. */
  versionOf(label: string): string | undefined {
    return this.#labels.get(label);
  }

  labels(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#labels);
  }

  labelsOf(version: string): readonly string[] {
    return [...this.#labels].filter(([, target]) => target === version).map(([label]) => label);
  }

  /** Every known version, newest first. */
  statuses(): readonly VersionStatus[] {
    const statuses = new Map<string, VersionStatus>();
    if (this.#ended) statuses.set(this.#ended.version, this.#ended);
    for (const [version, error] of this.#snapshot?.pending ?? []) {
      statuses.set(version, { version, state: 'START', errorCode: errorStatuses[error.code].grpc, errorMessage: error.message });
    }
    for (const { source, status } of [...this.#versions].sort((a, b) => Number(a.isWanted) - Number(b.isWanted))) {
      if (statuses.get(source.version)?.state !== 'AVAILABLE') statuses.set(source.version, status);
    }
    return [...statuses.values()].sort((a, b) => compareVersions(b.version, a.version));
  }

  async #retire(version: ServableVersion): Promise<void> {
    await version.retire();
    if (!this.#versions.delete(version)) return;
    const { version: number } = version.source;
    if (this.#ended && this.#ended.version !== number) this.#options.metrics.forgetVersion(this.#name, this.#ended.version);
    this.#ended = version.status;
  }

  /**
   * Availability-preserving: what is no longer wanted goes only when something wanted is available, or nothing is wanted at all,
   * and never while a label still points at it.
   */
  #reconcile(): void {
    this.#moveLabels();
    const wanted = [...this.#versions].filter(({ isWanted, isRetired }) => isWanted && !isRetired);
    const isReplaced = wanted.length === 0 || wanted.some(({ state }) => state === 'AVAILABLE');
    for (const version of this.#versions) {
      if (version.isWanted || version.isRetired) continue;
      const serves = version.state === 'AVAILABLE';
      const isLabelled = wanted.length > 0 && this.labelsOf(version.source.version).length > 0;
      if (!serves || (isReplaced && !isLabelled)) void this.#retire(version);
    }
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

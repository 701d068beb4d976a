import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, NearfarError, parseVersions, type Traffic, type Versions } from '../../core/index.ts';
import type { ModelOptions } from '../model-options.ts';
import type { ImportCache } from './import-cache.ts';
import type { ModelSource } from './model-source.ts';
import type { ModelMirror } from './stores/index.ts';
import {
  checkSignature,
  fileStamp,
  isImporting,
  isMissing,
  listVersions,
  readDirectoryState,
  readVersionDirectory,
  underWay,
  type VersionOnDisk,
} from './version-directory.ts';
import { compareVersions, selectVersions, type VersionPolicy } from './version-policy.ts';

/** What one look at a model's folder found. */
export interface ModelSnapshot {
  readonly name: string;
  /** Every published version that is complete, by version. */
  readonly versions: ReadonlyMap<string, VersionOnDisk>;
  /** Published versions that cannot be loaded as they are, and why: a copy under way, a manifest that cannot be read, … */
  readonly pending: ReadonlyMap<string, NearfarError>;
  readonly labels: Readonly<Record<string, string>>;
  /** Shares of clients by label; undefined where all get the same version. */
  readonly traffic: Traffic | undefined;
  /** What versions.json says; undefined where there is none. */
  readonly published: Versions | undefined;
  /** The versions to load, newest first: those of the policy and those that labels name. */
  readonly wanted: readonly VersionOnDisk[];
  /** Whether the policy is to load nothing. */
  readonly isUnloaded: boolean;
  /** What is set for this model. */
  readonly options: Partial<ModelOptions>;
  /** versions.json as browsers get it: the file, or one made from the directories. */
  readonly versionsFile: { readonly bytes: Uint8Array<ArrayBuffer>; readonly digest: string };
}

/**
 * A plain directory in which nothing changed for so long counts at the first look, in milliseconds. Longer than two looks are apart: the
 * clock of a network drive may be behind.
 */
const settledAgeMs = 5000;

const defaultPolicy: VersionPolicy = { kind: 'latest', count: 1 };

export interface ModelDirectoryOptions {
  readonly imports: ImportCache;
  /** Where the folder lies whose original is elsewhere. */
  readonly mirrorOf: (source: ModelSource) => ModelMirror | undefined;
  readonly trust: readonly string[];
  /** How long a plain version stays as it is before it counts as copied, in milliseconds. */
  readonly settleMs: number;
  /** The clock that file times are compared with. */
  readonly now: () => number;
  /** Versions that versions.json asks for beside those that labels name. */
  readonly alsoWanted?: ((versions: Versions) => readonly string[]) | undefined;
}

type Look = { readonly stamp: string; readonly outcome: VersionOnDisk | NearfarError };

/**
 * The folder of one model, looked at again and again. A directory whose name is a number is a version; with a manifest.json it
 * counts once every file is there, without one it is a plain TensorFlow Serving version, which counts once two looks agree, or
 * nothing in it changed for a while, and is then imported.
 */
export class ModelDirectory {
  /** May change between two looks in everything but its name and folder. */
  source: ModelSource;
  readonly #imports: ImportCache;
  readonly #mirrorOf: ModelDirectoryOptions['mirrorOf'];
  readonly #trust: readonly string[];
  readonly #settleMs: number;
  readonly #now: () => number;
  readonly #alsoWanted: NonNullable<ModelDirectoryOptions['alsoWanted']>;
  /** What was found in complete directories, so that unchanged ones are not read at every look. */
  readonly #complete = new Map<string, Look>();
  /** What the last look wanted, by version. */
  #wanted: ReadonlyMap<string, VersionOnDisk> = new Map();
  /** Fingerprints of plain directories, and since when they are so. */
  readonly #fingerprints = new Map<string, { readonly fingerprint: string; readonly since: number }>();

  constructor(source: ModelSource, { imports, mirrorOf, trust, settleMs, now, alsoWanted = () => [] }: ModelDirectoryOptions) {
    this.source = source;
    this.#imports = imports;
    this.#mirrorOf = mirrorOf;
    this.#trust = trust;
    // Timers of the poll may fire a little early.
    this.#settleMs = 0.9 * settleMs;
    this.#now = now;
    this.#alsoWanted = alsoWanted;
  }

  /** @throws when the folder or its versions.json cannot be read: the caller keeps what it knew. */
  async look(): Promise<ModelSnapshot> {
    const { name, basePath, policy = defaultPolicy, labels: configured = {}, options = {} } = this.source;
    const mirror = this.#mirrorOf(this.source);
    const directories = await listVersions(mirror?.folder ?? basePath).catch((error: unknown) => {
      if (mirror && isMissing(error)) return new Map<string, string>();
      throw error;
    });
    const listed = await readVersionsFile(mirror?.folder ?? basePath);
    const published = listed ? new Map(listed.content.versions.map(({ version, digest }) => [version, digest])) : undefined;
    const versions = new Map<string, VersionOnDisk>();
    const pending = new Map<string, NearfarError>();
    const newestFirst = [...directories].sort(([a], [b]) => compareVersions(b, a));
    await Promise.all(
      newestFirst.map(async ([version, directory], rank) => {
        if (published && !published.has(version)) return;
        const found = await this.#lookAtVersion(version, directory, rank);
        const outcome = found instanceof NearfarError ? found : assertPublished(found, published?.get(version));
        if (outcome instanceof NearfarError) pending.set(version, outcome);
        else versions.set(version, outcome);
      }),
    );
    for (const [version, error] of mirror?.missing() ?? []) if (!versions.has(version)) pending.set(version, error);
    for (const version of published?.keys() ?? []) {
      // Of a mirror that is no fault: what is not to be loaded is not fetched.
      if (!directories.has(version) && !mirror)
        pending.set(version, new NearfarError('unavailable', 'the version is listed in versions.json but has no directory'));
    }
    this.#forgetRemoved(new Set(directories.values()));
    const isUnloaded = policy.kind === 'specific' && policy.versions.length === 0;
    const labels = isUnloaded ? {} : { ...listed?.content.labels, ...configured };
    // A directory that is written anew, or was touched, stays the version that it was until it is whole again: what is loaded serves on.
    const stays = [...this.#wanted].filter(([version]) => pending.has(version) && directories.has(version));
    const importing = [...pending].flatMap(([version, error]) => (isImporting(error) ? [version] : []));
    const beside = listed && !isUnloaded ? this.#alsoWanted(listed.content) : [];
    const named = [...Object.values(labels), ...beside];
    this.#wanted = this.#choose(policy, new Map([...stays, ...versions]), importing, named);
    return {
      name,
      versions,
      pending,
      labels,
      traffic: isUnloaded ? undefined : listed?.content.traffic,
      published: listed?.content,
      wanted: [...this.#wanted.values()],
      isUnloaded,
      options,
      versionsFile: listed ?? (await makeVersionsFile(name, versions)),
    };
  }

  /**
   * A version does not begin to load when it will be replaced as soon as another one is imported; one that was wanted before serves until
   * then.
   */
  #choose(
    policy: VersionPolicy,
    there: ReadonlyMap<string, VersionOnDisk>,
    importing: readonly string[],
    named: readonly string[],
  ): ReadonlyMap<string, VersionOnDisk> {
    const soon = new Set(selectVersions(policy, [...new Set([...there.keys(), ...importing])], named));
    const chosen = selectVersions(policy, [...there.keys()], named).filter((version) => soon.has(version) || this.#wanted.has(version));
    return new Map(
      chosen.flatMap((version) => {
        const found = there.get(version);
        return found ? [[version, found] as const] : [];
      }),
    );
  }

  async #lookAtVersion(version: string, directory: string, rank: number): Promise<VersionOnDisk | NearfarError> {
    try {
      const manifestStamp = await fileStamp(join(directory, 'manifest.json'));
      if (manifestStamp === undefined) return await this.#lookAtPlain(version, directory, rank);
      const stamp = `${manifestStamp} ${await fileStamp(join(directory, 'manifest.sig'))}`;
      const known = this.#complete.get(directory);
      if (known?.stamp === stamp) return known.outcome;
      const outcome = await readVersionDirectory(directory, version);
      if (this.#trust.length > 0) await checkSignature(outcome, this.#trust);
      this.#complete.set(directory, { stamp, outcome });
      return outcome;
    } catch (error) {
      if (error instanceof NearfarError) return error;
      return new NearfarError('unavailable', `the version cannot be read: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  }

  async #lookAtPlain(version: string, directory: string, rank: number): Promise<VersionOnDisk | NearfarError> {
    if (this.#trust.length > 0) {
      return new NearfarError('signature-invalid', 'a version without a manifest is not signed, and only signed versions are trusted');
    }
    const state = await readDirectoryState(directory);
    if (state === undefined) return underWay('the version is still being copied: there is no file yet');
    const { fingerprint, changedAt } = state;
    const before = this.#fingerprints.get(directory);
    const isSame = fingerprint === before?.fingerprint;
    if (!isSame) this.#fingerprints.set(directory, { fingerprint, since: performance.now() });
    const isSettled = (isSame && performance.now() - before.since >= this.#settleMs) || this.#now() - changedAt >= settledAgeMs;
    if (!isSettled) return underWay('the version is still being copied: its files change between two looks');
    return this.#imports.lookUp({ name: this.source.name, version, directory, fingerprint, rank });
  }

  #forgetRemoved(present: ReadonlySet<string>): void {
    for (const known of [this.#complete, this.#fingerprints]) {
      for (const directory of known.keys()) if (!present.has(directory)) known.delete(directory);
    }
  }
}

function assertPublished(found: VersionOnDisk, digest: string | undefined): VersionOnDisk | NearfarError {
  if (digest === undefined || digest === found.digest) return found;
  return new NearfarError('version-mismatch', `versions.json lists digest ${digest}, the directory has ${found.digest}`, {
    details: { version: found.version, want: digest, got: found.digest },
  });
}

async function readVersionsFile(
  basePath: string,
): Promise<{ content: Versions; bytes: Uint8Array<ArrayBuffer>; digest: string } | undefined> {
  try {
    const bytes = new Uint8Array(await readFile(join(basePath, 'versions.json')));
    return { content: parseVersions(bytes), bytes, digest: await digestOf(bytes) };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function makeVersionsFile(name: string, versions: ReadonlyMap<string, VersionOnDisk>): Promise<ModelSnapshot['versionsFile']> {
  const content: Versions = {
    schemaVersion: 1,
    name,
    versions: [...versions.values()]
      .map(({ version, digest }) => ({ version, digest }))
      .sort((a, b) => compareVersions(a.version, b.version)),
    labels: {},
    traffic: undefined,
  };
  const bytes = new TextEncoder().encode(`${JSON.stringify(content, null, 2)}\n`);
  return { bytes, digest: await digestOf(bytes) };
}

import type { BackendId, Reason } from '../../core/index.ts';

/** One version as the store knows it. */
export interface VersionRecord {
  /** Digest of the manifest; the key. */
  readonly digest: string;
  readonly name: string;
  readonly version: string;
  /** The bytes of manifest.json, as their digest needs them. */
  readonly manifest: Uint8Array<ArrayBuffer>;
  /** Paths of the files that were asked for so far. */
  readonly wanted: readonly string[];
  /** Paths of the files that are here as a whole: the commit mark, written after the last chunk. */
  readonly committed: readonly string[];
  /** Digest and length in bytes of each distinct chunk of the wanted files. */
  readonly chunks: readonly (readonly [digest: string, bytes: number])[];
  /** Milliseconds since the epoch. */
  readonly lastUsed: number;
  /** Who wants it kept when room is needed: the application's lock, until it names another version, or the application itself. */
  readonly pin?: 'lock' | 'application' | undefined;
}

/** The last versions.json seen at a URL, for when the network is away. */
export interface VersionsRecord {
  readonly url: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** One variant of one version on one backend of one device. */
export interface VerdictKey {
  /** Digest of the version's manifest. */
  readonly digest: string;
  readonly variant: string;
  readonly backend: BackendId;
  /** Adapter, browser and nearfar, as far as they are known: what may change the numbers. */
  readonly device: string;
}

/** What the golden examples said there; a failure with its reason. */
export interface Verdict extends VerdictKey {
  readonly failure?: Reason | undefined;
  /** Of a record that is a loading mark instead: when the loading that has not ended began, and what came of those before it. */
  readonly loading?: { readonly startedAt?: number | undefined; readonly crashes: number; readonly skipUntil: number } | undefined;
}

/**
 * Where chunks and versions are kept. Chunks are named by their digest and shared between versions; a chunk belongs to
 * every version record that lists it, and goes with the last of them.
 */
export interface ChunkStore {
  readonly kind: 'indexeddb' | 'memory';
  /** Which of these chunks are here, by key alone: their bytes are checked when they are read. */
  findChunks(digests: readonly string[]): Promise<ReadonlySet<string>>;
  /** The bytes as they were stored, not verified; undefined when absent or no longer readable. */
  readChunk(digest: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** @throws {NearfarError} `quota-exceeded` with `{ neededBytes, availableBytes }`; `unavailable` when the store is broken. */
  writeChunk(digest: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  deleteChunk(digest: string): Promise<void>;
  chunkDigests(): Promise<readonly string[]>;
  readVersion(digest: string): Promise<VersionRecord | undefined>;
  listVersions(): Promise<readonly VersionRecord[]>;
  /** Writes what `change` makes of the record of a version, in one step, so that tabs do not overwrite each other; undefined leaves it as it is. */
  updateVersion(digest: string, change: (known: VersionRecord | undefined) => VersionRecord | undefined): Promise<void>;
  /** Deletes a version and, in the same transaction, the chunks no other version lists. Returns the bytes given back. */
  deleteVersion(digest: string): Promise<number>;
  readVersions(url: string): Promise<VersionsRecord | undefined>;
  writeVersions(record: VersionsRecord): Promise<void>;
  readVerdict(key: VerdictKey): Promise<Verdict | undefined>;
  /** Keeps a verdict until its version is deleted. */
  writeVerdict(verdict: Verdict): Promise<void>;
  deleteAll(): Promise<void>;
  close(): void;
}

/** The chunks of `record` that none of `others` lists. */
export function unsharedChunks(record: VersionRecord, others: readonly VersionRecord[]): readonly (readonly [string, number])[] {
  const kept = new Set(others.filter(({ digest }) => digest !== record.digest).flatMap(({ chunks }) => chunks.map(([digest]) => digest)));
  return record.chunks.filter(([digest]) => !kept.has(digest));
}

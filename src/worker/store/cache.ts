import { type CachedVersion, type CacheReport, type CacheVerification, digestOf } from '../../core/index.ts';
import type { ChunkStore, VersionRecord } from './chunk-store.ts';
import { estimateStorage } from './indexed-db.ts';

export interface Eviction {
  readonly name: string;
  readonly version: string;
  /** Bytes given back: chunks that other versions list stay. */
  readonly bytes: number;
}

/**
 * Deletes versions, the least recently used first, until `neededBytes` more fit under `budgetBytes`.
 * @param options.isProtected Digests of versions that are open or being loaded; they stay.
 * @returns What was deleted, and whether there is room now.
 */
export async function makeRoom(
  store: ChunkStore,
  options: { budgetBytes: number; neededBytes: number; isProtected: (digest: string) => boolean },
): Promise<{ evictions: Eviction[]; isEnough: boolean }> {
  const evictions: Eviction[] = [];
  let usedBytes = await storedBytes(store);
  for (const record of await leastRecentlyUsed(store, options.isProtected)) {
    if (usedBytes + options.neededBytes <= options.budgetBytes) break;
    const bytes = await store.deleteVersion(record.digest);
    usedBytes -= bytes;
    evictions.push({ name: record.name, version: record.version, bytes });
  }
  return { evictions, isEnough: usedBytes + options.neededBytes <= options.budgetBytes };
}

/** Deletes the least recently used version that is not protected; undefined when there is none. */
export async function evictOne(store: ChunkStore, isProtected: (digest: string) => boolean): Promise<Eviction | undefined> {
  const [record] = await leastRecentlyUsed(store, isProtected);
  return record && { name: record.name, version: record.version, bytes: await store.deleteVersion(record.digest) };
}

async function leastRecentlyUsed(store: ChunkStore, isProtected: (digest: string) => boolean): Promise<VersionRecord[]> {
  const versions = await store.listVersions();
  return versions.filter(({ digest }) => !isProtected(digest)).sort((a, b) => a.lastUsed - b.lastUsed);
}

/** Every chunk of the listed versions, once, with its length. */
function chunkLengths(versions: readonly VersionRecord[]): ReadonlyMap<string, number> {
  return new Map(versions.flatMap(({ chunks }) => chunks));
}

async function storedBytes(store: ChunkStore): Promise<number> {
  const lengths = chunkLengths(await store.listVersions());
  const present = await store.chunkDigests();
  return present.reduce((sum, digest) => sum + (lengths.get(digest) ?? 0), 0);
}

/** What is cached: each version with its bytes (shared chunks count for each of them), the sum with shared chunks counted once. */
export async function reportCache(store: ChunkStore, budgetBytes: number): Promise<CacheReport> {
  const versions = await store.listVersions();
  const present = new Set(await store.chunkDigests());
  const { quotaBytes } = await estimateStorage();
  return {
    versions: versions.map((record) => describeVersion(record, present)),
    bytes: await storedBytes(store),
    budgetBytes,
    ...(quotaBytes === undefined ? {} : { quotaBytes }),
  };
}

function describeVersion(record: VersionRecord, present: ReadonlySet<string>): CachedVersion {
  const sum = (chunks: VersionRecord['chunks']) => chunks.reduce((bytes, [, length]) => bytes + length, 0);
  const here = record.chunks.filter(([digest]) => present.has(digest));
  const { name, version, digest, lastUsed } = record;
  const isComplete = here.length === record.chunks.length && record.wanted.every((path) => record.committed.includes(path));
  return { name, version, digest, bytes: sum(here), totalBytes: sum(record.chunks), isComplete, lastUsed };
}

/** Reads every chunk back and compares it with its digest; what is wrong stays for the next load to heal and to tell. */
export async function verifyCache(store: ChunkStore): Promise<CacheVerification> {
  const digests = await store.chunkDigests();
  const corrupt: { digest: string }[] = [];
  for (const digest of digests) {
    const bytes = await store.readChunk(digest);
    if (!bytes || (await digestOf(bytes)) !== digest) corrupt.push({ digest });
  }
  return { chunks: digests.length, corrupt };
}

/** Deletes one model's versions, or everything. */
export async function clearCache(store: ChunkStore, name?: string): Promise<void> {
  if (name === undefined) return store.deleteAll();
  for (const record of await store.listVersions()) {
    if (record.name === name) await store.deleteVersion(record.digest);
  }
}

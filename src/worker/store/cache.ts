import { type CachedVersion, type CacheReport, type CacheVerification, digestOf, NearfarError } from '../../core/index.ts';
import type { Tabs } from '../tabs/index.ts';
import type { ChunkStore, VersionRecord } from './chunk-store.ts';
import { estimateStorage } from './indexed-db.ts';
import { presentLengths } from './room.ts';

/** What is cached: each version with its bytes (shared chunks count for each of them), the sum with shared chunks counted once. */
export async function reportCache(store: ChunkStore, tabs: Tabs, budgetBytes: number): Promise<CacheReport> {
  const versions = await store.listVersions();
  const present = await presentLengths(store, versions);
  const held = await tabs.held();
  const { quotaBytes, usageBytes } = await estimateStorage();
  return {
    versions: versions.map((record) => describeVersion(record, present, held)),
    bytes: [...present.values()].reduce((sum, bytes) => sum + bytes, 0),
    budgetBytes,
    isPersisted: (await globalThis.navigator?.storage?.persisted?.().catch(() => false)) ?? false,
    isKept: store.kind !== 'memory',
    ...(quotaBytes === undefined ? {} : { quotaBytes, usageBytes }),
  };
}

function describeVersion(record: VersionRecord, present: ReadonlyMap<string, number>, held: ReadonlySet<string>): CachedVersion {
  const sum = (chunks: VersionRecord['chunks']) => chunks.reduce((bytes, [, length]) => bytes + length, 0);
  const here = record.chunks.filter(([digest]) => present.has(digest));
  const { name, version, digest, lastUsed, pin } = record;
  const isComplete = here.length === record.chunks.length && record.wanted.every((path) => record.committed.includes(path));
  const use = { isPinned: pin !== undefined, isInUse: held.has(digest) };
  return { name, version, digest, bytes: sum(here), totalBytes: sum(record.chunks), isComplete, lastUsed, ...use };
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

/** Deletes one version or all versions of one model, or everything, whoever uses or pinned it. Returns the bytes given back. */
export async function clearCache(store: ChunkStore, name?: string, version?: string): Promise<number> {
  if (name === undefined) {
    const present = await presentLengths(store, await store.listVersions());
    await store.deleteAll();
    return [...present.values()].reduce((sum, bytes) => sum + bytes, 0);
  }
  let freed = 0;
  for (const record of await versionsOf(store, name, version)) freed += await store.deleteVersion(record.digest);
  return freed;
}

/** @throws {NearfarError} `not-found` for a version that is not cached. */
export async function pinVersion(store: ChunkStore, name: string, version: string, isPinned: boolean): Promise<void> {
  const records = await versionsOf(store, name, version);
  if (records.length === 0) {
    throw new NearfarError('not-found', `${name} version ${version} is not in the cache`, { details: { name, version } });
  }
  for (const { digest } of records) {
    await store.updateVersion(digest, (known) => known && { ...known, pin: isPinned ? 'application' : undefined });
  }
}

async function versionsOf(store: ChunkStore, name: string, version?: string): Promise<readonly VersionRecord[]> {
  const versions = await store.listVersions();
  return versions.filter((record) => record.name === name && (version === undefined || record.version === version));
}

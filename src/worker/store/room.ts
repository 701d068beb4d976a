import type { Tabs } from '../tabs/index.ts';
import type { ChunkStore, VersionRecord } from './chunk-store.ts';
import { unsharedChunks } from './chunk-store.ts';
import { estimateStorage } from './indexed-db.ts';

export interface Eviction {
  readonly name: string;
  readonly version: string;
  /** Bytes given back: chunks that other versions list stay. */
  readonly bytes: number;
}

export interface Room {
  readonly evictions: readonly Eviction[];
  readonly isEnough: boolean;
  /** What there is room for, with what has been or could have been evicted. */
  readonly availableBytes: number;
}

/**
 * Deletes versions, the least recently used first, until `neededBytes` more fit under the budget and under what the
 * browser says is left of its quota. Pinned versions and those that any tab uses stay; where the others would not make
 * enough room, they stay, too.
 * @param options.digest The version that needs the room.
 */
export async function makeRoom(
  store: ChunkStore,
  tabs: Tabs,
  options: { budgetBytes: number; neededBytes: number; digest: string },
): Promise<Room> {
  const { budgetBytes, neededBytes, digest } = options;
  const versions = await store.listVersions();
  const present = await presentLengths(store, versions);
  await sweep(store, versions, present);
  const sum = (lengths: Iterable<number>) => [...lengths].reduce((total, bytes) => total + bytes, 0);
  const { quotaBytes, usageBytes = 0 } = store.kind === 'memory' ? {} : await estimateStorage();
  const limits = [budgetBytes - sum(present.values()), quotaBytes === undefined ? Number.POSITIVE_INFINITY : quotaBytes - usageBytes];
  let availableBytes = Math.max(0, Math.min(...limits));
  if (neededBytes <= availableBytes) return { evictions: [], isEnough: true, availableBytes };
  const candidates = await evictable(tabs, versions, digest);
  const kept = versions.filter((version) => !candidates.includes(version));
  const freed = new Map(candidates.flatMap((version) => unsharedChunks(version, kept)));
  const freeable = sum([...freed.keys()].map((chunk) => present.get(chunk) ?? 0));
  if (neededBytes > availableBytes + freeable) return { evictions: [], isEnough: false, availableBytes: availableBytes + freeable };
  const evictions: Eviction[] = [];
  for (const record of candidates) {
    if (neededBytes <= availableBytes) break;
    const eviction = await evict(store, tabs, record);
    if (!eviction) continue;
    evictions.push(eviction);
    availableBytes += eviction.bytes;
  }
  return { evictions, isEnough: neededBytes <= availableBytes, availableBytes };
}

/** Deletes chunks that belong to no version: what a download still wrote after its version was removed. */
async function sweep(store: ChunkStore, versions: readonly VersionRecord[], present: ReadonlyMap<string, number>): Promise<void> {
  const owned = new Set(versions.flatMap(({ chunks }) => chunks.map(([digest]) => digest)));
  for (const digest of present.keys()) if (!owned.has(digest)) await store.deleteChunk(digest);
}

/** Deletes the least recently used version that may go; undefined when there is none. */
export async function evictOne(store: ChunkStore, tabs: Tabs, digest: string): Promise<Eviction | undefined> {
  for (const record of await evictable(tabs, await store.listVersions(), digest)) {
    const eviction = await evict(store, tabs, record);
    if (eviction) return eviction;
  }
  return undefined;
}

/** Least recently used first. */
async function evictable(tabs: Tabs, versions: readonly VersionRecord[], digest: string): Promise<readonly VersionRecord[]> {
  const held = await tabs.held();
  const mayGo = (version: VersionRecord) => !version.pin && version.digest !== digest && !held.has(version.digest);
  return versions.filter(mayGo).sort((a, b) => a.lastUsed - b.lastUsed);
}

/** Undefined where a tab has come to use it meanwhile. */
async function evict(store: ChunkStore, tabs: Tabs, { digest, name, version }: VersionRecord): Promise<Eviction | undefined> {
  const bytes = await tabs.unlessHeld(digest, () => store.deleteVersion(digest));
  return bytes === undefined ? undefined : { name, version, bytes };
}

/** The chunks that are here, each once, with the length that the versions give. */
export async function presentLengths(store: ChunkStore, versions: readonly VersionRecord[]): Promise<ReadonlyMap<string, number>> {
  const lengths = new Map(versions.flatMap(({ chunks }) => chunks));
  return new Map((await store.chunkDigests()).map((digest) => [digest, lengths.get(digest) ?? 0]));
}

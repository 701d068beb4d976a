import { type ChunkStore, unsharedChunks, type Verdict, type VerdictKey, type VersionRecord, type VersionsRecord } from './chunk-store.ts';

/** A store that lives as long as the worker, for where IndexedDB cannot be opened (private windows, broken profiles). */
export function createMemoryStore(): ChunkStore {
  const chunks = new Map<string, Uint8Array<ArrayBuffer>>();
  const versions = new Map<string, VersionRecord>();
  const versionsFiles = new Map<string, VersionsRecord>();
  const verdicts = new Map<string, Verdict>();
  const keyOf = ({ digest, variant, backend, device }: VerdictKey) => JSON.stringify([digest, variant, backend, device]);
  const clear = () => {
    chunks.clear();
    versions.clear();
    versionsFiles.clear();
    verdicts.clear();
  };
  return {
    kind: 'memory',
    async findChunks(digests) {
      return new Set(digests.filter((digest) => chunks.has(digest)));
    },
    async readChunk(digest) {
      return chunks.get(digest)?.slice();
    },
    async writeChunk(digest, bytes) {
      chunks.set(digest, bytes.slice());
    },
    async deleteChunk(digest) {
      chunks.delete(digest);
    },
    async chunkDigests() {
      return [...chunks.keys()];
    },
    async readVersion(digest) {
      return versions.get(digest);
    },
    async listVersions() {
      return [...versions.values()];
    },
    async updateVersion(digest, change) {
      const record = change(versions.get(digest));
      if (record) versions.set(digest, record);
    },
    async deleteVersion(digest) {
      const record = versions.get(digest);
      if (!record) return 0;
      versions.delete(digest);
      for (const [key, verdict] of verdicts) if (verdict.digest === digest) verdicts.delete(key);
      let freed = 0;
      for (const [chunk, bytes] of unsharedChunks(record, [...versions.values()])) {
        if (chunks.delete(chunk)) freed += bytes;
      }
      return freed;
    },
    async readVersions(url) {
      return versionsFiles.get(url);
    },
    async writeVersions(record) {
      versionsFiles.set(record.url, record);
    },
    async readVerdict(key) {
      return verdicts.get(keyOf(key));
    },
    async writeVerdict(verdict) {
      verdicts.set(keyOf(verdict), verdict);
    },
    async deleteAll() {
      clear();
    },
    close: clear,
  };
}

import { type DBSchema, type IDBPDatabase, openDB } from 'idb';
import { NearfarError } from '../../core/index.ts';
import { type ChunkStore, unsharedChunks, type Verdict, type VersionRecord, type VersionsRecord } from './chunk-store.ts';

/**
 * Version of the database's layout. An upgrade adds its steps to `upgrade` below, in order: a browser may come from any
 * earlier version.
 */
const schemaVersion = 2;

/** How long an opening may take, and how long another page that is in the way is waited for; memory serves after that. */
const openPatienceMs = 10_000;
const blockedPatienceMs = 2_000;

interface Schema extends DBSchema {
  /** One Blob per chunk, by digest: three to five times faster than ArrayBuffers, which are copied through the key-value log. */
  chunks: { key: string; value: Blob };
  versions: { key: string; value: VersionRecord };
  'versions-files': { key: string; value: VersionsRecord };
  verdicts: { key: [digest: string, variant: string, backend: string, device: string]; value: Verdict };
}

type Database = IDBPDatabase<Schema>;

/**
 * Opens the store of this origin.
 * @throws {NearfarError} `unavailable` when the browser refuses IndexedDB, the database was written by a later nearfar,
 * or another page holds an older one open and does not let go.
 */
export async function openIndexedDbStore(databaseName: string): Promise<ChunkStore> {
  const connection = createConnection(databaseName);
  await connection.open();
  return createStore(connection);
}

interface Connection {
  open(): Promise<Database>;
  close(): void;
}

/** Holds one connection and opens it again after the browser or an upgrade in another page has closed it. */
function createConnection(databaseName: string): Connection {
  let database: Promise<Database> | undefined;
  let isClosed = false;
  const forget = () => {
    database = undefined;
  };
  const connect = async (): Promise<Database> => {
    let giveUpIn: (ms: number, reason: string) => void = () => undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const givenUp = new Promise<never>((_, reject) => {
      giveUpIn = (ms, reason) => {
        clearTimeout(timer);
        timer = setTimeout(() => reject(refused(reason)), ms);
      };
    });
    // Some browsers never answer, and a deletion that another page holds up is not told as `blocked`.
    giveUpIn(openPatienceMs, `it did not open within ${openPatienceMs} ms`);
    const opening = openDB<Schema>(databaseName, schemaVersion, {
      upgrade(db, oldVersion) {
        if (oldVersion < 1) {
          db.createObjectStore('chunks');
          db.createObjectStore('versions', { keyPath: 'digest' });
          db.createObjectStore('versions-files', { keyPath: 'url' });
        }
        if (oldVersion < 2) db.createObjectStore('verdicts', { keyPath: ['digest', 'variant', 'backend', 'device'] });
      },
      // Pages of nearfar close at `versionchange` (see `blocking`), once their writes are done: one that does not is frozen.
      blocked: (version) => giveUpIn(blockedPatienceMs, `another page keeps version ${version} of the cache open`),
      blocking() {
        opening.then((db) => db.close()).catch(() => undefined);
        forget();
      },
      terminated: forget,
    });
    // An open that succeeds after it was given up must not keep later upgrades waiting.
    givenUp.catch(() => opening.then((db) => db.close()).catch(() => undefined));
    try {
      return await Promise.race([opening, givenUp]);
    } catch (cause) {
      forget();
      throw cause instanceof NearfarError ? cause : refused(cause instanceof Error ? cause.message : String(cause), cause);
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    open() {
      if (isClosed) throw new NearfarError('failed-precondition', 'the chunk store is closed');
      database ??= connect();
      return database;
    },
    close() {
      isClosed = true;
      database?.then((db) => db.close()).catch(() => undefined);
    },
  };
}

function refused(reason: string, cause?: unknown): NearfarError {
  return new NearfarError('unavailable', `the browser's storage cannot be opened: ${reason}`, { cause });
}

function createStore(connection: Connection): ChunkStore {
  return {
    kind: 'indexeddb',
    async findChunks(digests) {
      const transaction = (await connection.open()).transaction('chunks');
      const keys = await Promise.all(digests.map((digest) => transaction.store.getKey(digest)));
      return new Set(keys.filter((key) => key !== undefined));
    },
    async readChunk(digest) {
      const blob = await (await connection.open()).get('chunks', digest);
      try {
        return blob && new Uint8Array(await blob.arrayBuffer());
      } catch {
        // The record is there but its file is not (cleared by hand, a broken disk): as good as absent.
        return undefined;
      }
    },
    async writeChunk(digest, bytes) {
      const database = await connection.open();
      try {
        const transaction = database.transaction('chunks', 'readwrite', { durability: 'relaxed' });
        await Promise.all([transaction.store.put(new Blob([bytes]), digest), transaction.done]);
      } catch (cause) {
        throw await writeError(cause, bytes.byteLength);
      }
    },
    async deleteChunk(digest) {
      await (await connection.open()).delete('chunks', digest);
    },
    async chunkDigests() {
      return (await connection.open()).getAllKeys('chunks');
    },
    async readVersion(digest) {
      return (await connection.open()).get('versions', digest);
    },
    async listVersions() {
      return (await connection.open()).getAll('versions');
    },
    async updateVersion(digest, change) {
      const database = await connection.open();
      let bytes = 0;
      try {
        // Strict: the commit mark must not reach the disk before the chunks it speaks of.
        const transaction = database.transaction('versions', 'readwrite', { durability: 'strict' });
        const update = async () => {
          const record = change(await transaction.store.get(digest));
          bytes = record?.manifest.byteLength ?? 0;
          if (record) await transaction.store.put(record);
        };
        await Promise.all([update(), transaction.done]);
      } catch (cause) {
        throw await writeError(cause, bytes);
      }
    },
    async deleteVersion(digest) {
      const transaction = (await connection.open()).transaction(['versions', 'chunks', 'verdicts'], 'readwrite');
      const versions = transaction.objectStore('versions');
      const chunks = transaction.objectStore('chunks');
      const all = await versions.getAll();
      const record = all.find((version) => version.digest === digest);
      if (!record) return 0;
      let freed = 0;
      for (const [chunk, bytes] of unsharedChunks(record, all)) {
        if ((await chunks.getKey(chunk)) === undefined) continue;
        await chunks.delete(chunk);
        freed += bytes;
      }
      // Every key that begins with the digest: an array sorts behind any string.
      const ofVersion = IDBKeyRange.bound([digest], [digest, []]);
      await Promise.all([versions.delete(digest), transaction.objectStore('verdicts').delete(ofVersion), transaction.done]);
      return freed;
    },
    async readVersions(url) {
      return (await connection.open()).get('versions-files', url);
    },
    async writeVersions(record) {
      const database = await connection.open();
      try {
        await database.put('versions-files', record);
      } catch (cause) {
        throw await writeError(cause, record.bytes.byteLength);
      }
    },
    async readVerdict({ digest, variant, backend, device }) {
      return (await connection.open()).get('verdicts', [digest, variant, backend, device]);
    },
    async writeVerdict(verdict) {
      await (await connection.open()).put('verdicts', verdict);
    },
    async deleteAll() {
      const transaction = (await connection.open()).transaction(['chunks', 'versions', 'versions-files', 'verdicts'], 'readwrite');
      await Promise.all([
        transaction.objectStore('chunks').clear(),
        transaction.objectStore('versions').clear(),
        transaction.objectStore('versions-files').clear(),
        transaction.objectStore('verdicts').clear(),
        transaction.done,
      ]);
    },
    close: () => connection.close(),
  };
}

/** Translates a failed write; the class QuotaExceededError is too new to ask for by `instanceof` (Chrome 138). */
async function writeError(cause: unknown, neededBytes: number): Promise<NearfarError> {
  const name = cause instanceof Error || cause instanceof DOMException ? cause.name : '';
  if (name !== 'QuotaExceededError') {
    return new NearfarError('unavailable', `the browser's storage refused a write: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
  const { quotaBytes = 0, usageBytes = 0 } = await estimateStorage();
  const availableBytes = Math.max(0, quotaBytes - usageBytes);
  return new NearfarError('quota-exceeded', `the browser's storage has no room for ${neededBytes} bytes (${availableBytes} available)`, {
    cause,
    details: { neededBytes, availableBytes },
  });
}

/** What the browser says of this origin's storage; nothing where it does not say. */
export async function estimateStorage(): Promise<{ quotaBytes?: number | undefined; usageBytes?: number | undefined }> {
  if (typeof navigator === 'undefined' || !navigator.storage?.estimate) return {};
  try {
    const { quota, usage } = await navigator.storage.estimate();
    return { quotaBytes: quota, usageBytes: usage };
  } catch {
    return {};
  }
}

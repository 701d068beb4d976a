import { digestOf } from '../../src/core/index.ts';
import { openIndexedDbStore } from '../../src/worker/store/index.ts';

// Writes and reads chunks as the loader does, by one way of keeping them.

export type StoreWay = 'indexeddb' | 'opfs-files' | 'opfs-pack';

export interface StoreTask {
  readonly way: StoreWay;
  readonly phase: 'write' | 'read' | 'delete';
  readonly chunks: number;
}

const chunkBytes = 2 ** 20;

/** The DOM's types have it for workers alone. */
interface SyncFile {
  write(bytes: Uint8Array<ArrayBuffer>, options?: { at: number }): number;
  read(bytes: Uint8Array<ArrayBuffer>, options?: { at: number }): number;
  getSize(): number;
  close(): void;
}

/** What the loader needs of a store. */
interface Place {
  write(index: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  read(index: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): void;
}

const places: Readonly<Record<StoreWay, () => Promise<Place>>> = {
  async indexeddb() {
    const store = await openIndexedDbStore('bench');
    return {
      write: (index, bytes) => store.writeChunk(`chunk ${index}`, bytes),
      async read(index) {
        const bytes = await store.readChunk(`chunk ${index}`);
        if (!bytes) throw new Error(`chunk ${index} is not there`);
        return bytes;
      },
      close: () => store.close(),
    };
  },
  /** A file for each chunk. */
  async 'opfs-files'() {
    const folder = await openFolder();
    const open = (index: number) => openFile(folder, `chunk ${index}`);
    return {
      async write(index, bytes) {
        const file = await open(index);
        file.write(bytes);
        file.close();
      },
      async read(index) {
        const file = await open(index);
        const bytes = new Uint8Array(file.getSize());
        file.read(bytes);
        file.close();
        return bytes;
      },
      close: () => undefined,
    };
  },
  /** One file for all: the least that there is to open. */
  async 'opfs-pack'() {
    const folder = await openFolder();
    const file = await openFile(folder, 'pack');
    return {
      async write(index, bytes) {
        file.write(bytes, { at: index * chunkBytes });
      },
      async read(index) {
        const bytes = new Uint8Array(chunkBytes);
        file.read(bytes, { at: index * chunkBytes });
        return bytes;
      },
      close: () => file.close(),
    };
  },
};

const openFolder = async () => (await navigator.storage.getDirectory()).getDirectoryHandle('bench', { create: true });

async function openFile(folder: FileSystemDirectoryHandle, name: string): Promise<SyncFile> {
  const file: FileSystemFileHandle & { createSyncAccessHandle?: () => Promise<SyncFile> } = await folder.getFileHandle(name, {
    create: true,
  });
  if (!file.createSyncAccessHandle) throw new Error('this browser has no synchronous access to files');
  return file.createSyncAccessHandle();
}

/** Different for each chunk, the same in each run. */
function chunkOf(index: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(chunkBytes / 4);
  let state = index + 1;
  for (let word = 0; word < words.length; word++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    words[word] = state;
  }
  return new Uint8Array(words.buffer);
}

async function run({ way, phase, chunks }: StoreTask): Promise<number> {
  if (phase === 'delete') {
    await (await navigator.storage.getDirectory()).removeEntry('bench', { recursive: true }).catch(() => undefined);
    const gone = indexedDB.deleteDatabase('bench');
    await new Promise((resolve) => {
      gone.onsuccess = resolve;
    });
    return 0;
  }
  const made = Array.from({ length: chunks }, (_, index) => chunkOf(index));
  const digests = await Promise.all(made.map(digestOf));
  const startedAt = performance.now();
  const place = await places[way]();
  const waiting = made.keys();
  const next = async () => {
    for (const index of waiting) {
      const bytes = phase === 'write' ? (made[index] ?? new Uint8Array(0)) : await place.read(index);
      if ((await digestOf(bytes)) !== digests[index]) throw new Error(`chunk ${index} of ${way} is wrong`);
      if (phase === 'write') await place.write(index, bytes);
    }
  };
  // As many at once as the loader: requests under way, and reads.
  await Promise.all(Array.from({ length: phase === 'write' ? 4 : 16 }, next));
  place.close();
  return performance.now() - startedAt;
}

addEventListener('message', ({ data }: MessageEvent<StoreTask>) => {
  run(data).then(
    (ms) => postMessage({ ms }),
    (error: unknown) => postMessage({ error: String(error) }),
  );
});

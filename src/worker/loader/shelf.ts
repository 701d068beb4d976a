import { type ChunkPlace, type Manifest, NearfarError, type Pin } from '../../core/index.ts';
import { type ChunkStore, type Eviction, evictOne, makeRoom } from '../store/index.ts';
import type { LoaderContext } from './context.ts';

/** Waits for the room that an eviction gives back; Chromium deletes the files behind records in the background. */
const reclaimDelaysMs = [100, 400, 1_500];

/** The place of one version in the store while it is loaded; what cannot be kept is told once and then only loaded. */
export interface Shelf {
  /** Registers the version, so that its chunks belong to someone, and makes room for what is missing. */
  reserve(missingBytes: number): Promise<void>;
  keep(chunk: ChunkPlace, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Writes the commit mark, the last write of a load, and the time of use. */
  commit(): Promise<void>;
}

export function openShelf(
  context: LoaderContext,
  version: { pin: Pin; manifest: Manifest; manifestBytes: Uint8Array<ArrayBuffer> },
  files: readonly string[],
  chunks: readonly ChunkPlace[],
  budgetBytes: number,
): Shelf {
  const { store, refusal, notify } = context;
  let isKeeping = true;
  let missingBytes = 0;
  let freedBytes = 0;
  let freeing: Promise<boolean> | undefined;

  const giveUp = (availableBytes: number, message?: string) => {
    if (!isKeeping) return;
    isKeeping = false;
    notify({ type: 'quota', neededBytes: missingBytes, availableBytes, action: 'memory', message });
  };
  const report = (eviction: Eviction, reason: string) => {
    freedBytes += eviction.bytes;
    notify({ type: 'eviction', from: 'cache', ...eviction, reason });
  };
  const isProtected = (digest: string) => digest === version.pin.digest || context.isProtected(digest);
  /**
   * Evicts until as many bytes went as are missing, and from then on waits, as browsers give room back only after a
   * while. Writes that fail at the same time share one step.
   */
  const free = async (attempt: number): Promise<boolean> => {
    const eviction = freedBytes < missingBytes ? await evictOne(store, isProtected) : undefined;
    if (eviction) report(eviction, "the browser's quota is used up");
    else {
      const delayMs = freedBytes > 0 ? reclaimDelaysMs[attempt] : undefined;
      if (delayMs === undefined) return false;
      await context.clock.delay(delayMs, context.signal);
    }
    return true;
  };

  const writeRecord = async (isCommitted: boolean) => {
    const { pin, manifest, manifestBytes } = version;
    const known = await store.readVersion(pin.digest);
    const union = <T>(a: readonly T[] = [], b: readonly T[] = []) => [...new Set([...a, ...b])];
    const lengths = new Map([...(known?.chunks ?? []), ...chunks.map(({ digest, bytes }) => [digest, bytes] as const)]);
    await store.writeVersion({
      digest: pin.digest,
      name: manifest.name,
      version: pin.version,
      manifest: manifestBytes,
      wanted: union(known?.wanted, files),
      committed: isCommitted ? union(known?.committed, files) : (known?.committed ?? []).filter((path) => !files.includes(path)),
      chunks: [...lengths],
      lastUsed: context.clock.now(),
    });
  };
  /**
   * Runs a write; when the browser has no room, older versions go first, and in the end the write is left out: a full
   * or sick cache slows the next load down, it does not end this one.
   */
  const write = async (step: () => Promise<void>) => {
    for (let attempt = 0; isKeeping; attempt++) {
      try {
        return await step();
      } catch (error) {
        context.signal.throwIfAborted();
        const isFull = error instanceof NearfarError && error.code === 'quota-exceeded';
        freeing ??= (isFull ? free(attempt) : Promise.resolve(false)).finally(() => {
          freeing = undefined;
        });
        if (!(await freeing)) return isFull ? giveUp(Number(error.details['availableBytes'])) : giveUp(0, messageOf(error));
      }
    }
  };
  return {
    async reserve(bytes) {
      missingBytes = bytes;
      if (store.kind === 'memory')
        notify({ type: 'quota', neededBytes: bytes, availableBytes: 0, action: 'memory', message: refusal?.message });
      await write(async () => {
        const known = await store.readVersion(version.pin.digest);
        // Registered first: chunks that this version shares with an evicted one then stay.
        await writeRecord(false);
        const { evictions, isEnough } = await makeRoom(store, { budgetBytes, neededBytes: bytes, isProtected });
        for (const eviction of evictions) report(eviction, `the cache's budget of ${budgetBytes} bytes is used up`);
        if (isEnough) return;
        if (!known) await store.deleteVersion(version.pin.digest);
        giveUp(budgetBytes);
      });
    },
    keep: ({ digest }, bytes) => write(() => store.writeChunk(digest, bytes)),
    commit: () => write(() => writeRecord(true)),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Store reads that fail count as misses: a sick cache slows a load down, it does not end it. */
export async function findStored(store: ChunkStore, digests: readonly string[]): Promise<ReadonlySet<string>> {
  return store.findChunks(digests).catch(() => new Set<string>());
}

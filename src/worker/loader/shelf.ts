import { type ChunkPlace, NearfarError } from '../../core/index.ts';
import { type Eviction, evictOne, makeRoom } from '../store/index.ts';
import type { LoaderContext } from './context.ts';
import type { ResolvedVersion } from './resolve.ts';
import { recordVersion } from './version-record.ts';

/** Waits for the room that an eviction gives back; Chromium deletes the files behind records in the background. */
const reclaimDelaysMs = [100, 400, 1_500];

/** The place of one version in the store while it is downloaded; what cannot be kept is told once and then only loaded. */
export interface Shelf {
  /** Registers the version, so that its chunks belong to someone, and makes room for what is missing. */
  reserve(missingBytes: number): Promise<void>;
  keep(chunk: ChunkPlace, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
}

export interface ShelfOptions {
  readonly version: ResolvedVersion;
  readonly files: readonly string[];
  readonly chunks: readonly ChunkPlace[];
  readonly budgetBytes: number;
  /** What cannot be kept is not worth loading: the shelf then throws `quota-exceeded` or `unavailable`. */
  readonly mustKeep: boolean;
  /** Told when nothing is kept from now on. */
  readonly onGiveUp: () => void;
}

export function openShelf(context: LoaderContext, options: ShelfOptions): Shelf {
  const { store, tabs, refusal, notify } = context;
  const { version, files, chunks, budgetBytes, mustKeep, onGiveUp } = options;
  const { name } = version.manifest;
  const { digest } = version.pin;
  let isKeeping = true;
  let missingBytes = 0;
  let freedBytes = 0;
  let keptBytes = 0;
  let freeing: Promise<boolean> | undefined;

  const giveUp = (availableBytes: number, reason?: string) => {
    if (!isKeeping) return;
    isKeeping = false;
    onGiveUp();
    const details = { neededBytes: missingBytes, availableBytes };
    notify({ type: 'quota', ...details, action: mustKeep ? 'refused' : 'memory', message: reason });
    if (!mustKeep) return;
    const what = `${name} version ${version.pin.version} cannot be kept`;
    if (reason !== undefined) throw new NearfarError('unavailable', `${what}: ${reason}`, { cause: refusal });
    throw new NearfarError('quota-exceeded', `${what}: it needs ${missingBytes} bytes, ${availableBytes} are available`, { details });
  };
  const report = (eviction: Eviction, reason: string) => {
    freedBytes += eviction.bytes;
    notify({ type: 'eviction', from: 'cache', ...eviction, reason });
  };
  /**
   * Evicts until as many bytes went as are missing, and from then on waits, as browsers give room back only after a
   * while. Writes that fail at the same time share one step.
   */
  const free = async (attempt: number): Promise<boolean> => {
    const eviction = freedBytes < missingBytes ? await evictOne(store, tabs, digest) : undefined;
    if (eviction) report(eviction, "the browser's quota is used up");
    else {
      const delayMs = freedBytes > 0 ? reclaimDelaysMs[attempt] : undefined;
      if (delayMs === undefined) return false;
      await context.clock.delay(delayMs, context.signal);
    }
    return true;
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
        if (await freeing) continue;
        if (!isFull) return giveUp(0, messageOf(error));
        // Browsers tell more than they give, so that pages learn nothing of the disk: there was room for what was kept.
        return giveUp(Math.min(Number(error.details['availableBytes']), keptBytes));
      }
    }
  };
  return {
    async reserve(bytes) {
      missingBytes = bytes;
      if (store.kind === 'memory') {
        if (mustKeep) return giveUp(0, refusal?.message ?? 'nothing outlives this worker');
        notify({ type: 'quota', neededBytes: bytes, availableBytes: 0, action: 'memory', message: refusal?.message });
      }
      let shortOf: number | undefined;
      await write(async () => {
        const known = await store.readVersion(digest);
        // Registered first: chunks that this version shares with an evicted one then stay.
        await recordVersion(context, version, files, chunks, false);
        const { evictions, isEnough, availableBytes } = await makeRoom(store, tabs, { budgetBytes, neededBytes: bytes, digest });
        for (const eviction of evictions) report(eviction, `the cache's budget of ${budgetBytes} bytes or the browser's quota is used up`);
        if (isEnough) return;
        if (!known) await store.deleteVersion(digest);
        shortOf = availableBytes;
      });
      if (shortOf !== undefined) giveUp(shortOf);
    },
    keep: ({ digest: chunk }, bytes) =>
      write(async () => {
        await store.writeChunk(chunk, bytes);
        keptBytes += bytes.byteLength;
      }),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

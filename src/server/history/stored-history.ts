import { NearfarError } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import type { Change, History, HistoryEntry, HistoryStore, StampedChange } from './entry.ts';

export interface StoredHistoryOptions {
  /** Names this server in a log that several share. */
  readonly server: string;
  readonly log: Pick<Logger, 'error'>;
  /** How long a store that is busy is tried again, in milliseconds. @default 5_000 */
  readonly patienceMs?: number | undefined;
}

interface Waiting {
  readonly entries: readonly StampedChange[];
  readonly done: () => void;
}

/** Pause before a busy store is tried again, in milliseconds. */
const retryMs = 20;

/** A log in a store: what comes while it writes is written together, in the order in which it came. */
export function createStoredHistory(store: HistoryStore, { server, log, patienceMs = 5_000 }: StoredHistoryOptions): History {
  const listeners = new Set<(entry: HistoryEntry) => void>();
  let queue: Waiting[] = [];
  let writing: Promise<void> | undefined;

  const write = async (entries: readonly StampedChange[]): Promise<void> => {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      try {
        const ids = await store.write(entries);
        for (const [index, entry] of entries.entries()) for (const listener of listeners) listener({ ...entry, id: ids[index] ?? 0 });
        return;
      } catch (error) {
        if (!store.isTransient(error) || performance.now() > deadline) {
          log.error({ err: error, changes: entries }, 'the history could not be written');
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, retryMs));
      }
    }
  };
  const writeAll = async (): Promise<void> => {
    while (queue.length > 0) {
      const waiting = queue;
      queue = [];
      await write(waiting.flatMap(({ entries }) => entries));
      for (const { done } of waiting) done();
    }
    writing = undefined;
  };

  return {
    record: (...changes: readonly Change[]) => {
      if (changes.length === 0) return Promise.resolve();
      const at = new Date().toISOString();
      return new Promise((done) => {
        queue.push({ entries: changes.map((change) => ({ ...change, at, server })), done });
        // In a later turn, so that what is recorded in this one goes together.
        writing ??= Promise.resolve().then(writeAll);
      });
    },
    list: async (query = {}) => {
      try {
        return await store.read(query);
      } catch (cause) {
        throw new NearfarError('unavailable', `the history cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
      }
    },
    watch: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => listeners.delete(listener) };
    },
    [Symbol.asyncDispose]: async () => {
      await writing;
      await store.close();
    },
  };
}

import type { History, HistoryEntry } from './entry.ts';
import { createStoredHistory, type StoredHistoryOptions } from './stored-history.ts';

/** The latest that are kept. */
const mostEntries = 1_000;

/** A log that ends with the process, for servers that keep none. */
export function createMemoryHistory({ server }: Pick<StoredHistoryOptions, 'server'>): History {
  let entries: readonly HistoryEntry[] = [];
  let lastId = 0;
  return createStoredHistory(
    {
      write: async (written) => {
        const added = written.map((entry) => ({ ...entry, id: ++lastId }));
        entries = [...added.toReversed(), ...entries].slice(0, mostEntries);
        return added.map(({ id }) => id);
      },
      read: async ({ model, folder, before = Number.POSITIVE_INFINITY, limit = 100 }) =>
        entries
          .filter((entry) => (model === undefined || entry.model === model) && (folder === undefined || entry.folder === folder))
          .filter(({ id }) => id < before)
          .slice(0, limit),
      isTransient: () => false,
      close: async () => undefined,
    },
    // What cannot fail needs no log.
    { server, log: { error: () => undefined } },
  );
}

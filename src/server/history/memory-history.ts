import type { History, HistoryEntry } from './entry.ts';

/** The latest that are kept. */
const mostEntries = 1_000;

/** A log that ends with the process, for servers that keep none. */
export function createMemoryHistory({ server }: { readonly server: string }): History {
  const entries: HistoryEntry[] = [];
  let lastId = 0;
  return {
    record(change) {
      lastId += 1;
      entries.unshift({ ...change, id: lastId, at: new Date().toISOString(), server });
      entries.length = Math.min(entries.length, mostEntries);
    },
    list: ({ model, before = Number.POSITIVE_INFINITY, limit = 100 } = {}) =>
      entries.filter((entry) => (model === undefined || entry.model === model) && entry.id < before).slice(0, limit),
    [Symbol.dispose]: () => undefined,
  };
}

import { describe, expect, test } from 'vitest';
import type { Change, History, HistoryEntry } from '../../src/server/history/index.ts';

export const change = (model: string, version: string): Change => ({
  who: '127.0.0.1',
  way: 'REST',
  action: 'change',
  model,
  version,
  from: { labels: { stable: '1' } },
  to: { labels: { stable: version } },
  outcome: 'done',
});

/** What every history does, wherever it keeps its entries. @param open Opens an empty one. */
export function historyContract(name: string, open: () => History | Promise<History>): void {
  describe(`a history ${name}`, () => {
    test('tells the newest first, of one model alone, page by page', async () => {
      await using history = await open();
      for (const version of ['2', '3', '4']) {
        await history.record(change('a', version));
        await history.record({ ...change('b', version), outcome: 'failed', message: 'no such version' });
      }

      const first = await history.list({ model: 'a', limit: 2 });
      const second = await history.list({ model: 'a', limit: 2, before: first.at(-1)?.id });

      expect(first.map(({ version }) => version)).toEqual(['4', '3']);
      expect(second.map(({ version }) => version)).toEqual(['2']);
      expect(first[0]).toMatchObject({ ...change('a', '4'), server: 'one' });
      expect(Math.abs(Date.parse(first[0]?.at ?? '') - Date.now())).toBeLessThan(60_000);
      expect((await history.list({ model: 'b' }))[0]).toMatchObject({ outcome: 'failed', message: 'no such version' });
      expect(await history.list()).toHaveLength(6);
    });

    test('keeps models of one name apart by their folders', async () => {
      await using history = await open();
      await history.record({ ...change('a', '2'), folder: '/here/a' }, { ...change('a', '3'), folder: '/there/a' });

      const entries = await history.list({ model: 'a', folder: '/here/a' });

      expect(entries.map(({ version }) => version)).toEqual(['2']);
    });

    test('tells those who watch of each entry once it is kept, with its id', async () => {
      await using history = await open();
      const seen: HistoryEntry[] = [];
      const watching = history.watch((entry) => seen.push(entry));
      await history.record(change('a', '2'), change('a', '3'));
      watching[Symbol.dispose]();
      await history.record(change('a', '4'));

      const [, ...kept] = await history.list();
      expect(seen.map(({ id, version }) => [id, version])).toEqual(kept.reverse().map(({ id, version }) => [id, version]));
    });
  });
}

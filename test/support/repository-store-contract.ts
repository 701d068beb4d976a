import { describe, expect, test } from 'vitest';
import type { RepositoryStore, StoreAnswer } from '../../src/server/index.ts';

/** A store with these files, and a way to change them. */
export interface StoreBench extends AsyncDisposable {
  readonly store: RepositoryStore;
  write(path: string, bytes: Uint8Array): Promise<void>;
  remove(path: string): Promise<void>;
}

const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => index % 251);
const names = ['a/versions.json', 'a/1/manifest.json', 'a/1/weights & biases.bin', 'a/2/manifest.json', 'b/versions.json', 'readme.txt'];

/** What every {@link RepositoryStore} does. */
export function testStoreContract(name: string, open: () => Promise<StoreBench>, { canList = true, canRange = true } = {}): void {
  const opened = async () => {
    const bench = await open();
    for (const path of names) await bench.write(path, bytes);
    return bench;
  };

  describe(`the store ${name}`, () => {
    test('gives the bytes of a file and its ETag, and says that an unchanged one is unchanged', async () => {
      await using bench = await opened();

      const first = await bench.store.read('a/1/weights & biases.bin');
      const content = await bytesOf(first);
      const { etag } = first as { etag: string };
      const again = await bench.store.read('a/1/weights & biases.bin', { ifNoneMatch: etag });
      await bench.write('a/1/weights & biases.bin', bytes.subarray(1));
      const changed = await bench.store.read('a/1/weights & biases.bin', { ifNoneMatch: etag });

      expect(content).toEqual(bytes);
      expect(again.kind).toBe('unchanged');
      expect(await bytesOf(changed)).toEqual(bytes.subarray(1));
      expect(changed).not.toMatchObject({ etag });
    });

    test('says that a file is missing, also one in no folder, and one that was removed', async () => {
      await using bench = await opened();
      await bench.remove('a/2/manifest.json');

      for (const path of ['a/2/manifest.json', 'a/3/manifest.json', 'nobody/versions.json']) {
        expect((await bench.store.read(path)).kind, path).toBe('missing');
      }
    });

    test('begins at a byte where it can, and says where it began', async () => {
      await using bench = await opened();
      const whole = await bench.store.read('a/versions.json');
      await bytesOf(whole);
      const { etag } = whole as { etag: string };

      const answer = await bench.store.read('a/versions.json', { start: 60_001, ifRange: etag });

      expect(answer).toMatchObject({ kind: 'content', start: canRange ? 60_001 : 0 });
      expect(await bytesOf(answer)).toEqual(bytes.subarray(canRange ? 60_001 : 0));
    });

    test('gives no part of another file than the one that was begun', async () => {
      await using bench = await opened();
      const whole = await bench.store.read('a/versions.json');
      await bytesOf(whole);
      const { etag } = whole as { etag: string };
      await bench.write('a/versions.json', bytes.subarray(7));

      const answer = await bench.store
        .read('a/versions.json', { start: 60_001, ifRange: etag })
        .catch((error: unknown) => error as { code: string });

      if ('code' in answer) expect(answer.code).toBe('unavailable');
      else expect([(answer as { start: number }).start, await bytesOf(answer)]).toEqual([0, bytes.subarray(7)]);
    });

    test('ends with the reason of its signal', async () => {
      await using bench = await opened();
      const reason = new Error('enough');

      await expect(bench.store.read('a/versions.json', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      await expect(bench.store.list('', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    });

    test('says where it is, and holds no key', async () => {
      await using bench = await opened();

      expect(URL.canParse(bench.store.location)).toBe(true);
      expect(bench.store.location).not.toMatch(/secret|key/i);
    });

    test.runIf(canList)('lists the names in a folder, folders with a slash', async () => {
      await using bench = await opened();

      const paths = async (folder: string) => (await bench.store.list(folder)).map(({ path }) => path).sort();

      expect(await paths('')).toEqual(['a/', 'b/', 'readme.txt']);
      expect(await paths('a')).toEqual(['1/', '2/', 'versions.json']);
      expect(await paths('nobody')).toEqual([]);
    });

    test.runIf(canList)('lists every file below a folder with its size, and an ETag that changes with its content', async () => {
      await using bench = await opened();

      const before = await bench.store.list('a', { isDeep: true });
      await bench.write('a/1/manifest.json', bytes.subarray(1));
      const after = await bench.store.list('a', { isDeep: true });

      const told = (entries: typeof before, path: string) => entries.find((entry) => entry.path === path);
      expect(before.map(({ path }) => path).sort()).toEqual(names.flatMap((path) => (path.startsWith('a/') ? [path.slice(2)] : [])).sort());
      expect(told(before, '1/manifest.json')?.bytes).toBe(bytes.byteLength);
      expect(told(after, '1/manifest.json')?.etag).not.toBe(told(before, '1/manifest.json')?.etag);
      expect(told(after, '2/manifest.json')).toEqual(told(before, '2/manifest.json'));
    });
  });
}

async function bytesOf(answer: StoreAnswer): Promise<Uint8Array> {
  if (answer.kind !== 'content') throw new Error(`expected content, got ${answer.kind}`);
  const parts: Uint8Array[] = [];
  for await (const part of answer.body) parts.push(part);
  return new Uint8Array(Buffer.concat(parts));
}

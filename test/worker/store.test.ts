import { describe, expect, test } from 'vitest';
import { digestOf } from '../../src/core/index.ts';
import {
  clearCache,
  createMemoryStore,
  makeRoom,
  openChunkStore,
  pinVersion,
  reportCache,
  verifyCache,
} from '../../src/worker/store/index.ts';
import { openTabs } from '../../src/worker/tabs/index.ts';
import { storeContract, versionRecord, write } from '../support/store-contract.ts';

describe('a store in memory', () => {
  for (const [name, check] of Object.entries(storeContract)) test(name, () => check(createMemoryStore()));
});

test('memory stands in, with the reason, where there is no IndexedDB', async () => {
  const { store, refusal } = await openChunkStore();

  expect(store.kind).toBe('memory');
  expect(refusal).toMatchObject({ code: 'unavailable' });
});

describe('the cache', () => {
  const open = async () => {
    const store = createMemoryStore();
    const versions = [
      versionRecord({
        digest: 'old',
        name: 'a',
        lastUsed: 1,
        chunks: [
          ['x', 10],
          ['s', 10],
        ],
        committed: ['a.bin'],
      }),
      versionRecord({
        digest: 'mid',
        name: 'b',
        lastUsed: 2,
        chunks: [
          ['s', 10],
          ['y', 10],
        ],
        committed: ['a.bin'],
      }),
      versionRecord({
        digest: 'new',
        name: 'b',
        version: '2',
        lastUsed: 3,
        chunks: [
          ['z', 10],
          ['missing', 5],
        ],
      }),
    ];
    for (const chunk of ['x', 's', 'y', 'z']) await store.writeChunk(chunk, new Uint8Array(10));
    for (const version of versions) await write(store, version);
    return store;
  };

  test('evicts the least recently used versions first, and no more than needed', async () => {
    const store = await open();

    const { evictions, isEnough } = await makeRoom(store, openTabs(undefined), { budgetBytes: 40, neededBytes: 5, digest: 'next' });

    expect(evictions).toEqual([{ name: 'a', version: '1', bytes: 10 }]);
    expect(isEnough).toBe(true);
    expect(await store.chunkDigests()).toEqual(['s', 'y', 'z']);
  });

  test('evicts no version that is used, none that is pinned, and not the one that needs the room', async () => {
    const store = await open();
    const tabs = openTabs(undefined);
    using _held = await tabs.hold('old', new AbortController().signal);
    await pinVersion(store, 'b', '1', true);

    const { evictions, isEnough } = await makeRoom(store, tabs, { budgetBytes: 40, neededBytes: 10, digest: 'next' });
    const own = await makeRoom(store, tabs, { budgetBytes: 40, neededBytes: 20, digest: 'mid' });

    expect(evictions).toEqual([{ name: 'b', version: '2', bytes: 10 }]);
    expect(isEnough).toBe(true);
    expect(own).toEqual({ evictions: [], isEnough: false, availableBytes: 10 });
  });

  test('evicts nothing where that would not make enough room', async () => {
    const store = await open();

    const room = await makeRoom(store, openTabs(undefined), { budgetBytes: 40, neededBytes: 41, digest: 'next' });

    expect(room).toEqual({ evictions: [], isEnough: false, availableBytes: 40 });
    expect(await store.listVersions()).toHaveLength(3);
  });

  test('loses chunks that belong to no version, when room is made', async () => {
    const store = await open();
    await store.writeChunk('left over', new Uint8Array(10));

    await makeRoom(store, openTabs(undefined), { budgetBytes: 100, neededBytes: 1, digest: 'next' });

    expect(await store.chunkDigests()).toEqual(['x', 's', 'y', 'z']);
  });

  test('lets an unpinned version go', async () => {
    const store = await open();
    await pinVersion(store, 'a', '1', true);
    await pinVersion(store, 'a', '1', false);

    const { evictions } = await makeRoom(store, openTabs(undefined), { budgetBytes: 40, neededBytes: 5, digest: 'next' });

    expect(evictions).toMatchObject([{ name: 'a' }]);
  });

  test('pins no version that it does not have', async () => {
    await expect(pinVersion(await open(), 'a', '9', true)).rejects.toMatchObject({ code: 'not-found' });
  });

  test('is reported version by version, shared chunks counted once in the sum', async () => {
    const report = await reportCache(await open(), openTabs(undefined), 1_000);

    expect(report).toMatchObject({ bytes: 40, budgetBytes: 1_000 });
    expect(report.versions).toMatchObject([
      { digest: 'old', bytes: 20, totalBytes: 20, isComplete: true, lastUsed: 1 },
      { digest: 'mid', bytes: 20, totalBytes: 20, isComplete: true },
      { digest: 'new', bytes: 10, totalBytes: 15, isComplete: false },
    ]);
  });

  test('is verified chunk by chunk', async () => {
    const store = createMemoryStore();
    const right = Uint8Array.of(1, 2, 3);
    const digest = await digestOf(right);
    await store.writeChunk(digest, right);
    await store.writeChunk('sha256:wrong', right);

    expect(await verifyCache(store)).toEqual({ chunks: 2, corrupt: [{ digest: 'sha256:wrong' }] });
  });

  test('gives back one version, and says how many bytes that were', async () => {
    const store = await open();

    expect(await clearCache(store, 'b', '1')).toBe(10);

    expect((await store.listVersions()).map(({ digest }) => digest)).toEqual(['old', 'new']);
    expect(await clearCache(store)).toBe(30);
  });

  test('is cleared model by model', async () => {
    const store = await open();

    await clearCache(store, 'b');

    expect((await store.listVersions()).map(({ digest }) => digest)).toEqual(['old']);
    expect(await store.chunkDigests()).toEqual(['x', 's']);
  });
});

import type { ChunkStore, VersionRecord } from '../../src/worker/store/index.ts';

// What every chunk store does. Run in Node on memory and, bundled into a page, in a browser on IndexedDB.

const bytes = (...values: number[]) => Uint8Array.from(values);

export function versionRecord(change: Partial<VersionRecord> & Pick<VersionRecord, 'digest'>): VersionRecord {
  return {
    name: 'm',
    version: '1',
    manifest: bytes(1, 2, 3),
    wanted: ['a.bin'],
    committed: [],
    chunks: [],
    lastUsed: 1,
    ...change,
  };
}

export const write = (store: ChunkStore, record: VersionRecord) => store.updateVersion(record.digest, () => record);

export const storeContract: Readonly<Record<string, (store: ChunkStore) => Promise<void>>> = {
  async 'gives back the bytes of a chunk, also after they were changed by their owner'(store) {
    const own = bytes(1, 2, 3);
    await store.writeChunk('c1', own);
    own.fill(9);

    equal(await store.readChunk('c1'), bytes(1, 2, 3));
    equal(await store.readChunk('c2'), undefined);
  },

  async 'finds chunks by their keys'(store) {
    await store.writeChunk('c1', bytes(1));
    await store.writeChunk('c3', bytes());

    equal([...(await store.findChunks(['c1', 'c2', 'c3']))].sort(), ['c1', 'c3']);
    equal([...(await store.chunkDigests())].sort(), ['c1', 'c3']);
    equal(await store.readChunk('c3'), bytes());
  },

  async 'replaces and deletes a chunk'(store) {
    await store.writeChunk('c1', bytes(1));
    await store.writeChunk('c1', bytes(2));
    equal(await store.readChunk('c1'), bytes(2));

    await store.deleteChunk('c1');
    await store.deleteChunk('c1');

    equal(await store.readChunk('c1'), undefined);
  },

  async 'keeps the record of a version'(store) {
    const record = versionRecord({ digest: 'v1', chunks: [['c1', 4]], committed: ['a.bin'], lastUsed: 77 });
    await write(store, versionRecord({ digest: 'v1' }));
    await write(store, record);

    equal(await store.readVersion('v1'), record);
    equal(await store.listVersions(), [record]);
    equal(await store.readVersion('v2'), undefined);
  },

  async 'changes the record of a version by what is known of it'(store) {
    await write(store, versionRecord({ digest: 'v1', wanted: ['a.bin'] }));

    const seen: unknown[] = [];
    const change = (known: VersionRecord | undefined) => {
      seen.push(known?.wanted);
      return known && { ...known, wanted: [...known.wanted, 'b.bin'] };
    };
    // Side by side, as two tabs do it: neither overwrites the other.
    await Promise.all([store.updateVersion('v1', change), store.updateVersion('v1', change), store.updateVersion('v2', change)]);

    equal(seen, [['a.bin'], ['a.bin', 'b.bin'], undefined]);
    equal((await store.readVersion('v1'))?.wanted, ['a.bin', 'b.bin', 'b.bin']);
    equal(await store.readVersion('v2'), undefined);
  },

  async 'deletes with a version only the chunks that no other version lists'(store) {
    for (const digest of ['own', 'shared', 'other']) await store.writeChunk(digest, bytes(1, 2));
    await write(
      store,
      versionRecord({
        digest: 'v1',
        chunks: [
          ['own', 2],
          ['shared', 2],
          ['never fetched', 50],
        ],
      }),
    );
    await write(
      store,
      versionRecord({
        digest: 'v2',
        chunks: [
          ['shared', 2],
          ['other', 2],
        ],
      }),
    );

    equal(await store.deleteVersion('v1'), 2);
    equal(await store.deleteVersion('v1'), 0);
    equal([...(await store.chunkDigests())].sort(), ['other', 'shared']);
    equal(await store.deleteVersion('v2'), 4);
    equal(await store.chunkDigests(), []);
  },

  async 'keeps the last versions.json of each URL'(store) {
    await store.writeVersions({ url: 'https://a/versions.json', bytes: bytes(1) });
    await store.writeVersions({ url: 'https://a/versions.json', bytes: bytes(2) });

    equal((await store.readVersions('https://a/versions.json'))?.bytes, bytes(2));
    equal(await store.readVersions('https://b/versions.json'), undefined);
  },

  async 'keeps a verdict for one device, until its version is deleted'(store) {
    const key = { digest: 'v1', variant: 'f32', backend: 'tfjs-webgpu', device: 'one' } as const;
    const failure = { code: 'self-test-failed', message: 'wrong' } as const;
    await store.writeVerdict(key);
    await store.writeVerdict({ ...key, failure });
    await store.writeVerdict({ ...key, digest: 'v10' });

    equal(await store.readVerdict(key), { ...key, failure });
    for (const other of [{ variant: 'f16' }, { backend: 'tfjs-wasm' } as const, { device: 'two' }]) {
      equal(await store.readVerdict({ ...key, ...other }), undefined);
    }
    await write(store, versionRecord({ digest: 'v1' }));
    await store.deleteVersion('v1');
    equal(await store.readVerdict(key), undefined);
    equal(await store.readVerdict({ ...key, digest: 'v10' }), { ...key, digest: 'v10' });
    await store.deleteAll();
    equal(await store.readVerdict({ ...key, digest: 'v10' }), undefined);
  },

  async 'can be emptied'(store) {
    await store.writeChunk('c1', bytes(1));
    await write(store, versionRecord({ digest: 'v1' }));
    await store.writeVersions({ url: 'https://a/versions.json', bytes: bytes(1) });

    await store.deleteAll();

    equal(await store.chunkDigests(), []);
    equal(await store.listVersions(), []);
    equal(await store.readVersions('https://a/versions.json'), undefined);
  },
};

/** Plain, as no assertion library runs in both places. */
function equal(got: unknown, want: unknown): void {
  const text = (value: unknown) => JSON.stringify(value, (_key, item) => (item instanceof Uint8Array ? { bytes: [...item] } : item));
  if (text(got) !== text(want)) throw new Error(`expected ${text(want)}, got ${text(got)}`);
}

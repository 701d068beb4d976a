import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { digestOf, encodeVersions, NearfarError, parseVersions, type VersionRequest, type WorkerEvent } from '../../src/core/index.ts';
import { openSigner } from '../../src/publish/sign.ts';
import { clientKey, createSlots, type LoaderContext, loadFiles, resolveVersion, type VersionFiles } from '../../src/worker/loader/index.ts';
import { type ChunkStore, createMemoryStore } from '../../src/worker/store/index.ts';
import { openTabs, type Tabs } from '../../src/worker/tabs/index.ts';
import { serveFaulty } from '../support/fault-server.ts';
import { keyPair } from '../support/keys.ts';
import { createSmallRepository, noise } from '../support/small-repository.ts';

const chunkBytes = 100_000;
const weights = noise(1_000_000, 1);
const changed = Uint8Array.from(weights);
changed.set(noise(chunkBytes, 2), 900_000);
const graph = noise(3_000, 3);

const repository = await createSmallRepository([
  { version: '1', files: { 'model.json': graph, 'weights.bin': weights, 'empty.txt': new Uint8Array(0) }, chunkBytes },
  { version: '2', files: { 'model.json': graph, 'weights.bin': changed }, chunkBytes },
]);
const server = await serveFaulty(repository.folder);
const mirror = await serveFaulty(repository.folder);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await mirror[Symbol.asyncDispose]();
  await repository[Symbol.asyncDispose]();
});
beforeEach(() => {
  for (const each of [server, mirror]) {
    each.fail(() => undefined);
    each.forget();
  }
});

interface Setting {
  readonly name?: string;
  readonly store?: ChunkStore;
  readonly signal?: AbortSignal;
  readonly repositories?: readonly string[];
  readonly choice?: VersionRequest['choice'];
  readonly lock?: VersionRequest['lock'];
  readonly trust?: VersionRequest['trust'];
  readonly files?: readonly string[];
  readonly budgetBytes?: number;
  readonly isAhead?: boolean;
  readonly isLocked?: boolean;
  readonly tabs?: Tabs;
  readonly slots?: LoaderContext['slots'];
  readonly onEvent?: (event: WorkerEvent) => unknown;
}

/** A load with real sockets and a clock that never waits. */
async function load(setting: Setting = {}) {
  const events: WorkerEvent[] = [];
  const delays: number[] = [];
  let time = 0;
  const store = setting.store ?? createMemoryStore();
  const context: LoaderContext = {
    store,
    clientKey: () => clientKey(store),
    fetch: globalThis.fetch,
    clock: {
      // Seconds pass between two looks, so that no progress event is held back.
      now: () => {
        time += 1_000;
        return time;
      },
      random: () => 0.5,
      delay(ms, signal) {
        // Watchdogs of seconds stay pending, as nothing stalls here; waits before a retry are over at once.
        if (ms >= 3_000) return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
        delays.push(ms);
        return Promise.resolve();
      },
    },
    notify(event) {
      events.push(event);
      setting.onEvent?.(event);
    },
    signal: setting.signal ?? new AbortController().signal,
    tabs: setting.tabs ?? openTabs(undefined),
    slots: setting.slots ?? createSlots(),
    isLocked: () => setting.isLocked ?? false,
  };
  const repositories = setting.repositories ?? [server.origin];
  const outcome = { events, delays, of: (type: WorkerEvent['type']) => events.filter((event) => event.type === type) };
  try {
    const version = await resolveVersion(context, {
      name: setting.name ?? repository.name,
      repositories,
      choice: setting.choice ?? { version: '1' },
      lock: setting.lock,
      trust: setting.trust,
    });
    const files = await loadFiles(context, {
      version,
      files: setting.files ?? ['model.json', 'weights.bin'],
      repositories,
      cacheBudgetBytes: setting.budgetBytes ?? 100_000_000,
      isAhead: setting.isAhead ?? false,
    });
    return { ...outcome, files };
  } catch (error) {
    throw Object.assign(error instanceof Error ? error : new Error(String(error)), outcome);
  }
}

async function rejection(promise: Promise<unknown>): Promise<NearfarError & { events: WorkerEvent[] }> {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(NearfarError);
  return error;
}

// Digests: comparing long arrays item by item takes seconds.
const contentOf = async (files: VersionFiles, path: string) => digestOf(await files.readFile(path));

/** Settles when a load has read so many bytes. */
function watchProgress(bytes: number) {
  let settle: () => void = () => undefined;
  const whenRead = new Promise<void>((resolve) => {
    settle = resolve;
  });
  return { whenRead, onEvent: (event: WorkerEvent) => event.type === 'downloadprogress' && event.loadedBytes >= bytes && settle() };
}

const requestsOf = (path: string) => server.requests.filter((request) => request.path === path);

describe('a load', () => {
  test('gives the bytes of every file, and sizes from the manifest', async () => {
    const { files, of } = await load({ files: ['model.json', 'weights.bin', 'empty.txt'] });

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
    expect(await contentOf(files, 'model.json')).toBe(await digestOf(graph));
    expect(await files.readFile('empty.txt')).toEqual(new Uint8Array(0));
    expect(files.cache).toBe('miss');
    expect(of('phase')).toEqual([
      { type: 'phase', phase: 'download' },
      { type: 'phase', phase: 'verify' },
    ]);
    const progress = of('downloadprogress');
    expect(progress[0]).toMatchObject({ loadedBytes: 0, totalBytes: 1_003_000 });
    expect(progress.at(-1)).toMatchObject({ loadedBytes: 1_003_000, totalBytes: 1_003_000 });
  });

  test('is refused a file it did not ask for', async () => {
    const { files } = await load({ files: ['model.json'] });

    await expect(files.readFile('weights.bin')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('asks for nothing at all when the lock names a version that is cached', async () => {
    const store = createMemoryStore();
    await load({ store, choice: {}, lock: repository.lockTo('1') });
    server.forget();

    const { files } = await load({ store, choice: {}, lock: repository.lockTo('1') });

    expect(files.cache).toBe('hit');
    expect(server.requests).toEqual([]);
  });

  test('revalidates versions.json without a lock, and uses its last known copy offline', async () => {
    const store = createMemoryStore();
    await load({ store, choice: {} });
    server.forget();
    const online = await load({ store, choice: {} });
    const asked = server.requests.map(({ path }) => path);
    await server.goOffline();

    const offline = await load({ store, choice: {} }).finally(() => server.goOnline());

    expect(online.files.pin.version).toBe('2');
    expect(asked).toEqual(['small/versions.json']);
    expect(offline.files.pin).toEqual(repository.pins['2']);
    expect(offline.of('fallback')).toMatchObject([{ from: 'versions.json', code: 'network' }]);
  });

  test('refuses a version that the lock disagrees with, without asking anyone', async () => {
    const error = await rejection(load({ choice: { version: '2' }, lock: repository.lockTo('1') }));

    expect(error.code).toBe('version-mismatch');
    expect(server.requests).toEqual([]);
  });

  test('refuses a manifest whose digest is not the pinned one', async () => {
    server.fail((path) => (path.endsWith('manifest.json') ? { flipByteAt: 10 } : undefined));

    const error = await rejection(load());

    expect(error).toMatchObject({ code: 'integrity-mismatch', details: { file: 'manifest.json' } });
    expect(error.events.filter(({ type }) => type === 'integrity')).toMatchObject([{ action: 'refetched' }, { action: 'refused' }]);
    expect(requestsOf('small/1/weights.bin')).toEqual([]);
  });

  test('says not-found for a version that was never published', async () => {
    await expect(load({ choice: { version: '9' } })).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('chunks', () => {
  test('of another version are used again: only the changed one is fetched', async () => {
    const store = createMemoryStore();
    await load({ store });
    server.forget();

    const { files } = await load({ store, choice: { version: '2' } });

    expect(files.cache).toBe('partial');
    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(changed));
    expect(server.bytesOf('small/2/weights.bin')).toBe(chunkBytes);
    expect(server.bytesOf('small/2/model.json')).toBe(0);
  });

  test('of another model are used again', async () => {
    const store = createMemoryStore();
    await load({ store });
    const files = { 'head.bin': noise(5_000, 5), 'weights.bin': weights };
    await using other = await createSmallRepository([{ version: '1', files, chunkBytes }], { name: 'other' });
    await using host = await serveFaulty(other.folder);

    const { files: loaded } = await load({ store, name: 'other', repositories: [host.origin], files: Object.keys(files) });

    expect(loaded.cache).toBe('partial');
    expect(await contentOf(loaded, 'weights.bin')).toBe(await digestOf(weights));
    expect(host.bytesOf('other/1/weights.bin')).toBe(0);
    expect(host.bytesOf('other/1/head.bin')).toBe(5_000);
  });

  test('flipped in the store are fetched again, and no others', async () => {
    const store = createMemoryStore();
    await load({ store });
    const [, digest = ''] = repository.manifests['1']?.files['weights.bin']?.chunks[4] ?? [];
    await store.writeChunk(digest, noise(chunkBytes, 9));
    server.forget();

    const { files, of } = await load({ store });

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
    expect(files.cache).toBe('partial');
    expect(requestsOf('small/1/weights.bin')).toMatchObject([{ range: 'bytes=400000-499999', bytes: chunkBytes }]);
    expect(of('integrity')).toMatchObject([{ file: 'weights.bin', chunk: 4, source: 'cache', action: 'refetched' }]);
  });

  test('flipped in the store are refused when the network is away', async () => {
    const store = createMemoryStore();
    await load({ store, choice: {}, lock: repository.lockTo('1') });
    const [, digest = ''] = repository.manifests['1']?.files['weights.bin']?.chunks[4] ?? [];
    await store.writeChunk(digest, noise(chunkBytes, 9));
    await server.goOffline();

    const error = await rejection(load({ store, choice: {}, lock: repository.lockTo('1') }).finally(() => server.goOnline()));

    expect(error).toMatchObject({ code: 'integrity-mismatch', details: { file: 'weights.bin', chunk: 4 } });
    expect(error.events.filter(({ type }) => type === 'integrity')).toMatchObject([{ source: 'cache', action: 'refused' }]);
  });

  test('that come wrong are asked for once more, by themselves', async () => {
    server.fail((path, index) => (path.endsWith('weights.bin') && index === 0 ? { flipByteAt: 450_000 } : undefined));

    const { files, of } = await load();

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
    expect(of('integrity')).toMatchObject([{ chunk: 4, source: 'network', action: 'refetched' }]);
    expect(server.bytesOf('small/1/weights.bin')).toBe(1_000_000 + chunkBytes);
  });

  test('that stay wrong are refused', async () => {
    server.fail((path) => (path.endsWith('weights.bin') ? { flipByteAt: 450_000 } : undefined));

    const error = await rejection(load());

    expect(error).toMatchObject({ code: 'integrity-mismatch', details: { file: 'weights.bin', chunk: 4 } });
  });
});

describe('a broken download', () => {
  test('goes on at the byte where it was cut', async () => {
    const { whenRead, onEvent } = watchProgress(850_000);
    server.fail((path, index) => (path.endsWith('weights.bin') && index === 0 ? { cutAfterBytes: 850_000, cutWhen: whenRead } : undefined));

    const { files, of, delays } = await load({ onEvent });

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
    expect(requestsOf('small/1/weights.bin')).toMatchObject([{ range: undefined }, { range: 'bytes=850000-999999' }]);
    expect(of('retry')).toMatchObject([{ attempt: 1, code: 'network' }]);
    expect(delays).toEqual([0]);
  });

  test('keeps its chunks for the next load, without a commit mark', async () => {
    const store = createMemoryStore();
    const { whenRead, onEvent } = watchProgress(850_000);
    server.fail((path, index) => {
      if (!path.endsWith('weights.bin')) return undefined;
      return index === 0 ? { cutAfterBytes: 850_000, cutWhen: whenRead } : { status: 500 };
    });
    const error = await rejection(load({ store, onEvent }));
    const broken = await store.listVersions();
    server.fail(() => undefined);
    server.forget();

    const { files } = await load({ store });

    expect(error.code).toBe('network');
    expect(broken).toMatchObject([{ version: '1', committed: [] }]);
    expect(files.cache).toBe('partial');
    expect(server.bytesOf('small/1/weights.bin')).toBe(200_000);
    expect(await store.listVersions()).toMatchObject([{ committed: ['model.json', 'weights.bin'] }]);
  });

  test('is tried again with growing, random waits, and ends with the last error', async () => {
    server.fail((path) => (path.endsWith('weights.bin') ? { status: 503 } : undefined));
    const delays: number[] = [];

    const error = await rejection(
      load().catch((reason) => Promise.reject(Object.assign(reason, { waits: delays.push(...reason.delays) }))),
    );

    expect(error).toMatchObject({ code: 'network', details: { status: 503 } });
    expect(delays).toEqual([0, 125, 250, 500]);
  });

  test('is not tried again where that cannot help', async () => {
    server.fail((path) => (path.endsWith('weights.bin') ? { status: 403 } : undefined));

    const error = await rejection(load());

    expect(error.code).toBe('permission-denied');
    expect(requestsOf('small/1/weights.bin')).toHaveLength(1);
  });

  test('moves to the next mirror at once', async () => {
    server.fail((path) => (path.endsWith('weights.bin') ? { status: 404 } : undefined));

    const { files, of, delays } = await load({ repositories: [server.origin, mirror.origin] });

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
    expect(of('retry')).toMatchObject([{ url: `${mirror.origin}/small/1/weights.bin`, code: 'not-found' }]);
    expect(delays).toEqual([0]);
  });
});

test('a server that ignores ranges is read once for all missing chunks', async () => {
  const store = createMemoryStore();
  await load({ store });
  const chunks = repository.manifests['1']?.files['weights.bin']?.chunks ?? [];
  for (const index of [1, 4, 5, 8]) await store.deleteChunk(chunks[index]?.[1] ?? '');
  server.fail(() => ({ ignoreRanges: true }));

  const { files, events } = await load({ store });

  expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
  expect(events.filter(({ type }) => type === 'retry' || type === 'integrity')).toEqual([]);
  expect(await store.chunkDigests()).toHaveLength(11);
});

test('an abort ends the download with its own reason and commits nothing', async () => {
  const store = createMemoryStore();
  const controller = new AbortController();
  const reason = new Error('changed my mind');
  let answer: () => void = () => undefined;
  const until = new Promise<void>((resolve) => {
    answer = resolve;
  });
  server.fail((path) => (path.endsWith('weights.bin') ? { until } : undefined));
  const loading = load({
    store,
    signal: controller.signal,
    onEvent: (event) => event.type === 'downloadprogress' && controller.abort(reason),
  });

  await expect(loading).rejects.toBe(reason);

  answer();
  expect(await store.listVersions()).toMatchObject([{ committed: [] }]);
});

describe('mirrors', () => {
  const both = () => [server.origin, mirror.origin];

  test('take over in the middle of a chunk when one breaks, and keep the lead', async () => {
    const { whenRead, onEvent } = watchProgress(450_000);
    server.fail((path) => (path.endsWith('weights.bin') ? { cutAfterBytes: 450_000, cutWhen: whenRead } : undefined));

    const { files, of, delays } = await load({ onEvent, repositories: both() });

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
    expect(mirror.requests).toMatchObject([{ path: 'small/1/weights.bin', range: 'bytes=450000-999999', bytes: 550_000 }]);
    expect(of('retry')).toMatchObject([{ url: `${mirror.origin}/small/1/weights.bin`, attempt: 1, code: 'network' }]);
    expect(delays).toEqual([0]);
  });

  test('take over with a retry when one gives wrong bytes', async () => {
    server.fail((path) => (path.endsWith('weights.bin') ? { flipByteAt: 450_000 } : undefined));

    const { files, of } = await load({ repositories: both() });

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
    expect(of('integrity')).toMatchObject([{ chunk: 4, source: 'network', action: 'refetched' }]);
    expect(of('retry')).toMatchObject([{ url: `${mirror.origin}/small/1/weights.bin`, code: 'integrity-mismatch' }]);
    expect(mirror.bytesOf('small/1/weights.bin')).toBe(chunkBytes);
  });

  test('that mix right and wrong bytes in one chunk cost that chunk alone', async () => {
    const { whenRead, onEvent } = watchProgress(450_000);
    // The first sends a wrong byte and breaks in the same chunk: its part makes the rest from the mirror wrong.
    server.fail((path) => (path.endsWith('weights.bin') ? { flipByteAt: 410_000, cutAfterBytes: 450_000, cutWhen: whenRead } : undefined));

    const { files, of } = await load({ onEvent, repositories: both() });

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
    expect(of('integrity')).toMatchObject([{ chunk: 4, action: 'refetched' }]);
    expect(mirror.bytesOf('small/1/weights.bin')).toBe(550_000 + chunkBytes);
  });

  test('are asked last for the next file, once they failed', async () => {
    server.fail((path) => (path.endsWith('manifest.json') ? undefined : { status: 500 }));

    const { files } = await load({ repositories: both(), slots: createSlots(1), choice: {}, lock: repository.lockTo('1') });

    expect(await contentOf(files, 'model.json')).toBe(await digestOf(graph));
    expect(server.requests.map(({ path, status }) => [path, status])).toEqual([
      ['small/1/manifest.json', 200],
      ['small/1/model.json', 500],
    ]);
    expect(mirror.requests.map(({ path }) => path).sort()).toEqual(['small/1/model.json', 'small/1/weights.bin']);
  });
});

describe('a download', () => {
  test('asks for the small files before the weights', async () => {
    await load({ files: ['weights.bin', 'model.json'], slots: createSlots(1), choice: {}, lock: repository.lockTo('1') });

    expect(server.requests.map(({ path }) => path)).toEqual(['small/1/manifest.json', 'small/1/model.json', 'small/1/weights.bin']);
  });

  test('that is compressed on the way tells the sizes of the manifest', async () => {
    server.fail((path) => (path.endsWith('.bin') || path.endsWith('model.json') ? { gzip: true } : undefined));
    const text = await load({ files: ['model.json', 'weights.bin'] });

    const progress = text.of('downloadprogress').map((event) => event.type === 'downloadprogress' && [event.loadedBytes, event.totalBytes]);
    const plain = await load({ files: ['model.json', 'weights.bin'] });

    expect(await contentOf(text.files, 'weights.bin')).toBe(await digestOf(weights));
    expect(progress.every((each) => each && each[1] === 1_003_000 && (each[0] ?? 0) <= 1_003_000)).toBe(true);
    expect(progress.at(-1)).toEqual([1_003_000, 1_003_000]);
    expect(plain.of('downloadprogress').at(-1)).toEqual(text.of('downloadprogress').at(-1));
    expect(server.bytesOf('small/1/weights.bin')).not.toBe(1_000_000);
  });

  test('that is compressed and breaks goes on with plain ranges', async () => {
    server.fail((path, index) => (path.endsWith('weights.bin') && index === 0 ? { gzip: true, cutAfterBytes: 600_000 } : undefined));

    const { files } = await load({});

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
    expect(requestsOf('small/1/weights.bin').at(-1)?.range).toMatch(/^bytes=\d+-999999$/);
  });

  test('with five breaks brings no byte twice', async () => {
    const cuts = [100_001, 150_000, 220_000, 222_222, 300_000];
    const watchers: ((event: WorkerEvent) => unknown)[] = [];
    server.fail((path, index) => {
      const cutAfterBytes = path.endsWith('weights.bin') ? cuts[index] : undefined;
      if (cutAfterBytes === undefined) return undefined;
      const before = cuts.slice(0, index).reduce((sum, bytes) => sum + bytes, 0);
      const { whenRead, onEvent } = watchProgress(before + cutAfterBytes + graph.byteLength);
      watchers.push(onEvent);
      return { cutAfterBytes, cutWhen: whenRead };
    });

    const { files, delays } = await load({ onEvent: (event) => watchers.map((watch) => watch(event)), slots: createSlots(1) });

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
    expect(server.bytesOf('small/1/weights.bin')).toBe(1_000_000);
    expect(delays.every((ms) => ms === 0)).toBe(true);
  });
});

test('what is fetched ahead is refused where nothing outlives the worker', async () => {
  const error = await rejection(load({ isAhead: true }));

  expect(error.code).toBe('unavailable');
  expect(error.events.filter(({ type }) => type === 'quota')).toMatchObject([{ action: 'refused' }]);
  expect(server.bytesOf('small/1/weights.bin')).toBe(0);
});

describe('slots', () => {
  const never = new AbortController().signal;

  test('are given in order, but for what is only fetched ahead, which waits for the rest', async () => {
    const slots = createSlots(1);
    const order: string[] = [];
    const held = await slots.take(false, never);
    const take = async (name: string, isAhead: boolean) => {
      using _slot = await slots.take(isAhead, never);
      order.push(name);
    };

    const all = Promise.all([take('ahead', true), take('first', false), take('second', false)]);
    held[Symbol.dispose]();
    held[Symbol.dispose]();
    await all;

    expect(order).toEqual(['first', 'second', 'ahead']);
  });

  test('are not given to who has stopped waiting', async () => {
    const slots = createSlots(1);
    const held = await slots.take(false, never);
    const stop = new AbortController();
    const stopped = slots.take(false, stop.signal);
    const next = slots.take(true, never);

    stop.abort(new Error('enough'));
    held[Symbol.dispose]();

    await expect(stopped).rejects.toThrow('enough');
    using _slot = await next;
  });
});

describe('a client that trusts keys', () => {
  const { privateKey, publicKey } = keyPair();
  const signaturePath = 'small/1/manifest.sig';

  beforeAll(async () => {
    const manifest = repository.manifests['1']!;
    const signature = await openSigner(privateKey)({ manifest, digest: repository.pins['1']!.digest });
    await writeFile(join(repository.folder, signaturePath), signature);
  });

  test('loads what one of them signed, again without the network', async () => {
    const store = createMemoryStore();

    const { files } = await load({ store, trust: [keyPair().publicKey, publicKey] });
    server.forget();
    const again = await load({ store, trust: [publicKey], lock: repository.lockTo('1') });

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(weights));
    expect(again.files.cache).toBe('hit');
    expect(server.requests).toEqual([]);
  });

  test('refuses what none of them signed, and fetches no byte of it', async () => {
    const loading = load({ trust: [keyPair().publicKey] });

    await expect(loading).rejects.toMatchObject({ code: 'signature-invalid' });
    expect(server.bytesOf('small/1/weights.bin')).toBe(0);
  });

  test('refuses what is not signed', async () => {
    const loading = load({ trust: [publicKey], choice: { version: '2' } });

    await expect(loading).rejects.toMatchObject({ code: 'signature-invalid', message: expect.stringContaining('is not signed') });
  });

  test('does not ask for a signature without keys', async () => {
    await load();

    expect(server.requests.map(({ path }) => path)).not.toContain(signaturePath);
  });
});

describe('the budget', () => {
  test('keeps open versions and says so when nothing else can go', async () => {
    const store = createMemoryStore();
    const { files: open } = await load({ store });
    const tabs = openTabs(undefined);
    using _held = await tabs.hold(open.pin.digest, new AbortController().signal);

    const { of, files } = await load({ store, choice: { version: '2' }, budgetBytes: 1_050_000, tabs });

    expect(await contentOf(files, 'weights.bin')).toBe(await digestOf(changed));
    expect(of('quota').at(-1)).toMatchObject({ neededBytes: chunkBytes, action: 'memory' });
    expect(await store.listVersions()).toHaveLength(1);
  });

  test('makes room by evicting an old version, but no chunk that the new one shares with it', async () => {
    const store = createMemoryStore();
    await load({ store });
    server.forget();

    const { of, files } = await load({ store, choice: { version: '2' }, budgetBytes: 1_050_000 });

    expect(of('eviction')).toMatchObject([{ name: 'small', version: '1', bytes: chunkBytes }]);
    expect(of('integrity')).toEqual([]);
    expect(files.cache).toBe('partial');
    expect(server.bytesOf('small/2/weights.bin')).toBe(chunkBytes);
    expect(await store.listVersions()).toMatchObject([{ version: '2', committed: ['model.json', 'weights.bin'] }]);
  });
});

describe('shares of clients', () => {
  const published = () => join(repository.folder, repository.name, 'versions.json');
  const share = async (traffic: Record<string, number> | undefined) => {
    const { traffic: _, ...versions } = parseVersions(new Uint8Array(await readFile(published())));
    const labels = { stable: '1', canary: '2' };
    await writeFile(published(), encodeVersions({ ...versions, labels, ...(traffic && { traffic }) }));
  };
  const versionOf = async (options: Setting = {}) => (await load({ choice: {}, ...options })).files.pin.version;
  let before: Uint8Array;
  beforeAll(async () => {
    before = await readFile(published());
  });
  afterAll(() => writeFile(published(), before));

  test('give a browser the same version at each visit, and all of them the old one when the share is taken back', async () => {
    await share({ stable: 50, canary: 50 });
    const stores = Array.from({ length: 24 }, () => createMemoryStore());
    const first = await Promise.all(stores.map((store) => versionOf({ store })));
    const second = await Promise.all(stores.map((store) => versionOf({ store })));
    await share(undefined);
    const rolledBack = await Promise.all(stores.map((store) => versionOf({ store })));

    expect(new Set(first)).toEqual(new Set(['1', '2']));
    expect(second).toEqual(first);
    expect(new Set(rolledBack)).toEqual(new Set(['1']));
  });

  test("of a label that is gone are nobody's", async () => {
    await share({ nightly: 100 });

    expect(await versionOf()).toBe('1');
  });

  test('are for those who name no version: a lock, a version and a label come first', async () => {
    await share({ canary: 100 });

    expect(await versionOf()).toBe('2');
    expect(await versionOf({ lock: repository.lockTo('1') })).toBe('1');
    expect(await versionOf({ choice: { version: '1' } })).toBe('1');
    expect(await versionOf({ choice: { label: 'stable' } })).toBe('1');
  });
});

import { createHash } from 'node:crypto';
import { readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { NearfarError } from '../../src/core/index.ts';
import { createMemoryStore, type MemoryStore, type RepositoryStore } from '../../src/server/index.ts';
import { createLog } from '../../src/server/log.ts';
import { createMetrics } from '../../src/server/metrics.ts';
import { Mirrors, type ModelSource } from '../../src/server/repository/index.ts';
import { copyEveryday10 } from '../support/everyday10.ts';
import { openTempFolder } from '../support/model-folder.ts';
import { publishedVersions, until } from '../support/serving.ts';

// What is kept of a store: resumed, shared, bounded.

let folder: Awaited<ReturnType<typeof openTempFolder>>;
let memory: MemoryStore;
const opened: Mirrors[] = [];
const model = 'everyday10';
const notes = (version: string) => Buffer.alloc(300_000, version);

beforeEach(async () => {
  folder = await openTempFolder();
  memory = createMemoryStore();
});

afterEach(async () => {
  for (const mirrors of opened.splice(0)) await mirrors[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** Puts versions into the store, each with a file of its own. */
async function publish(versions: readonly string[]): Promise<void> {
  const at = join(folder.path, 'origin', model);
  const there = await readdir(at).catch((): string[] => []);
  for (const version of versions.filter((each) => !there.includes(each))) {
    const digest = `sha256:${createHash('sha256').update(notes(version)).digest('hex')}`;
    await copyEveryday10(at, version, (manifest) => {
      (manifest['files'] as Record<string, object>)['notes.bin'] = {
        bytes: notes(version).byteLength,
        digest,
        chunks: [[300_000, digest]],
      };
    });
    await writeFile(join(at, version, 'notes.bin'), notes(version));
    for (const entry of await readdir(join(at, version), { recursive: true, withFileTypes: true })) {
      const file = join(entry.parentPath, entry.name);
      if (entry.isFile()) memory.write(`${model}${file.slice(at.length)}`, await readFile(file));
    }
  }
  const pins = await publishedVersions(at, versions);
  memory.write(`${model}/versions.json`, JSON.stringify({ schemaVersion: 1, name: model, versions: pins, labels: {} }));
}

function openMirrors({
  store = memory,
  budgetBytes = Number.POSITIVE_INFINITY,
  now,
  source = { name: model, basePath: `${memory.location}/${model}` },
}: {
  store?: RepositoryStore;
  budgetBytes?: number;
  now?: () => number;
  source?: ModelSource;
} = {}): Mirrors {
  const mirrors = new Mirrors({
    folder: join(folder.path, 'stores'),
    root: store,
    openStore: () => store,
    pollIntervalMs: 10,
    backOff: { firstMs: 5, maxMs: 20 },
    budgetBytes,
    log: createLog('silent'),
    metrics: createMetrics(),
    now,
    isUsed: () => false,
    sourceOf: () => source,
    onChange: () => {},
  });
  opened.push(mirrors);
  mirrors.open();
  return mirrors;
}

const source: ModelSource = { name: model, basePath: `memory://store/${model}` };
const versionsIn = async (mirrors: Mirrors) =>
  (await readdir(join(mirrors.rootFolder ?? '', model)).catch((): string[] => [])).filter((name) => /^\d+$/.test(name));

async function untilKept(mirrors: Mirrors, version: string): Promise<void> {
  await until(() => mirrors.of(source)?.has(version) === true && !mirrors.of(source)?.missing().has(version));
}

describe('what is kept of a store', () => {
  test('a read that a closed server left is taken up at its byte by the next one', async () => {
    await publish(['1']);
    const starts: number[] = [];
    let isCut = true;
    const cut: RepositoryStore = {
      ...memory,
      read: async (path, options) => {
        const answer = await memory.read(path, options);
        if (!path.endsWith('notes.bin') || answer.kind !== 'content') return answer;
        starts.push(options?.start ?? 0);
        const { body } = answer;
        const half = async function* () {
          for await (const part of body) {
            yield part.subarray(0, 123_456);
            await new Promise((_, reject) => options?.signal?.addEventListener('abort', () => reject(options.signal?.reason)));
          }
        };
        return isCut ? { ...answer, body: half() } : answer;
      },
    };
    const first = openMirrors({ store: cut });
    const partOf = async () => {
      const files = await readdir(join(folder.path, 'stores', 'blobs'), { recursive: true }).catch((): string[] => []);
      const sizes = files
        .filter((file) => file.endsWith('.part'))
        .map(async (file) => (await stat(join(folder.path, 'stores/blobs', file)).catch(() => undefined))?.size ?? 0);
      return Promise.all(sizes);
    };
    let sizes: number[] = [];
    await until(() => {
      void partOf().then((found) => {
        sizes = found;
      });
      return sizes.includes(123_456);
    });
    await first[Symbol.asyncDispose]();

    isCut = false;
    const second = openMirrors({ store: cut });
    await untilKept(second, '1');

    expect(starts).toEqual([0, 123_456]);
    expect((await readFile(join(second.rootFolder!, model, '1/notes.bin'))).equals(notes('1'))).toBe(true);
  });

  test('files that versions share are kept once, and read once', async () => {
    await publish(['1']);
    const reads: string[] = [];
    const counted: RepositoryStore = {
      ...memory,
      read: (path, options) => {
        reads.push(path);
        return memory.read(path, options);
      },
    };
    const mirrors = openMirrors({ store: counted });
    await untilKept(mirrors, '1');
    await publish(['1', '2']);

    await untilKept(mirrors, '2');

    const inode = async (version: string) => (await stat(join(mirrors.rootFolder!, model, version, 'tfjs/weights.bin'))).ino;
    expect(await inode('1')).toBe(await inode('2'));
    expect(reads.filter((path) => path.startsWith(`${model}/2/`)).sort()).toEqual(
      [`${model}/2/manifest.json`, `${model}/2/manifest.sig`, `${model}/2/notes.bin`].sort(),
    );
  });

  test('above the budget versions go that nobody used for two hours, the oldest first, and never one that is to be loaded', async () => {
    let later = 0;
    const now = () => Date.now() + later;
    const probe = openMirrors();
    await publish(['1', '2', '3']);
    await untilKept(probe, '3');
    await probe[Symbol.asyncDispose]();
    const mirrors = openMirrors({ budgetBytes: 1, now, source: { ...source, policy: { kind: 'all' } } });
    mirrors.of({ ...source, policy: { kind: 'all' } });
    await untilKept(mirrors, '3');
    await until(() => mirrors.of({ ...source, policy: { kind: 'all' } })?.missing().size === 0);
    const before = await versionsIn(mirrors);
    // Only the newest is to be loaded from here on.
    mirrors.of(source);
    await mirrors.tidy();
    const young = await versionsIn(mirrors);
    later = 3 * 3_600_000;
    await mirrors.tidy();

    expect(before).toEqual(['1', '2', '3']);
    expect(young).toEqual(['1', '2', '3']);
    expect(await versionsIn(mirrors)).toEqual(['3']);
    expect((await readFile(join(mirrors.rootFolder!, model, '3/notes.bin'))).equals(notes('3'))).toBe(true);
  });

  test('a version for which the disk has no room is not begun', async () => {
    await publish(['1']);
    const path = `${model}/1/manifest.json`;
    const answer = await memory.read(path);
    if (answer.kind !== 'content') throw new Error('expected a manifest');
    const parts: Uint8Array[] = [];
    for await (const part of answer.body) parts.push(part);
    const manifest = JSON.parse(Buffer.concat(parts).toString());
    const bytes = 2 ** 50;
    manifest.files['notes.bin'] = { ...manifest.files['notes.bin'], bytes, chunks: [[bytes, manifest.files['notes.bin'].digest]] };
    const huge = JSON.stringify(manifest);
    memory.write(path, huge);
    const digest = `sha256:${createHash('sha256').update(huge).digest('hex')}`;
    memory.write(
      `${model}/versions.json`,
      JSON.stringify({ schemaVersion: 1, name: model, versions: [{ version: '1', digest }], labels: {} }),
    );

    const mirrors = openMirrors();
    const error = (): NearfarError | undefined => mirrors.of(source)?.missing().get('1');
    await until(() => error()?.code === 'quota-exceeded');

    expect(error()?.message).toMatch(/needs \d+ more bytes/);
    expect(await readdir(join(folder.path, 'stores/blobs'))).toEqual([]);
  });

  test('a part that a killed server left is taken over once nobody writes it', async () => {
    await publish(['1']);
    const id = createHash('sha256').update(notes('1')).digest('hex');
    const mirrors = openMirrors({ store: { ...memory, read: (path, options) => memory.read(path, options) } });
    await untilKept(mirrors, '1');
    await mirrors[Symbol.asyncDispose]();
    const blob = join(folder.path, 'stores/blobs', id.slice(0, 2), id);
    await rename(blob, `${blob}.part`);
    await utimes(`${blob}.part`, 0, 0);
    await rm(join(mirrors.rootFolder!, model), { recursive: true });

    const next = openMirrors();
    await untilKept(next, '1');

    expect((await readFile(join(next.rootFolder!, model, '1/notes.bin'))).equals(notes('1'))).toBe(true);
  });
});

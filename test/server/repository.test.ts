import { execFileSync } from 'node:child_process';
import { appendFile, cp, mkdir, readdir, readFile, realpath, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { openSigner } from '../../src/publish/sign.ts';
import { createLog } from '../../src/server/log.ts';
import { createPublishedFiles, ImportCache, type ImportVersion, type ModelSource, Repository } from '../../src/server/repository/index.ts';
import { keyPair } from '../support/keys.ts';
import { makeVersion, openTempFolder, writeVersion, writeVersionsFile } from '../support/model-folder.ts';

const log = createLog('silent');

/** A repository that looks only when the test says so. */
function openRepository(
  folder: string,
  options: {
    models?: readonly ModelSource[];
    importVersion?: ImportVersion;
    savedModelTags?: readonly string[];
    now?: () => number;
    fileClock?: () => number;
    trust?: readonly string[];
    pollIntervalMs?: number;
    listFolder?: (path: string) => Promise<readonly string[]>;
  } = {},
) {
  const removed: string[] = [];
  const imports: ImportCache = new ImportCache({
    folder: join(folder, 'cache'),
    importVersion: options.importVersion ?? (() => Promise.reject(new TypeError('this test imports nothing'))),
    savedModelTags: options.savedModelTags,
    backOff: { firstMs: 1000, maxMs: 8000 },
    log,
    isUsed: (directory) => repository.usesDirectory(directory),
    ...(options.now ? { now: options.now } : {}),
  });
  const repository: Repository = new Repository({
    models: options.models ?? [],
    modelsRoot: options.models ? undefined : join(folder, 'models'),
    pollIntervalMs: options.pollIntervalMs ?? -1,
    imports,
    trust: options.trust ?? [],
    log,
    listFolder: options.listFolder,
    now: options.fileClock,
    onModel: () => {},
    onModelRemoved: (name) => removed.push(name),
  });
  const wanted = (name: string) => repository.snapshot(name)?.wanted.map(({ version }) => version);
  const pending = (name: string, version: string) => repository.snapshot(name)?.pending.get(version)?.message;
  return { repository, imports, removed, wanted, pending };
}

describe('version directories', () => {
  test('are versions only once every file of the manifest is there in full', async () => {
    await using folder = await openTempFolder();
    const { repository, wanted, pending } = openRepository(folder.path);
    const version = await makeVersion('m', '1');
    const directory = join(folder.path, 'models/m/1');

    await writeVersion(directory, version, ['manifest.json']);
    await repository.look();
    const withoutWeights = pending('m', '1');
    await mkdir(join(directory, 'onnx'));
    await writeFile(join(directory, 'onnx/model.onnx'), 'wei');
    await repository.look();
    const withHalfTheWeights = { wanted: wanted('m'), pending: pending('m', '1') };
    await appendFile(join(directory, 'onnx/model.onnx'), 'ghts of 1');
    await repository.look();

    expect(withoutWeights).toMatch(/not complete: onnx\/model.onnx is missing/);
    expect(withHalfTheWeights).toEqual({ wanted: [], pending: expect.stringMatching(/model.onnx has 3 bytes of 12/) });
    expect(wanted('m')).toEqual(['1']);
    expect(pending('m', '1')).toBeUndefined();
  });

  test('count by number, not by name; what is no positive int64 is ignored', async () => {
    await using folder = await openTempFolder();
    const { repository, wanted } = openRepository(folder.path);
    for (const [directory, number] of [
      ['0009', '9'],
      ['10', '10'],
      ['99999999999999999999', '3'],
      ['0', '4'],
      ['5x', '5'],
    ] as const) {
      await writeVersion(join(folder.path, 'models/m', directory), await makeVersion('m', number));
    }

    await repository.look();

    expect([...repository.snapshot('m')!.versions.keys()].sort()).toEqual(['10', '9']);
    expect(wanted('m')).toEqual(['10']);
  });

  test('with a manifest that cannot be read or describes another version are pending, the others stay', async () => {
    await using folder = await openTempFolder();
    const { repository, wanted, pending } = openRepository(folder.path);
    await writeVersion(join(folder.path, 'models/m/1'), await makeVersion('m', '1'));
    await writeVersion(join(folder.path, 'models/m/2'), await makeVersion('m', '1'));
    await mkdir(join(folder.path, 'models/m/3'));
    await writeFile(join(folder.path, 'models/m/3/manifest.json'), '{ "schemaVersion": 1, "na');

    await repository.look();

    expect(wanted('m')).toEqual(['1']);
    expect(pending('m', '2')).toMatch(/directory 2 describes version 1/);
    expect(pending('m', '3')).toMatch(/manifest is not JSON/);
  });
});

describe('a version that was found and is written anew', () => {
  test('is wanted as it was until it is whole again; one that is gone is not', async () => {
    await using folder = await openTempFolder();
    const { repository, wanted, pending } = openRepository(folder.path);
    const directory = join(folder.path, 'models/m/2');
    await writeVersion(join(folder.path, 'models/m/1'), await makeVersion('m', '1'));
    const [before, after] = [await makeVersion('m', '2'), await makeVersion('m', '2', 'other, longer weights of 2')];
    await writeVersion(directory, before);
    const digestOfWanted = () => repository.snapshot('m')?.wanted.map(({ digest }) => digest);
    await repository.look();

    await writeVersion(directory, after, ['manifest.json']);
    await repository.look();
    const meanwhile = { wanted: digestOfWanted(), pending: pending('m', '2') };
    await writeVersion(directory, after);
    await repository.look();
    const mended = digestOfWanted();
    await rm(join(directory, 'manifest.json'));
    await rm(directory, { recursive: true });
    await repository.look();

    expect(meanwhile).toEqual({ wanted: [before.digest], pending: expect.stringMatching(/not complete/) });
    expect(mended).toEqual([after.digest]);
    expect(wanted('m')).toEqual(['1']);
  });

  test('in a plain directory too: a file that is touched unloads nothing', async () => {
    await using folder = await openTempFolder();
    const { repository, imports, wanted, pending } = openRepository(folder.path, {
      importVersion: async ({ name, version }, out) => writeVersion(out, await makeVersion(name, version)),
      fileClock: () => 0,
    });
    const graph = join(folder.path, 'models/m/1/saved_model.pb');
    await mkdir(join(folder.path, 'models/m/1'), { recursive: true });
    await writeFile(graph, 'graph');
    for (let looks = 0; looks < 2; looks++) await repository.look();
    await imports.settle();
    await repository.look();
    const before = wanted('m');

    await utimes(graph, 1, 1);
    await repository.look();

    expect(before).toEqual(['1']);
    expect(pending('m', '1')).toMatch(/still being copied/);
    expect(wanted('m')).toEqual(['1']);
  });
});

describe('versions.json', () => {
  test('says what is published and which labels there are; what labels name is loaded besides the latest', async () => {
    await using folder = await openTempFolder();
    const { repository, wanted } = openRepository(folder.path);
    const versions = await Promise.all(['1', '2', '3', '4'].map((version) => makeVersion('m', version)));
    for (const version of versions) await writeVersion(join(folder.path, 'models/m', version.manifest.version), version);
    const published = versions.slice(0, 3).map(({ manifest, digest }) => ({ version: manifest.version, digest }));
    await writeVersionsFile(join(folder.path, 'models/m'), 'm', published, { stable: '1' });

    await repository.look();

    expect(wanted('m')).toEqual(['3', '1']);
    expect(repository.snapshot('m')?.labels).toEqual({ stable: '1' });
    expect(repository.snapshot('m')?.versions.has('4')).toBe(false);
  });

  test('must agree with the manifest on the digest', async () => {
    await using folder = await openTempFolder();
    const { repository, wanted } = openRepository(folder.path);
    await writeVersion(join(folder.path, 'models/m/1'), await makeVersion('m', '1'));
    await writeVersionsFile(join(folder.path, 'models/m'), 'm', [{ version: '1', digest: (await makeVersion('m', '1', 'other')).digest }]);

    await repository.look();

    expect(wanted('m')).toEqual([]);
    expect(repository.snapshot('m')?.pending.get('1')?.code).toBe('version-mismatch');
  });

  test('that cannot be read leaves what was known', async () => {
    await using folder = await openTempFolder();
    const { repository, wanted } = openRepository(folder.path);
    await writeVersion(join(folder.path, 'models/m/1'), await makeVersion('m', '1'));
    await repository.look();

    await writeFile(join(folder.path, 'models/m/versions.json'), '{');
    await repository.look();

    expect(wanted('m')).toEqual(['1']);
  });
});

test('version policies choose all versions or some', async () => {
  await using folder = await openTempFolder();
  for (const version of ['1', '2', '3']) await writeVersion(join(folder.path, 'm', version), await makeVersion('m', version));
  const basePath = join(folder.path, 'm');
  const { repository, wanted } = openRepository(folder.path, {
    models: [
      { name: 'all', basePath, policy: { kind: 'all' } },
      { name: 'two', basePath, policy: { kind: 'latest', count: 2 } },
      { name: 'some', basePath, policy: { kind: 'specific', versions: ['1', '9'] } },
    ],
  });

  await repository.look();

  expect([wanted('all'), wanted('two'), wanted('some')]).toEqual([['3', '2', '1'], ['3', '2'], ['1']]);
});

test('models are added, changed and removed while the repository is watched', async () => {
  await using folder = await openTempFolder();
  for (const name of ['a', 'b']) {
    for (const version of ['1', '2']) await writeVersion(join(folder.path, name, version), await makeVersion(name, version));
  }
  const source = (name: string, more: Partial<ModelSource> = {}) => ({ name, basePath: join(folder.path, name), ...more });
  const { repository, removed, wanted } = openRepository(folder.path, { models: [source('a')] });
  await repository.look();
  const before = wanted('a');

  repository.configure([source('a', { policy: { kind: 'all' } }), source('b', { labels: { stable: '1' } })]);
  await repository.look();
  const changed = { a: wanted('a'), b: wanted('b'), labels: repository.snapshot('b')?.labels };
  repository.configure([source('b', { policy: { kind: 'specific', versions: [] }, labels: { stable: '1' } })]);
  await repository.look();

  expect(before).toEqual(['2']);
  expect(changed).toEqual({ a: ['2', '1'], b: ['2', '1'], labels: { stable: '1' } });
  expect(removed).toEqual(['a']);
  expect(repository.names()).toEqual(['b']);
  expect(repository.snapshot('b')).toMatchObject({ wanted: [], labels: {}, isUnloaded: true });
});

test('a folder that changes is looked at at once, however seldom it is polled', async () => {
  await using folder = await openTempFolder();
  await writeVersion(join(folder.path, 'm/1'), await makeVersion('m', '1'));
  await writeVersion(join(folder.path, '2'), await makeVersion('m', '2'));
  const models = [{ name: 'm', basePath: join(folder.path, 'm') }];
  const { repository, wanted } = openRepository(folder.path, { models, pollIntervalMs: 3_600_000 });
  await repository.open();
  await vi.waitUntil(() => wanted('m') !== undefined, { interval: 5, timeout: 10_000 });

  await rename(join(folder.path, '2'), join(folder.path, 'm/2'));

  await vi.waitUntil(() => wanted('m')?.[0] === '2', { interval: 5, timeout: 10_000 });
  repository[Symbol.dispose]();
});

test('a model whose folder is missing holds up no other', async () => {
  await using folder = await openTempFolder();
  await writeVersion(join(folder.path, 'good/1'), await makeVersion('good', '1'));
  const models = ['absent', 'good'].map((name) => ({ name, basePath: join(folder.path, name) }));
  const { repository, wanted } = openRepository(folder.path, { models });

  await repository.look();
  await rename(join(folder.path, 'good'), join(folder.path, 'away'));
  await repository.look();

  expect(repository.names()).toEqual(['absent', 'good']);
  expect(wanted('absent')).toBeUndefined();
  expect(wanted('good')).toEqual(['1']);
});

test('a model whose folder hangs holds up no other, from the start on', async () => {
  await using folder = await openTempFolder();
  await writeVersion(join(folder.path, 'good/1'), await makeVersion('good', '1'));
  // Whoever opens a pipe to read waits for a writer.
  await mkdir(join(folder.path, 'hung'));
  execFileSync('mkfifo', [join(folder.path, 'hung/versions.json')]);
  const models = ['hung', 'good'].map((name) => ({ name, basePath: join(folder.path, name) }));
  const { repository, wanted } = openRepository(folder.path, { models, pollIntervalMs: 10 });

  await repository.open();
  await vi.waitUntil(() => wanted('good')?.[0] === '1', { interval: 5, timeout: 10_000 });
  await writeVersion(join(folder.path, 'good/2'), await makeVersion('good', '2'));
  await vi.waitUntil(() => wanted('good')?.[0] === '2', { interval: 5, timeout: 10_000 });

  expect(wanted('hung')).toBeUndefined();
  repository[Symbol.dispose]();
  await writeFile(join(folder.path, 'hung/versions.json'), '{}');
});

test('a folder of the root that hangs hides no models beside it, and is one itself when it answers at last', async () => {
  await using folder = await openTempFolder();
  const root = join(folder.path, 'models');
  const asked: string[] = [];
  let answer = () => {};
  const dead = new Promise<void>((resolve) => {
    answer = resolve;
  });
  // No file system here can be made to hang at a listing, as a dead network drive does.
  const listFolder = async (path: string) => {
    asked.push(path);
    if (path === join(root, 'hung')) await dead;
    return readdir(path);
  };
  for (const name of ['good', 'hung']) await writeVersion(join(root, name, '1'), await makeVersion(name, '1'));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const { repository, wanted } = openRepository(folder.path, { pollIntervalMs: 60_000, listFolder });
  const until = async (holds: () => boolean) => {
    for (; !holds(); await new Promise(setImmediate)) vi.advanceTimersByTime(50);
  };

  const opening = repository.open();
  await until(() => wanted('good')?.[0] === '1');
  await writeVersion(join(root, 'good/2'), await makeVersion('good', '2'));
  await writeVersion(join(root, 'late/1'), await makeVersion('late', '1'));
  vi.advanceTimersByTime(10_000);
  await opening;
  await until(() => wanted('good')?.[0] === '2' && wanted('late')?.[0] === '1');
  const before = { names: repository.names(), asked: asked.filter((path) => path === join(root, 'hung')).length };
  answer();
  await repository.look();
  repository[Symbol.dispose]();

  expect(before).toEqual({ names: ['good', 'late'], asked: 1 });
  expect(wanted('hung')).toEqual(['1']);
});

test('a folder that cannot be read hides no models beside it, and one that was a model stays one', async () => {
  await using folder = await openTempFolder();
  const { repository, wanted } = openRepository(folder.path);
  const root = join(folder.path, 'models');
  for (const name of ['a', 'b']) await writeVersion(join(root, name, '1'), await makeVersion(name, '1'));
  // Links in a circle cannot be read by anybody, as lost+found cannot by most.
  await symlink('lost+found', join(root, 'lost+found'));
  await repository.look();
  const before = repository.names();

  await rm(join(root, 'a'), { recursive: true });
  await symlink('a', join(root, 'a'));
  await writeVersion(join(root, 'c/1'), await makeVersion('c', '1'));
  await repository.look();

  expect(before).toEqual(['a', 'b']);
  expect(repository.names()).toEqual(['a', 'b', 'c']);
  expect(wanted('a')).toEqual(['1']);
});

test('a repository root gains and loses models; folders without versions are none', async () => {
  await using folder = await openTempFolder();
  const { repository, removed } = openRepository(folder.path);
  await writeVersion(join(folder.path, 'models/a/1'), await makeVersion('a', '1'));
  await mkdir(join(folder.path, 'models/training'), { recursive: true });
  await repository.look();
  const before = repository.names();

  await writeVersion(join(folder.path, 'models/b/1'), await makeVersion('b', '1'));
  await rm(join(folder.path, 'models/a'), { recursive: true });
  await repository.look();

  expect(before).toEqual(['a']);
  expect(repository.names()).toEqual(['b']);
  expect(removed).toEqual(['a']);
});

describe('a plain TensorFlow Serving version', () => {
  /** Stands in for the importer of src/publish: a manifest over the file that is there. */
  const importVersion: ImportVersion = async ({ name, version, directory }, out) =>
    writeVersion(out, await makeVersion(name, version, await readFile(join(directory, 'saved_model.pb'), 'utf8')));

  test('is imported anew for other tags of its graph', async () => {
    await using folder = await openTempFolder();
    const imported: (readonly string[] | undefined)[] = [];
    const recording: ImportVersion = async (plain, out, signal) => {
      imported.push(plain.savedModelTags);
      await importVersion(plain, out, signal);
    };
    await mkdir(join(folder.path, 'models/m/1'), { recursive: true });
    await writeFile(join(folder.path, 'models/m/1/saved_model.pb'), 'whole');

    for (const savedModelTags of [undefined, ['serve', 'gpu'], ['gpu', 'serve']]) {
      const { repository, imports } = openRepository(folder.path, { importVersion: recording, ...(savedModelTags && { savedModelTags }) });
      for (let looks = 0; looks < 2; looks++) await repository.look();
      await imports.settle();
    }

    expect(imported).toEqual([undefined, ['serve', 'gpu']]);
  });

  test('is imported once two looks agree, and found in the cache after a restart', async () => {
    await using folder = await openTempFolder();
    const first = openRepository(folder.path, { importVersion });
    const directory = join(folder.path, 'models/m/1');
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, 'saved_model.pb'), 'half');

    await first.repository.look();
    await appendFile(join(directory, 'saved_model.pb'), ' whole');
    await first.repository.look();
    const whileCopied = first.pending('m', '1');
    await first.repository.look();
    const whileImported = first.pending('m', '1');
    await first.imports.settle();
    await first.repository.look();

    expect(whileCopied).toMatch(/still being copied/);
    expect(whileImported).toMatch(/being imported/);
    expect(first.wanted('m')).toEqual(['1']);
    const importNothing = openRepository(folder.path);
    for (let looks = 0; looks < 2; looks++) await importNothing.repository.look();
    await importNothing.imports.settle();
    await importNothing.repository.look();
    expect(importNothing.wanted('m')).toEqual(['1']);
    expect(importNothing.repository.snapshot('m')?.versions.get('1')?.digest).toBe((await makeVersion('m', '1', 'half whole')).digest);
  });

  test('in which nothing changed for a while is imported at the first look, whatever time its files were given', async () => {
    await using folder = await openTempFolder();
    const directory = join(folder.path, 'models/m/1');
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, 'saved_model.pb'), 'graph');
    await utimes(join(directory, 'saved_model.pb'), 1, 1);
    const now = openRepository(folder.path, { importVersion });
    const later = openRepository(folder.path, { importVersion, fileClock: () => Date.now() + 60_000 });

    await now.repository.look();
    await later.repository.look();

    expect(now.pending('m', '1')).toMatch(/still being copied/);
    expect(later.pending('m', '1')).toMatch(/being imported/);
    await later.imports.settle();
  });

  test('that is older than one that is being imported is not loaded before it, but serves on until then', async () => {
    await using folder = await openTempFolder();
    const imports = new Map<string, () => void>();
    const { repository, wanted } = openRepository(folder.path, {
      fileClock: () => Date.now() + 60_000,
      importVersion: async (plain, out, signal) => {
        await new Promise<void>((resolve) => imports.set(plain.version, resolve));
        await importVersion(plain, out, signal);
      },
    });
    const add = async (version: string) => {
      await mkdir(join(folder.path, `models/m/${version}`), { recursive: true });
      await writeFile(join(folder.path, `models/m/${version}/saved_model.pb`), 'graph');
      await repository.look();
      await vi.waitUntil(() => imports.has(version), { interval: 1 });
    };
    const finish = async (version: string) => {
      imports.get(version)?.();
      await vi.waitUntil(
        async () => {
          await repository.look();
          return repository.snapshot('m')?.versions.has(version);
        },
        { interval: 1 },
      );
    };

    await add('1');
    await add('2');
    await finish('1');
    const whileTwoIsImported = wanted('m');
    await finish('2');
    const withTwo = wanted('m');
    await add('3');
    const whileThreeIsImported = wanted('m');
    await finish('3');

    expect([whileTwoIsImported, withTwo, whileThreeIsImported, wanted('m')]).toEqual([[], ['2'], ['2'], ['3']]);
  });

  test('leaves the cache once its original is gone and no server that shares the cache used it for a day', async () => {
    await using folder = await openTempFolder();
    const openServer = (basePath: string) =>
      openRepository(folder.path, { importVersion, fileClock: () => Date.now() + 60_000, models: [{ name: 'm', basePath }] });
    const add = async (directory: string) => {
      await mkdir(directory, { recursive: true });
      await writeFile(join(directory, 'saved_model.pb'), 'graph');
      await utimes(join(directory, 'saved_model.pb'), 1, 1);
    };
    const imported = async ({ repository, imports }: ReturnType<typeof openServer>) => {
      await repository.look();
      await imports.settle();
      await repository.look();
      return Object.fromEntries([...repository.snapshot('m')!.versions].map(([version, { directory }]) => [version, directory]));
    };
    const areThere = (directories: readonly string[]) =>
      Promise.all(
        directories.map((path) =>
          stat(path).then(
            () => true,
            () => false,
          ),
        ),
      );
    const [one, other] = [join(folder.path, 'one'), join(folder.path, 'other')];
    for (const directory of [join(one, '1'), join(one, '2'), join(other, '2')]) await add(directory);
    const [first, second] = [openServer(one), openServer(other)];
    const { 1: gone = '', 2: shared = '' } = await imported(first);
    const ofSecond = await imported(second);
    const cutOff = `${gone}.00000000-0000-0000-0000-000000000000`;
    const running = `${gone}.00000000-0000-0000-0000-000000000001`;
    for (const work of [cutOff, running]) await mkdir(work);

    await rm(one, { recursive: true });
    await mkdir(one);
    await imported(first);
    for (const directory of [gone, shared, cutOff]) await utimes(directory, 1, 1);
    await second.imports.tidy();
    await first.imports.tidy();
    const after = await areThere([gone, shared, cutOff, running]);
    await add(join(one, '1'));
    const again = await imported(first);

    expect(ofSecond).toEqual({ 2: shared });
    expect(after).toEqual([false, true, false, true]);
    expect(again).toEqual({ 1: gone });
    expect(await areThere([gone])).toEqual([true]);
  });

  test('that an older importer left in the cache is imported anew', async () => {
    await using folder = await openTempFolder();
    const { repository, imports, wanted } = openRepository(folder.path, { importVersion, fileClock: () => Date.now() + 60_000 });
    await mkdir(join(folder.path, 'models/m/1'), { recursive: true });
    await writeFile(join(folder.path, 'models/m/1/saved_model.pb'), 'graph');
    await repository.look();
    await imports.settle();
    const [revision] = await readdir(join(folder.path, 'cache'));
    await rename(join(folder.path, 'cache', revision!), join(folder.path, 'cache', String(Number(revision) - 1)));
    const imported: string[] = [];
    const second = openRepository(folder.path, {
      fileClock: () => Date.now() + 60_000,
      importVersion: (plain, out, signal) => {
        imported.push(plain.version);
        return importVersion(plain, out, signal);
      },
    });

    await second.repository.look();
    await second.imports.settle();
    await second.repository.look();

    expect(wanted('m')).toEqual([]);
    expect(imported).toEqual(['1']);
    expect(second.wanted('m')).toEqual(['1']);
  });

  test('is imported by two servers that share a cache, at the same time', async () => {
    await using folder = await openTempFolder();
    const directories: string[] = [];
    let goOn = () => {};
    const bothRun = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const together: ImportVersion = async (plain, out, signal) => {
      if (directories.push(out) === 2) goOn();
      await bothRun;
      await importVersion(plain, out, signal);
    };
    await mkdir(join(folder.path, 'models/m/1'), { recursive: true });
    await writeFile(join(folder.path, 'models/m/1/saved_model.pb'), 'graph');
    const servers = [1, 2].map(() => openRepository(folder.path, { importVersion: together }));

    for (let looks = 0; looks < 2; looks++) for (const { repository } of servers) await repository.look();
    await Promise.all(servers.map(({ imports }) => imports.settle()));
    for (const { repository } of servers) await repository.look();

    expect(new Set(directories).size).toBe(2);
    expect(servers.map(({ wanted }) => wanted('m'))).toEqual([['1'], ['1']]);
  });

  test('whose import fails says why and is imported again after a pause', async () => {
    await using folder = await openTempFolder();
    let now = 0;
    let isBroken = true;
    const { repository, imports, wanted, pending } = openRepository(folder.path, {
      now: () => now,
      importVersion: (plain, out) =>
        isBroken ? Promise.reject(new TypeError('no space left')) : importVersion(plain, out, new AbortController().signal),
    });
    await mkdir(join(folder.path, 'models/m/1'), { recursive: true });
    await writeFile(join(folder.path, 'models/m/1/saved_model.pb'), 'graph');
    const lookAgain = async () => {
      await repository.look();
      await imports.settle();
    };

    await lookAgain();
    await lookAgain();
    await lookAgain();
    const failed = pending('m', '1');
    now = 1000;
    await repository.look();
    const whileTriedAgain = pending('m', '1');
    await imports.settle();
    isBroken = false;
    await lookAgain();
    const beforeThePause = wanted('m');
    now = 3000;
    await lookAgain();
    await lookAgain();

    expect(failed).toBe('the import failed: no space left (attempt 1, the next one 1 s later)');
    expect(whileTriedAgain).toBe(failed);
    expect(beforeThePause).toEqual([]);
    expect(wanted('m')).toEqual(['1']);
  });
});

describe('published files', () => {
  test('are found with the digest of the manifest, also of versions that are not loaded', async () => {
    await using folder = await openTempFolder();
    const { repository } = openRepository(folder.path);
    const versions = await Promise.all(['1', '2'].map((version) => makeVersion('m', version)));
    for (const version of versions) await writeVersion(join(folder.path, 'models/m', version.manifest.version), version);
    await repository.look();
    const files = createPublishedFiles((name) => repository.snapshot(name), log);

    const weights = await files.find('m/1/onnx/model.onnx');
    const manifest = await files.find('m/1/manifest.json');
    const listed = await files.find('m/versions.json');

    expect(weights).toEqual({
      body: { path: join(await realpath(folder.path), 'models/m/1/onnx/model.onnx') },
      bytes: 12,
      digest: versions[0]!.manifest.files['onnx/model.onnx']!.digest,
      isImmutable: true,
    });
    expect(manifest).toMatchObject({ digest: versions[0]!.digest, isImmutable: true });
    expect(listed?.isImmutable).toBe(false);
    const made = JSON.parse(new TextDecoder().decode(listed && 'bytes' in listed.body ? listed.body.bytes : undefined));
    expect(made).toEqual({
      schemaVersion: 1,
      name: 'm',
      versions: versions.map(({ manifest: { version }, digest }) => ({ version, digest })),
      labels: {},
    });
  });

  test('are only what manifests list: no path leads out', async () => {
    await using folder = await openTempFolder();
    const { repository } = openRepository(folder.path);
    await writeVersion(join(folder.path, 'models/m/1'), await makeVersion('m', '1'));
    await writeFile(join(folder.path, 'models/m/1/secret.txt'), 'not listed');
    await writeFile(join(folder.path, 'secret.txt'), 'outside');
    await symlink(join(folder.path, 'secret.txt'), join(folder.path, 'models/m/1/link.txt'));
    await repository.look();
    const files = createPublishedFiles((name) => repository.snapshot(name), log);

    const found = await Promise.all(
      [
        'm/1/secret.txt',
        'm/1/link.txt',
        'm/1/../../secret.txt',
        'm/../m/1/manifest.json',
        '../secret.txt',
        'm/1/onnx/../onnx/model.onnx',
        'm/1/toString',
        'm/01/manifest.json',
        'm/2/manifest.json',
        'm',
        '',
        '/etc/passwd',
        'absent/versions.json',
      ].map((path) => files.find(path)),
    );

    expect(found.every((file) => file === undefined)).toBe(true);
  });

  test('that changed their size since the last look are not there', async () => {
    await using folder = await openTempFolder();
    const { repository } = openRepository(folder.path);
    await writeVersion(join(folder.path, 'models/m/1'), await makeVersion('m', '1'));
    await repository.look();
    const files = createPublishedFiles((name) => repository.snapshot(name), log);

    await cp(join(folder.path, 'models/m/1/manifest.json'), join(folder.path, 'models/m/1/onnx/model.onnx'));

    expect(await files.find('m/1/onnx/model.onnx')).toBeUndefined();
  });

  test('of the right size but with other bytes are refused, also when the time was set back, until they are mended', async () => {
    await using folder = await openTempFolder();
    const { repository } = openRepository(folder.path);
    const version = await makeVersion('m', '1');
    const file = join(folder.path, 'models/m/1/onnx/model.onnx');
    await writeVersion(join(folder.path, 'models/m/1'), version);
    await repository.look();
    const files = createPublishedFiles((name) => repository.snapshot(name), log);
    const good = await files.find('m/1/onnx/model.onnx');
    const { size, atime, mtime } = await stat(file);

    await writeFile(file, 'x'.repeat(size));
    await utimes(file, atime, mtime);
    const corrupted = files.find('m/1/onnx/model.onnx');
    await expect(corrupted).rejects.toMatchObject({ code: 'integrity-mismatch' });
    await writeVersion(join(folder.path, 'models/m/1'), version);

    expect(good?.bytes).toBe(size);
    expect(await files.find('m/1/onnx/model.onnx')).toEqual(good);
  });

  test('that are links are found only inside the directory of their version', async () => {
    await using folder = await openTempFolder();
    const { repository } = openRepository(folder.path);
    const directory = join(folder.path, 'models/m/1');
    const file = join(directory, 'onnx/model.onnx');
    await writeVersion(directory, await makeVersion('m', '1'));
    await cp(file, join(folder.path, 'foreign.onnx'));
    await rename(file, join(directory, 'inside.onnx'));
    await symlink('../inside.onnx', file);
    await repository.look();
    const files = createPublishedFiles((name) => repository.snapshot(name), log);

    const inside = await files.find('m/1/onnx/model.onnx');
    await rm(file);
    await symlink(join(folder.path, 'foreign.onnx'), file);

    expect(inside?.body).toEqual({ path: join(await realpath(directory), 'inside.onnx') });
    // The same bytes, even: whoever may write outside could change them later.
    await expect(files.find('m/1/onnx/model.onnx')).rejects.toMatchObject({
      code: 'integrity-mismatch',
      message: expect.stringContaining('leads out'),
    });
  });
});

test('with trusted keys only versions that one of them signed are wanted', async () => {
  await using folder = await openTempFolder();
  const { privateKey, publicKey } = keyPair();
  const { repository, wanted, pending } = openRepository(folder.path, { trust: [publicKey] });
  const version = await makeVersion('m', '1');
  const directory = join(folder.path, 'models/m/1');
  await writeVersion(directory, version);
  await mkdir(join(folder.path, 'models/m/2'), { recursive: true });
  await writeFile(join(folder.path, 'models/m/2/model.onnx'), 'plain');

  await repository.look();
  const unsigned = pending('m', '1');
  await writeFile(join(directory, 'manifest.sig'), await openSigner(privateKey)(version));
  await repository.look();

  expect(unsigned).toMatch(/is not signed/);
  expect(pending('m', '2')).toMatch(/without a manifest is not signed/);
  expect(wanted('m')).toEqual(['1']);
});

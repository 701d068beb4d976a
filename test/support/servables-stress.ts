import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTask } from 'node:timers/promises';
import { NearfarError } from '../../src/core/index.ts';
import { createLog } from '../../src/server/log.ts';
import { createMetrics } from '../../src/server/metrics.ts';
import { ImportCache, type ModelSource, Repository, type VersionPolicy } from '../../src/server/repository/index.ts';
import { type ServableSpec, Servables } from '../../src/server/servables/index.ts';
import type { LoadVersion } from '../../src/server/servables/servable-version.ts';
import { makeVersion, openTempFolder, writeVersion } from './model-folder.ts';

// The real repository, on disk, and the real servables over engines that load, fail and die as a seed has it: random steps of whoever
// publishes and configures, under clients who ask all the time.

/** What a run of the stress found to be wrong, and how much it did. */
export interface StressReport {
  readonly violations: readonly string[];
  readonly answers: number;
  readonly loads: number;
}

/** Errors that a client may meet while versions come and go. */
const allowedCodes = new Set(['not-found', 'invalid-argument', 'unavailable']);
const models = ['steady', 'wild'] as const;
const numbers = ['1', '2', '3', '4'] as const;

export async function stressServables(seed: number, { steps }: { readonly steps: number }): Promise<StressReport> {
  await using folder = await openTempFolder();
  const random = createRandom(seed);
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!; // none of the lists is empty
  const pause = async (most: number) => {
    for (let turns = Math.floor(random() * most); turns > 0; turns--) await nextTask();
  };
  const violations: string[] = [];
  const engines = createEngines(random, pause, violations);
  const metrics = createMetrics();
  const log = createLog('silent');
  let sources: readonly ModelSource[] = models.map((name) => ({ name, basePath: join(folder.path, name) }));
  const imports = new ImportCache({
    folder: join(folder.path, 'cache'),
    importVersion: () => Promise.reject(new TypeError('nothing is imported here')),
    backOff: { firstMs: 1, maxMs: 1 },
    log,
    isUsed: () => true,
  });
  const repository: Repository = new Repository({
    models: sources,
    modelsRoot: undefined,
    pollIntervalMs: -1,
    imports,
    trust: [],
    log,
    onModel: (snapshot) => servables.apply(snapshot),
    onModelRemoved: (name) => servables.remove(name),
  });
  const servables: Servables = new Servables({
    load: engines.load,
    maxLoadRetries: Number.POSITIVE_INFINITY,
    backOff: { firstMs: 1, maxMs: 2 },
    metrics,
    log,
    names: () => repository.names(),
    onChange: () => {},
    optionsOf: (name) => ({
      transition: name === 'wild' && seed % 2 === 1 ? 'resource-preserving' : 'availability-preserving',
      signatureChange: 'report',
    }),
  });
  let revision = 0;
  for (const name of models) await mkdir(join(folder.path, name));

  const publish = async (name: string, version: string) => {
    const directory = join(folder.path, name, version);
    const made = await makeVersion(name, version, `weights ${++revision} of ${version}`);
    if (random() < 0.5) {
      // Written in place, looked at when it is half done.
      await writeVersion(directory, made, [pick(['manifest.json', 'onnx/model.onnx'])]);
      await repository.look();
      await pause(4);
      await writeVersion(directory, made);
      return;
    }
    const work = join(folder.path, `work-${revision}`);
    await writeVersion(work, made);
    await rm(directory, { recursive: true, force: true });
    await rename(work, directory);
  };
  const configure = (name: string, change: Partial<ModelSource>) => {
    sources = sources.map((source) => (source.name === name ? { ...source, ...change } : source));
    repository.configure(sources);
  };
  const policies: readonly VersionPolicy[] = [
    { kind: 'latest', count: 1 },
    { kind: 'latest', count: 2 },
    { kind: 'all' },
    { kind: 'specific', versions: [pick(numbers)] },
  ];
  const actions: readonly (() => Promise<void> | void)[] = [
    () => publish('wild', pick(numbers)),
    // Its version 1 is replaced in place and never goes, and its engines do not die: somebody answers all the time.
    () => publish('steady', pick(numbers)),
    () => rm(join(folder.path, 'steady', pick(['2', '3', '4'])), { recursive: true, force: true }),
    () => rm(join(folder.path, 'wild', pick(numbers)), { recursive: true, force: true }),
    () => configure('wild', { policy: pick(policies) }),
    () => configure('wild', { labels: random() < 0.3 ? {} : { stable: pick(numbers), canary: pick(numbers) } }),
    () => engines.crash('wild'),
    () => engines.crash('wild'),
    async () => {
      repository.configure(sources.filter(({ name }) => name !== 'wild'));
      await pause(10);
      repository.configure(sources);
    },
  ];

  let isOver = false;
  let answers = 0;
  let lent = 0;
  let wasSteady = false;
  const ask = async () => {
    const name = pick(models);
    const spec: ServableSpec = pick([{ name }, { name, version: pick(numbers) }, { name, label: pick(['stable', 'canary']) }]);
    const isSteady = name === 'steady' && Object.keys(spec).length === 1;
    const client = new AbortController();
    try {
      using handle = servables.lend(spec);
      lent++;
      try {
        if (isSteady) wasSteady = true;
        if (spec.version !== undefined && handle.version !== spec.version) violations.push(`${handle.version} lent for ${spec.version}`);
        await pause(3);
        const running = handle.run({ signature: handle.digest, inputs: {} }, { signal: client.signal });
        if (random() < 0.1) client.abort(new TypeError('hung up'));
        await running;
        answers++;
        if (random() < 0.2) handle[Symbol.dispose]();
      } finally {
        lent--;
      }
    } catch (error) {
      if (client.signal.aborted && error === client.signal.reason) return;
      if (!(error instanceof NearfarError) || !allowedCodes.has(error.code)) violations.push(`untyped: ${error}`);
      else if (isSteady && wasSteady) violations.push(`steady did not answer: ${error.message}`);
    }
  };
  const clients = Array.from({ length: 6 }, async () => {
    while (!isOver) {
      await ask();
      await nextTask();
    }
  });

  await publish('steady', '1');
  servables.startServing();
  for (let step = 0; step < steps; step++) {
    await pick(actions)();
    await repository.look();
    await pause(12);
  }
  isOver = true;
  await Promise.all(clients);
  engines.isReliable = true;
  // A label that cannot move keeps the version that it points at.
  configure('wild', { labels: {} });
  await repository.look();
  const wantedOf = (name: string) => repository.snapshot(name)?.wanted ?? [];
  const wanted = () => models.flatMap(wantedOf).map(({ digest }) => digest);
  const isSettled = () =>
    engines.loaded().join() === wanted().sort().join() &&
    models.every((name) => wantedOf(name).every(({ digest }) => servables.statusOf(name, digest)?.state === 'AVAILABLE'));
  for (let turns = 0; turns < 20_000 && !isSettled(); turns++) await nextTask();

  if (lent !== 0) violations.push(`${lent} handles are still lent`);
  if (engines.loaded().join() !== wanted().sort().join()) violations.push(`loaded: ${engines.loaded()}; wanted: ${wanted().sort()}`);
  const page = await metrics.registry.metrics();
  for (const name of models) {
    for (const { version } of wantedOf(name)) {
      if (!page.includes(`nearfar_servable_state{model="${name}",version="${version}"} 30`)) {
        violations.push(`the metrics do not say that version ${version} of ${name} is available`);
      }
    }
  }
  repository[Symbol.dispose]();
  await servables.close();
  await imports[Symbol.asyncDispose]();
  if (engines.loaded().length > 0) violations.push(`still loaded in the end: ${engines.loaded()}`);
  return { violations: violations.map((text) => `seed ${seed}: ${text}`), answers, loads: engines.loads };
}

interface Loaded {
  readonly model: string;
  readonly digest: string;
  state: 'loaded' | 'lost' | 'unloaded';
  runs: number;
  readonly onLost: (error: NearfarError) => void;
}

/** Engines that compute nothing, and take their time. */
function createEngines(random: () => number, pause: (most: number) => Promise<void>, violations: string[]) {
  const all = new Set<Loaded>();
  const lost = () => new NearfarError('unavailable', 'the engine worker stopped');
  const engines = {
    isReliable: false,
    loads: 0,
    loaded: () => [...all].map(({ digest }) => digest).sort(),
    crash: (model: string) => {
      const candidates = [...all].filter((loaded) => loaded.model === model);
      const crashed = candidates[Math.floor(random() * candidates.length)];
      if (!crashed) return;
      all.delete(crashed);
      crashed.state = 'lost';
      crashed.onLost(lost());
    },
    load: (async (source, { signal, onLost }) => {
      const model = source.manifest.name;
      await pause(10);
      signal.throwIfAborted();
      if (!engines.isReliable && random() < 0.2) throw new NearfarError('self-test-failed', 'the golden example came out otherwise');
      const loaded: Loaded = { model, digest: source.digest, state: 'loaded', runs: 0, onLost };
      all.add(loaded);
      const isLost = () => loaded.state === 'lost';
      engines.loads++;
      // A worker may die between the load and the moment the version is handed over.
      await pause(4);
      return {
        backend: 'onnx-cpu',
        variant: 'onnx-float32',
        device: { kind: 'cpu' },
        skipped: [],
        warmup: undefined,
        parallelism: 1,
        run: async ({ signature }, { signal: client } = {}) => {
          if (loaded.state === 'unloaded') violations.push(`run on ${source.version}, which is unloaded`);
          if (signature !== source.digest) violations.push(`a handle of ${signature} runs ${source.digest}`);
          if (isLost()) throw lost();
          loaded.runs++;
          try {
            await pause(6);
            client?.throwIfAborted();
            if (isLost()) throw lost();
            return { outputs: {}, timing: { queueMs: 0, inferMs: 0 } };
          } finally {
            loaded.runs--;
          }
        },
        unload: async () => {
          if (loaded.runs > 0) violations.push(`${source.version} is unloaded under ${loaded.runs} runs`);
          if (loaded.state === 'unloaded') violations.push(`${source.version} is unloaded twice`);
          await pause(4);
          if (loaded.state === 'loaded') loaded.state = 'unloaded';
          all.delete(loaded);
        },
      };
    }) satisfies LoadVersion as LoadVersion,
  };
  return engines;
}

/** Mulberry32, of Tommy Ettinger: small, and good enough to choose steps. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

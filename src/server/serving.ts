import { join } from 'node:path';
import { type BackendId, NearfarError } from '../core/index.ts';
import { Arrivals } from './arrivals.ts';
import { type BatchingReport, createVersionBatching, withBatching } from './batching/index.ts';
import type { BufferPool } from './buffer-pool.ts';
import { openResults, withResultCache } from './cache/index.ts';
import type { ServerConfig } from './config.ts';
import { type History, recordingPending, recordingVersions } from './history/index.ts';
import type { Logger } from './log.ts';
import type { ServerMetrics } from './metrics.ts';
import { ModelConfigFile } from './model-config-file.ts';
import { defaultModelOptions, type ModelOptions } from './model-options.ts';
import { PublishedModels } from './published-models.ts';
import {
  createImporter,
  createPublishedFiles,
  createStoreOpener,
  ImportCache,
  isRemote,
  Mirrors,
  type PublishedFiles,
  Repository,
} from './repository/index.ts';
import { resolveLogging } from './request-log/index.ts';
import { RequestTallies, Rollouts, ShadowRuns, shadowOf, shadowVersion } from './rollout/index.ts';
import { warnOfSavedModelConfig } from './saved-model-config.ts';
import { isOn } from './security/index.ts';
import { EngineHost, InlineRuns, type ServableStore, Servables } from './servables/index.ts';
import { ServedModels } from './served-models.ts';

/** Everything behind the transports: the repository that is watched and the versions it asks for. */
export interface Serving {
  readonly servables: ServableStore;
  readonly files: PublishedFiles;
  /** What is served, to change it. */
  readonly models: ServedModels;
  /** Shadow runs, and rollouts by rules. */
  readonly rollouts: Rollouts;
  /** Counts requests by version, for the rules. */
  readonly tallies: RequestTallies;
  /** What to do about requests for models that cannot answer yet. */
  readonly arrivals: Arrivals;
  /** What is set for a model now. */
  option<Name extends keyof ModelOptions>(model: string, option: Name): ModelOptions[Name];
  /** How the loaded versions are batched, once they were asked for something. */
  batching(): readonly BatchingReport[];
  /** Looks for models and starts to load them. */
  start(): void;
  /** Takes the model config file over again; without one it looks at the folders of models now. */
  reloadModels(): Promise<void>;
  /**
   * Resolves when every configured model has an available version.
   * @throws rejects with `signal.reason` when aborted; `unavailable` when the server closes first.
   */
  whenReady(options?: { signal?: AbortSignal | undefined }): Promise<void>;
  /** Looks at the folder of one model now, also of one that was not there. */
  lookAfresh(name: string): Promise<void>;
  /** Looks for no more changes; not ready from here on. */
  startDraining(): void;
  /** Waits for every handle and unloads everything. */
  drain(): Promise<void>;
  /** Ends at once; what still runs fails as `unavailable`. */
  end(): Promise<void>;
}

export interface ServingParts {
  readonly log: Logger;
  readonly metrics: ServerMetrics;
  readonly history: History;
  /** What the transports collect tensors in; those that are used go back there. */
  readonly buffers: BufferPool;
}

/** GPU first where a real adapter is there; what the version has no variant for is passed over. */
const autoBackends: readonly BackendId[] = ['tfjs-webgpu', 'onnx-webgpu', 'onnx-cpu', 'tfjs-wasm'];

export function createServing(config: ServerConfig, { log, metrics, history, buffers }: ServingParts): Serving {
  const backends = config.backends === 'auto' ? autoBackends : config.backends;
  const retry = { firstMs: config.firstLoadRetryMs, maxMs: config.maxLoadRetryMs };
  const waiters = new Set<() => void>();
  const modelDefaults: ModelOptions = { ...defaultModelOptions, resultCacheTtlMs: config.resultCacheTtlMs, ...config.modelDefaults };
  const optionsOf = (name: string): ModelOptions => ({ ...modelDefaults, ...repository.source(name)?.options });
  const engines = new EngineHost({
    threads: config.engineThreads,
    variants: config.variants,
    workersPerVersion: config.engineWorkers,
    maxWorkers: config.maxEngineWorkers,
    mostLoads: config.loadThreads,
    mostUnloads: config.unloadThreads,
    warmupIterations: config.warmupIterations,
    allowSoftwareAdapter: config.allowSoftwareAdapter,
    gpu: backends.some((backend) => backend.endsWith('-webgpu')),
    maxInFlight: config.maxInFlight,
    buffers,
    log,
    onRestart: () => metrics.workerRestarted(),
  });
  const inlineRuns = new InlineRuns({ belowMs: config.inlineRunsBelowMs, log });
  const checkWaiters = () => {
    for (const check of waiters) check();
  };
  const versionBatching = createVersionBatching(config.hasVersionBatching ? config.batching : 'off');
  const servables = new Servables({
    load: inlineRuns.around(async (source, options) => {
      await versionBatching.read(source);
      await warnOfSavedModelConfig(source, log);
      return engines.load(source, backends, options);
    }),
    optionsOf,
    maxLoadRetries: config.maxLoadRetries,
    backOff: retry,
    metrics: recordingVersions(metrics, history, (name) => repository.source(name)?.basePath),
    log,
    onChange: checkWaiters,
    names: () => repository.names(),
  });
  const imports: ImportCache = new ImportCache({
    folder: join(config.cacheDir, 'imports'),
    importVersion: createImporter({ isServing: () => repository.names().some((name) => servables.isReady(name)) }),
    savedModelTags: config.savedModelTags,
    backOff: retry,
    log,
    isUsed: (directory) => repository.usesDirectory(directory) || servables.usesDirectory(directory),
    onImported: (name) => void repository.lookAfresh(name),
  });
  const openStore = createStoreOpener({ redirectHosts: config.storeRedirectHosts }, process.env);
  const { modelsRoot } = config;
  const isRootRemote = modelsRoot !== undefined && isRemote(modelsRoot);
  const mirrors: Mirrors = new Mirrors({
    folder: join(config.cacheDir, 'stores'),
    root: config.store ?? (isRootRemote ? openStore(modelsRoot) : undefined),
    openStore,
    pollIntervalMs: config.storePollMs,
    backOff: retry,
    budgetBytes: config.storeCacheBytes,
    log,
    metrics,
    isUsed: (directory) => servables.usesDirectory(directory),
    sourceOf: (name) => repository.source(name),
    onChange: (name) => void (name === undefined ? repository.look() : repository.lookAfresh(name)),
  });
  const repository: Repository = new Repository({
    models: config.models,
    modelsRoot: isRootRemote ? undefined : modelsRoot,
    mirrors,
    pollIntervalMs: config.pollIntervalMs,
    imports,
    trust: config.trust,
    log,
    alsoWanted: (versions) => {
      const shadow = shadowOf(versions);
      const version = shadow && shadowVersion(shadow, versions.labels);
      return version === undefined ? [] : [version];
    },
    onModel: (snapshot) => {
      published.apply(snapshot);
      pending.note(snapshot);
      servables.apply(snapshot);
      shadows.apply(snapshot);
      rollouts.apply(snapshot);
      checkWaiters();
    },
    onFailure: (name, error) => pending.noteFailure(name, error),
    onModelRemoved: (name) => {
      servables.remove(name);
      published.forget(name);
      pending.forget(name);
      shadows.forget(name);
      rollouts.forget(name);
    },
  });
  const published = new PublishedModels({ repository, history });
  const pending = recordingPending(history, (name) => repository.source(name)?.basePath);
  const batched = withBatching(servables, {
    batchingOf: (handle) => {
      const own = repository.source(handle.name)?.options?.batching;
      return own ?? (config.hasVersionBatching ? versionBatching.of(handle.manifest) : config.batching);
    },
    buffers,
    metrics,
    log,
    maxInFlight: config.maxInFlight,
  });
  const shadows = new ShadowRuns({ store: batched, metrics, log });
  const tallies = new RequestTallies();
  const rollouts = new Rollouts({ published, tallies, shadows, servables, log });
  const closed = new AbortController();
  const wait = (holds: () => boolean, signal: AbortSignal | undefined) =>
    waitUntil(holds, waiters, [closed.signal, ...(signal ? [signal] : [])]);
  const models = new ServedModels({
    models: config.models,
    repository,
    servables,
    published,
    allowsLabelsOfMissingVersions: config.allowsLabelsOfMissingVersions,
    folderRoots: folderRootsOf(config),
    storeRoots: [config.store?.location, isRootRemote ? modelsRoot.replace(/\/+$/, '') : undefined].filter((root) => root !== undefined),
    assertLogging: ({ name, logging }) => void resolveLogging(name, logging, config.requestLogDir),
    log,
    history,
    waitUntil: wait,
  });
  const arrivals = new Arrivals({
    isOnItsWay: (name) => models.isOnItsWay(name),
    waitUntil: wait,
    mostWaiting: Math.floor(config.maxInFlight / 8),
  });
  const configFile =
    config.modelConfigFile === undefined
      ? undefined
      : new ModelConfigFile({ file: config.modelConfigFile, pollIntervalMs: config.modelConfigPollMs, admin: models, log });
  const { resultCacheBytes: budgetBytes, resultCacheRedis: redisUrl, redisTimeoutMs } = config;
  const results =
    budgetBytes > 0 || redisUrl !== undefined ? openResults({ budgetBytes, redisUrl, redisTimeoutMs, metrics, log }) : undefined;
  const ttlMsOf = (name: string) => optionsOf(name).resultCacheTtlMs;
  return {
    models,
    rollouts,
    tallies,
    servables: shadows.around(results ? withResultCache(batched, { results, ttlMsOf, buffers, metrics }) : batched),
    arrivals,
    // Asked with each request.
    option: (name, option) => repository.source(name)?.options?.[option] ?? modelDefaults[option],
    batching: () => batched.batching(),
    files: createPublishedFiles(
      (name) => repository.snapshot(name),
      log,
      () => repository.names(),
    ),
    start: () => {
      void repository.open().then(() => {
        servables.startServing();
        void arrivals.start(repository.names());
      });
      void configFile?.open();
    },
    reloadModels: () => (configFile ? configFile.reload() : repository.refresh()),
    lookAfresh: (name) => repository.refresh(name),
    whenReady: ({ signal } = {}) => wait(() => servables.isReady(), signal),
    startDraining: () => {
      configFile?.[Symbol.dispose]();
      rollouts[Symbol.dispose]();
      repository[Symbol.dispose]();
      closed.abort(new NearfarError('unavailable', 'the server is closing'));
      servables.startDraining();
    },
    drain: () => servables.close(),
    end: async () => {
      await Promise.all([engines, inlineRuns, imports, mirrors, results].map((owner) => owner?.[Symbol.asyncDispose]()));
    },
  };
}

async function waitUntil(holds: () => boolean, waiters: Set<() => void>, signals: readonly AbortSignal[]): Promise<void> {
  const signal = AbortSignal.any([...signals]);
  signal.throwIfAborted();
  if (holds()) return;
  let forget = () => {};
  await new Promise<void>((resolve, reject) => {
    const check = () => {
      if (holds()) resolve();
    };
    const abort = () => reject(signal.reason);
    waiters.add(check);
    signal.addEventListener('abort', abort, { once: true });
    forget = () => {
      waiters.delete(check);
      signal.removeEventListener('abort', abort);
    };
  }).finally(() => forget());
}

/** Bound where it is asked for, and with authentication: those who may operate the models need not be able to read any folder. */
function folderRootsOf({ allowedModelRoots, authentication, modelsRoot, models, cacheDir }: ServerConfig): readonly string[] | undefined {
  if (!allowedModelRoots && !isOn(authentication)) return undefined;
  const own = [...models.map(({ basePath }) => basePath), ...(modelsRoot === undefined ? [] : [modelsRoot])].filter(
    (root) => !isRemote(root),
  );
  // Files that came with a load are written here.
  return [...(allowedModelRoots ?? []), ...own, join(cacheDir, 'loaded')];
}

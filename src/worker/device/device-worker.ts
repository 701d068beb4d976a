import {
  type BackendId,
  type Classification,
  type ClassifyCall,
  type DeviceWorkerApi,
  decodeClassification,
  encodeImages,
  filesOfVariant,
  listChunks,
  type Manifest,
  NearfarError,
  type OpenedModel,
  type OpenRequest,
  placeModel,
  resolveBindings,
  serializeError,
  type TensorMap,
  taskOf,
  toPrepared,
  usesGpu,
  type WorkerEvent,
} from '../../core/index.ts';
import { createCalls } from '../calls.ts';
import type { Clock } from '../clock.ts';
import { clientKey, createSlots, type LoaderContext, type ResolvedVersion, resolveVersion } from '../loader/index.ts';
import type { OpenedStore } from '../store/index.ts';
import type { Tabs } from '../tabs/index.ts';
import { chooseVariant, type FitVariant, variantsFor } from './choose-variant.ts';
import { createEnginePool, type OpenEngine } from './engine-pool.ts';
import { createKeyedLock } from './keyed-lock.ts';
import { createModelTable } from './model-table.ts';
import { type LoadedModel, type OpenContext, openModel } from './open-model.ts';
import { type Preparation, prepareOpening } from './prepare.ts';
import type { DeviceProbe } from './probe.ts';
import { createRunQueue, type ModelCall } from './run-queue.ts';

export interface DeviceWorkerOptions {
  readonly openStore: () => Promise<OpenedStore>;
  readonly tabs: Tabs;
  readonly openEngine: OpenEngine;
  readonly probe: DeviceProbe;
  /** Fetches the code of a backend's engine, which its opening then finds. */
  readonly preload: (backend: BackendId) => void;
  /** Name and version of the browser. */
  readonly browser: () => Promise<string>;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  /** Resolves in a later task of the event loop. */
  readonly nextTask: () => Promise<void>;
}

/** How long a planned opening is waited for. */
const plannedMs = 10_000;

/** The device worker's side of the protocol: the cache, the engines and the models on them. */
export function createDeviceWorker(options: DeviceWorkerOptions): DeviceWorkerApi {
  const calls = createCalls();
  const locks = createKeyedLock();
  const queue = createRunQueue(options.nextTask, loadMicroBatching);
  const engines = createEnginePool(options.openEngine);
  const models = createModelTable();
  const slots = createSlots();
  /** What the application's lock pins, by name: digests. */
  const locked = new Map<string, string>();
  /** Versions that were settled on and will be opened in a moment, by their digests. */
  const planned = new Map<string, Preparation>();
  let opened: Promise<OpenedStore> | undefined;
  const openStore = () => {
    opened ??= options.openStore();
    return opened;
  };
  const contextOf = async (signal: AbortSignal, notify: (event: WorkerEvent) => void): Promise<LoaderContext> => ({
    ...(await openStore()),
    clientKey: async () => clientKey((await openStore()).store),
    fetch: options.fetch,
    clock: options.clock,
    notify,
    signal,
    tabs: options.tabs,
    slots,
    isLocked: ({ pin, manifest }) => locked.get(manifest.name) === pin.digest,
  });

  const takePlanned = ({ name, choice, lock }: OpenRequest): Preparation | undefined => {
    const pin = lock && Object.hasOwn(lock.models, name) ? lock.models[name] : undefined;
    if (!pin || choice.version !== pin.version) return undefined;
    const preparation = planned.get(pin.digest);
    if (preparation?.version.manifest.name !== name) return undefined;
    planned.delete(pin.digest);
    return preparation;
  };
  const prepare = async (version: ResolvedVersion, variant: FitVariant, request: OpenRequest, loader: LoaderContext) => {
    const { digest } = version.pin;
    options.preload(variant.backend);
    if (planned.has(digest) || models.isOpen(digest)) return;
    const preparation = prepareOpening({ loader, engines, probe: options.probe, browser: options.browser }, version, variant, request);
    planned.set(digest, preparation);
    const holding = loader.tabs.hold(digest, new AbortController().signal);
    // An opening that was given up after it was planned never comes.
    await options.clock.delay(plannedMs);
    (await holding)[Symbol.dispose]();
    if (planned.get(digest) !== preparation) return;
    planned.delete(digest);
    preparation.end();
  };

  const openContext = (loader: LoaderContext, preparation?: Preparation): OpenContext => {
    const { probe, browser } = options;
    return { loader, engines, probe, browser, preparation, findLoaded: models.findShareable, makeRoom: models.makeRoom };
  };
  const loadAgain = (version: ResolvedVersion, request: OpenRequest, tell: (event: WorkerEvent) => void): Promise<LoadedModel> => {
    const { signal } = new AbortController();
    return locks.run(version.pin.digest, signal, async () => {
      const loader = await contextOf(signal, tell);
      return (await openModel(openContext(loader), version, request)).model;
    });
  };

  const open = async (request: OpenRequest, notify: (event: WorkerEvent) => void, signal: AbortSignal): Promise<OpenedModel> => {
    const loader = await contextOf(signal, notify);
    const preparation = takePlanned(request);
    const version = preparation?.version ?? (await resolveVersion(loader, request));
    const { digest } = version.pin;
    // A second opening of the same version waits for the first, and then shares what it loaded.
    return locks
      .run(digest, signal, async () => {
        const held = await loader.tabs.hold(digest, signal);
        try {
          const { model, isShared, skipped } = await openModel(openContext(loader, preparation), version, request);
          const handle = models.add(model, notify, held, (tell) => loadAgain(version, { ...request, backends: [model.backend] }, tell));
          const { pin, manifest, labels, backend, variant, lease } = model;
          notify({ type: 'phase', phase: 'ready', backend });
          const cache = isShared ? 'memory' : model.cache;
          return { handle, pin, manifest, labels, backend, variant: variant.id, device: lease.engine.device, cache, skipped };
        } catch (error) {
          held[Symbol.dispose]();
          throw error;
        }
      })
      .finally(() => preparation?.end());
  };

  const predict: DeviceWorkerApi['predict'] = (handle, { callId, signature, inputs, outputs }) =>
    calls.run(callId, async (signal) => {
      using loan = await models.use(handle);
      const { model } = loan;
      const call = { model, signal, signature, outputs, encode: () => ({ inputs }), decode: (tensors: TensorMap) => tensors };
      const { answer, timing } = await queue.run(call);
      return { outputs: answer, timing };
    });

  return {
    probe: () => options.probe.profile(),
    plan: (callId, request, notify) =>
      calls.run(callId, async (signal) => {
        const loader = await contextOf(signal, notify);
        const version = await resolveVersion(loader, request);
        const { pin, manifest } = version;
        if (request.lock && Object.hasOwn(request.lock.models, request.name)) locked.set(request.name, pin.digest);
        else locked.delete(request.name);
        const first = await firstFit(options.probe, manifest, request);
        if (first && request.isOpening) void prepare(version, first, request, loader);
        const files = first ? filesOfVariant(manifest, first.variant) : [];
        const lengths = new Map(listChunks(manifest, files).map(({ digest, bytes }) => [digest, bytes]));
        const present = await loader.store.findChunks([...lengths.keys()]).catch(() => new Set<string>());
        const sum = (digests: Iterable<string>) => [...digests].reduce((bytes, digest) => bytes + (lengths.get(digest) ?? 0), 0);
        return { pin, manifest, cachedBytes: sum(present), totalBytes: sum(lengths.keys()) };
      }),
    open: (callId, request, notify) => calls.run(callId, (signal) => open(request, notify, signal)),
    predict,
    async predictMoved(handle, call) {
      try {
        return await predict(handle, call);
      } catch (error) {
        return { error: serializeError(error), inputs: call.inputs };
      }
    },
    classify: (handle, call) =>
      calls.run(call.callId, async (signal) => {
        using loan = await models.use(handle);
        const { model } = loan;
        const { answer, timing } = await queue.run(classification(model, call, signal));
        return { predictions: answer, timing };
      }),
    runTask: (handle, call) =>
      calls.run(call.callId, async (signal) => {
        const { openTaskCall } = await loadRunTask();
        using loan = await models.use(handle);
        const { model } = loan;
        const { answer, timing } = await queue.run(await openTaskCall(model, call, signal));
        return { output: answer, timing };
      }),
    cancel: (callId) => calls.cancel(callId),
    async close(handle) {
      const last = models.remove(handle);
      // Behind the runs that are under way, which may finish.
      if (last) await queue.work(() => last.close());
    },
    prefetch: (callId, request, notify) =>
      calls.run(callId, async (signal) => {
        const loader = await contextOf(signal, notify);
        const version = await resolveVersion(loader, request);
        return (await manageCache()).prefetchVersion(loader, version, await firstFit(options.probe, version.manifest, request), request);
      }),
    cacheReport: async (budgetBytes) => (await manageCache()).reportCache((await openStore()).store, options.tabs, budgetBytes),
    verifyCache: async () => (await manageCache()).verifyCache((await openStore()).store),
    clearCache: async (name, version) => (await manageCache()).clearCache((await openStore()).store, name, version),
    pinVersion: async (name, version, isPinned) => (await manageCache()).pinVersion((await openStore()).store, name, version, isPinned),
    async stats() {
      const memories = engines.engines().map((engine) => engine.memory());
      const sum = (key: 'tensors' | 'bytes') => memories.reduce((total, memory) => total + memory[key], 0);
      return { models: models.size(), tensors: sum('tensors'), bytes: sum('bytes') };
    },
    async loseDevice(handle) {
      using loan = await models.use(handle);
      const { model } = loan;
      const { engine } = model.lease;
      if (!engine.loseDevice) throw new NearfarError('unsupported', `${model.backend} has no device that could be lost`);
      engine.loseDevice();
    },
    hang(durationMs) {
      const until = performance.now() + durationMs;
      while (performance.now() < until);
    },
  };
}

// Outside of a function with `using`, in which the compiler leaves the path as it is.
const loadRunTask = () => import('./run-task.ts');
const loadMicroBatching = () => import('./micro-batching.ts');
const manageCache = () => import('./manage-cache.ts');

/** The first backend that this device can run, with its variant. */
async function firstFit(probe: DeviceProbe, manifest: Manifest, request: OpenRequest): Promise<FitVariant | undefined> {
  const policy = { ...request, mode: 'only-on-device', hasServer: false } as const;
  // Only a GPU has to be looked at.
  const profile = usesGpu(request.backends) ? await probe.profile() : { probeMs: 0 };
  for (const backend of placeModel(manifest.variants, profile, policy).backends) {
    const variant = await chooseVariant(variantsFor(manifest, backend), backend, probe);
    if (variant) return { backend, variant };
  }
  return undefined;
}

function classification(model: LoadedModel, { image, topK }: ClassifyCall, signal: AbortSignal): ModelCall<readonly Classification[]> {
  const task = taskOf(model.manifest, 'image-classification');
  const { signature } = task;
  const { name, activation } = task.output;
  const { inputs: bindings } = resolveBindings(model.manifest, model.variant, signature);
  const layout = bindings.find((binding) => binding.name === task.input.name)?.ownLayout ?? task.input.layout;
  return {
    model,
    signal,
    signature,
    outputs: [name],
    encode: (isNext) => ({
      inputs: {
        [task.input.name]: encodeImages([toPrepared(image, task.input)], { ...task.input, layout }, isNext ? model.batch : undefined),
      },
      layouts: { [task.input.name]: layout },
    }),
    decode: (outputs) => {
      const scores = outputs[name];
      if (!scores) throw new NearfarError('internal', `${model.backend} gave no output "${name}"`);
      return decodeClassification(scores, { activation, labels: model.labels, topK, output: name })[0] ?? [];
    },
  };
}

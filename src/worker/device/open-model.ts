import {
  type BackendId,
  type CacheOutcome,
  filesOfVariant,
  type LoadedVariant,
  type Manifest,
  NearfarError,
  type NearfarErrorCode,
  type OpenRequest,
  type Pin,
  parseLabels,
  type SkippedBackend,
  taskReferences,
  unfitReason,
  type Variant,
} from '../../core/index.ts';
import { areFilesStored, type LoaderContext, type ResolvedVersion } from '../loader/index.ts';
import { chooseVariant, variantsFor } from './choose-variant.ts';
import type { EngineLease, EnginePool } from './engine-pool.ts';
import { createFilePool, type FilePool } from './file-pool.ts';
import { openLoadingMark } from './loading-mark.ts';
import { neededFiles, type Preparation } from './prepare.ts';
import type { DeviceProbe } from './probe.ts';
import { openSelfTest, verdictKey } from './self-test.ts';

/** A version on one backend: loaded, checked against its golden examples and warmed up. Disposing it gives everything back. */
export interface LoadedModel extends AsyncDisposable {
  readonly pin: Pin;
  readonly manifest: Manifest;
  readonly labels: readonly string[] | undefined;
  /** What its tasks read: a tokenizer, names of classes, terms of a column. */
  readonly taskFiles: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  readonly variant: Variant;
  readonly backend: BackendId;
  readonly lease: EngineLease;
  readonly loaded: LoadedVariant;
  readonly cache: CacheOutcome;
  /** What it counts in the memory budget: the bytes of its files, as no engine tells what it holds. */
  readonly bytes: number;
  /** Room for one classified image, written anew by each: fresh memory of that size costs more than filling it. */
  readonly batch: Float32Array | undefined;
}

export interface OpenContext {
  readonly loader: LoaderContext;
  readonly engines: EnginePool;
  readonly probe: DeviceProbe;
  /** Name and version of the browser. */
  readonly browser: () => Promise<string>;
  /** Waits until the memory budget has room for a model, and keeps it until the reservation is disposed. */
  readonly makeRoom: (bytes: number, budgetBytes: number) => Promise<Disposable>;
  /** The same version on this backend, where it is loaded already. */
  readonly findLoaded: (pin: Pin, backend: BackendId) => LoadedModel | undefined;
  /** What was begun already of this opening. */
  readonly preparation?: Preparation | undefined;
}

export interface OpenOutcome {
  readonly model: LoadedModel;
  readonly isShared: boolean;
  readonly skipped: readonly SkippedBackend[];
}

/** What only says something about one backend; anything else would be the same on the next. */
const backendFailures: ReadonlySet<NearfarErrorCode> = new Set([
  'device-unfit',
  'device-lost',
  'out-of-memory',
  'self-test-failed',
  'unsupported',
  // The golden examples fit the signature: a variant that refuses them, or answers in another dtype, is alone in that.
  'dtype-mismatch',
  'shape-mismatch',
  'internal',
]);

/**
 * Opens a version on the first backend that passes: its engine opens, the files are verified, the model compiles and
 * reproduces its golden examples. Each backend that does not is reported as a `fallback`. Where the network fails, only backends whose
 * files are all cached are tried after it.
 * @throws {NearfarError} the one reason, or `device-unfit`, when no backend passes; `network`, `integrity-mismatch` and
 * other errors that no backend can help. Rejects with `signal.reason` when aborted.
 */
export async function openModel(context: OpenContext, version: ResolvedVersion, request: OpenRequest): Promise<OpenOutcome> {
  const { signal, notify } = context.loader;
  const { pin, manifest } = version;
  let candidates = request.backends.filter((backend) => variantsFor(manifest, backend).length > 0);
  context.preparation?.tellTo(notify);
  const files = context.preparation?.files ?? createFilePool(context.loader, version, request);
  const skipped: SkippedBackend[] = [];
  let outage: NearfarError | undefined;
  const giveUp = (backend: BackendId, { code, message }: NearfarError) => {
    skipped.push({ backend, code, message });
    const [to] = candidates;
    notify({ type: 'fallback', from: backend, ...(to && { to }), code, message });
  };
  for (let backend = candidates.shift(); backend; backend = candidates.shift()) {
    try {
      const shared = context.findLoaded(pin, backend);
      if (shared) return { model: shared, isShared: true, skipped };
      const variant = await variantOf(context, manifest, backend);
      return { model: await openOn(context, { version, variant, backend, files, request }), isShared: false, skipped };
    } catch (error) {
      signal.throwIfAborted();
      const failure = error instanceof NearfarError ? error : new NearfarError('internal', String(error), { cause: error });
      const isOutage = failure.code === 'network';
      // What took the page along once may do so on the next backend; where a server can answer that is not tried.
      const mayGoOn = backendFailures.has(failure.code) || (failure.code === 'device-crashed' && !request.hasServer);
      if (!isOutage && !mayGoOn) throw failure;
      const dropped = isOutage ? candidates : [];
      if (isOutage) {
        // The network does not come back for the next backend; one whose files are all here needs none.
        outage = failure;
        candidates = await withoutNetwork(context, version, candidates);
        if (candidates.length === 0) throw failure;
      }
      giveUp(backend, failure);
      for (const other of dropped.filter((each) => !candidates.includes(each))) giveUp(other, failure);
    }
  }
  if (outage) throw outage;
  const { code, message } = unfitReason(skipped);
  throw new NearfarError(code, `${manifest.name} version ${manifest.version} cannot run on this device: ${message}`, {
    details: { skipped },
  });
}

/** Those of the backends that need no byte from the network: loaded already, or with every file in the store. */
async function withoutNetwork(
  context: OpenContext,
  { pin, manifest }: ResolvedVersion,
  backends: readonly BackendId[],
): Promise<BackendId[]> {
  const isHere = async (backend: BackendId) => {
    if (context.findLoaded(pin, backend)) return true;
    const variant = await variantOf(context, manifest, backend).catch(() => undefined);
    return variant !== undefined && (await areFilesStored(context.loader, manifest, filesOfVariant(manifest, variant)));
  };
  const here = await Promise.all(backends.map(isHere));
  return backends.filter((_, index) => here[index]);
}

async function variantOf(context: OpenContext, manifest: Manifest, backend: BackendId): Promise<Variant> {
  const variants = variantsFor(manifest, backend);
  const variant = await chooseVariant(variants, backend, context.probe);
  if (variant) return variant;
  const requires = [...new Set(variants.flatMap((each) => each.requires))];
  throw new NearfarError('device-unfit', `every variant for ${backend} needs what this device lacks, of ${requires.join(', ')}`, {
    details: { backend, requires },
  });
}

interface Attempt {
  readonly version: ResolvedVersion;
  readonly variant: Variant;
  readonly backend: BackendId;
  readonly files: FilePool;
  readonly request: OpenRequest;
}

async function openOn(context: OpenContext, attempt: Attempt): Promise<LoadedModel> {
  const { signal, notify, store } = context.loader;
  const { version, variant, backend, files, request } = attempt;
  const { pin, manifest } = version;
  const about = { digest: pin.digest, manifest, variant: variant.id, backend };
  const { preparation } = context;
  const marking = verdictKey(context, about).then((key) => openLoadingMark(context.loader, key, request));
  const testing = preparation?.backend === backend ? preparation.selfTest : openSelfTest({ ...context, store }, about);
  const [marked, tested] = await Promise.allSettled([marking, testing]);
  if (marked.status === 'rejected') throw marked.reason;
  if (tested.status === 'rejected') {
    await marked.value.remove(false);
    throw tested.reason;
  }
  const selfTest = tested.value;
  const mark = marked.value;
  let lease: EngineLease | undefined;
  const bytes = variant.files.reduce((sum, path) => sum + (manifest.files[path]?.bytes ?? 0), 0);
  let loaded: LoadedVariant | undefined;
  try {
    const paths = neededFiles(manifest, variant, selfTest);
    await assertMayDownload(context, attempt, paths);
    using _ = await context.makeRoom(bytes, request.memoryBudgetBytes ?? Number.POSITIVE_INFINITY);
    lease = await startEngine(context, attempt, paths);
    await mark.write();
    const source = { manifest, variant, readFile: (path: string) => files.readFile(path) };
    notify({ type: 'phase', phase: 'compile', backend });
    loaded = await lease.engine.load(source, { signal });
    notify({ type: 'phase', phase: 'warm-up', backend, isSelfTestKnown: selfTest.isKnown });
    await selfTest.run(loaded, source, signal);
    signal.throwIfAborted();
    // Not waited for: a crash from here on is not one of loading.
    void mark.remove(true);
    const labels = await readLabels(manifest, files);
    const taskFiles = await readTaskFiles(manifest, files);
    return createLoadedModel({
      pin,
      manifest,
      labels,
      taskFiles,
      variant,
      backend,
      lease,
      loaded,
      cache: files.outcome(),
      bytes,
      batch: batchOf(manifest),
    });
  } catch (error) {
    // Giving back what a lost device held may fail too; the first error is the one to tell.
    await Promise.allSettled([loaded?.[Symbol.asyncDispose]()]);
    await Promise.allSettled([lease?.[Symbol.asyncDispose](), mark.remove(false)]);
    throw error;
  }
}

/** @throws {NearfarError} `download-deferred` where a server can answer and the connection or the battery is to be spared. */
async function assertMayDownload(
  { loader }: OpenContext,
  { version, request: { deferral } }: Attempt,
  paths: readonly string[],
): Promise<void> {
  if (!deferral || (await areFilesStored(loader, version.manifest, paths))) return;
  throw new NearfarError(deferral.code, deferral.message);
}

/** Starts the engine while its files load: neither needs the other. A GPU that may not be fit fetches no byte before it is. */
async function startEngine(
  { engines, loader, probe }: OpenContext,
  { backend, files, request: { allowSoftwareAdapter } }: Attempt,
  paths: readonly string[],
): Promise<EngineLease> {
  const { signal } = loader;
  const adapter = await (backend.endsWith('-webgpu') ? probe.adapter() : undefined);
  const isSureToStart = !backend.endsWith('-webgpu') || (adapter && (allowSoftwareAdapter || !adapter.isFallbackAdapter));
  const stop = new AbortController();
  const leasing = engines.lend(backend, { allowSoftwareAdapter, signal });
  leasing.catch((error: unknown) => stop.abort(error));
  const load = () => files.load(paths, AbortSignal.any([signal, stop.signal]));
  const [lease, loading] = await Promise.allSettled([leasing, isSureToStart ? load() : leasing.then(load)]);
  if (lease.status === 'rejected') throw lease.reason;
  if (loading.status === 'fulfilled') return lease.value;
  await lease.value[Symbol.asyncDispose]();
  throw loading.reason;
}

async function readLabels(manifest: Manifest, files: FilePool): Promise<readonly string[] | undefined> {
  const path = manifest.tasks?.['image-classification']?.output.labels;
  return path === undefined ? undefined : parseLabels(await files.readFile(path));
}

async function readTaskFiles(manifest: Manifest, files: FilePool): Promise<ReadonlyMap<string, Uint8Array<ArrayBuffer>>> {
  const references = taskReferences(manifest.tasks).filter(({ name }) => name !== 'image-classification');
  const paths = new Set(references.flatMap((task) => task.files));
  return new Map(await Promise.all([...paths].map(async (path) => [path, await files.readFile(path)] as const)));
}

function batchOf({ tasks }: Manifest): Float32Array | undefined {
  const crop = tasks?.['image-classification']?.input.crop;
  return crop && new Float32Array(crop[0] * crop[1] * 3);
}

function createLoadedModel(parts: Omit<LoadedModel, typeof Symbol.asyncDispose>): LoadedModel {
  let disposed: Promise<void> | undefined;
  const dispose = async () => {
    try {
      await parts.loaded[Symbol.asyncDispose]();
    } finally {
      await parts.lease[Symbol.asyncDispose]();
    }
  };
  return {
    ...parts,
    [Symbol.asyncDispose]() {
      disposed ??= dispose();
      return disposed;
    },
  };
}

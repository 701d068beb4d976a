import { isDeepStrictEqual } from 'node:util';
import { isBatchable, NearfarError, type RunRequest, sharedRows } from '../../core/index.ts';
import type { BufferPool } from '../buffer-pool.ts';
import type { Logger } from '../log.ts';
import type { Batching, BatchingOptions } from '../model-options.ts';
import { type ServableHandle, type ServableStore, withJoinedSignatures } from '../servables/index.ts';
import { BatchScheduler, type Clock } from './batch-scheduler.ts';
import { Batcher, type BatchRun, type BatchTask, type LanePlan, type Lease, type RunResult } from './batcher.ts';
import { Tuner, type TuningReport } from './tuner.ts';

/** Where batches are counted. */
export interface BatchingMetrics {
  recordQueued(queued: { readonly threadPool: string; readonly queueMs: number }): void;
  recordBatch(batch: {
    readonly threadPool: string;
    readonly model: string;
    readonly version: string;
    readonly signature: string;
    readonly rows: number;
    readonly padding: number;
  }): void;
  recordTuning(tuning: {
    readonly model: string;
    readonly version: string;
    readonly signature: string;
    readonly maxBatchSize: number;
    readonly batchTimeoutMicros: number;
  }): void;
}

export interface WithBatchingOptions {
  /** How a version is batched: asked at each request, so that another answer changes it while it is loaded. */
  readonly batchingOf: (version: ServableHandle) => Batching;
  readonly buffers: BufferPool;
  readonly metrics: BatchingMetrics;
  readonly log: Logger;
  /** Most requests that wait where the queue is tuned. */
  readonly maxInFlight: number;
  readonly clock?: Clock | undefined;
}

type BatchedVersion = Pick<ServableHandle, 'name' | 'version' | 'digest'>;

/** How a signature of a version is batched. */
export interface BatchingReport {
  readonly model: string;
  readonly version: string;
  readonly signature: string;
  readonly batching: 'fixed' | 'auto';
  readonly maxBatchSize: number;
  readonly batchTimeoutMicros: number;
  /** What the tuner found, where it chose. */
  readonly tuning?: TuningReport | undefined;
}

/** A store whose handles batch. */
export interface BatchingStore extends ServableStore {
  /** How the loaded versions are batched, once they were asked for something. */
  batching(): readonly BatchingReport[];
}

/** Batches for each engine worker: one that runs, and one that is there when it ends. */
const batchesPerWorker = 2;

const tunedPoolName = 'nearfar_auto';

/** Where a GPU compiles its programs for each shape anew, few sizes are better than the exact ones. */
const powersOfTwo: readonly number[] = Array.from({ length: 9 }, (_, power) => 2 ** power);

const systemClock: Clock = {
  now: () => performance.now(),
  defer: (callback) => void setImmediate(callback),
  wait: (ms, callback) => {
    // Timers count whole milliseconds, and at least one. What remains passes in turns of the event loop.
    if (ms < 1) return forgetImmediate(setImmediate(callback));
    const timer = setTimeout(callback, Math.floor(ms));
    return () => clearTimeout(timer);
  },
};

function forgetImmediate(immediate: NodeJS.Immediate): () => void {
  return () => clearImmediate(immediate);
}

/**
 * Lends handles whose runs are joined with concurrent ones of the same version, as TensorFlow Serving's BatchingSession does. Requests of a
 * signature that has an input or a wanted output without a batch dimension (-1 first) pass through.
 * @remarks Outputs of a batch are views of one buffer that several answers share: they are read, not transferred.
 */
export function withBatching(store: ServableStore, options: WithBatchingOptions): BatchingStore {
  const { clock = systemClock } = options;
  const pools = new Map<string, BatchScheduler<BatchTask>>();
  const versions = new Map<string, VersionBatching>();

  const poolOf = (name: string, threads: number) => {
    const key = `${name}\0${threads}`;
    const pool = pools.get(key) ?? new BatchScheduler<BatchTask>(threads, clock);
    pools.set(key, pool);
    return pool;
  };
  /** Versions that are gone are forgotten when another one comes, so that there are never many of them. */
  const forgetGone = () => {
    for (const [key, { version }] of versions) if (!isLoaded(store, version)) versions.delete(key);
  };
  const batchingOf = (handle: ServableHandle): VersionBatching => {
    const key = `${handle.name}\0${handle.version}\0${handle.digest}`;
    const known = versions.get(key);
    const batching = options.batchingOf(handle);
    if (known && (known.batching === batching || isDeepStrictEqual(known.batching, batching))) return known;
    forgetGone();
    const opened = openVersion(handle, batching, { ...options, clock, poolOf });
    versions.set(key, opened);
    return opened;
  };

  return {
    lend: (spec) => {
      const handle = store.lend(spec);
      if (versions.size === 0 && options.batchingOf(handle) === 'off') return handle;
      const batching = batchingOf(handle);
      return batching.batching === 'off' ? handle : batchHandle(handle, batching);
    },
    status: (spec) => store.status(spec),
    labels: (name) => store.labels(name),
    traffic: (name) => store.traffic(name),
    names: () => store.names(),
    isReady: (name) => store.isReady(name),
    watch: (listener) => store.watch(listener),
    batching: () => {
      forgetGone();
      return [...versions.values()].flatMap((version) => version.reports());
    },
  };
}

function isLoaded(store: ServableStore, { name, version, digest }: BatchedVersion): boolean {
  try {
    return store
      .status({ name, version })
      .some((status) => status.digest === digest && (status.state === 'AVAILABLE' || status.state === 'UNLOADING'));
  } catch {
    return false; // the model is gone
  }
}

interface VersionBatching {
  readonly version: BatchedVersion;
  readonly batching: Batching;
  run(lease: Lease, request: RunRequest, signal: AbortSignal | undefined): Promise<RunResult>;
  reports(): readonly BatchingReport[];
}

/** A handle that goes back when neither its user nor a batch needs it. */
function batchHandle(handle: ServableHandle, batching: VersionBatching): ServableHandle {
  let uses = 1;
  let isReturned = false;
  const release = () => {
    if (--uses === 0) handle[Symbol.dispose]();
  };
  const lease: Lease = {
    parallelism: handle.parallelism,
    run: (request, { signal }) => handle.run(request, { signal }),
    hold: () => {
      uses++;
      return release;
    },
  };
  return {
    ...handle,
    run: async (request, { signal }) => {
      if (isReturned) throw new NearfarError('failed-precondition', 'the handle was given back already');
      return batching.run(lease, request, signal);
    },
    runNow: undefined,
    [Symbol.dispose]: () => {
      if (isReturned) return;
      isReturned = true;
      release();
    },
  };
}

interface VersionParts extends WithBatchingOptions {
  readonly clock: Clock;
  readonly poolOf: (name: string, threads: number) => BatchScheduler<BatchTask>;
}

function openVersion(handle: ServableHandle, batching: Batching, parts: VersionParts): VersionBatching {
  const { name, version, digest } = handle;
  const about = { version: { name, version, digest }, batching };
  if (batching === 'off') return { ...about, run: (lease, request, signal) => lease.run(request, { signal }), reports: () => [] };
  return {
    ...about,
    ...(batching.kind === 'fixed' ? openFixed(handle, batching.options, parts) : openTuned(handle, batching.p99TargetMs, parts)),
  };
}

type BatchedRuns = Pick<VersionBatching, 'run' | 'reports'>;

function openFixed({ name, version, manifest }: ServableHandle, options: BatchingOptions, parts: VersionParts): BatchedRuns {
  const { threadPoolName, numBatchThreads } = options;
  const scheduler = parts.poolOf(threadPoolName, numBatchThreads);
  const batcher = openBatcher({ name, version }, threadPoolName, scheduler, parts, () => {});
  const { maxBatchSize, batchTimeoutMicros, enableLargeBatchSplitting, maxExecutionBatchSize } = options;
  const known = withJoinedSignatures(manifest);
  const plan: LanePlan = {
    limits: {
      maxTaskRows: maxBatchSize,
      maxBatchRows: enableLargeBatchSplitting ? maxExecutionBatchSize : maxBatchSize,
      timeoutMs: batchTimeoutMicros / 1000,
      maxBatches: options.maxEnqueuedBatches,
      splits: enableLargeBatchSplitting,
    },
    allowedSizes: options.allowedBatchSizes,
    padsVariableLengths: options.padVariableLengthInputs,
  };
  const signatures = Object.keys(manifest.signatures).filter((signature) => isBatchable(manifest, { signature }));
  return {
    run: (lease, request, signal) =>
      isBatchable(known, request) ? batcher.run(lease, request, plan, signal) : lease.run(request, { signal }),
    reports: () =>
      signatures.map((signature) => ({ model: name, version, signature, batching: 'fixed', maxBatchSize, batchTimeoutMicros })),
  };
}

function openTuned(handle: ServableHandle, p99TargetMs: number, parts: VersionParts): BatchedRuns {
  const { name, version, backend, parallelism } = handle;
  const manifest = withJoinedSignatures(handle.manifest);
  const tuners = new Map<string, Tuner>();
  const tunerOf = (signature: string): Tuner => {
    const onChoice = (report: TuningReport) => {
      const { maxBatchSize, batchTimeoutMicros } = report;
      parts.metrics.recordTuning({ model: name, version, signature, maxBatchSize, batchTimeoutMicros });
      parts.log.info(
        { model: name, version, signature, ...report },
        `${report.state === 'batching' ? 'batching is on' : 'batching is off'}: ${report.reason}`,
      );
    };
    const tuner = tuners.get(signature) ?? new Tuner({ p99TargetMs, now: parts.clock.now, onChoice });
    tuners.set(signature, tuner);
    return tuner;
  };
  const scheduler = new BatchScheduler<BatchTask>(batchesPerWorker * parallelism, parts.clock);
  const batcher = openBatcher({ name, version }, tunedPoolName, scheduler, parts, (signature, { rows, timing }) =>
    tunerOf(signature).record({ rows, inferMs: timing.inferMs }),
  );
  const allowedSizes = /-(webgpu|cuda|tensorrt)$/.test(backend) ? powersOfTwo : [];
  const planOf = (maxBatchSize: number): LanePlan => ({
    limits: { maxTaskRows: maxBatchSize, maxBatchRows: maxBatchSize, timeoutMs: 0, maxBatches: parts.maxInFlight, splits: false },
    allowedSizes,
    padsVariableLengths: false,
  });
  let inFlight = 0;
  const run = async (lease: Lease, request: RunRequest, signal: AbortSignal | undefined): Promise<RunResult> => {
    const rows = isBatchable(manifest, request) ? sharedRows(request.inputs) : undefined;
    if (rows === undefined) return lease.run(request, { signal });
    const tuner = tunerOf(request.signature);
    // A worker that crashed comes back.
    scheduler.maxRunning = batchesPerWorker * lease.parallelism;
    if (rows < tuner.maxBatchSize) return batcher.run(lease, request, planOf(tuner.maxBatchSize), signal);
    const result = await lease.run(request, { signal });
    tuner.record({ rows, inferMs: result.timing.inferMs });
    return result;
  };
  return {
    run: async (lease, request, signal) => {
      if (inFlight >= parts.maxInFlight) {
        throw new NearfarError('overloaded', `${inFlight} requests are in flight already`, { details: { limit: parts.maxInFlight } });
      }
      inFlight++;
      try {
        return await run(lease, request, signal);
      } finally {
        inFlight--;
      }
    },
    reports: () =>
      [...tuners].map(([signature, tuner]) => {
        const tuning = tuner.report();
        const { maxBatchSize, batchTimeoutMicros } = tuning;
        return { model: name, version, signature, batching: 'auto', maxBatchSize, batchTimeoutMicros, tuning };
      }),
  };
}

function openBatcher(
  { name, version }: Pick<BatchedVersion, 'name' | 'version'>,
  threadPool: string,
  scheduler: BatchScheduler<BatchTask>,
  { clock, buffers, log, metrics }: VersionParts,
  onRun: (signature: string, run: BatchRun) => void,
): Batcher {
  return new Batcher({
    scheduler,
    clock,
    buffers,
    log: log.child({ model: name, version }),
    onQueued: (queueMs) => metrics.recordQueued({ threadPool, queueMs }),
    onRun: (signature, run) => {
      metrics.recordBatch({ threadPool, model: name, version, signature, rows: run.rows, padding: run.padding });
      onRun(signature, run);
    },
  });
}

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { AdmissionMetrics } from './admission.ts';
import type { BatchingMetrics } from './batching/index.ts';
import type { CacheMetrics } from './cache/index.ts';
import type { StoreMetrics } from './repository/index.ts';
import type { AnsweringServable, RequestObserver, RequestRecord } from './request-record.ts';
import type { ShadowMetrics } from './rollout/index.ts';
import { SeriesCounter, SeriesHistogram } from './series.ts';
import { type ServingMetrics, servableStates } from './servables/index.ts';

/** What the server counts and times, readable by Prometheus. */
export interface ServerMetrics
  extends ServingMetrics,
    BatchingMetrics,
    RequestObserver,
    CacheMetrics,
    AdmissionMetrics,
    ShadowMetrics,
    StoreMetrics {
  readonly registry: Registry;
  workerRestarted(): void;
  /** @param status Canonical name: `OK`, or why a sampled request was not logged. */
  recordRequestLog(model: string, status: string): void;
}

/** What series of a version are found by when it goes. */
interface KnownVersion {
  path?: string;
  uuid?: string;
}

const geometric = (first: number, factor: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, n) => first * factor ** n);

/** Microseconds, those of TensorFlow Serving. */
const latencyBounds = geometric(10, 1.8, 33);
const graphRunBounds = geometric(1000, 2, 20);
const exampleBounds = geometric(1, 2, 15);
const queuingBounds = geometric(100, 1.2, 52);

/** Seconds, for our own metrics, in Prometheus' base unit. */
const secondsBounds = geometric(1e-4, 2, 20);

/** Rows. */
const batchSizeBounds = geometric(1, 2, 11);

const unknownModel = '(unknown)';

/** What one kind of request is counted in. */
interface RequestSeries {
  readonly model: string;
  readonly version: string;
  record(record: RequestRecord): void;
}

/**
 * TensorFlow Serving's metric names, so that its dashboards keep working, and our own `nearfar_*` with the version, the
 * signature and the backend that theirs do not carry.
 */
export function createMetrics(): ServerMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const tensorflow = createTensorFlowMetrics(registry);
  const own = createOwnMetrics(registry);
  // A client can ask for any name: only names the server has become label values, so the number of series stays bounded.
  const models = new Map<string, Map<string, KnownVersion>>();
  const versionOf = (model: string, version: string) => {
    const versions = models.get(model) ?? new Map<string, KnownVersion>();
    models.set(model, versions);
    const known = versions.get(version) ?? {};
    versions.set(version, known);
    return known;
  };
  const requests = new Map<string, RequestSeries>();

  const openSeries = (record: RequestRecord, model: string): RequestSeries => {
    const { version = '' } = record.servable ?? {};
    const recorders = [own.openRequests(record, model), ...(record.kind === 'prediction' ? [tensorflow.openRequests(record, model)] : [])];
    return {
      model,
      version,
      record: (one) => {
        for (const recorder of recorders) recorder(one);
      },
    };
  };
  // Most requests are of the kind of the one before: no key is put together for those.
  let last: { readonly like: RequestRecord; readonly model: string; readonly series: RequestSeries } | undefined;
  const seriesOf = (record: RequestRecord, model: string): RequestSeries => {
    if (last?.model === model && isAlike(last.like, record)) return last.series;
    const { version, signature, backend } = record.servable ?? {};
    const key = `${model}\n${record.api}\n${record.entrypoint}\n${record.status}\n${version}\n${signature}\n${backend}`;
    const series = requests.get(key) ?? openSeries(record, model);
    requests.set(key, series);
    last = { like: record, model, series };
    return series;
  };
  const forget = (isMeant: (series: RequestSeries) => boolean) => {
    last = undefined;
    for (const [key, series] of requests) if (isMeant(series)) requests.delete(key);
  };
  const forgetVersion = (model: string, version: string) => {
    forget((series) => series.model === model && series.version === version);
    const { path, uuid } = models.get(model)?.get(version) ?? {};
    if (path !== undefined) tensorflow.forgetPath(path);
    if (uuid !== undefined) tensorflow.mlmdMap.remove({ model_name: model, version, uuid });
    models.get(model)?.delete(version);
    own.forget(model, version);
  };

  return {
    registry,
    recordRequest: (record) => {
      const model = record.model === '' || models.has(record.model) ? record.model : unknownModel;
      seriesOf(record, model).record(record);
    },
    recordRequestLog: (model, status) => tensorflow.requestLogCount.series({ model_name: model, status_code: status }).add(),
    setState: (model, version, state) => {
      versionOf(model, version);
      own.states.set({ model, version }, servableStates[state]);
    },
    forgetVersion,
    forgetModel: (model) => {
      for (const version of [...(models.get(model)?.keys() ?? [])]) forgetVersion(model, version);
      models.delete(model);
      forget((series) => series.model === model);
      tensorflow.forgetModel(model);
      own.forget(model, '');
    },
    recordLoad: ({ model, version, path, backend, outcome, durationMs }) => {
      versionOf(model, version).path = path;
      own.loads.series({ model, version, engine: engineOf(backend), backend, outcome }).observe(durationMs / 1000);
      if (outcome !== 'skipped') tensorflow.recordLoad(path, outcome === 'loaded', durationMs * 1000);
    },
    recordWarmup: ({ path, status, records, durationMs }) => tensorflow.recordWarmup(path, status, records, durationMs * 1000),
    setMlMetadata: ({ model, version, uuid }) => {
      const known = models.get(model)?.get(version);
      // It may be gone again.
      if (!known) return;
      known.uuid = uuid;
      tensorflow.mlmdMap.set({ model_name: model, version, uuid }, 1);
    },
    recordSignatureChange: (change) => own.signatureChanges.series(change).add(),
    recordShadow: (run) => own.shadowRuns.series(run).add(),
    recordFallback: (fallback) => own.fallbacks.series(fallback).add(),
    recordQueued: ({ threadPool, queueMs }) => tensorflow.queuingLatency.series({ thread_pool_name: threadPool }).observe(queueMs * 1000),
    recordBatch: ({ threadPool, ...batch }) => {
      tensorflow.wrappedRunCount.series({ thread_pool_name: threadPool }).add();
      own.recordBatch(batch);
    },
    recordTuning: own.recordTuning,
    workerRestarted: () => own.restarts.inc(),
    ...createCacheMetrics(registry),
    ...createAdmissionMetrics(registry),
    ...createStoreMetrics(registry),
  };
}

/** Whether two requests to one model are counted in the same series. */
function isAlike(a: RequestRecord, b: RequestRecord): boolean {
  return (
    a.api === b.api &&
    a.entrypoint === b.entrypoint &&
    a.status === b.status &&
    a.servable?.version === b.servable?.version &&
    a.servable?.signature === b.servable?.signature &&
    a.servable?.backend === b.servable?.backend
  );
}

/** No engine ran for this one. */
function isFromCache({ cache }: AnsweringServable): boolean {
  return cache === 'hit' || cache === 'joined';
}

/** `onnx` of `onnx-cpu`. */
function engineOf(backend: string): string {
  return backend.split('-', 1)[0] ?? '';
}

/** The names, labels and buckets of TensorFlow Serving and of TensorFlow's core below it. */
function createTensorFlowMetrics(registry: Registry) {
  const counter = (path: string, help: string) => new SeriesCounter({ name: `:tensorflow:${path}`, help, registry });
  const histogram = (path: string, help: string, bounds: readonly number[]) =>
    new SeriesHistogram({ name: `:tensorflow:${path}`, help, bounds, registry });
  const requestCount = counter('serving:request_count', 'The total number of requests.');
  const requestLatency = histogram('serving:request_latency', 'Time to answer, in microseconds.', latencyBounds);
  const runtimeLatency = histogram('serving:runtime_latency', 'Time a request ran on its engine, in microseconds.', latencyBounds);
  const exampleCounts = histogram('serving:request_example_counts', 'The number of tensorflow.Examples per request.', exampleBounds);
  const exampleCountTotal = counter('serving:request_example_count_total', 'The total number of tensorflow.Examples.');
  const requestLogCount = counter('serving:request_log_count', 'Sampled requests by what became of their log records.');
  const warmupLatency = histogram('serving:model_warmup_latency', 'Time to warm a version up, in microseconds.', latencyBounds);
  const warmupRecords = counter('serving:model_warmup_records_read', 'Records of warm-up requests that were read.');
  const loadAttempts = counter('cc:saved_model:load_attempt_count', 'Attempts to load a version, by success or fail.');
  const loadLatency = counter('cc:saved_model:load_latency', 'Microseconds spent on loading versions with success.');
  const graphRuns = counter('core:graph_runs', 'The number of graph executions that graph_run_time_usecs counts.').series({});
  const graphRunTime = counter('core:graph_run_time_usecs', 'The total time spent on executing graphs, in microseconds.').series({});
  const graphRunTimes = histogram('core:graph_run_time_usecs_histogram', 'Time of each graph execution, in microseconds.', graphRunBounds);
  const graphRunHistogram = graphRunTimes.series({});
  const queuingLatency = histogram(
    'serving:batching_session:queuing_latency',
    'Time a request waited for its batch, in microseconds.',
    queuingBounds,
  );
  // Theirs tells the UUID to their own collectors alone: the page has 0 for it, and no label.
  const mlmdMap = new Gauge({
    name: ':tensorflow:serving:mlmd_map',
    help: 'By which UUID ML Metadata knows a version.',
    labelNames: ['model_name', 'version', 'uuid'],
    registers: [registry],
  });
  const wrappedRunCount = counter('serving:batching_session:wrapped_run_count', 'Runs of batches.');

  return {
    requestLogCount,
    mlmdMap,
    queuingLatency,
    wrappedRunCount,
    openRequests: ({ api, entrypoint, status, servable }: RequestRecord, model: string) => {
      const count = requestCount.series({ model_name: model, status });
      const latency = requestLatency.series({ model_name: model, API: api, entrypoint });
      const runtime = servable && runtimeLatency.series({ model_name: model, API: api, runtime: engineOf(servable.backend) });
      return ({ durationMs, servable: answering }: RequestRecord) => {
        count.add();
        latency.observe(durationMs * 1000);
        if (answering?.examples !== undefined) {
          exampleCounts.series({ model }).observe(answering.examples);
          exampleCountTotal.series({ model }).add(answering.examples);
        }
        if (!answering?.timing || isFromCache(answering)) return;
        const { inferMs, batchSize } = answering.timing;
        const inferUs = inferMs * 1000;
        runtime?.observe(inferUs);
        // The requests of a batch are one run of the graph.
        const share = batchSize ? (answering.rows ?? 1) / batchSize : 1;
        graphRuns.add(share);
        graphRunTime.add(inferUs * share);
        graphRunHistogram.observe(inferUs);
      };
    },
    recordLoad: (path: string, isLoaded: boolean, durationUs: number) => {
      loadAttempts.series({ model_path: path, status: isLoaded ? 'success' : 'fail' }).add();
      if (isLoaded) loadLatency.series({ model_path: path }).add(durationUs);
    },
    recordWarmup: (path: string, status: string, records: number, durationUs: number) => {
      warmupLatency.series({ model_path: path, status }).observe(durationUs);
      warmupRecords.series({ model_path: path, status }).add(records);
    },
    forgetModel: (model: string) => {
      for (const metric of [requestCount, requestLatency, runtimeLatency, requestLogCount]) metric.forget({ model_name: model });
      for (const metric of [exampleCounts, exampleCountTotal]) metric.forget({ model });
    },
    forgetPath: (path: string) => {
      for (const metric of [warmupLatency, warmupRecords, loadAttempts, loadLatency]) metric.forget({ model_path: path });
    },
  };
}

type TuningRecord = Parameters<BatchingMetrics['recordTuning']>[0];
type BatchRecord = Omit<Parameters<BatchingMetrics['recordBatch']>[0], 'threadPool'>;

/** What TensorFlow Serving does not tell: version, signature, engine and backend. */
function createOwnMetrics(registry: Registry) {
  const counter = (name: string, help: string) => new SeriesCounter({ name: `nearfar_${name}`, help, registry });
  const seconds = (name: string, help: string) => new SeriesHistogram({ name: `nearfar_${name}`, help, bounds: secondsBounds, registry });
  const requests = counter('requests_total', 'Requests, also those for status, metadata and changes.');
  const requestSeconds = seconds('request_seconds', 'Time to answer.');
  const decodeSeconds = seconds('decode_seconds', 'Time to make tensors of a request.');
  const queueSeconds = seconds('queue_seconds', 'Time a request waited for its engine.');
  const inferSeconds = seconds('infer_seconds', 'Time a request ran on its engine.');
  const encodeSeconds = seconds('encode_seconds', 'Time to make an answer of tensors.');
  const loads = seconds('load_seconds', 'Attempts to load a version: loaded, failed, or skipped a backend for the next one.');
  const signatureChanges = counter(
    'signature_changes_total',
    'Versions whose signatures clients of the version before cannot use: reported, or refused.',
  );
  const shadowRuns = counter(
    'shadow_runs_total',
    'Requests chosen for the shadow version: agreed, differed, failed, or dropped for want of room.',
  );
  const fallbacks = counter('label_fallbacks_total', 'Requests for a label whose version was not available, which another one answered.');
  const states = new Gauge({
    name: 'nearfar_servable_state',
    help: 'State of a version by the numbers of TensorFlow Serving: 10 START, 20 LOADING, 30 AVAILABLE, 40 UNLOADING, 50 END.',
    labelNames: ['model', 'version'],
    registers: [registry],
  });
  const restarts = new Counter({
    name: 'nearfar_engine_worker_restarts_total',
    help: 'Engine workers started again after a crash.',
    registers: [registry],
  });
  const batchSize = new SeriesHistogram({
    name: 'nearfar_batch_size',
    help: 'Rows of requests that ran together.',
    bounds: batchSizeBounds,
    registry,
  });
  const batchPadding = counter('batch_padding_rows_total', 'Rows that filled batches up to an allowed size.');
  const tunedBatchSize = new Gauge({
    name: 'nearfar_batching_tuned_size',
    help: 'Largest batch, in rows, that the tuner of a signature chose; 1: its requests run alone.',
    labelNames: ['model', 'version', 'signature'],
    registers: [registry],
  });
  const tuned = new Map<string, Pick<TuningRecord, 'model' | 'version' | 'signature'>>();
  const byVersion = [
    batchSize,
    batchPadding,
    requests,
    requestSeconds,
    decodeSeconds,
    queueSeconds,
    inferSeconds,
    encodeSeconds,
    loads,
    signatureChanges,
    shadowRuns,
  ];

  return {
    loads,
    states,
    signatureChanges,
    fallbacks,
    shadowRuns,
    restarts,
    recordTuning: ({ model, version, signature, maxBatchSize }: TuningRecord) => {
      const labels = { model, version, signature };
      tuned.set(JSON.stringify(labels), labels);
      tunedBatchSize.set(labels, maxBatchSize);
    },
    recordBatch: ({ rows, padding, ...labels }: BatchRecord) => {
      batchSize.series(labels).observe(rows);
      if (padding > 0) batchPadding.series(labels).add(padding);
    },
    openRequests: ({ api, entrypoint, status, servable }: RequestRecord, model: string) => {
      const { version = '', signature = '', backend = '' } = servable ?? {};
      const engine = engineOf(backend);
      const count = requests.series({ model, version, signature, api, entrypoint, engine, backend, status });
      const total = requestSeconds.series({ model, version, signature, api, entrypoint, engine, backend });
      const phases = servable?.timing && { model, version, signature, engine, backend };
      const decode = phases && decodeSeconds.series(phases);
      const queue = phases && queueSeconds.series(phases);
      const infer = phases && inferSeconds.series(phases);
      const encode = phases && encodeSeconds.series(phases);
      return ({ durationMs, servable: answering }: RequestRecord) => {
        count.add();
        total.observe(durationMs / 1000);
        if (!answering?.timing) return;
        decode?.observe(answering.timing.preprocessMs / 1000);
        encode?.observe(answering.timing.postprocessMs / 1000);
        if (isFromCache(answering)) return;
        queue?.observe(answering.timing.queueMs / 1000);
        infer?.observe(answering.timing.inferMs / 1000);
      };
    },
    /** @param version Empty for what failed before a version was found. */
    forget: (model: string, version: string) => {
      for (const metric of byVersion) metric.forget({ model, version });
      states.remove({ model, version });
      for (const [key, labels] of tuned) {
        if (labels.model !== model || labels.version !== version) continue;
        tuned.delete(key);
        tunedBatchSize.remove(labels);
      }
    },
  };
}

function createCacheMetrics(registry: Registry): CacheMetrics {
  const registers = [registry];
  const lookups = new Counter({
    name: 'nearfar_cache_lookups_total',
    help: 'Lookups in the result cache and the input cache: hit, miss, or joined to an equal one that was under way.',
    labelNames: ['cache', 'model', 'outcome'],
    registers,
  });
  const removals = new Counter({
    name: 'nearfar_cache_evictions_total',
    help: 'Values that a cache in memory let go: over its budget, or expired.',
    labelNames: ['cache', 'reason'],
    registers,
  });
  const bytes = new Gauge({
    name: 'nearfar_cache_bytes',
    help: 'Bytes that a cache holds in memory.',
    labelNames: ['cache'],
    registers,
  });
  const redisFailures = new Counter({
    name: 'nearfar_cache_redis_failures_total',
    help: 'Failures of Redis: a lookup that failed or came late, a store, a value that is damaged.',
    labelNames: ['reason'],
    registers,
  });
  return {
    recordLookup: (cache, model, outcome) => lookups.inc({ cache, model, outcome }),
    recordRemoval: (cache, reason) => removals.inc({ cache, reason }),
    setCacheBytes: (cache, size) => bytes.set({ cache }, size),
    recordRedisFailure: (reason) => redisFailures.inc({ reason }),
  };
}

function createStoreMetrics(registry: Registry): StoreMetrics {
  const registers = [registry];
  const requests = new Counter({
    name: 'nearfar_store_polls_total',
    help: 'Questions to a store, or to the folder of a model in it, by whether they were answered.',
    labelNames: ['location', 'outcome'],
    registers,
  });
  const up = new Gauge({
    name: 'nearfar_store_up',
    help: 'Whether a store, or the folder of a model in it, answered the last question: 1, or 0.',
    labelNames: ['location'],
    registers,
  });
  const bytes = new Counter({ name: 'nearfar_store_bytes_total', help: 'Bytes of versions that were read from stores.', registers });
  const cache = new Gauge({ name: 'nearfar_store_cache_bytes', help: 'Bytes of versions of stores that are kept on disk.', registers });
  return {
    recordStoreRequest: (location, outcome) => requests.inc({ location, outcome }),
    setStoreUp: (location, isUp) => up.set({ location }, isUp ? 1 : 0),
    forgetStore: (location) => {
      up.remove({ location });
      for (const outcome of ['answered', 'failed']) requests.remove({ location, outcome });
    },
    recordStoreBytes: (count) => bytes.inc(count),
    setStoreCacheBytes: (size) => cache.set(size),
  };
}

function createAdmissionMetrics(registry: Registry): AdmissionMetrics {
  const registers = [registry];
  let inFlight = 0;
  new Gauge({
    name: 'nearfar_requests_in_flight',
    help: 'Predictions taken and not answered yet.',
    registers,
    // It changes twice with each request, and is read a few times a minute.
    collect() {
      this.set(inFlight);
    },
  });
  const refusals = new Counter({
    name: 'nearfar_requests_refused_total',
    help: 'Predictions refused at once, by the limit that they met.',
    labelNames: ['reason'],
    registers,
  });
  return {
    setInFlight: (requests) => {
      inFlight = requests;
    },
    recordRefusal: (reason) => refusals.inc({ reason }),
  };
}

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type ServingMetrics, servableStates } from './servables/index.ts';

/** One answered request, as both transports count it. */
export interface RequestRecord {
  /** The model's name as the client wrote it; names the server does not have are counted together. */
  readonly model: string;
  /** TensorFlow Serving's `API` label: `Predict` over gRPC, `predict` over REST, `infer` for the Open Inference Protocol. */
  readonly api: string;
  readonly entrypoint: 'REST' | 'GRPC';
  /** Canonical status name: `OK`, `NOT_FOUND`, … */
  readonly status: string;
  readonly durationMs: number;
  /** What answered; absent when the request failed before a version was found. `signature` is one the version has. */
  readonly servable?:
    | { readonly version: string; readonly signature: string; readonly backend: string; readonly queueMs: number; readonly inferMs: number }
    | undefined;
}

/** What the server counts and times, readable by Prometheus. */
export interface ServerMetrics extends ServingMetrics {
  readonly registry: Registry;
  recordRequest(record: RequestRecord): void;
  workerRestarted(): void;
}

/** Microseconds: 10 × 1.8^n, 33 buckets, those of TensorFlow Serving. */
const latencyBuckets = Array.from({ length: 33 }, (_, n) => 10 * 1.8 ** n);

/** Seconds, for our own metrics, in Prometheus' base unit. */
const secondsBuckets = Array.from({ length: 20 }, (_, n) => 1e-4 * 2 ** n);

const unknownModel = '(unknown)';

/**
 * TensorFlow Serving's metric names, so that its dashboards keep working, and our own `nearfar_*` with the version, the
 * signature and the backend that theirs do not carry.
 */
export function createMetrics(): ServerMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const requestCount = new Counter({
    name: ':tensorflow:serving:request_count',
    help: 'Requests by model and status.',
    labelNames: ['model_name', 'status'],
    registers,
  });
  const requestLatency = new Histogram({
    name: ':tensorflow:serving:request_latency',
    help: 'Time to answer, in microseconds.',
    labelNames: ['model_name', 'API', 'entrypoint'],
    buckets: latencyBuckets,
    registers,
  });
  const requests = new Counter({
    name: 'nearfar_requests_total',
    help: 'Requests by model, version, signature, API, entrypoint, backend and status.',
    labelNames: ['model', 'version', 'signature', 'api', 'entrypoint', 'backend', 'status'],
    registers,
  });
  const seconds = (name: string, help: string) =>
    new Histogram({ name, help, labelNames: ['model', 'version', 'signature', 'backend'], buckets: secondsBuckets, registers });
  const queueSeconds = seconds('nearfar_queue_seconds', 'Time a request waited for its engine.');
  const inferSeconds = seconds('nearfar_infer_seconds', 'Time a request ran on its engine.');
  const states = new Gauge({
    name: 'nearfar_servable_state',
    help: 'State of a version by the numbers of TensorFlow Serving: 10 START, 20 LOADING, 30 AVAILABLE, 40 UNLOADING, 50 END.',
    labelNames: ['model', 'version'],
    registers,
  });
  const loads = new Histogram({
    name: 'nearfar_load_seconds',
    help: 'Attempts to load a version: loaded, failed, or skipped a backend for the next one.',
    labelNames: ['model', 'version', 'backend', 'outcome'],
    buckets: secondsBuckets,
    registers,
  });
  const signatureChanges = new Counter({
    name: 'nearfar_signature_changes_total',
    help: 'Versions whose signatures clients of the version before cannot use: reported, or refused by the option of the model.',
    labelNames: ['model', 'version', 'outcome'],
    registers,
  });
  const restarts = new Counter({
    name: 'nearfar_engine_worker_restarts_total',
    help: 'Engine workers started again after a crash.',
    registers,
  });
  // A client can ask for any name: only names the server has become label values, so the number of series stays bounded.
  const models = new Set<string>();

  return {
    registry,
    recordRequest: ({ model: asked, api, entrypoint, status, durationMs, servable }) => {
      const model = models.has(asked) ? asked : unknownModel;
      requestCount.inc({ model_name: model, status });
      requestLatency.observe({ model_name: model, API: api, entrypoint }, durationMs * 1000);
      const { version = '', signature = '', backend = '' } = servable ?? {};
      requests.inc({ model, version, signature, api, entrypoint, backend, status });
      if (!servable) return;
      queueSeconds.observe({ model, version, signature, backend }, servable.queueMs / 1000);
      inferSeconds.observe({ model, version, signature, backend }, servable.inferMs / 1000);
    },
    setState: (model, version, state) => {
      models.add(model);
      states.set({ model, version }, servableStates[state]);
    },
    forgetVersion: (model, version) => states.remove({ model, version }),
    recordLoad: ({ model, version, backend, outcome, durationMs }) =>
      loads.observe({ model, version, backend, outcome }, durationMs / 1000),
    recordSignatureChange: (change) => signatureChanges.inc(change),
    workerRestarted: () => restarts.inc(),
  };
}

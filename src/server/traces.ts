import type { Attributes, Context, SpanKind, SpanStatusCode, TextMapGetter, Tracer } from '@opentelemetry/api';
import type { SpanExporter } from '@opentelemetry/sdk-trace';
import { errorStatuses, NearfarError, serializeError } from '../core/index.ts';
import type { Logger } from './log.ts';
import type { RequestRecord } from './request-record.ts';

export interface TracesOptions {
  /** Base URL of an OTLP collector that speaks HTTP; `/v1/traces` is added. */
  readonly endpoint: string;
  /** Share of the requests that begin a trace; a request that comes with a trace is recorded when its caller's is. */
  readonly samplingRatio: number;
  readonly serverVersion: string;
  readonly log: Logger;
}

/** Sends a span for each request, and one for each phase of it, to an OpenTelemetry collector. */
export interface Traces {
  /** @returns The trace that the request belongs to. */
  record(record: RequestRecord): string;
  /** Sends what is there still. */
  close(): Promise<void>;
}

/**
 * Traces by OpenTelemetry's own packages, which are loaded here and not before.
 * @throws {NearfarError} `unsupported` when they are not installed; `invalid-argument` for an endpoint that is no URL.
 */
export async function openTraces({ endpoint, samplingRatio, serverVersion, log }: TracesOptions): Promise<Traces> {
  const { api, core, resources, sdk, exporter } = await importOpenTelemetry();
  const url = tracesUrl(endpoint);
  const environment = resources.detectResources({ detectors: [resources.envDetector] });
  const own = resources.resourceFromAttributes({ 'service.name': 'nearfar', 'service.version': serverVersion });
  const provider = new sdk.TracerProvider({
    resource: resources.defaultResource().merge(own).merge(environment),
    sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(samplingRatio) }),
    spanProcessors: [
      new sdk.BatchSpanProcessor({ exporter: reportFailures(new exporter.OTLPTraceExporter({ url }), url, log), maxQueueSize: 8192 }),
    ],
  });
  const tracer = provider.getTracer('nearfar', serverVersion);
  const propagator = new core.W3CTraceContextPropagator();
  return {
    record: (record) => {
      const parent = propagator.extract(api.ROOT_CONTEXT, record.header, headerGetter);
      return recordSpans(record, tracer, { parent, withSpan: (span) => api.trace.setSpan(parent, span) });
    },
    close: () => provider.shutdown(),
  };
}

async function importOpenTelemetry() {
  try {
    const [api, core, resources, sdk, exporter] = await Promise.all([
      import('@opentelemetry/api'),
      import('@opentelemetry/core'),
      import('@opentelemetry/resources'),
      import('@opentelemetry/sdk-trace'),
      import('@opentelemetry/exporter-trace-otlp-proto'),
    ]);
    return { api, core, resources, sdk, exporter };
  } catch (cause) {
    throw new NearfarError(
      'unsupported',
      `traces need OpenTelemetry's packages, which are not installed: ${serializeError(cause).message}`,
      {
        cause,
      },
    );
  }
}

function tracesUrl(endpoint: string): string {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new NearfarError('invalid-argument', `an OTLP endpoint is a URL of http or https, got ${endpoint}`, { details: { endpoint } });
  }
  return `${endpoint.replace(/\/+$/, '')}/v1/traces`;
}

/** A collector that is away is said once each time that it goes, not for every batch. */
function reportFailures(exporter: SpanExporter, url: string, log: Logger): SpanExporter {
  let hasFailed = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.code !== exportSucceeded && !hasFailed) log.warn({ url, err: result.error }, 'traces cannot be sent');
        if (result.code === exportSucceeded && hasFailed) log.info({ url }, 'traces are sent again');
        hasFailed = result.code !== exportSucceeded;
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
  };
}

// The values of their enums: a module that is loaded late has none at hand.
const exportSucceeded = 0;
const internalKind: SpanKind = 0;
const serverKind: SpanKind = 1;
const errorStatus: SpanStatusCode = 2;

const headerGetter: TextMapGetter<RequestRecord['header']> = { get: (header, name) => header?.(name), keys: () => [] };

function recordSpans(
  record: RequestRecord,
  tracer: Tracer,
  { parent, withSpan }: { parent: Context; withSpan: (span: ReturnType<Tracer['startSpan']>) => Context },
): string {
  const startTime = performance.timeOrigin + record.startedAt;
  const endTime = startTime + record.durationMs;
  const model = modelAttributes(record);
  const { name, attributes } = record.entrypoint === 'REST' ? describeHttp(record) : describeRpc(record);
  const span = tracer.startSpan(name, { kind: serverKind, startTime, attributes: { ...attributes, ...model } }, parent);
  if (span.isRecording()) {
    if (isServersFault(record)) span.setStatus({ code: errorStatus });
    const inside = withSpan(span);
    const child = (phase: string, from: number, ms: number) =>
      tracer.startSpan(phase, { kind: internalKind, startTime: from, attributes: model }, inside).end(from + ms);
    const { timing, cache } = record.servable ?? {};
    if (timing) {
      const { preprocessMs, queueMs, inferMs, postprocessMs } = timing;
      child('decode', startTime, preprocessMs);
      if (cache !== 'hit') {
        child('queue', startTime + preprocessMs, queueMs);
        child('infer', startTime + preprocessMs + queueMs, inferMs);
      }
      child('encode', endTime - postprocessMs, postprocessMs);
    }
  }
  span.end(endTime);
  return span.spanContext().traceId;
}

function modelAttributes({ model, servable }: RequestRecord): Attributes {
  if (!servable) return { 'nearfar.model': model };
  const { version, digest, signature, backend, variant, cache, timing } = servable;
  return {
    'nearfar.model': model,
    'nearfar.version': version,
    'nearfar.digest': digest,
    'nearfar.engine': backend.split('-', 1)[0],
    'nearfar.backend': backend,
    'nearfar.variant': variant,
    ...(signature !== undefined && { 'nearfar.signature': signature }),
    ...(cache !== undefined && { 'nearfar.cache': cache }),
    ...(timing?.batchSize !== undefined && { 'nearfar.batch_size': timing.batchSize }),
  };
}

/** Routes by what metrics call their API. */
const routes: Readonly<Record<string, readonly [method: string, route: string]>> = {
  predict: ['POST', '/v1/models/{model}:predict'],
  classify: ['POST', '/v1/models/{model}:classify'],
  regress: ['POST', '/v1/models/{model}:regress'],
  status: ['GET', '/v1/models/{model}'],
  metadata: ['GET', '/v1/models/{model}/metadata'],
  infer: ['POST', '/v2/models/{model}/infer'],
  'image-classification': ['POST', '/nearfar/v1/models/{model}/tasks/image-classification'],
};

/** https://opentelemetry.io/docs/specs/semconv/http/http-spans/ */
function describeHttp({ api, errorCode }: RequestRecord): { name: string; attributes: Attributes } {
  const [method, route] = routes[api] ?? [];
  const attributes = {
    'http.response.status_code': errorCode ? errorStatuses[errorCode].http : 200,
    ...(method && { 'http.request.method': method }),
    ...(route && { 'http.route': route }),
    ...(errorCode && { 'error.type': errorCode }),
  };
  return { name: method && route ? `${method} ${route}` : api, attributes };
}

const services: Readonly<Record<string, string>> = {
  Predict: 'tensorflow.serving.PredictionService',
  Classify: 'tensorflow.serving.PredictionService',
  Regress: 'tensorflow.serving.PredictionService',
  MultiInference: 'tensorflow.serving.PredictionService',
  GetModelMetadata: 'tensorflow.serving.PredictionService',
  GetModelStatus: 'tensorflow.serving.ModelService',
  HandleReloadConfigRequest: 'tensorflow.serving.ModelService',
};

/** https://opentelemetry.io/docs/specs/semconv/rpc/grpc/ */
function describeRpc({ api, errorCode }: RequestRecord): { name: string; attributes: Attributes } {
  const service = services[api] ?? 'inference.GRPCInferenceService';
  const attributes = {
    'rpc.system': 'grpc',
    'rpc.service': service,
    'rpc.method': api,
    'rpc.grpc.status_code': errorCode ? errorStatuses[errorCode].grpc : 0,
    ...(errorCode && { 'error.type': errorCode }),
  };
  return { name: `${service}/${api}`, attributes };
}

/** What a caller did wrong is no error of this span, by the same specifications. */
function isServersFault({ errorCode }: RequestRecord): boolean {
  return errorCode !== undefined && errorStatuses[errorCode].http >= 500;
}

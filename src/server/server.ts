import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Admission } from './admission.ts';
import { BufferPool } from './buffer-pool.ts';
import { withImageCache } from './cache/index.ts';
import { ClientReports } from './client-reports.ts';
import { type Address, resolveConfig, type ServerConfig, type ServerOptions } from './config.ts';
import { createMemoryHistory, type History, openPostgresHistory, openSqliteHistory, recordingRefusals } from './history/index.ts';
import { createInsights } from './insights/index.ts';
import { JsonThread } from './json/index.ts';
import { createLog, type Logger } from './log.ts';
import { ImageThread } from './media/index.ts';
import { metricValues } from './metric-values.ts';
import { createMetrics, type ServerMetrics } from './metrics.ts';
import { observeRequests } from './observe-requests.ts';
import { OnDemandModels } from './on-demand-models.ts';
import { Quality } from './quality/index.ts';
import type { PublishedFiles } from './repository/index.ts';
import { RequestLog } from './request-log/index.ts';
import { joinObservers } from './request-record.ts';
import { isOn, openAuthentication } from './security/index.ts';
import type { ServableStore } from './servables/index.ts';
import { createServing, type Serving } from './serving.ts';
import { InferenceStatistics } from './statistics.ts';
import { TensorBoard } from './tensorboard/index.ts';
import { openTraces, type Traces } from './traces.ts';
import {
  type AdminContext,
  createClassLabels,
  createGrpcServer,
  createRestServer,
  createSharedPort,
  describeModels,
  type Transport,
} from './transports/index.ts';
import { Uploads } from './uploads/index.ts';

/** A server that listens. */
export interface RunningServer extends AsyncDisposable {
  /** `http://host:port`, with TLS `https://…`; undefined when REST is off. */
  readonly restAddress: string | undefined;
  /** `host:port`; undefined when gRPC has no port. */
  readonly grpcAddress: string | undefined;
  /** Path of the Unix socket that gRPC listens on; undefined where there is none. */
  readonly grpcSocketPath: string | undefined;
  /** `host:port` of the address for calls that change what is served; undefined where there is none of its own. */
  readonly adminAddress: string | undefined;
  readonly servables: ServableStore;
  readonly files: PublishedFiles;
  readonly metrics: ServerMetrics;
  /**
   * Resolves when every configured model has an available version.
   * @throws rejects with `signal.reason` when aborted; `unavailable` when the server closes first.
   */
  whenReady(options?: { signal?: AbortSignal | undefined }): Promise<void>;
  /** Takes the model config file over again; without one it looks at the folders of models now. What goes wrong is logged. */
  reloadModels(): Promise<void>;
  /** Not ready any more, then no new requests, then what is in flight finishes, at most for the grace period. Twice is harmless. */
  close(): Promise<void>;
}

/**
 * Starts the companion server: listens first, so that a port that is taken is known at once, then looks for models and loads them.
 * @throws {NearfarError} `invalid-argument`; `unavailable` when an address cannot be had.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const config = resolveConfig(options);
  const serverVersion = packageVersion();
  const log = createLog(config.logLevel);
  const authentication = isOn(config.authentication)
    ? openAuthentication(config.authentication, { log, isSecure: config.tls !== undefined })
    : undefined;
  const metrics = createMetrics();
  const { maxInFlight, maxInFlightPerClient, rateLimitPerClient } = config;
  const admission = new Admission({ maxInFlight, maxInFlightPerClient, rateLimitPerClient, metrics });
  const buffers = new BufferPool();
  const history = await openHistory(config, log);
  const insights = await createInsights({
    inFlight: () => admission.inFlight,
    models: () => describeModels(serving.servables, serving.models),
    history,
  });
  const quality = new Quality({
    registry: metrics.registry,
    driftOf: (model) => serving.option(model, 'driftSamplingRate'),
    takesFeedback: (model) => serving.option(model, 'feedback'),
    windowRows: config.driftWindowRows,
    reference: config.driftReference,
    driftDir: config.driftDir,
    feedbackKeyFile: config.feedbackKeyFile,
    feedbackTtlMs: config.feedbackTtlMs,
    log,
  });
  const watched = { ...metrics, ...insights.failures.watchingLoads(metrics), ...quality.watchingVersions(metrics) };
  const serving = createServing(config, { log, metrics: watched, history, buffers });
  serving.servables.watch(() => insights.feed.changed());
  const traces =
    config.otlpEndpoint === undefined
      ? undefined
      : await openTraces({ endpoint: config.otlpEndpoint, samplingRatio: config.traceSamplingRatio, serverVersion, log });
  const statistics = new InferenceStatistics();
  const requestLog =
    config.requestLogDir === undefined
      ? undefined
      : new RequestLog({
          directory: config.requestLogDir,
          loggingOf: (model) => serving.models.source(model)?.logging,
          onRecord: metrics.recordRequestLog,
          log,
        });
  const tensorBoard =
    config.tensorboardDir === undefined
      ? undefined
      : new TensorBoard({
          directory: config.tensorboardDir,
          intervalMs: config.tensorboardIntervalMs,
          sample: () => ({ inFlight: admission.inFlight, memoryBytes: process.memoryUsage.rss() }),
          quality,
          log,
        });
  const observer = observeRequests({
    counters: joinObservers([
      metrics,
      statistics,
      insights.charts,
      insights.failures,
      serving.tallies,
      ...(tensorBoard ? [tensorBoard] : []),
    ]),
    traces,
    log,
    accessLog: config.accessLog,
  });
  const images = new ImageThread({ maxWaiting: config.maxInFlight });
  const json = new JsonThread({ maxWaiting: config.maxInFlight, buffers });
  const { servables, files } = serving;
  const clientReports = new ClientReports({ registry: metrics.registry, isKnown: (name, version) => hasVersion(servables, name, version) });
  const { inputCacheBytes } = config;
  const prepareImage = inputCacheBytes > 0 ? withImageCache(images.prepare, { budgetBytes: inputCacheBytes, metrics }) : images.prepare;
  const classLabels = createClassLabels(files);
  const onDemand = new OnDemandModels({ models: serving.models, folder: join(config.cacheDir, 'loaded'), log });
  const uploads = new Uploads({
    sourceOf: (name) => serving.models.source(name),
    models: () => serving.models.models,
    modelsRoot: config.modelsRoot,
    lookAfresh: serving.lookAfresh,
    trust: config.trust,
    maxUploadBytes: config.maxUploadBytes,
    history,
    log,
  });
  const refusals = recordingRefusals(history);
  const context = (access: AdminContext['access']) => ({
    servables,
    arrivals: serving.arrivals,
    ...authentication,
    admission,
    observer,
    requestLog,
    quality,
    statistics,
    log,
    buffers,
    classLabels,
    serverVersion,
    lameDuckMs: config.lameDuckMs,
    checksSignatureMethod: config.checksSignatureMethod,
    admin: {
      models: serving.models,
      onDemand,
      rollouts: serving.rollouts,
      history,
      refusals,
      access,
      origins: authentication && config.corsAllowedOrigins,
      metricValues: (name: string) => metricValues(metrics.registry, name),
    },
  });
  const { tls } = config;
  const rest = (access: AdminContext['access'], identity: ServerConfig['tls']) =>
    createRestServer({
      ...context(access),
      tls: identity,
      files,
      prepareImage,
      answerPicture: images.answer,
      runJsonJob: json.run,
      batching: serving.batching,
      clientReports,
      insights,
      uploads,
      metricsPage: metrics.registry,
      metricsPaths: config.metricsPaths,
      corsAllowedOrigins: config.corsAllowedOrigins,
      timeoutMs: config.restTimeoutMs,
      site: config.site,
    });
  const grpc = (access: AdminContext['access']) =>
    createGrpcServer({
      ...context(access),
      tls,
      respondsWithTensorContent: config.respondsWithTensorContent,
      channelArguments: config.grpcChannelArguments,
    });
  const transports: Transport[] = [];
  const itself = { who: 'server', way: 'server', model: '' } as const;
  let isListening = false;
  let closing: Promise<void> | undefined;
  const close = () => {
    // Those who watch would hold the server up to the end of its grace.
    insights[Symbol.dispose]();
    uploads[Symbol.dispose]();
    closing ??= closeAll(transports, { serving, threads: [images, json], traces, requestLog, tensorBoard }, config).finally(async () => {
      await onDemand[Symbol.asyncDispose]();
      if (isListening) await history.record({ ...itself, action: 'stop', outcome: 'done' });
      await history[Symbol.asyncDispose]();
    });
    return closing;
  };
  const listen = async (transport: Transport, { host, port }: Address): Promise<string> => {
    transports.push(transport);
    const bound = await transport.listen({ host, port });
    return `${host.includes(':') ? `[${host}]` : host}:${bound.port}`;
  };

  try {
    await serving.models.check();
    insights.start();
    const { host, restPort, grpcPort, grpcSocketPath, adminAddress } = config;
    const access = authentication && config.changesOnPublicPort ? 'open' : adminAddress ? 'elsewhere' : 'loopback';
    const restAddress = restPort === 'off' ? undefined : await listen(rest(access, tls), { host, port: restPort });
    const grpcAddress = grpcPort === 'off' ? undefined : await listen(grpc(access), { host, port: grpcPort });
    if (grpcSocketPath !== undefined) {
      // Whoever may open the socket is on this machine.
      const local = grpc(access === 'loopback' ? 'open' : access);
      transports.push(local);
      await local.listenAtSocket(grpcSocketPath);
    }
    const shared = adminAddress && createSharedPort({ rest: rest('open', undefined), grpc: grpc('open'), tls });
    const admin = shared && adminAddress && (await listen(shared, adminAddress));
    serving.start();
    // Not awaited: a folder that does not answer holds up no other.
    void uploads.open().catch((error: unknown) => log.error({ err: error }, 'uploads that were begun could not be looked for'));
    log.info({ rest: restAddress, grpc: grpcAddress, socket: grpcSocketPath, admin }, 'listening');
    isListening = true;
    const addresses = { rest: restAddress, grpc: grpcAddress, socket: grpcSocketPath, admin };
    await history.record({ ...itself, action: 'start', to: { nearfar: serverVersion, ...addresses }, outcome: 'done' });
    return {
      restAddress: restAddress && `${tls ? 'https' : 'http'}://${restAddress}`,
      grpcAddress,
      grpcSocketPath,
      adminAddress: admin,
      servables,
      files,
      metrics,
      whenReady: serving.whenReady,
      reloadModels: serving.reloadModels,
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A log that cannot be kept costs no server its start: it is told, and what is changed is known until the server ends. */
async function openHistory({ historyFile: file, historyUrl: url, host, restPort }: ServerConfig, log: Logger): Promise<History> {
  const server = `${url === undefined ? host : hostname()}:${restPort}`;
  try {
    if (url !== undefined) return await openPostgresHistory({ url, server, log });
    return file === undefined ? createMemoryHistory({ server }) : openSqliteHistory({ file, server, log });
  } catch (error) {
    log.error({ err: error, file }, 'the history is not kept');
    return createMemoryHistory({ server });
  }
}

function hasVersion(servables: ServableStore, name: string, version: string): boolean {
  try {
    return servables.status({ name, version }).length > 0;
  } catch {
    return false;
  }
}

/** After the grace period what is still in flight fails; answering that takes no longer than this. */
const lastAnswersMs = 1000;

interface ClosedParts {
  readonly serving: Serving;
  readonly threads: readonly AsyncDisposable[];
  readonly traces: Traces | undefined;
  readonly requestLog: AsyncDisposable | undefined;
  readonly tensorBoard: AsyncDisposable | undefined;
}

async function closeAll(
  transports: readonly Transport[],
  { serving, threads, traces, requestLog, tensorBoard }: ClosedParts,
  { lameDuckMs, gracePeriodMs }: Pick<ServerConfig, 'lameDuckMs' | 'gracePeriodMs'>,
): Promise<void> {
  serving.startDraining();
  const drained = Promise.all(transports.map((transport) => transport.drain())).then(() => serving.drain());
  const startedAt = performance.now();
  await waitAtMost(lameDuckMs + gracePeriodMs, drained);
  await Promise.all([serving.end(), ...threads.map((thread) => thread[Symbol.asyncDispose]())]);
  // Not before: to the last, requests that come are told so, rather than find nobody.
  await waitAtMost(lastAnswersMs, Promise.all(transports.map((transport) => transport.close())));
  for (const transport of transports) transport.cut();
  // What was answered last is told too, in what is left of the grace period.
  const leftMs = Math.max(lastAnswersMs, lameDuckMs + gracePeriodMs - (performance.now() - startedAt));
  await waitAtMost(
    leftMs,
    Promise.allSettled([traces?.close(), requestLog?.[Symbol.asyncDispose](), tensorBoard?.[Symbol.asyncDispose]()]),
  );
}

async function waitAtMost(limitMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([work, limit]).finally(() => clearTimeout(timer));
}

function packageVersion(): string {
  const { version }: { version: string } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return version;
}

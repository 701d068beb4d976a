import { readFileSync } from 'node:fs';
import { Admission } from './admission.ts';
import { BufferPool } from './buffer-pool.ts';
import { withImageCache } from './cache/index.ts';
import { resolveConfig, type ServerOptions } from './config.ts';
import { createLog } from './log.ts';
import { ImageThread } from './media/index.ts';
import { createMetrics, type ServerMetrics } from './metrics.ts';
import type { PublishedFiles } from './repository/index.ts';
import { joinObservers } from './request-record.ts';
import type { ServableStore } from './servables/index.ts';
import { createServing, type Serving } from './serving.ts';
import { InferenceStatistics } from './statistics.ts';
import { createClassLabels, createGrpcServer, createRestServer, type Transport } from './transports/index.ts';

/** A server that listens. */
export interface RunningServer extends AsyncDisposable {
  /** `http://host:port`; undefined when REST is off. */
  readonly restAddress: string | undefined;
  /** `host:port`; undefined when gRPC is off. */
  readonly grpcAddress: string | undefined;
  readonly servables: ServableStore;
  readonly files: PublishedFiles;
  readonly metrics: ServerMetrics;
  /**
   * Resolves when every configured model has an available version.
   * @throws rejects with `signal.reason` when aborted; `unavailable` when the server closes first.
   */
  whenReady(options?: { signal?: AbortSignal | undefined }): Promise<void>;
  /** Not ready any more, then no new connections, then what is in flight finishes, at most for the grace period. Twice is harmless. */
  close(): Promise<void>;
}

/**
 * Starts the companion server: listens first, so that a port that is taken is known at once, then looks for models and loads them.
 * @throws {NearfarError} `invalid-argument`; `unavailable` when an address cannot be had.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const config = resolveConfig(options);
  const log = createLog(config.logLevel);
  const metrics = createMetrics();
  const buffers = new BufferPool();
  const serving = createServing(config, { log, metrics, buffers });
  const images = new ImageThread({ maxWaiting: config.maxInFlight });
  const { servables, files } = serving;
  const { inputCacheBytes, maxInFlight, maxInFlightPerClient, rateLimitPerClient } = config;
  const prepareImage = inputCacheBytes > 0 ? withImageCache(images.prepare, { budgetBytes: inputCacheBytes, metrics }) : images.prepare;
  const admission = new Admission({ maxInFlight, maxInFlightPerClient, rateLimitPerClient, metrics });
  const statistics = new InferenceStatistics();
  const context = {
    servables,
    admission,
    observer: joinObservers([metrics, statistics]),
    statistics,
    log,
    buffers,
    classLabels: createClassLabels(files),
    checksSignatureMethod: config.checksSignatureMethod,
    serverVersion: packageVersion(),
  };
  const transports: Transport[] = [];
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= closeAll(transports, { serving, images }, config.gracePeriodMs);
    return closing;
  };
  const listen = async (port: number, transport: Transport): Promise<string> => {
    transports.push(transport);
    const bound = await transport.listen({ host: config.host, port });
    return `${config.host.includes(':') ? `[${config.host}]` : config.host}:${bound.port}`;
  };

  try {
    const rest =
      config.restPort === 'off'
        ? undefined
        : await listen(
            config.restPort,
            createRestServer({
              ...context,
              files,
              prepareImage,
              metricsPage: metrics.registry,
              corsAllowedOrigins: config.corsAllowedOrigins,
              timeoutMs: config.restTimeoutMs,
              site: config.site,
            }),
          );
    const grpc =
      config.grpcPort === 'off'
        ? undefined
        : await listen(config.grpcPort, createGrpcServer({ ...context, respondsWithTensorContent: config.respondsWithTensorContent }));
    serving.start();
    log.info({ rest, grpc }, 'listening');
    return {
      restAddress: rest && `http://${rest}`,
      grpcAddress: grpc,
      servables,
      files,
      metrics,
      whenReady: serving.whenReady,
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** After the grace period what is still in flight fails; answering that takes no longer than this. */
const lastAnswersMs = 1000;

async function closeAll(
  transports: readonly Transport[],
  { serving, images }: { serving: Serving; images: AsyncDisposable },
  gracePeriodMs: number,
): Promise<void> {
  serving.startDraining();
  const stopped = Promise.all(transports.map((transport) => transport.close())).then(() => serving.drain());
  await waitAtMost(gracePeriodMs, stopped);
  await Promise.all([serving.end(), images[Symbol.asyncDispose]()]);
  await waitAtMost(lastAnswersMs, stopped);
  for (const transport of transports) transport.cut();
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

import type { Socket } from 'node:net';
import type { Admission } from '../admission.ts';
import type { Arrivals } from '../arrivals.ts';
import type { BatchingReport } from '../batching/index.ts';
import type { BufferPool } from '../buffer-pool.ts';
import type { ChannelArguments } from '../channel-arguments.ts';
import type { ClientReports } from '../client-reports.ts';
import type { Insights } from '../insights/index.ts';
import type { RunJsonJob } from '../json/index.ts';
import type { AnswerPicture, PrepareImage } from '../media/index.ts';
import type { Quality } from '../quality/index.ts';
import type { PublishedFiles } from '../repository/index.ts';
import type { RequestLog } from '../request-log/index.ts';
import type { RequestObserver } from '../request-record.ts';
import type { Guard, SignIn } from '../security/index.ts';
import type { ServableStore } from '../servables/index.ts';
import type { TlsIdentity } from '../ssl-config.ts';
import type { InferenceStatistics } from '../statistics.ts';
import type { Uploads } from '../uploads/index.ts';
import type { AdminContext } from './admin.ts';
import type { ClassLabels } from './class-labels.ts';

/** The page that Prometheus reads. */
export interface MetricsPage {
  readonly contentType: string;
  metrics(): Promise<string>;
}

/** Where a transport reports what no client sees: errors it did not expect. */
export interface TransportLog {
  error(fields: object, message: string): void;
}

/** What both transports need of the server. */
export interface TransportContext {
  readonly servables: ServableStore;
  /** What is served, for calls that change it. */
  readonly admin: AdminContext;
  /** What to do about a model that was not found; without it that is an error at once. */
  readonly arrivals?: Pick<Arrivals, 'of'> | undefined;
  /** Who calls; undefined where nobody has to say it. */
  readonly guard?: Guard | undefined;
  /** How the page signs people in. */
  readonly signIn?: SignIn | undefined;
  /** Whether a prediction is taken. */
  readonly admission: Admission;
  /** Counts, times, traces and logs the answered requests. */
  readonly observer: RequestObserver;
  /** Where sampled requests are written down. */
  readonly requestLog?: Pick<RequestLog, 'sample'> | undefined;
  /** Looks at what models answer, and takes feedback; not done without it. */
  readonly quality?: Quality | undefined;
  readonly log: TransportLog;
  /** Where large tensors of requests are collected. */
  readonly buffers: BufferPool;
  /** What Triton's statistics extension tells. */
  readonly statistics: Pick<InferenceStatistics, 'of'>;
  /** Class names of models. */
  readonly classLabels: ClassLabels;
  /** Whether Classify and Regress refuse a signature that was exported for another method. @default false, as in TensorFlow Serving */
  readonly checksSignatureMethod?: boolean | undefined;
  /** Key and certificates, where connections are encrypted. */
  readonly tls?: TlsIdentity | undefined;
  /** How long a closing transport still takes requests, in milliseconds. @default 250 */
  readonly lameDuckMs?: number | undefined;
  /** Version of the server, as it says in metadata. */
  readonly serverVersion: string;
}

/** Static pages at `/`, such as the demo. */
export interface SiteOptions {
  /** Folder with an index.html. */
  readonly root: string;
  /** Where a file lies that the folder does not hold, by its path there; such as a large one that a dependency has already. */
  readonly elsewhere?: ((path: string) => string | undefined) | undefined;
  /** Sent with every file, such as a Content-Security-Policy. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface RestContext extends TransportContext {
  /** The repository for browsers. */
  readonly files: PublishedFiles;
  readonly prepareImage: PrepareImage;
  /** Makes the answers that are laid over a picture, or are one. */
  readonly answerPicture: AnswerPicture;
  /** For JSON that would hold up the event loop. */
  readonly runJsonJob: RunJsonJob;
  /** How the loaded versions are batched, once they were asked for something. */
  readonly batching?: (() => readonly BatchingReport[]) | undefined;
  /** What clients report of their calls; such reports are not taken without it. */
  readonly clientReports?: Pick<ClientReports, 'record' | 'rows'> | undefined;
  /** Charts, failures and events; not told without it. */
  readonly insights?: Pick<Insights, 'charts' | 'failures' | 'feed'> | undefined;
  /** Takes versions over the network; there are no such calls without it. */
  readonly uploads?: Uploads | undefined;
  readonly metricsPage: MetricsPage;
  /** Where that page is; nowhere when there are none. @default ['/metrics', '/monitoring/prometheus/metrics'] */
  readonly metricsPaths?: readonly string[] | undefined;
  /** Origins that may ask for predictions from a browser; `*` is any. `/models` is open to all. */
  readonly corsAllowedOrigins: readonly string[];
  /** Deadline of a request that brings none, and the longest one may ask for, in milliseconds. */
  readonly timeoutMs: number;
  /** Largest request body, inflated, in bytes. @default 134_217_728 (128 MiB) */
  readonly bodyLimitBytes?: number | undefined;
  /** Largest JSON in a request body, inflated, in bytes; binary tensors behind it do not count. @default 33_554_432 (32 MiB) */
  readonly jsonLimitBytes?: number | undefined;
  /** A request must have arrived in full within this time, in milliseconds; else it is cut with 408. @default 300_000 */
  readonly requestTimeoutMs?: number | undefined;
  readonly site?: SiteOptions | undefined;
}

export interface GrpcContext extends TransportContext {
  /** Answers carry `tensor_content` instead of typed values. @default false, as in TensorFlow Serving */
  readonly respondsWithTensorContent?: boolean | undefined;
  /** Limits of connections and messages, over the defaults. */
  readonly channelArguments?: ChannelArguments | undefined;
}

/** How long a closing transport goes on unless it is told otherwise, in milliseconds: for what is on its way to it. */
export const defaultLameDuckMs = 250;

/** A transport that is not listening yet. */
export interface Transport {
  /**
   * @param options.port 0 takes any free port.
   * @throws {NearfarError} `unavailable` when the address cannot be had.
   */
  listen(options: { readonly host: string; readonly port: number }): Promise<{ readonly port: number }>;
  /** Gets ready for connections that are accepted elsewhere, which the result takes. */
  accept(): Promise<(socket: Socket) => void>;
  /**
   * Goes on for `lameDuckMs`, then takes no new request, and resolves when those in flight are answered. HTTP refuses what comes from then
   * on; gRPC listens no more and lets its clients go, so that they find another server.
   */
  drain(): Promise<void>;
  /** Drains, and then listens no more. */
  close(): Promise<void>;
  /** Cuts the connections that are still open, so that close() resolves: a client that never ends its request holds one for ever. */
  cut(): void;
}

export interface GrpcTransport extends Transport {
  /**
   * Listens on a Unix socket too.
   * @throws {NearfarError} `unavailable` when the path cannot be had.
   */
  listenAtSocket(path: string): Promise<void>;
}

// What the server answers, as it stands on the wire.

export type VersionState = 'UNKNOWN' | 'START' | 'LOADING' | 'AVAILABLE' | 'UNLOADING' | 'END';

/** A version in `GET /nearfar/v1/models`. */
export interface VersionSummary {
  readonly version: string;
  readonly state: VersionState;
  readonly digest?: string;
  readonly labels: readonly string[];
  readonly error?: string;
  /** Of a version that answers. */
  readonly backend?: string;
  readonly variant?: string;
  readonly tasks?: readonly string[];
}

export interface ModelSummary {
  readonly name: string;
  /** Version by label. */
  readonly labels: Readonly<Record<string, string>>;
  /** Shares in percent by label. */
  readonly traffic?: Readonly<Record<string, number>>;
  readonly versions: readonly VersionSummary[];
}

/** One line of `GET /nearfar/v1/history`. */
export interface HistoryEntry {
  readonly id: number;
  readonly at: string;
  readonly who: string;
  readonly way: string;
  readonly action: string;
  readonly model: string;
  readonly version?: string;
  readonly from?: object;
  readonly to?: object;
  readonly outcome: string;
  readonly message?: string;
  readonly server: string;
}

/** What clients reported of a version on a class of devices. */
export interface ReportRow {
  readonly model: string;
  readonly version: string;
  readonly device: string;
  readonly runs: number;
  /** 0 to 1. */
  readonly nearShare: number;
  readonly fallbacks: Readonly<Record<string, number>>;
  readonly latencyMs: Readonly<Partial<Record<'on-device' | 'server', { readonly p50: number; readonly p95: number }>>>;
}

/** How one signature of a version is batched. */
export interface BatchingRow {
  readonly model: string;
  readonly version: string;
  readonly signature: string;
  readonly batching: 'fixed' | 'auto';
  readonly maxBatchSize: number;
  readonly batchTimeoutMicros: number;
}

/** A step of a chart: five seconds. */
export interface ChartPoint {
  readonly time: string;
  readonly requests: number;
  /** Those that failed by the server's fault. */
  readonly errors: number;
  readonly refused: number;
  readonly latencyP50Ms: number | null;
  readonly latencyP99Ms: number | null;
  readonly queueMs: number | null;
  readonly batchSize: number | null;
  /** Of the whole server. */
  readonly inFlight: number;
  readonly memoryBytes: number;
}

/** A request or a load that failed, and how often. */
export interface FailureEntry {
  readonly id: number;
  readonly time: string;
  readonly lastTime: string;
  readonly count: number;
  readonly kind: 'request' | 'load';
  readonly model: string;
  readonly version?: string;
  readonly signature?: string;
  readonly api?: string;
  readonly code: string;
  readonly message: string;
  readonly traceId?: string;
}

/** Who uses the page. */
export interface Session {
  readonly authentication: boolean;
  readonly name?: string;
  readonly roles?: readonly string[];
  /** Sent with calls that change something. */
  readonly csrf?: string;
  readonly signIn: readonly ('api-key' | 'oidc')[];
}

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

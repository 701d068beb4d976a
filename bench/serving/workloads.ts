/** How a request is asked: TensorFlow Serving's JSON or message, or those of the Open Inference Protocol. */
export type WireForm = 'tfs-json' | 'v2-json' | 'v2-binary' | 'predict' | 'infer';

/** One request, the same for every server: a float32 tensor in, the first output out. */
export interface Workload {
  readonly protocol: WireForm;
  readonly model: string;
  readonly input: string;
  readonly output: string;
  readonly shape: readonly number[];
  /** Values like those of pixels where none are given. */
  readonly values?: readonly number[] | undefined;
}

/** What the driver is asked; without `perSecond` so many calls are kept in flight. */
export interface Question {
  /** Of several, each has the same number of the connections of HTTP, where those in flight are a multiple of them. */
  readonly address: string | readonly string[];
  readonly workload: Workload;
  readonly inFlight?: number | undefined;
  readonly perSecond?: number | undefined;
  readonly durationMs: number;
}

/** Times of a call in milliseconds. */
export interface Load {
  readonly perSecond: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** The longest that the driver itself was behind at a fixed rate. */
  readonly late: number;
  /** Calls that were refused, at a fixed rate. */
  readonly failed: number;
  /** The first values of the answer. */
  readonly sample: readonly number[];
}

export type ServedModel = Omit<Workload, 'protocol'>;

export function isGrpc({ protocol }: Workload): boolean {
  return protocol === 'predict' || protocol === 'infer';
}

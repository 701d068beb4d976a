/** How the batcher joins requests of one signature; names, units and defaults are those of TensorFlow Serving's BatchingParameters. */
export interface BatchingOptions {
  /** Most rows of one batch. @default 1000 */
  readonly maxBatchSize: number;
  /** Longest time the first request of a batch waits for others, in microseconds. @default 0 */
  readonly batchTimeoutMicros: number;
  /** Batches that may wait; a request that finds so many is `overloaded`. @default 10 */
  readonly maxEnqueuedBatches: number;
  /** Batches that run side by side. @default the number of cores */
  readonly numBatchThreads: number;
  /** Sizes that batches are padded to, increasing, the last one `maxBatchSize`. @default [], any size */
  readonly allowedBatchSizes: readonly number[];
  /** Rows of different lengths are padded with zeros to the longest one of their batch. @default false */
  readonly padVariableLengthInputs: boolean;
  /** A request larger than a batch is split over several. @default false */
  readonly enableLargeBatchSplitting: boolean;
  /** Most rows that run at once when large requests are split. @default maxBatchSize */
  readonly maxExecutionBatchSize: number;
  /** Names the queue in metrics. @default '' */
  readonly threadPoolName: string;
}

/** `auto` measures whether and how to batch, for this 99th percentile of the latency, in milliseconds. */
export type Batching =
  | 'off'
  | { readonly kind: 'fixed'; readonly options: BatchingOptions }
  | { readonly kind: 'auto'; readonly p99TargetMs: number };

/** What is set for each model apart. Defaults: versions overlap, changes are reported, nothing is batched, kept or looked at. */
export interface ModelOptions {
  /** Whether the next version loads before the old one goes, or after it (half the memory, but no answers in between). */
  readonly transition: 'availability-preserving' | 'resource-preserving';
  /** Whether a version whose signatures older clients cannot use is reported and served, or refused. */
  readonly signatureChange: 'report' | 'refuse';
  readonly batching: Batching;
  /** How long answers may be given again to the same inputs, in milliseconds; 0 keeps none. */
  readonly resultCacheTtlMs: number;
  /** Share of the answers, 0 to 1, that are looked at for drift. */
  readonly driftSamplingRate: number;
  /** Whether clients may ask for ids of predictions, to tell later what was right. */
  readonly feedback: boolean;
}

export const defaultModelOptions: ModelOptions = {
  transition: 'availability-preserving',
  signatureChange: 'report',
  batching: 'off',
  resultCacheTtlMs: 0,
  driftSamplingRate: 0,
  feedback: false,
};

import type { LegTiming, NearfarErrorCode } from '../core/index.ts';
import type { ServableTiming } from './servables/index.ts';

/** Where the time went, whether the answer was known, and with how many rows it ran. */
export type Timing = LegTiming & Pick<ServableTiming, 'cache' | 'batchSize'>;

import type { CacheOutcome } from './servables/index.ts';

/** One answered request, as both transports tell of it to metrics, traces and the log. Nothing of what was sent is in it. */
export interface RequestRecord {
  /** A prediction, or a question about a model or a change of one: TensorFlow Serving counts only the former. */
  readonly kind: 'prediction' | 'control';
  /** The model's name as the client wrote it; empty where the request is about none. */
  readonly model: string;
  /** TensorFlow Serving's `API` label: `Predict` over gRPC, `predict` over REST, `infer` for the Open Inference Protocol, … */
  readonly api: string;
  readonly entrypoint: 'REST' | 'GRPC';
  /** Canonical status name: `OK`, `NOT_FOUND`, … */
  readonly status: string;
  readonly errorCode?: NearfarErrorCode | undefined;
  /** It may quote what was sent: of errors that are the client's fault it is told to nobody else. */
  readonly errorMessage?: string | undefined;
  /** Method and path template of a request over HTTP, such as `GET` and `/v2/models/{model}/config`; asked for by traces alone. */
  readonly route?: (() => HttpRoute | undefined) | undefined;
  /** On the clock of `performance.now()`. */
  readonly startedAt: number;
  readonly durationMs: number;
  /** What answered, or was asked to; absent when the request failed before a version was found. */
  readonly servable?: AnsweringServable | undefined;
  /** A header or metadata value that the client sent, such as `traceparent`. */
  readonly header?: ((name: string) => string | undefined) | undefined;
}

export interface HttpRoute {
  readonly method: string;
  readonly path: string;
}

export interface AnsweringServable {
  readonly version: string;
  readonly digest: string;
  readonly backend: string;
  readonly variant: string;
  /** One that the version has; absent when the request failed before that was known. */
  readonly signature?: string | undefined;
  /** Examples of a Classify, Regress or MultiInference request. */
  readonly examples?: number | undefined;
  /** Rows of its batch; 1 where the signature has no batches. */
  readonly rows?: number | undefined;
  /** Absent when the run failed, or there was none. */
  readonly timing?: Timing | undefined;
  /** Absent where no answers are kept. */
  readonly cache?: CacheOutcome | undefined;
}

/** Is told of every answered request. */
export interface RequestObserver {
  recordRequest(record: RequestRecord): void;
}

/** Tells several. */
export function joinObservers(observers: readonly RequestObserver[]): RequestObserver {
  return {
    recordRequest: (record) => {
      for (const observer of observers) observer.recordRequest(record);
    },
  };
}

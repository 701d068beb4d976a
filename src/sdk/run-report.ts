import type { BackendId, CacheOutcome, Leg, LegTiming, NearfarErrorCode, Pin, Retry } from '../core/index.ts';
import type { FailoverAnswer } from './failover.ts';

/** Why an answer did not come from the preferred leg or backend. */
export interface Fallback {
  /** The leg or the backend that was preferred. */
  readonly from: Leg | BackendId;
  readonly code: NearfarErrorCode;
  readonly message: string;
}

/** How a call was answered. */
export interface RunReport {
  readonly model: string;
  /** A positive int64 as a decimal string. */
  readonly version: string;
  /** SHA-256 of the version's manifest.json, `sha256:` and 64 hex digits. */
  readonly digest: string;
  readonly leg: Leg;
  /** `tfjs` or `onnx`, on either leg. */
  readonly engine: string;
  /** `webgpu`, `wasm`, `cpu`, … as the engine reported it, not as it was asked for. */
  readonly backend: string;
  readonly variant: string;
  /** Where this browser had the model from when it opened it; `miss` for answers of the server. */
  readonly cache: CacheOutcome;
  /** Set whenever leg or backend is not the preferred one. */
  readonly fallback?: Fallback;
  /** Set when this leg was asked, too, as the first one had not answered after `hedgeAfterMs`; the answer may be of either. */
  readonly hedgedOn?: Leg;
  /** Set when several servers are configured and some did not answer: those asked before the one that did, each with why. */
  readonly retries?: readonly Retry[];
  /** Milliseconds; the total is measured by the caller and holds what the parts do not. */
  readonly timing: LegTiming & { readonly totalMs: number };
}

/** What a leg reports of one answer. */
export interface LegAnswer<Value> {
  readonly value: Value;
  readonly timing: LegTiming;
  /** As in `tfjs-webgpu`. */
  readonly backend: string;
  readonly variant: string;
  readonly cache: CacheOutcome;
  /** Set by the device leg when it runs on another backend than the preferred one. */
  readonly fallback?: Fallback | undefined;
  /** Set by the server leg when other servers failed before. */
  readonly retries?: readonly Retry[] | undefined;
}

export function createRunReport(
  model: string,
  { version, digest }: Pin,
  { leg, answer, fallback = answer.fallback, hedgedOn }: FailoverAnswer<LegAnswer<unknown>>,
  preprocessMs: number,
  totalMs: number,
): RunReport {
  const [engine = answer.backend, ...backend] = answer.backend.split('-');
  return {
    model,
    version,
    digest,
    leg,
    engine,
    backend: backend.join('-'),
    variant: answer.variant,
    cache: answer.cache,
    ...(fallback && { fallback }),
    ...(hedgedOn && { hedgedOn }),
    ...(answer.retries && { retries: answer.retries }),
    timing: { ...answer.timing, preprocessMs: answer.timing.preprocessMs + preprocessMs, totalMs },
  };
}

import type { Logger } from './log.ts';
import type { RequestObserver, RequestRecord } from './request-record.ts';
import type { Traces } from './traces.ts';

export interface RequestObservers {
  /** Metrics and statistics. */
  readonly counters: RequestObserver;
  readonly traces: Traces | undefined;
  readonly log: Logger;
  /** Log every request at level `info`; else it is done at `debug`. */
  readonly accessLog: boolean;
}

/** Counts, traces and logs the answered requests. */
export function observeRequests({ counters, traces, log, accessLog }: RequestObservers): RequestObserver {
  const level = accessLog ? 'info' : 'debug';
  const isLogged = log.isLevelEnabled(level);
  // Most servers only count: they pay for nothing else.
  if (!traces && !isLogged) return counters;
  return {
    recordRequest: (record) => {
      counters.recordRequest(record);
      const traceId = traces ? traces.record(record) : traceIdOf(record);
      if (isLogged) log[level](toLine(record, traceId), 'request');
    },
  };
}

/** Names, codes and times; never what was sent or answered. */
function toLine({ model, api, entrypoint, status, errorCode, durationMs, servable }: RequestRecord, traceId: string | undefined): object {
  const { version, signature, backend, timing } = servable ?? {};
  return {
    traceId,
    model,
    version,
    signature,
    api,
    entrypoint,
    backend,
    status,
    code: errorCode,
    durationMs,
    queueMs: timing?.queueMs,
    inferMs: timing?.inferMs,
  };
}

/** Of a request that comes with a trace (W3C Trace Context), so that its lines can be found by it though the server sends no spans. */
function traceIdOf({ header }: RequestRecord): string | undefined {
  return /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(header?.('traceparent') ?? '')?.[1];
}

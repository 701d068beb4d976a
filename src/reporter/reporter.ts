import { type ClientReport, clientReportsPath, NearfarError } from '../core/index.ts';
import type { Client, RunReport } from '../sdk/index.ts';

export interface ReporterOptions {
  /** Base URL of the nearfar server that gathers reports; relative ones start at the page. */
  readonly url: string;
  /** Share of the calls that are reported, 0 to 1. @default 0.1 */
  readonly sampleRate?: number | undefined;
  /** How long reports are gathered before they are sent together, in milliseconds. @default 30_000 */
  readonly intervalMs?: number | undefined;
}

/** Sends summaries of calls to a server: which leg, backend and version answered, in how long, and why it was not the preferred one. */
export interface Reporter extends AsyncDisposable {
  /** Sends what was gathered. A server that cannot be reached is none of the application's trouble: what it did not get is dropped. */
  flush(): Promise<void>;
  /** Sends what was gathered and gathers no more. Twice is harmless. */
  close(): Promise<void>;
}

/** Sent together at most; as many as a server takes at once. */
const batchSize = 100;

/**
 * Reports a sample of a client's calls to a server. Nothing of an input or an answer is in a report, nor anything that names the user or the
 * device: the model and its version, the leg and its backend, whether the device is a mobile one, the code of the fallback, the milliseconds.
 * Without a reporter nothing is sent.
 * @throws {NearfarError} `invalid-argument`
 */
export function createReporter(
  client: Pick<Client, 'addEventListener' | 'removeEventListener'>,
  { url, sampleRate = 0.1, intervalMs = 30_000 }: ReporterOptions,
): Reporter {
  const target = targetOf(url);
  if (!(sampleRate >= 0 && sampleRate <= 1)) throw invalid('sampleRate', 'a number from 0 to 1', sampleRate);
  if (!(intervalMs > 0)) throw invalid('intervalMs', 'a number above 0', intervalMs);
  const device = isMobile() ? 'mobile' : 'desktop';
  const gathered: ClientReport[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;

  const take = (): string | undefined => {
    clearTimeout(timer);
    timer = undefined;
    const reports = gathered.splice(0);
    return reports.length > 0 ? JSON.stringify({ reports }) : undefined;
  };
  const flush = async () => {
    const body = take();
    if (body === undefined) return;
    // As text, which needs no question to a server of another origin before it (a CORS preflight).
    await fetch(target, { method: 'POST', body, keepalive: true, headers: { 'content-type': 'text/plain' }, credentials: 'omit' }).catch(
      () => undefined,
    );
  };
  const onRun = ({ detail }: { readonly detail: { readonly run: RunReport } }) => {
    if (Math.random() >= sampleRate) return;
    gathered.push(summarize(detail.run, device));
    if (gathered.length >= batchSize) void flush();
    else timer ??= setTimeout(flush, intervalMs);
  };
  /** The page may end now, and no answer to `fetch` would come any more. */
  const onHidden = () => {
    if (document.visibilityState !== 'hidden') return;
    const body = take();
    if (body !== undefined) navigator.sendBeacon(target, new Blob([body], { type: 'text/plain' }));
  };
  client.addEventListener('run', onRun);
  globalThis.document?.addEventListener('visibilitychange', onHidden);
  const close = async () => {
    client.removeEventListener('run', onRun);
    globalThis.document?.removeEventListener('visibilitychange', onHidden);
    await flush();
  };
  return { flush, close, [Symbol.asyncDispose]: close };
}

function summarize({ model, version, leg, engine, backend, fallback, timing }: RunReport, device: ClientReport['device']): ClientReport {
  return {
    model,
    version,
    device,
    leg,
    backend: `${engine}-${backend}`,
    ...(fallback && { fallback: fallback.code }),
    totalMs: Math.round(timing.totalMs * 10) / 10,
  };
}

function targetOf(url: string): string {
  try {
    const base = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    if (/^https?:$/.test(base.protocol)) return base.href.replace(/\/+$/, '') + clientReportsPath;
  } catch {
    // Said below.
  }
  throw invalid('url', 'an http or https URL', url);
}

/** Chromium says it in a word; elsewhere the name of the browser has to do. */
function isMobile(): boolean {
  const hints: Navigator & { readonly userAgentData?: { readonly mobile?: boolean } } = navigator;
  return hints.userAgentData?.mobile ?? /Mobi/.test(navigator.userAgent);
}

function invalid(option: string, want: string, got: unknown): NearfarError {
  return new NearfarError('invalid-argument', `${option}: expected ${want}, got ${String(got)}`, { details: { option, want } });
}

import { NearfarError } from '../../../core/index.ts';

/** So long, in milliseconds, an answer or the next part of one may take. */
const defaultStallMs = 20_000;

const mostRedirects = 5;

/** How long a store may ask to be left alone, in milliseconds; longer ones are cut to it. */
const longestRetryAfterMs = 3_600_000;

export interface GuardOptions {
  /** Hosts (`host` or `host:port`) that redirects may lead to, besides the one that was asked. */
  readonly redirectHosts: readonly string[];
  /** @default 20_000 */
  readonly stallMs?: number | undefined;
}

/** Sends a GET request to a store. */
export type SendRequest = (url: string, headers: Headers, signal: AbortSignal | undefined) => Promise<GuardedResponse>;

export interface GuardedResponse {
  readonly status: number;
  readonly headers: Headers;
  /** Breaks off with `network` where the next part does not come in time. */
  readonly body: AsyncIterable<Uint8Array>;
  /** The beginning of the body, of an answer that is an error. */
  text(): Promise<string>;
  /** Reads no more of it. */
  discard(): Promise<void>;
}

/**
 * Requests that go where they were sent and nowhere else: a redirect is followed within its host and to allowed hosts alone, without what
 * authorizes the request where the host is another one; and that do not hang.
 */
export function createGuardedSend({ redirectHosts, stallMs = defaultStallMs }: GuardOptions): SendRequest {
  return async (first, headers, signal) => {
    let url = new URL(first);
    let sent = headers;
    for (let hops = 0; hops <= mostRedirects; hops++) {
      const response = await sendOnce(url, sent, { signal, stallMs });
      const target = response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
      if (target === null) return response;
      await response.discard();
      const next = new URL(target, url);
      assertMayFollow(url, next, redirectHosts);
      if (next.host !== url.host) {
        sent = new Headers(sent);
        for (const name of [...sent.keys()]) if (name === 'authorization' || name.startsWith('x-amz-')) sent.delete(name);
      }
      url = next;
    }
    throw new NearfarError('network', `${display(first)} redirects more than ${mostRedirects} times`, { details: { url: display(first) } });
  };
}

function assertMayFollow(from: URL, to: URL, redirectHosts: readonly string[]): void {
  const isSameHost = to.host === from.host && to.protocol === from.protocol;
  const isUpgrade = from.protocol === 'http:' && to.protocol === 'https:' && to.hostname === from.hostname && from.port === to.port;
  const isAllowed = redirectHosts.includes(to.host) && (to.protocol === 'https:' || to.protocol === from.protocol);
  if (isSameHost || isUpgrade || isAllowed) return;
  throw new NearfarError(
    'permission-denied',
    `${display(from.href)} redirects to ${to.origin}, which --store_redirect_hosts does not name`,
    { details: { url: display(from.href), got: to.origin } },
  );
}

async function sendOnce(
  url: URL,
  headers: Headers,
  { signal, stallMs }: { signal: AbortSignal | undefined; stallMs: number },
): Promise<GuardedResponse> {
  signal?.throwIfAborted();
  const stalled = new AbortController();
  const watchdog = () => setTimeout(() => stalled.abort(new Error(`nothing came for ${stallMs / 1000} s`)), stallMs).unref();
  let timer = watchdog();
  const failure = (cause: unknown) => {
    if (signal?.aborted) return signal.reason;
    const reason: unknown = stalled.signal.aborted ? stalled.signal.reason : cause;
    return new NearfarError('network', `cannot read ${display(url.href)}: ${describeCause(reason)}`, {
      cause: reason,
      details: { url: display(url.href) },
    });
  };
  const either = signal ? AbortSignal.any([signal, stalled.signal]) : stalled.signal;
  const response = await fetch(url, { headers, redirect: 'manual', signal: either })
    .catch((cause: unknown) => {
      throw failure(cause);
    })
    .finally(() => clearTimeout(timer));
  const body = async function* (): AsyncGenerator<Uint8Array> {
    if (!response.body) return;
    timer = watchdog();
    try {
      for await (const part of response.body) {
        // What the reader does with it may take its time.
        clearTimeout(timer);
        yield part;
        timer = watchdog();
      }
    } catch (cause) {
      throw failure(cause);
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    status: response.status,
    headers: response.headers,
    body: { [Symbol.asyncIterator]: body },
    text: async () => {
      let text = '';
      const decoder = new TextDecoder();
      for await (const part of body()) {
        text += decoder.decode(part, { stream: true });
        if (text.length > 4096) break;
      }
      return text;
    },
    discard: async () => {
      await response.body?.cancel().catch(() => undefined);
    },
  };
}

/** Of an answer that is no content: what to throw. */
export async function toStoreError(url: string, response: GuardedResponse): Promise<NearfarError> {
  const { status, headers } = response;
  const text = await response.text().catch(() => '');
  const reason = /<Message>([^<]*)<\/Message>/.exec(text)?.[1];
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'));
  const details = { url: display(url), status, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  const message = `${display(url)} answers HTTP ${status}${reason ? `: ${reason}` : ''}`;
  // S3 says SlowDown with 503.
  if (status === 429 || /<Code>SlowDown<\/Code>/.test(text)) return new NearfarError('rate-limited', message, { details });
  if (status === 401) return new NearfarError('unauthenticated', message, { details });
  if (status === 403) return new NearfarError('permission-denied', message, { details });
  return new NearfarError('unavailable', message, { details });
}

/** Seconds or a date, as milliseconds from now. */
function parseRetryAfter(text: string | null): number | undefined {
  if (text === null) return undefined;
  const ms = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), longestRetryAfterMs) : undefined;
}

/** For how long an answer says that it holds, in milliseconds. */
export function freshness(headers: Headers): number {
  const control = headers.get('cache-control') ?? '';
  if (/\bno-(cache|store)\b/i.test(control)) return 0;
  const [, seconds] = /\bmax-age\s*=\s*"?(\d+)/i.exec(control) ?? [];
  return seconds === undefined ? 0 : Math.max(0, Number(seconds) - Number(headers.get('age') ?? 0)) * 1000;
}

/** Which byte a partial answer begins with; 0 for a whole one. */
export function startOf(status: number, headers: Headers): number {
  return status === 206 ? Number(/^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1] ?? 0) : 0;
}

/** An address without what may be secret in it. */
export function display(url: string): string {
  const parsed = new URL(url);
  return `${parsed.origin}${parsed.pathname}`;
}

function describeCause(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  // What fetch says is `fetch failed`; why is in its cause.
  const inner = cause.cause instanceof Error ? cause.cause : cause;
  return inner.message || ('code' in inner ? String(inner.code) : inner.name);
}

import { NearfarError } from '../../core/index.ts';
import type { LoaderContext } from './context.ts';

/** A connection that brings nothing for this long is given up and tried again. */
const stallMs = 20_000;

type HttpContext = Pick<LoaderContext, 'fetch' | 'clock' | 'signal'>;

/** One response while it is being read; disposing it ends the request if the body was not read to its end. */
export interface OpenResponse extends Disposable {
  readonly response: Response;
  /** The next bytes of the body; undefined at its end. */
  read(): Promise<Uint8Array<ArrayBuffer> | undefined>;
}

/**
 * Sends a GET request and waits for its headers.
 * @throws {NearfarError} `not-found`, `unauthenticated`, `permission-denied`, or `network` with `details.isRetryable`.
 */
export async function openUrl(
  context: HttpContext,
  url: string,
  init: { headers?: Record<string, string>; cache?: RequestCache; timeoutMs?: number } = {},
): Promise<OpenResponse> {
  const attempt = new AbortController();
  const timeoutMs = init.timeoutMs ?? stallMs;
  const signal = AbortSignal.any([context.signal, attempt.signal]);
  const { fetch } = context;
  try {
    const fetching = fetch(url, { headers: init.headers ?? {}, cache: init.cache ?? 'no-store', signal });
    const response = await translated(context, url, within(context, url, timeoutMs, fetching));
    if (!response.ok) throw statusError(url, response.status);
    const reader = response.body?.getReader();
    return {
      response,
      async read() {
        if (!reader) return undefined;
        const { value } = await translated(context, url, within(context, url, timeoutMs, reader.read()));
        return value;
      },
      [Symbol.dispose]: () => attempt.abort(),
    };
  } catch (error) {
    attempt.abort();
    throw error;
  }
}

/** The whole body of a small file. */
export async function fetchBytes(
  context: HttpContext,
  url: string,
  init: { cache?: RequestCache; timeoutMs?: number } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  using open = await openUrl(context, url, init);
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for (let piece = await open.read(); piece; piece = await open.read()) pieces.push(piece);
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

/** Races a step of a request against the clock. */
async function within<T>(context: HttpContext, url: string, timeoutMs: number, step: Promise<T>): Promise<T> {
  const done = new AbortController();
  const timeout = context.clock.delay(timeoutMs, done.signal).then(() => {
    throw networkError(url, `nothing came for ${timeoutMs} ms`);
  });
  try {
    return await Promise.race([step, timeout]);
  } finally {
    done.abort();
  }
}

/** fetch() and body readers reject with a bare TypeError when the network fails; an abort keeps its own reason. */
async function translated<T>(context: HttpContext, url: string, step: Promise<T>): Promise<T> {
  try {
    return await step;
  } catch (cause) {
    context.signal.throwIfAborted();
    if (cause instanceof NearfarError) throw cause;
    throw networkError(url, cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

export function networkError(
  url: string,
  reason: string,
  options: { cause?: unknown; status?: number; isRetryable?: boolean } = {},
): NearfarError {
  const { cause, status, isRetryable = true } = options;
  return new NearfarError('network', `${url} cannot be fetched: ${reason}`, { cause, details: { url, status, isRetryable } });
}

function statusError(url: string, status: number): NearfarError {
  const codes = { 401: 'unauthenticated', 403: 'permission-denied', 404: 'not-found', 410: 'not-found' } as const;
  const code = Object.entries(codes).find(([key]) => Number(key) === status)?.[1];
  if (code) return new NearfarError(code, `${url} answers HTTP ${status}`, { details: { url, status } });
  const isRetryable = status >= 500 || status === 408 || status === 425 || status === 429;
  return networkError(url, `HTTP ${status}`, { status, isRetryable });
}

import { errorOfResponse, NearfarError } from '../../core/index.ts';

export interface AskOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Sent as JSON. */
  readonly json?: unknown;
  readonly body?: Blob | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

/** What the page sends with calls that change something, so that no other page can send them in its name. */
const sent: Record<string, string> = {};

/** @param csrf Of the session. */
export function sendToken(csrf: string | undefined): void {
  if (csrf === undefined) delete sent['nearfar-csrf'];
  else sent['nearfar-csrf'] = csrf;
}

/** A path on the server, of names that may hold anything. */
export function pathOf(...parts: readonly string[]): string {
  return `/${parts.map(encodeURIComponent).join('/')}`;
}

/**
 * Asks the server that the page came from.
 * @throws {NearfarError} the server's own error, rebuilt with its code; `network` when it cannot be reached; rejects with `signal.reason` when aborted.
 */
export async function askServer(path: string, { method, json, body, headers, signal }: AskOptions = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, {
      method: method ?? (json === undefined && body === undefined ? 'GET' : 'POST'),
      headers: { ...sent, ...(json !== undefined && { 'content-type': 'application/json' }), ...headers },
      body: json === undefined ? (body ?? null) : JSON.stringify(json),
      signal: signal ?? null,
    });
  } catch (cause) {
    signal?.throwIfAborted();
    throw new NearfarError('network', 'the server cannot be reached', { cause });
  }
  if (response.ok) return response;
  throw errorOfResponse(response.status, await response.text().catch(() => ''));
}

/** Asks for JSON; an answer without a body is undefined. */
export async function askJson<T>(path: string, options?: AskOptions): Promise<T> {
  const response = await askServer(path, options);
  const text = await response.text();
  return (text === '' ? undefined : JSON.parse(text)) as T; // the shapes are those of the server that the page came with
}

/** Any failure as an error with a code, to be shown. */
export function toNearfarError(error: unknown): NearfarError {
  if (error instanceof NearfarError) return error;
  return new NearfarError('internal', error instanceof Error ? error.message : String(error), { cause: error });
}

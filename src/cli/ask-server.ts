import * as v from 'valibot';
import { isNearfarErrorCode, NearfarError, type NearfarErrorCode } from '../core/index.ts';

export interface ServerQuestion<Schema extends v.GenericSchema> {
  /** HTTP address of the server. */
  readonly url: string;
  readonly path: string;
  /** What the answer must be. */
  readonly answer: Schema;
  /** @default 'GET' */
  readonly method?: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** Bytes as they are, all else as JSON. */
  readonly body?: object | Uint8Array<ArrayBuffer> | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly signal: AbortSignal;
}

const errorSchema = v.object({
  error: v.string(),
  code: v.custom<NearfarErrorCode>(isNearfarErrorCode),
  details: v.optional(v.record(v.string(), v.unknown()), {}),
});

/**
 * Asks a running server by `/nearfar/v1`.
 * @throws {NearfarError} `invalid-argument` for a URL that is none; `network` when no server, or no nearfar server, answers there; what the server refuses the question with.
 */
export async function askServer<Schema extends v.GenericSchema>(question: ServerQuestion<Schema>): Promise<v.InferOutput<Schema>> {
  const { url, path, answer, method = 'GET', body, headers, signal } = question;
  const address = addressOf(url, path);
  const sent = body instanceof Uint8Array ? body : body && JSON.stringify(body);
  const response = await fetchFrom(address, { method, signal, headers: { ...headers }, ...(sent && { body: sent }) });
  const json: unknown = response.status === 204 ? {} : await response.json().catch(() => undefined);
  const parsed = v.safeParse(answer, json);
  if (parsed.success) return parsed.output;
  throw new NearfarError('network', `${address} is no nearfar server: ${parsed.issues[0].message}`);
}

/** An address below `/nearfar/v1`. @throws {NearfarError} `invalid-argument` for a URL that is none. */
export function addressOf(url: string, path: string): URL {
  if (URL.canParse(url) && /^https?:/i.test(url)) return new URL(`/nearfar/v1/${path}`, url);
  throw new NearfarError('invalid-argument', `expected a URL such as http://localhost:8501, got ${url}`, { details: { got: url } });
}

/** @throws {NearfarError} as {@link askServer}. */
export async function fetchFrom(
  address: URL,
  { headers, signal, ...request }: RequestInit & { readonly headers?: Record<string, string>; readonly signal: AbortSignal },
): Promise<Response> {
  const response = await fetch(address, { ...request, signal, headers: { ...credentials(), ...headers } }).catch((cause: unknown) => {
    if (signal.aborted) throw signal.reason;
    throw new NearfarError('network', `no server answers at ${address.origin}: ${reasonOf(cause)}`, { cause });
  });
  if (response.ok) return response;
  const json: unknown = await response.json().catch(() => undefined);
  throw refusal(json) ?? new NearfarError('network', `${address} answered ${response.status} ${response.statusText}`);
}

/** An API key or a token, of the environment: a command line is seen by others. */
export function credentials(): Record<string, string> {
  const key = process.env['NEARFAR_API_KEY'];
  return key ? { authorization: `Bearer ${key}` } : {};
}

function refusal(json: unknown): NearfarError | undefined {
  const parsed = v.safeParse(errorSchema, json);
  if (!parsed.success) return undefined;
  const { error, code, details } = parsed.output;
  return new NearfarError(code, error, { details });
}

function reasonOf(cause: unknown): unknown {
  if (!(cause instanceof Error)) return cause;
  return cause.cause instanceof Error ? cause.cause.message : cause.message;
}

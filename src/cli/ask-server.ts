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
  readonly body?: object | undefined;
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
  const { url, path, answer, method = 'GET', body, signal } = question;
  if (!URL.canParse(url) || !/^https?:/i.test(url)) {
    throw new NearfarError('invalid-argument', `expected a URL such as http://localhost:8501, got ${url}`, { details: { got: url } });
  }
  const address = new URL(`/nearfar/v1/${path}`, url);
  const response = await fetch(address, { method, signal, headers: credentials(), ...(body && { body: JSON.stringify(body) }) }).catch(
    (cause: unknown) => {
      if (signal.aborted) throw signal.reason;
      throw new NearfarError('network', `no server answers at ${address.origin}: ${reasonOf(cause)}`, { cause });
    },
  );
  const json: unknown = response.status === 204 ? {} : await response.json().catch(() => undefined);
  if (!response.ok) throw refusal(json) ?? new NearfarError('network', `${address} answered ${response.status} ${response.statusText}`);
  const parsed = v.safeParse(answer, json);
  if (parsed.success) return parsed.output;
  throw new NearfarError('network', `${address} is no nearfar server: ${parsed.issues[0].message}`);
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

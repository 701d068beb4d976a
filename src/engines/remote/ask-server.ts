import {
  isNearfarErrorCode,
  NearfarError,
  type NearfarErrorCode,
  type Pin,
  type Retry,
  type ServerPolicy,
  serializeError,
} from '../../core/index.ts';
import type { Balance, BalanceSources } from './balance.ts';

export interface RemoteOptions {
  readonly fetch: typeof fetch;
  /** What is known of the servers from earlier calls; without it they are asked as they are listed. */
  readonly balance?: Balance | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ServerRequest {
  /** Below the server's base URL, without a slash at its begin. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent by POST; GET without it. */
  readonly body?: Uint8Array<ArrayBuffer>;
  /** Told to each server as what is left of it; shared among the servers, of which the last has all that is left. @default 30_000, told to none */
  readonly deadlineMs?: number | undefined;
  /** Which of several servers is asked first. @default 'least-in-flight' */
  readonly policy?: ServerPolicy | undefined;
}

/** How long all servers but the last may take together where the request has no deadline. */
const defaultDeadlineMs = 30_000;

/** What is known of the servers, in code of its own: no server is asked before it is here. Where it cannot be had they are asked as listed. */
export async function loadBalance(sources: BalanceSources): Promise<Balance | undefined> {
  const code = await import('./balance.ts').catch(() => undefined);
  return code?.createBalance(sources);
}

/** A good answer, its body read, from the version that was asked for. */
export interface ServerReply {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly headers: Headers;
  /** The servers before the one that answered, with why they did not. */
  readonly retries: readonly Retry[];
}

/** Another server may do better after these: one of several may be behind, or ahead, of the wanted version. */
const passing: ReadonlySet<NearfarErrorCode> = new Set(['network', 'unavailable', 'overloaded', 'not-found', 'version-mismatch']);

/**
 * Asks one server after the other until one answers: the next is tried when one cannot be reached, drains, is full or
 * does not have exactly this version, as long as the budget for retries lasts. One that never answers is left after its share of the
 * deadline, so that the next is still asked in time; the last may take as long as the signal allows. One that named a time before which
 * it does not want to be asked is not.
 * @throws {NearfarError} the server's own error, rebuilt with its code; `network` when none can be reached; `version-mismatch`
 * when an answer is not from the wanted digest; rejects with `signal.reason` when aborted.
 */
export async function askServers(
  servers: readonly string[],
  pin: Pin,
  request: ServerRequest,
  options: RemoteOptions,
): Promise<ServerReply> {
  const { signal, balance } = options;
  const { deadlineMs = defaultDeadlineMs } = request;
  // A question without a body, whether a version is ready, is asked once per opening: it counts in no budget.
  const budget = request.body && balance;
  budget?.countCall();
  const order = balance?.order(servers, pin, request.policy) ?? servers;
  const startedAt = performance.now();
  const failures: Failure[] = [];
  let asked = 0;
  for (const [index, server] of order.entries()) {
    signal?.throwIfAborted();
    const rest = balance?.rest(server);
    if (rest) {
      failures.push({ server, error: rest });
      continue;
    }
    if (asked > 0 && budget?.takeRetry() === false) break;
    asked += 1;
    const leftMs = Math.max(1, Math.round(startedAt + deadlineMs - performance.now()));
    const untried = order.length - index;
    const limit = untried > 1 ? AbortSignal.timeout(Math.ceil(leftMs / untried)) : undefined;
    const signals = [signal, limit].filter((each) => each !== undefined);
    const headers = { ...request.headers, ...(request.deadlineMs !== undefined && { 'nearfar-deadline-ms': String(leftMs) }) };
    const visit = balance?.begin(server, pin);
    const askedAt = performance.now();
    try {
      const reply = await askServer(server, pin, { ...request, headers }, { ...options, signal: AbortSignal.any(signals) });
      visit?.succeeded();
      return { ...reply, retries: failures.map(toRetry) };
    } catch (error) {
      if (signal?.aborted) {
        // A caller who gave up says nothing about the server; one who waited until the end of the deadline does.
        if (performance.now() - askedAt < leftMs * 0.95) visit?.abandoned();
        else visit?.failed(new NearfarError('deadline-exceeded', `${server} gave no answer in ${leftMs} ms`));
        throw signal.reason;
      }
      if (!(error instanceof NearfarError)) {
        visit?.abandoned();
        throw error;
      }
      visit?.failed(error, retryAfterOf(error));
      if (!passing.has(error.code)) throw error;
      failures.push({ server, error });
    }
  }
  throw combine(failures);
}

function retryAfterOf({ details }: NearfarError): number | undefined {
  const ms = details['retryAfterMs'];
  return typeof ms === 'number' && ms > 0 ? ms : undefined;
}

interface Failure {
  readonly server: string;
  readonly error: NearfarError;
}

function toRetry({ server, error }: Failure, index: number): Retry {
  return { url: server, attempt: index + 1, code: error.code, message: error.message };
}

/** One server's failure is told as it is; several are told together. */
function combine(failures: readonly Failure[]): NearfarError {
  const [first, ...others] = failures;
  if (!first) return new NearfarError('network', 'no server is configured');
  if (others.length === 0) return first.error;
  // A server that answered says more than one that could not be reached.
  const { error } = failures.find((failure) => failure.error.code !== 'network') ?? first;
  return new NearfarError(error.code, failures.map((failure) => failure.error.message).join('; '), {
    cause: error,
    details: {
      ...error.details,
      servers: failures.map((failure) => ({ server: failure.server, code: failure.error.code, message: failure.error.message })),
    },
  });
}

async function askServer(
  server: string,
  pin: Pin,
  request: ServerRequest,
  { fetch, signal }: RemoteOptions,
): Promise<Omit<ServerReply, 'retries'>> {
  const url = `${server.replace(/\/+$/, '')}/${request.path}`;
  const reach = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new NearfarError('network', `${server} cannot be reached: ${reason}`, { cause, details: { url } });
    }
  };
  const response = await reach(
    fetch(url, {
      method: request.body ? 'POST' : 'GET',
      headers: { ...request.headers, 'nearfar-model-digest': pin.digest },
      ...(request.body && { body: request.body }),
      ...(signal && { signal }),
      cache: 'no-store',
    }),
  );
  const body = new Uint8Array(await reach(response.arrayBuffer()));
  if (!response.ok) throw rebuildError(url, response, body);
  assertPinned(url, pin, response.headers);
  return { body, headers: response.headers };
}

/** Never trusts an answer that does not name the wanted version: a proxy or another server may be in between. */
function assertPinned(url: string, pin: Pin, headers: Headers): void {
  const got = { version: headers.get('nearfar-model-version'), digest: headers.get('nearfar-model-digest') };
  if (got.digest === pin.digest && got.version === pin.version) return;
  throw new NearfarError('version-mismatch', `${url} answered from ${got.digest ?? 'an unnamed version'}, wanted ${pin.digest}`, {
    details: { url, want: { ...pin }, got },
  });
}

/** The server's NearfarError; of any other server an error by the status. */
function rebuildError(url: string, { status, headers }: Response, body: Uint8Array): NearfarError {
  const { error, code, details } = parseErrorBody(body);
  const retryAfterMs = status === 429 || status === 503 ? parseRetryAfter(headers.get('retry-after')) : undefined;
  return new NearfarError(
    isNearfarErrorCode(code) ? code : codeOfStatus(status),
    typeof error === 'string' ? error : `${url} answered ${status}`,
    {
      details: {
        ...(retryAfterMs !== undefined && { retryAfterMs }),
        ...(typeof details === 'object' && details !== null ? details : {}),
        url,
        status,
      },
    },
  );
}

/** Milliseconds of a `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3). */
function parseRetryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\s*\d+\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return ms > 0 ? ms : undefined;
}

function parseErrorBody(body: Uint8Array): { error?: unknown; code?: unknown; details?: unknown } {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(body));
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch (error) {
    // A proxy's page: the status has to do.
    return { details: { reason: serializeError(error).message } };
  }
}

const codesOfStatuses: Readonly<Record<number, NearfarErrorCode>> = {
  400: 'invalid-argument',
  401: 'unauthenticated',
  403: 'permission-denied',
  404: 'not-found',
  409: 'failed-precondition',
  413: 'invalid-argument',
  429: 'rate-limited',
  499: 'cancelled',
  501: 'unsupported',
  502: 'unavailable',
  503: 'unavailable',
  504: 'deadline-exceeded',
};

function codeOfStatus(status: number): NearfarErrorCode {
  return codesOfStatuses[status] ?? (status >= 500 ? 'internal' : 'invalid-argument');
}

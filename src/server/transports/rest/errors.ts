import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { errorStatuses, NearfarError, type SerializedError, serializeError } from '../../../core/index.ts';
import { challengeOf } from '../../security/index.ts';
import type { TransportLog } from '../context.ts';
import { retryAfterMs } from '../retry-after.ts';
import type { RestReply } from './exchange.ts';
import { sendJson } from './send-json.ts';

/** Answers an error as JSON: TensorFlow Serving's `error`, and our `code` and `details` beside it. */
export function sendError(reply: RestReply, error: unknown, log: TransportLog): void {
  const { status, body } = describeError(error, log);
  const retryMs = retryAfterMs(error);
  // An answer that was begun, or whose client has gone, has no room for an error.
  if (reply.sent || reply.raw.headersSent) {
    reply.raw.destroy();
    return;
  }
  // The headers of a file that then could not be sent would keep the error for a year.
  reply.removeHeader('etag');
  reply.header('cache-control', 'no-store');
  reply.code(status);
  if (retryMs !== undefined) reply.header('retry-after', Math.ceil(retryMs / 1000));
  const challenge = challengeOf(error);
  if (challenge !== undefined) reply.header('www-authenticate', challenge);
  sendJson(reply, JSON.stringify(body));
}

/** Of Node, for a connection whose bytes are no request that a handler could see. */
const brokenStatuses: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/** Answers what the HTTP parser refuses, and what came too slowly, and ends the connection. */
export function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  const { code = '' } = error;
  const isParsed = code.startsWith('HPE_') || code === 'ERR_HTTP_REQUEST_TIMEOUT';
  // A client that hung up, or whose TLS failed, hears nothing; nor does one in whose answer this would stand.
  const { _httpMessage: answer } = socket as Socket & { _httpMessage?: { readonly headersSent: boolean } };
  if (!socket.writable || !isParsed || answer?.headersSent) return void socket.destroy();
  const status = brokenStatuses[code] ?? 400;
  const message = status === 400 ? `the request is no HTTP: ${error.message}` : (STATUS_CODES[status] ?? '');
  const body = JSON.stringify(errorBody({ code: 'invalid-argument', message }));
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

/** Refuses in JSON what Node itself refuses without a word. */
export function addProtocolErrors(app: FastifyInstance): void {
  app.addHook('onRequest', async ({ raw }, reply) => {
    // No answer is to be taken for a page or a script that its type does not name.
    reply.header('x-content-type-options', 'nosniff');
    if (raw.httpVersion === '1.1' && raw.headers.host === undefined)
      throw new NearfarError('invalid-argument', 'the request has no Host header');
  });
  app.server.on('checkExpectation', ({ headers }, response) => {
    const message = `cannot meet the expectation ${headers.expect}`;
    response.writeHead(417, { 'content-type': 'application/json', connection: 'close' });
    response.end(JSON.stringify(errorBody({ code: 'unsupported', message })));
  });
}

function describeError(error: unknown, log: TransportLog): { status: number; body: object } {
  if (!(error instanceof NearfarError)) {
    const framework = frameworkError(error);
    if (framework) return { status: framework.status, body: errorBody(framework.error) };
    // What is no NearfarError is our mistake: its text is for the log, not for strangers.
    log.error({ err: error }, 'a request failed unexpectedly');
    return { status: 500, body: errorBody({ code: 'internal', message: 'internal error' }) };
  }
  return { status: errorStatuses[error.code].http, body: errorBody(serializeError(error)) };
}

function errorBody({ message, code, details = {} }: SerializedError): object {
  return { error: message, code, details };
}

/** Errors that fastify finds before a handler runs: a body that is too large, cut off or wrongly compressed. */
function frameworkError(error: unknown): { status: number; error: SerializedError } | undefined {
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number') return undefined;
  if (error.statusCode < 400 || error.statusCode >= 500) return undefined;
  return { status: error.statusCode, error: { code: 'invalid-argument', message: error.message } };
}

import type { FastifyRequest } from 'fastify';
import { inferenceHeaderLengthName, NearfarError } from '../../../core/index.ts';
import { predictionIdName } from '../../quality/index.ts';
import type { Timing } from '../../request-record.ts';
import type { Caller } from '../../security/index.ts';
import type { ServableTiming } from '../../servables/index.ts';
import { type AnsweringVersion, describeFallback } from '../call.ts';
import { certificateOf } from '../certificate-of.ts';
import type { RestReply, RestRequest } from './exchange.ts';

/** Headers a page of another origin may read. */
export const exposedHeaders = [
  'nearfar-model-version',
  'nearfar-model-digest',
  'nearfar-backend',
  'nearfar-variant',
  'nearfar-fallback',
  'server-timing',
  'nearfar-batch-size',
  'nearfar-cache',
  predictionIdName,
  inferenceHeaderLengthName,
  'etag',
  'content-length',
  'content-range',
  'accept-ranges',
  'retry-after',
  'www-authenticate',
];

/** Names the version behind an answer. */
export function setVersionHeaders(reply: RestReply, { version, digest, backend, variant, fallback }: AnsweringVersion): void {
  reply.header('nearfar-model-version', version);
  reply.header('nearfar-model-digest', digest);
  reply.header('nearfar-backend', backend);
  reply.header('nearfar-variant', variant);
  if (fallback) reply.header('nearfar-fallback', describeFallback(fallback));
}

/** Where the time went, in milliseconds, for the network panel of a browser and for our own client; and the rows of the batch, where there was one. */
export function setTimingHeader(reply: RestReply, { queueMs, preprocessMs, inferMs, postprocessMs, batchSize }: Timing): void {
  const phases = `queue;dur=${toThousandths(queueMs)}, preprocess;dur=${toThousandths(preprocessMs)}`;
  reply.header('server-timing', `${phases}, infer;dur=${toThousandths(inferMs)}, postprocess;dur=${toThousandths(postprocessMs)}`);
  if (batchSize !== undefined) reply.header('nearfar-batch-size', batchSize);
}

const threeDigits = Array.from({ length: 1000 }, (_, value) => String(value).padStart(3, '0'));

/** As `toFixed(3)`, in a tenth of the time. */
function toThousandths(ms: number): string {
  const thousandths = Math.round(ms * 1000);
  const whole = Math.floor(thousandths / 1000);
  return `${whole}.${threeDigits[thousandths - whole * 1000]}`;
}

/** Whether the answer was known; no header where no answers are kept. */
export function setCacheHeader(reply: RestReply, { cache }: Pick<ServableTiming, 'cache'>): void {
  if (cache) reply.header('nearfar-cache', cache);
}

/** The digest a request is pinned to. */
export function wantedDigest(request: RestRequest): string | undefined {
  return headerText(request, 'nearfar-model-digest');
}

/**
 * Milliseconds a request may take: what it asks for, at most the server's own limit.
 * @throws {NearfarError} `invalid-argument`.
 */
export function deadlineOf(request: RestRequest, timeoutMs: number): number {
  const text = headerText(request, 'nearfar-deadline-ms');
  if (text === undefined) return timeoutMs;
  const deadlineMs = Number(text);
  if (Number.isFinite(deadlineMs) && deadlineMs > 0) return Math.min(deadlineMs, timeoutMs);
  throw new NearfarError('invalid-argument', `nearfar-deadline-ms is a number of milliseconds above 0, got ${text}`);
}

/** Bytes of JSON before the binary tensors of a body; undefined where the header is not there or says no number. */
export function inferenceHeaderLength(request: RestRequest): number | undefined {
  const text = headerText(request, inferenceHeaderLengthName);
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

export function headerText(request: RestRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** Where a request comes from. */
export function callerOf(request: FastifyRequest): Caller {
  const { socket, identity } = request;
  return {
    peer: socket.remoteAddress,
    header: (name) => headerText(request, name),
    identity,
    certificate: () => certificateOf(socket),
  };
}

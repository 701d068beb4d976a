import type { FastifyReply, FastifyRequest } from 'fastify';
import { inferenceHeaderLengthName, NearfarError } from '../../../core/index.ts';
import type { Timing } from '../../request-record.ts';
import type { ServableTiming } from '../../servables/index.ts';
import type { Caller } from '../admin.ts';
import type { AnsweringVersion } from '../call.ts';

/** Headers a page of another origin may read. */
export const exposedHeaders = [
  'nearfar-model-version',
  'nearfar-model-digest',
  'nearfar-backend',
  'nearfar-variant',
  'server-timing',
  'nearfar-batch-size',
  'nearfar-cache',
  inferenceHeaderLengthName,
  'etag',
  'content-length',
  'content-range',
  'accept-ranges',
  'retry-after',
];

/** Names the version behind an answer. */
export function setVersionHeaders(reply: FastifyReply, { version, digest, backend, variant }: AnsweringVersion): void {
  reply.headers({
    'nearfar-model-version': version,
    'nearfar-model-digest': digest,
    'nearfar-backend': backend,
    'nearfar-variant': variant,
  });
}

/** Where the time went, in milliseconds, for the network panel of a browser and for our own client; and the rows of the batch, where there was one. */
export function setTimingHeader(reply: FastifyReply, { queueMs, preprocessMs, inferMs, postprocessMs, batchSize }: Timing): void {
  const parts = Object.entries({ queue: queueMs, preprocess: preprocessMs, infer: inferMs, postprocess: postprocessMs });
  reply.header('server-timing', parts.map(([name, ms]) => `${name};dur=${ms.toFixed(3)}`).join(', '));
  if (batchSize !== undefined) reply.header('nearfar-batch-size', batchSize);
}

/** Whether the answer was known; no header where no answers are kept. */
export function setCacheHeader(reply: FastifyReply, { cache }: Pick<ServableTiming, 'cache'>): void {
  if (cache) reply.header('nearfar-cache', cache);
}

/** The digest a request is pinned to. */
export function wantedDigest(request: FastifyRequest): string | undefined {
  return headerText(request, 'nearfar-model-digest');
}

/**
 * Milliseconds a request may take: what it asks for, at most the server's own limit.
 * @throws {NearfarError} `invalid-argument`.
 */
export function deadlineOf(request: FastifyRequest, timeoutMs: number): number {
  const text = headerText(request, 'nearfar-deadline-ms');
  if (text === undefined) return timeoutMs;
  const deadlineMs = Number(text);
  if (Number.isFinite(deadlineMs) && deadlineMs > 0) return Math.min(deadlineMs, timeoutMs);
  throw new NearfarError('invalid-argument', `nearfar-deadline-ms is a number of milliseconds above 0, got ${text}`);
}

/** Bytes of JSON before the binary tensors of a body; undefined where the header is not there or says no number. */
export function inferenceHeaderLength(request: FastifyRequest): number | undefined {
  const text = headerText(request, inferenceHeaderLengthName);
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

export function headerText(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** Where a request comes from. */
export function callerOf(request: FastifyRequest): Caller {
  return { peer: request.socket.remoteAddress, header: (name) => headerText(request, name) };
}

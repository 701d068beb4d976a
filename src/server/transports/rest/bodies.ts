import { errorCodes, type FastifyInstance, type FastifyRequest } from 'fastify';
import type { BufferPool } from '../../buffer-pool.ts';
import { releaseBuffer } from '../../release-buffer.ts';
import type { RestContext } from '../context.ts';
import { inferenceHeaderLength } from './headers.ts';
import type { Payload } from './inflate.ts';
import { largeJsonBytes } from './large-json.ts';

/** Of a request's body, inflated. */
export const defaultBodyLimitBytes = 128 * 2 ** 20;

/** The largest element of a tensor: its bytes begin on a multiple of this. */
const alignmentBytes = 8;

/** A longer body takes memory as it comes, not all that it promises. */
const mostPromisedBytes = 16 * 2 ** 20;

/**
 * Reads the bodies of these routes as bytes. One with binary tensors is collected in lent memory, so that the tensors lie where their
 * elements may lie and move to the engine's thread without another copy; large JSON too, which moves to its worker and comes back.
 */
export function addTensorBodies(routes: FastifyInstance, context: RestContext): void {
  routes.removeAllContentTypeParsers();
  routes.addContentTypeParser('*', (request: FastifyRequest, payload: Payload) => readBody(request, payload, context));
}

/** With the limits and the errors of fastify, whose own reader makes a buffer of each chunk and then one of them all. */
function readBody(
  request: FastifyRequest,
  payload: Payload,
  { bodyLimitBytes = defaultBodyLimitBytes, buffers }: RestContext,
): Promise<Buffer> {
  const promised = Number(request.headers['content-length'] ?? Number.NaN);
  if (promised > bodyLimitBytes) return Promise.reject(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE());
  return new Promise((resolve, reject) => {
    const headerLength = inferenceHeaderLength(request);
    const isInflated = payload.receivedEncodedLength !== undefined;
    const isLarge = headerLength !== undefined || promised > largeJsonBytes;
    const isKnown = isLarge && !isInflated && promised > 0 && promised <= mostPromisedBytes;
    const target = isKnown ? lentTarget(buffers, promised, headerLength ?? 0) : chunkTarget();
    let received = 0;
    const settle = (end: () => void) => {
      payload.off('data', onData);
      payload.off('end', onEnd);
      payload.off('error', onError);
      end();
    };
    const onData = (chunk: Buffer) => {
      received += chunk.length;
      if (Math.max(received, payload.receivedEncodedLength ?? 0) > bodyLimitBytes) {
        return settle(() => reject(new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE()));
      }
      if (isKnown && received > promised) return settle(() => reject(new errorCodes.FST_ERR_CTP_INVALID_CONTENT_LENGTH()));
      target.add(chunk);
    };
    const onEnd = () => {
      const isWhole = Number.isNaN(promised) || (payload.receivedEncodedLength ?? received) === promised;
      settle(() => (isWhole ? resolve(target.body()) : reject(new errorCodes.FST_ERR_CTP_INVALID_CONTENT_LENGTH())));
    };
    // Cut off, or wrongly compressed.
    const onError = (error: Error) => settle(() => reject(Object.assign(error, { statusCode: 400 })));
    payload.on('data', onData);
    payload.on('end', onEnd);
    payload.on('error', onError);
  });
}

interface Target {
  add(chunk: Buffer): void;
  body(): Buffer;
}

/** Memory is taken with the first chunk: headers alone cost nothing. */
function lentTarget(buffers: BufferPool, length: number, headerLength: number): Target {
  const offset = (alignmentBytes - (headerLength % alignmentBytes)) % alignmentBytes;
  const chunks: Buffer[] = [];
  let body: Buffer | undefined;
  let at = 0;
  return {
    add: (chunk) => {
      body ??= Buffer.from(buffers.take(offset + length), offset, length);
      body.set(chunk, at);
      at += chunk.length;
      chunks.push(chunk);
    },
    body: () => {
      // Not before: the HTTP parser may be at a chunk still while it hands it out. Chunks that share a buffer stay.
      for (const { buffer, byteLength } of chunks) if (byteLength === buffer.byteLength) releaseBuffer(buffer);
      return body ?? Buffer.alloc(0);
    },
  };
}

function chunkTarget(): Target {
  const chunks: Buffer[] = [];
  return { add: (chunk) => void chunks.push(chunk), body: () => Buffer.concat(chunks) };
}

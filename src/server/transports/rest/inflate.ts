import type { IncomingMessage } from 'node:http';
import { type Readable, Transform } from 'node:stream';
import { createGunzip, createInflate } from 'node:zlib';
import type { FastifyInstance } from 'fastify';

/** Request bodies with `Content-Encoding: gzip` or `deflate` (RFC 9110: zlib's format); the limit of a body counts what comes out. */
export function addInflate(app: FastifyInstance): void {
  app.addHook('preParsing', async (request, _, payload) => {
    const encoding = request.headers['content-encoding']?.toLowerCase() ?? 'identity';
    if (encoding === 'identity') return payload;
    if (encoding === 'gzip' || encoding === 'x-gzip') return inflate(payload, createGunzip());
    if (encoding === 'deflate') return inflate(payload, createInflate());
    throw Object.assign(new Error(`content-encoding ${encoding} is not supported, use gzip or deflate`), { statusCode: 415 });
  });
}

/** A body as it comes. */
export type Payload = Readable & {
  /** Bytes before they were inflated; not there where nothing is. */
  receivedEncodedLength?: number;
};

function inflate(payload: Readable | IncomingMessage, inflater: Transform): Payload {
  const inflated: Payload = inflater;
  // Fastify compares this with Content-Length, which counts the compressed bytes.
  inflated.receivedEncodedLength = 0;
  const counted = new Transform({
    transform(chunk: Uint8Array, _, done) {
      inflated.receivedEncodedLength = (inflated.receivedEncodedLength ?? 0) + chunk.length;
      done(null, chunk);
    },
  });
  // Whoever reads the body hears of it; but nobody does where it is empty, and an error that nobody hears ends the process.
  inflated.on('error', () => {});
  payload.on('error', (error) => inflated.destroy(error));
  payload.pipe(counted).pipe(inflated as Readable & NodeJS.WritableStream);
  return inflated;
}

import { promisify } from 'node:util';
import { deflate, gzip } from 'node:zlib';
import type { RestReply, RestRequest } from './exchange.ts';
import { headerText } from './headers.ts';

const compressors = { gzip: promisify(gzip), deflate: promisify(deflate) } as const;

/**
 * Compresses an answer for a client that asks for one encoding, as tritonclient does when it is told to. HTTP libraries and browsers
 * send lists of all that they could read, though nobody there asked for it: tensors hardly get smaller, and the time would be lost.
 */
export function compressAnswer(request: RestRequest, reply: RestReply, body: Uint8Array): Uint8Array | Promise<Uint8Array> {
  const asked = headerText(request, 'accept-encoding')?.trim().toLowerCase();
  if (asked !== 'gzip' && asked !== 'deflate') return body;
  return compressors[asked](body).then((compressed) => {
    reply.header('content-encoding', asked);
    reply.header('vary', 'accept-encoding');
    return compressed;
  });
}

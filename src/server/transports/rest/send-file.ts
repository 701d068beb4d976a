import { type FileHandle, open } from 'node:fs/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { NearfarError } from '../../../core/index.ts';
import { parseByteRange } from './byte-range.ts';
import { headerText } from './headers.ts';

export interface FileToSend {
  readonly body: { readonly path: string } | { readonly bytes: Uint8Array };
  readonly bytes: number;
  readonly contentType: string;
  readonly cacheControl: string;
  /** With its quotes, and `W/` where it is weak. */
  readonly etag: string;
}

/**
 * Sends a file whole, in part (206, 416) or not at all (304), as RFC 9110 says; HEAD gets the headers of GET.
 * @throws {NearfarError} `not-found` when the file on disk has gone.
 */
export async function sendFile(request: FastifyRequest, reply: FastifyReply, file: FileToSend): Promise<void> {
  reply.headers({ etag: file.etag, 'cache-control': file.cacheControl, 'accept-ranges': 'bytes' });
  if (matchesEtag(headerText(request, 'if-none-match'), file.etag)) {
    reply.code(304).send();
    return;
  }
  const range = isRangeCurrent(request, file.etag) ? parseByteRange(headerText(request, 'range'), file.bytes) : undefined;
  if (range === 'unsatisfiable') {
    reply.code(416).header('content-range', `bytes */${file.bytes}`).send(null);
    return;
  }
  const { start, end } = range ?? { start: 0, end: file.bytes - 1 };
  if (range) reply.code(206).header('content-range', `bytes ${start}-${end}/${file.bytes}`);
  reply.type(file.contentType).header('content-length', end - start + 1);
  if (request.method === 'HEAD' || file.bytes === 0) {
    reply.send(null);
    return;
  }
  if ('bytes' in file.body) {
    reply.send(file.body.bytes.subarray(start, end + 1));
    return;
  }
  const handle = await openFile(file.body.path);
  reply.send(handle.createReadStream({ start, end }));
}

/** Opened before the answer begins, so that a file that has gone is an error and no cut answer. */
async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path);
  } catch (cause) {
    throw new NearfarError('not-found', 'the file is no longer there', { cause });
  }
}

/** If-None-Match compares weakly: `W/` does not count. */
function matchesEtag(header: string | undefined, etag: string): boolean {
  const strong = (tag: string) => tag.trim().replace(/^W\//, '');
  return header !== undefined && (header.trim() === '*' || header.split(',').some((tag) => strong(tag) === strong(etag)));
}

/** If-Range compares strongly; a date never matches, since we send none. */
function isRangeCurrent(request: FastifyRequest, etag: string): boolean {
  const condition = headerText(request, 'if-range');
  return condition === undefined || (condition === etag && !etag.startsWith('W/'));
}

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join, normalize } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Handler, type StaticServer, serveStatic } from './static-server.ts';

/** What goes wrong with an answer. */
export interface Fault {
  /** Ends the connection after so many bytes of the body. */
  readonly cutAfterBytes?: number;
  /** Ends it no sooner than this settles: what a reader has not read when a connection breaks is lost to it. */
  readonly cutWhen?: Promise<unknown>;
  /** Sends the body compressed, as many hosts do with whole files: lengths on the wire are then not those of the file. */
  readonly gzip?: boolean;
  /** Answers 200 with the whole file, as servers do that know no ranges. */
  readonly ignoreRanges?: boolean;
  /** Changes the byte at this position of the file. */
  readonly flipByteAt?: number;
  readonly status?: number;
  /** More headers of the answer. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Sends this in place of the file. */
  readonly body?: string;
  /** Ends the connection without an answer, as if the network were away. */
  readonly refuse?: boolean;
  /** Holds the answer back until this settles. */
  readonly until?: Promise<unknown>;
}

export interface ServedRequest {
  readonly path: string;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly ifNoneMatch: string | undefined;
  readonly authorization: string | undefined;
  readonly status: number;
  /** Bytes of the body that were sent. */
  readonly bytes: number;
}

/** A model repository over HTTP (Range, ETag, If-Range, CORS) whose answers can be made to fail. */
export interface FaultyRepository {
  readonly handler: Handler;
  /** Says what goes wrong with a request; `index` counts the requests of the same path from 0. */
  fail(plan: (path: string, index: number) => Fault | undefined): void;
  /** Answered requests, oldest first, since the last `forget()`. */
  readonly requests: readonly ServedRequest[];
  bytesOf(path: string): number;
  forget(): void;
}

/**
 * @param prefix Part of the address before the folder's files, such as `/models/`.
 * @param answersUnchanged Whether `If-None-Match` with the right ETag is answered with 304.
 */
export function createFaultyRepository(folder: string, prefix = '/', answersUnchanged = false): FaultyRepository {
  let plan: (path: string, index: number) => Fault | undefined = () => undefined;
  let requests: ServedRequest[] = [];
  const counts = new Map<string, number>();
  const answer = async (incoming: IncomingMessage, response: ServerResponse) => {
    const path = decodeURIComponent(new URL(incoming.url ?? '/', 'http://localhost').pathname).slice(prefix.length);
    const index = counts.get(path) ?? 0;
    counts.set(path, index + 1);
    const { range, 'if-range': ifRange, 'if-none-match': ifNoneMatch, authorization } = incoming.headers;
    const fault = plan(path, index) ?? {};
    const log = (status: number, bytes: number) =>
      requests.push({ path, range, ifRange: ifRange?.toString(), ifNoneMatch, authorization, status, bytes });
    await fault.until;
    if (fault.refuse) {
      response.destroy();
      return;
    }
    const file = fault.body === undefined ? await readFile(normalize(join(folder, path))).catch(() => undefined) : Buffer.from(fault.body);
    const status = fault.status ?? (file ? undefined : 404);
    if (status !== undefined || !file) {
      log(status ?? 404, 0);
      response.writeHead(status ?? 404, { 'access-control-allow-origin': '*', ...fault.headers }).end();
      return;
    }
    const etag = `"${createHash('sha256').update(file).digest('hex')}"`;
    if (answersUnchanged && ifNoneMatch === etag) {
      log(304, 0);
      response.writeHead(304, { etag, ...fault.headers }).end();
      return;
    }
    if (fault.flipByteAt !== undefined) file.writeUInt8(file.readUInt8(fault.flipByteAt) ^ 1, fault.flipByteAt);
    const isPacked = fault.gzip && range === undefined;
    const content = isPacked ? gzipSync(file) : file;
    const asked = fault.ignoreRanges || (ifRange !== undefined && ifRange !== etag) ? undefined : /^bytes=(\d+)-(\d*)$/.exec(range ?? '');
    const start = asked ? Number(asked[1]) : 0;
    const end = asked?.[2] ? Math.min(Number(asked[2]) + 1, content.byteLength) : content.byteLength;
    response.writeHead(asked ? 206 : 200, {
      'access-control-allow-origin': '*',
      'access-control-expose-headers': 'ETag, Content-Range',
      'content-length': end - start,
      etag: isPacked ? `W/${etag}` : etag,
      ...(isPacked ? { 'content-encoding': 'gzip' } : {}),
      'cache-control': path.endsWith('versions.json') ? 'no-cache' : 'public, max-age=31536000, immutable',
      ...fault.headers,
      ...(asked ? { 'content-range': `bytes ${start}-${end - 1}/${content.byteLength}` } : {}),
    });
    const body = content.subarray(start, end);
    const sent = body.subarray(0, fault.cutAfterBytes ?? body.byteLength);
    log(asked ? 206 : 200, sent.byteLength);
    if (sent.byteLength === body.byteLength) response.end(body);
    else {
      await new Promise((written) => response.write(sent, written));
      await fault.cutWhen;
      response.destroy();
    }
  };
  return {
    handler: answer,
    fail(next) {
      plan = next;
      counts.clear();
    },
    get requests() {
      return requests;
    },
    bytesOf: (path) => requests.filter((request) => request.path === path).reduce((sum, { bytes }) => sum + bytes, 0),
    forget() {
      requests = [];
    },
  };
}

/** The repository on a server of its own. */
export async function serveFaulty(
  folder: string,
  { answersUnchanged = false }: { answersUnchanged?: boolean } = {},
): Promise<FaultyRepository & Pick<StaticServer, 'origin' | 'goOffline' | 'goOnline'> & AsyncDisposable> {
  const repository = createFaultyRepository(folder, '/', answersUnchanged);
  const server = await serveStatic(folder, { mounts: { '/': repository.handler } });
  const { handler, fail, bytesOf, forget } = repository;
  return {
    handler,
    fail,
    bytesOf,
    forget,
    get requests() {
      return repository.requests;
    },
    origin: server.origin,
    goOffline: () => server.goOffline(),
    goOnline: () => server.goOnline(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

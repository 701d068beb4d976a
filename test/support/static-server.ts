import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { extname, join, normalize, sep } from 'node:path';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

export interface ServerOptions {
  /**
   * What else lives on the same origin, by path prefix (`'/models/'`): a folder (its path), another server (its
   * `http://` origin, the path kept as it is) or a handler. The longest prefix wins.
   */
  readonly mounts?: Readonly<Record<string, string | Handler>>;
  /** Cross-origin isolation (COOP and COEP), which SharedArrayBuffer needs. @default false */
  readonly isolated?: boolean;
  /** Content-Security-Policy of every answer. */
  readonly csp?: string;
  /** More headers of every answer. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface LoggedRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly range?: string | undefined;
}

export interface StaticServer extends AsyncDisposable {
  /** `http://127.0.0.1:port`; loopback is a secure context, so WebGPU and WebCrypto are there. */
  readonly origin: string;
  /** Every request since the start, oldest first. */
  readonly requests: readonly LoggedRequest[];
  /** Drops every connection and refuses new ones until `goOnline()`; the port stays the same. */
  goOffline(): Promise<void>;
  goOnline(): Promise<void>;
}

/** Serves a folder on loopback, on a free port. */
export async function serveStatic(folder: string, options: ServerOptions = {}): Promise<StaticServer> {
  const requests: LoggedRequest[] = [];
  const sockets = new Set<Socket>();
  const mounts = Object.entries(options.mounts ?? {}).sort(([a], [b]) => b.length - a.length);
  const routes = mounts.map(([prefix, target]) => ({ prefix, handle: handlerOf(prefix, target) }));
  const serveRest = folderHandler(folder, '/');
  const headers = {
    ...(options.isolated ? { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' } : {}),
    ...(options.csp === undefined ? {} : { 'content-security-policy': options.csp }),
    ...options.headers,
  };
  const server = createServer(async (incoming, response) => {
    const url = incoming.url ?? '/';
    requests.push({ method: incoming.method ?? 'GET', url, range: incoming.headers.range });
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    const route = routes.find(({ prefix }) => url.startsWith(prefix));
    try {
      await (route?.handle ?? serveRest)(incoming, response);
    } catch (error) {
      if (!response.headersSent) response.writeHead(500);
      response.end(String(error));
    }
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const listen = (port: number) => new Promise<void>((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done));
  const close = () =>
    new Promise<void>((done) => {
      server.close(() => done());
      for (const socket of sockets) socket.destroy();
    });
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    requests,
    goOffline: close,
    goOnline: () => listen(port),
    [Symbol.asyncDispose]: () => (server.listening ? close() : Promise.resolve()),
  };
}

function handlerOf(prefix: string, target: string | Handler): Handler {
  if (typeof target === 'function') return target;
  return target.startsWith('http://') ? proxyTo(target) : folderHandler(target, prefix);
}

function proxyTo(origin: string): Handler {
  return (incoming, response) =>
    new Promise((done, fail) => {
      const { hostname, port } = new URL(origin);
      const forward = { hostname, port, method: incoming.method, path: incoming.url, headers: incoming.headers };
      const outgoing = request(forward, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response).once('close', done);
      });
      outgoing.once('error', fail);
      // A browser that aborts must reach the server behind, or a cancelled call would go on there.
      response.once('close', () => outgoing.destroy());
      incoming.pipe(outgoing);
    });
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.png': 'image/png',
  '.webp': 'image/webp',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
};

function folderHandler(folder: string, prefix: string): Handler {
  return async (incoming, response) => {
    const pathname = decodeURIComponent(new URL(incoming.url ?? '/', 'http://localhost').pathname).slice(prefix.length);
    const wanted = normalize(join(folder, pathname === '' ? 'index.html' : pathname));
    const file = await stat(wanted).catch(() => undefined);
    const isInside = wanted.startsWith(normalize(folder) + (folder.endsWith(sep) ? '' : sep));
    if (!isInside || !file?.isFile()) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end(`${pathname} is not there`);
      return;
    }
    const range = /^bytes=(\d+)-(\d*)$/.exec(incoming.headers.range ?? '');
    const start = range ? Number(range[1]) : 0;
    const end = range?.[2] ? Math.min(Number(range[2]), file.size - 1) : file.size - 1;
    response.writeHead(range ? 206 : 200, {
      'content-type': types[extname(wanted)] ?? 'application/octet-stream',
      'content-length': end - start + 1,
      'accept-ranges': 'bytes',
      'cache-control': 'no-cache',
      ...(range ? { 'content-range': `bytes ${start}-${end}/${file.size}` } : {}),
    });
    if (incoming.method === 'HEAD' || file.size === 0) response.end();
    else
      createReadStream(wanted, { start, end })
        .on('error', () => response.destroy())
        .pipe(response);
  };
}

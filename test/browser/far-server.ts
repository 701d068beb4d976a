import { request, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import type { BackendId } from '../../src/core/index.ts';
import { startServer } from '../../src/server/index.ts';
import { type Handler, serveStatic } from '../support/static-server.ts';

export const models = fileURLToPath(new URL('../../models/', import.meta.url));

export interface FarServer extends AsyncDisposable {
  /** Base URL for `createClient({ server })`, of another origin than the page's. */
  readonly url: string;
  /** Paths that were asked for, oldest first. */
  readonly paths: readonly string[];
  /** Drops every connection and refuses new ones. */
  goOffline(): Promise<void>;
  goOnline(): Promise<void>;
  /** Answers no prediction any more; resolves when a client has given one up. */
  holdPredictions(): Promise<void>;
  /** What becomes of predictions from now on: the connection ends, a proxy says 503, the answer breaks off half-way or is no answer at all. */
  failPredictions(how: 'refused' | '503' | 'cut' | 'garbage' | undefined): void;
  /** Headers that every answer gets instead of its own, as from a proxy that mixes up its servers. */
  overwrite(headers: Readonly<Record<string, string>>): void;
}

/** A real nearfar server on the built-in models, behind a front that a test can cut. */
export async function openFarServer(modelsRoot = models, backends: readonly BackendId[] = ['onnx-cpu']): Promise<FarServer> {
  const server = await startServer({
    host: '127.0.0.1',
    restPort: 0,
    grpcPort: 'off',
    modelsRoot,
    backends,
    engineThreads: 1,
    corsAllowedOrigins: ['*'],
    logLevel: 'silent',
  });
  await server.whenReady();
  const { port } = new URL(server.restAddress ?? '');
  let overwritten: Readonly<Record<string, string>> = {};
  let givenUp: (() => void) | undefined;
  let failure: Parameters<FarServer['failPredictions']>[0];
  /** Of the last answer, for one that is made up. */
  const pinHeaders: Record<string, string> = {};
  const forward: Handler = (incoming, response) =>
    new Promise((done, fail) => {
      if (givenUp && incoming.method === 'POST') {
        response.once('close', () => done(givenUp?.()));
        return;
      }
      if (failure && incoming.method === 'POST') {
        const cors = { 'access-control-allow-origin': '*' };
        if (failure === 'refused') response.destroy();
        else if (failure === '503') response.writeHead(503, cors).end('<html>down for maintenance</html>');
        else if (failure === 'cut') response.writeHead(200, { ...cors, 'content-length': 100 }).write('{"pre', () => response.destroy());
        else response.writeHead(200, { ...cors, ...pinHeaders, 'access-control-expose-headers': '*' }).end('{"predictions": 7}');
        done();
        return;
      }
      const { method, url: path, headers } = incoming;
      const outgoing = request({ port, method, path, headers, hostname: '127.0.0.1' }, (answer) => {
        for (const name of ['nearfar-model-version', 'nearfar-model-digest'])
          pinHeaders[name] = String(answer.headers[name] ?? pinHeaders[name]);
        response.writeHead(answer.statusCode ?? 502, { ...answer.headers, ...overwritten });
        answer.pipe(response).once('close', done);
      });
      outgoing.once('error', fail);
      response.once('close', () => outgoing.destroy());
      incoming.pipe(outgoing);
    });
  const front = await serveStatic('/nothing-is-served-from-a-folder', { mounts: { '/': forward } });
  return {
    url: front.origin,
    get paths() {
      return front.requests.map(({ url }) => url);
    },
    goOffline: () => front.goOffline(),
    goOnline: () => front.goOnline(),
    failPredictions: (how) => {
      failure = how;
    },
    holdPredictions: () =>
      new Promise((resolve) => {
        givenUp = resolve;
      }),
    overwrite: (headers) => {
      overwritten = headers;
    },
    async [Symbol.asyncDispose]() {
      await front[Symbol.asyncDispose]();
      await server.close();
    },
  };
}

/** A photo of one's own for `/photos/boat.png`: a white hull on blue water under a bright sky. */
export async function drawBoat(): Promise<Buffer> {
  const { default: sharp } = await import('sharp');
  return sharp({ create: { width: 96, height: 80, channels: 3, background: '#3a6ea5' } })
    .composite([
      { input: { create: { width: 96, height: 36, channels: 3, background: '#cfe4f5' } }, left: 0, top: 0 },
      { input: { create: { width: 60, height: 14, channels: 3, background: '#f4f4f0' } }, left: 18, top: 36 },
      { input: { create: { width: 22, height: 16, channels: 3, background: '#b03030' } }, left: 34, top: 20 },
    ])
    .png()
    .toBuffer();
}

/** What the pages of these tests find on their own origin. */
export async function pageMounts(): Promise<Record<string, string | Handler>> {
  const picture = await drawBoat();
  return {
    '/models/': models,
    '/photos/boat.png': (_, response: ServerResponse) => void response.writeHead(200, { 'content-type': 'image/png' }).end(picture),
  };
}

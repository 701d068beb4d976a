import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { NearfarError } from '../../core/index.ts';
import type { Transport } from './context.ts';

/** What every HTTP/2 client sends first (RFC 9113, section 3.4). */
const http2Preface = 'PRI * HTTP/2';

/** REST and gRPC on one port, told apart by the first bytes of each connection. */
export function createSharedPort(transports: { readonly rest: Transport; readonly grpc: Transport }): Transport {
  const { rest, grpc } = transports;
  const sockets = new Set<Socket>();
  const server = createServer();
  return {
    accept: () => Promise.reject(new NearfarError('unsupported', 'a shared port listens by itself')),
    listen: async ({ host, port }) => {
      const [acceptRest, acceptGrpc] = await Promise.all([rest.accept(), grpc.accept()]);
      server.on('connection', (socket) => {
        sockets.add(socket);
        socket.once('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
        socket.once('data', (chunk) => {
          socket.pause();
          socket.unshift(chunk);
          const accept = chunk.toString('latin1', 0, http2Preface.length) === http2Preface ? acceptGrpc : acceptRest;
          accept(socket);
          process.nextTick(() => socket.resume());
        });
      });
      server.listen(port, host);
      await once(server, 'listening').catch((cause: Error) => {
        throw new NearfarError('unavailable', `cannot listen on ${host} port ${port}: ${cause.message}`, {
          cause,
          details: { transport: 'admin', host, port },
        });
      });
      const address = server.address();
      return { port: typeof address === 'object' && address !== null ? address.port : port };
    },
    close: async () => {
      server.close();
      await Promise.all([rest.close(), grpc.close()]);
    },
    cut: () => {
      rest.cut();
      grpc.cut();
      for (const socket of sockets) socket.destroy();
    },
  };
}

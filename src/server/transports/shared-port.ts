import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { createServer as createSecureServer, type TLSSocket } from 'node:tls';
import { NearfarError } from '../../core/index.ts';
import type { TlsIdentity } from '../ssl-config.ts';
import type { Transport } from './context.ts';
import { tlsOptions } from './tls-options.ts';

/** What every HTTP/2 client sends first (RFC 9113, section 3.4). */
const http2Preface = 'PRI * HTTP/2';

/** A client says who it is at once: whoever needs longer only holds a connection. */
const firstBytesTimeoutMs = 60_000;

/**
 * REST and gRPC on one port, told apart by what TLS has agreed on, else by the first bytes of each connection.
 * @param options.tls Of the port; the transports themselves have none.
 */
export function createSharedPort(options: {
  readonly rest: Transport;
  readonly grpc: Transport;
  readonly tls?: TlsIdentity | undefined;
}): Transport {
  const { rest, grpc, tls } = options;
  const sockets = new Set<Socket>();
  const server = tls
    ? createSecureServer({ ...tlsOptions(tls), ALPNProtocols: ['h2', 'http/1.1'], handshakeTimeout: firstBytesTimeoutMs })
    : createServer();
  const hold = (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
  };
  return {
    accept: () => Promise.reject(new NearfarError('unsupported', 'a shared port listens by itself')),
    listen: async ({ host, port }) => {
      const [acceptRest, acceptGrpc] = await Promise.all([rest.accept(), grpc.accept()]);
      server.on('connection', (socket: Socket) => {
        hold(socket);
        if (tls) return;
        const drop = () => socket.destroy();
        socket.setTimeout(firstBytesTimeoutMs, drop).once('data', (chunk) => {
          socket.setTimeout(0).off('timeout', drop).pause();
          socket.unshift(chunk);
          const accept = chunk.toString('latin1', 0, http2Preface.length) === http2Preface ? acceptGrpc : acceptRest;
          accept(socket);
          process.nextTick(() => socket.resume());
        });
      });
      server.on('secureConnection', (socket: TLSSocket) => {
        hold(socket);
        if (socket.alpnProtocol === 'h2') acceptGrpc(socket);
        else acceptRest(socket);
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
    drain: async () => {
      await Promise.all([rest.drain(), grpc.drain()]);
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

import type { Socket } from 'node:net';
import { type PeerCertificate, TLSSocket } from 'node:tls';

const known = new WeakMap<Socket, PeerCertificate | undefined>();

/** The client's certificate of a connection, where TLS has checked that it is of our authority. */
export function certificateOf(socket: Socket): PeerCertificate | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  // Read once for a connection: it is parsed each time.
  if (!known.has(socket)) known.set(socket, socket.getPeerCertificate());
  return known.get(socket);
}

import type { PeerCertificate } from 'node:tls';
import type { Identity } from './identity.ts';

/** Where a call comes from, and what it brings to say who calls. */
export interface Caller {
  /** Address of the client, with or without a port. */
  readonly peer: string | undefined;
  /** What the client says of itself, by the lower-case names of HTTP headers. */
  readonly header: (name: string) => string | undefined;
  /** Who it is, once that was looked at. */
  readonly identity?: Identity | undefined;
  /** The client's certificate, which TLS has checked. */
  readonly certificate?: (() => PeerCertificate | undefined) | undefined;
}

import type { TlsOptions } from 'node:tls';
import type { TlsIdentity } from '../ssl-config.ts';

/** As Node has them. */
export function tlsOptions({ key, cert, clientCa, requiresClientCertificate }: TlsIdentity): TlsOptions {
  return { key, cert, ca: clientCa, requestCert: requiresClientCertificate, rejectUnauthorized: requiresClientCertificate };
}

import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { NearfarError, parseTextMessage, SSLConfigSchema } from '../core/index.ts';

/** What a transport needs for TLS; keys and certificates are PEM text. */
export interface TlsIdentity {
  readonly key: string;
  /** The server's certificate, and behind it those between it and its authority. */
  readonly cert: string;
  /** Authorities of the clients' certificates; the well-known ones where there are none of its own. */
  readonly clientCa: string | undefined;
  /** Whether a client without a certificate of these authorities is refused. */
  readonly requiresClientCertificate: boolean;
}

/**
 * An SSLConfig in text form, whose key and certificates fit each other.
 * @throws {NearfarError} `not-found` when the file cannot be read; `invalid-argument`, which never holds what the file says of the key.
 */
export function readSslConfig(file: string): TlsIdentity {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new NearfarError('not-found', `--ssl_config_file: cannot read ${file}: ${reasonOf(cause)}`, { cause });
  }
  const { serverKey: key, serverCert: cert, customCa, clientVerify } = parseTextMessage(SSLConfigSchema, text, { file });
  if (key === '') throw wrong(file, 'server_key is empty, expected a private key in PEM');
  assertCertificates(file, 'server_cert', cert);
  if (customCa !== '') assertCertificates(file, 'custom_ca', customCa);
  try {
    createSecureContext({ key, cert });
  } catch (cause) {
    throw wrong(file, `server_key and server_cert cannot be used: ${reasonOf(cause)}`);
  }
  return { key, cert, clientCa: customCa || undefined, requiresClientCertificate: clientVerify };
}

/** Node passes over authorities that it cannot read, and would then trust none. */
function assertCertificates(file: string, field: string, pem: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  if (!blocks) throw wrong(file, `${field} holds no certificate, expected PEM text (-----BEGIN CERTIFICATE-----), not the path of a file`);
  for (const block of blocks) {
    try {
      new X509Certificate(block);
    } catch (cause) {
      throw wrong(file, `${field} holds a certificate that cannot be read: ${reasonOf(cause)}`);
    }
  }
}

function wrong(file: string, message: string): NearfarError {
  return new NearfarError('invalid-argument', `${file}: ${message}`, { details: { file } });
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Identity {
  readonly key: string;
  readonly cert: string;
}

export interface Certificates {
  /** The authority that signed the server's and the client's. */
  readonly authority: string;
  /** Of `localhost` and 127.0.0.1. */
  readonly server: Identity;
  readonly client: Identity;
  /** Of a client, signed by itself. */
  readonly stranger: Identity;
}

/** Real ones, on elliptic curves; undefined, said on standard error, where there is no openssl. */
export function makeCertificates(): Certificates | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'nearfar-tls-'));
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const read = (name: string): Identity => ({
    key: readFileSync(join(folder, `${name}.key`), 'utf8'),
    cert: readFileSync(join(folder, `${name}.crt`), 'utf8'),
  });
  const subject = (name: string, ...rest: string[]) => [
    ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', `${name}.key`, '-subj', `/CN=${name}`],
    ...rest,
  ];
  const selfSigned = (name: string) => openssl(...subject(name, '-x509', '-days', '2', '-out', `${name}.crt`));
  const signed = (name: string) => {
    openssl(...subject(name, '-out', `${name}.csr`));
    const authority = ['-CA', 'authority.crt', '-CAkey', 'authority.key', '-CAcreateserial', '-extfile', 'names.ext'];
    openssl('x509', '-req', '-in', `${name}.csr`, ...authority, '-days', '2', '-out', `${name}.crt`);
  };
  try {
    writeFileSync(join(folder, 'names.ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
    selfSigned('authority');
    signed('server');
    signed('client');
    selfSigned('stranger');
    return { authority: read('authority').cert, server: read('server'), client: read('client'), stranger: read('stranger') };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    console.warn('skipping what needs certificates: there is no openssl');
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

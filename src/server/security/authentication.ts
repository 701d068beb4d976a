import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { NearfarError } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import type { TlsIdentity } from '../ssl-config.ts';
import { roles } from './access.ts';
import { ApiKeys } from './api-keys.ts';
import type { CertificateRule } from './certificates.ts';
import { FailedLogins } from './failed-logins.ts';
import { Guard } from './guard.ts';
import { type Openable, openable } from './identity.ts';
import { OidcLogin, type OidcOptions } from './oidc.ts';
import { Sessions } from './sessions.ts';
import { asymmetricAlgorithms, type TokenOptions, Tokens } from './tokens.ts';

/** How callers say who they are; what is not given is not taken. */
export interface Authentication {
  /** File of hashed API keys, which `nearfar keys` writes. */
  readonly apiKeysFile?: string | undefined;
  readonly jwt?: TokenOptions | undefined;
  /** Login of the page at an OpenID provider. */
  readonly oidc?: OidcOptions | undefined;
  readonly clientCertificates?: readonly CertificateRule[] | undefined;
  /** How long somebody stays signed in on the page, in hours. @default 8 */
  readonly sessionHours?: number | undefined;
  /** File with at least 32 random bytes that signs the sessions of the page; servers behind one balancer share it. @default made anew at each start */
  readonly sessionSecretFile?: string | undefined;
  /** What needs no credentials: files of models, metrics, reports of clients. @default [] */
  readonly open?: readonly Openable[] | undefined;
}

const placeSchema = v.pipe(
  v.string(),
  v.check((place) => !/^[a-z][a-z\d+.-]+:/i.test(place) || isSafeUrl(place), 'expected a file, or a URL with https (http of this machine)'),
);
const urlSchema = v.pipe(v.string(), v.check(isSafeUrl, 'expected a URL with https (http of this machine)'));
const claimed = { roleClaim: v.optional(v.string()), roles: v.optional(v.record(v.string(), v.picklist(roles))) };
const text = v.pipe(v.string(), v.minLength(1));

const schema = v.strictObject({
  apiKeysFile: v.optional(text),
  jwt: v.optional(
    v.strictObject({
      jwks: placeSchema,
      issuer: text,
      audience: text,
      algorithms: v.optional(v.pipe(v.array(v.picklist(asymmetricAlgorithms)), v.minLength(1))),
      clockToleranceSeconds: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(300))),
      refetchSeconds: v.optional(v.pipe(v.number(), v.minValue(0))),
      ...claimed,
    }),
  ),
  oidc: v.optional(
    v.strictObject({
      issuer: urlSchema,
      clientId: text,
      clientSecretFile: v.optional(text),
      publicUrl: urlSchema,
      scope: v.optional(text),
      ...claimed,
    }),
  ),
  clientCertificates: v.optional(
    v.array(
      v.pipe(
        v.strictObject({
          subject: v.optional(v.record(v.string(), v.string())),
          alternativeName: v.optional(text),
          roles: v.pipe(v.array(v.picklist(roles)), v.minLength(1)),
        }),
        v.check(
          ({ subject, alternativeName }) => Object.keys(subject ?? {}).length > 0 || alternativeName !== undefined,
          'expected a subject or an alternativeName',
        ),
      ),
    ),
  ),
  sessionHours: v.optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(24 * 30))),
  sessionSecretFile: v.optional(text),
  open: v.optional(v.array(v.picklist(openable))),
});

/**
 * Reads `--auth_config_file`; paths in it start from its folder.
 * @throws {NearfarError} `not-found` when it cannot be read; `invalid-argument`.
 */
export function readAuthentication(file: string): Authentication {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), readSecretly(file, '--auth_config_file').toString());
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new NearfarError(
      'invalid-argument',
      `${file}: ${[v.getDotPath(issue), issue.type === 'check' ? issue.message : `expected ${issue.expected ?? issue.type}`].filter(Boolean).join(': ')}`,
      {
        details: { path: file },
      },
    );
  }
  const here = (path: string) => resolve(dirname(file), path);
  const { apiKeysFile, jwt, oidc, sessionSecretFile, ...others } = parsed.output;
  return {
    ...others,
    ...(apiKeysFile !== undefined && { apiKeysFile: here(apiKeysFile) }),
    ...(jwt && { jwt: { ...jwt, jwks: URL.canParse(jwt.jwks) ? jwt.jwks : here(jwt.jwks) } }),
    ...(oidc && { oidc: { ...oidc, ...(oidc.clientSecretFile !== undefined && { clientSecretFile: here(oidc.clientSecretFile) }) } }),
    ...(sessionSecretFile !== undefined && { sessionSecretFile: here(sessionSecretFile) }),
  };
}

/** Whether callers have to say who they are at all. */
export function isOn({ apiKeysFile, jwt, oidc, clientCertificates = [] }: Authentication): boolean {
  return apiKeysFile !== undefined || jwt !== undefined || oidc !== undefined || clientCertificates.length > 0;
}

/**
 * Checks that what is configured can be.
 * @throws {NearfarError} `invalid-argument`.
 */
export function assertAuthentication({
  authentication,
  changesOnPublicPort,
  tls,
}: {
  readonly authentication: Authentication;
  readonly changesOnPublicPort: boolean;
  readonly tls: TlsIdentity | undefined;
}): void {
  const { clientCertificates = [], open = [] } = authentication;
  if (!isOn(authentication) && (changesOnPublicPort || open.length > 0 || Object.keys(authentication).length > 0)) {
    throw new NearfarError(
      'invalid-argument',
      'nothing says how callers prove who they are: expected API keys, jwt, oidc or clientCertificates (--api_keys_file, --auth_config_file)',
    );
  }
  if (clientCertificates.length > 0 && !(tls?.requiresClientCertificate && tls.clientCa !== undefined)) {
    throw new NearfarError('invalid-argument', 'clientCertificates need --ssl_config_file with custom_ca and client_verify: true');
  }
}

/** What checks callers, and what signs them in. */
export interface OpenAuthentication {
  readonly guard: Guard;
  readonly signIn: SignIn;
}

/** How a page signs somebody in; undefined parts are not offered. */
export interface SignIn {
  readonly sessions: Sessions | undefined;
  readonly keys: ApiKeys | undefined;
  readonly oidc: OidcLogin | undefined;
}

/**
 * @param isSecure Whether browsers reach the server by https.
 * @throws {NearfarError} `not-found`, `invalid-argument` for files that cannot be used.
 */
export function openAuthentication(
  { apiKeysFile, jwt, oidc, clientCertificates = [], sessionHours = 8, sessionSecretFile, open = [] }: Authentication,
  { log, isSecure }: { readonly log: Logger; readonly isSecure: boolean },
): OpenAuthentication {
  const keys = apiKeysFile === undefined ? undefined : new ApiKeys({ file: apiKeysFile, log });
  const sessions =
    keys || oidc
      ? new Sessions({
          secret: sessionSecretFile === undefined ? randomBytes(32) : readSecret(sessionSecretFile),
          keys,
          lastsMs: sessionHours * 3_600_000,
          isSecure: oidc ? oidc.publicUrl.startsWith('https:') : isSecure,
        })
      : undefined;
  const guard = new Guard({
    keys,
    tokens: jwt && new Tokens(jwt),
    sessions,
    certificates: clientCertificates,
    opened: open,
    failedLogins: new FailedLogins(),
    log,
  });
  return { guard, signIn: { sessions, keys, oidc: oidc && sessions && new OidcLogin(oidc, sessions, log) } };
}

function readSecret(file: string): Uint8Array {
  // As bytes: as text, random ones would be alike.
  const secret = readSecretly(file, 'sessionSecretFile');
  if (secret.length >= 32) return secret;
  throw new NearfarError('invalid-argument', `${file}: expected at least 32 random bytes`, { details: { path: file } });
}

/** Errors name the file alone. */
function readSecretly(file: string, what: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new NearfarError('not-found', `${what}: cannot read ${file}`, { cause, details: { path: file } });
  }
}

/** What is read over http can be changed on its way, but for that to this machine. */
function isSafeUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocol === 'https:' || (protocol === 'http:' && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname));
}

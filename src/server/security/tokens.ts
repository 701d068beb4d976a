import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createLocalJWKSet, createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { NearfarError } from '../../core/index.ts';
import { type ClaimedRoles, rolesOfClaims } from './claims.ts';
import { type Identity, withImplied } from './identity.ts';

/** JSON Web Tokens that are taken. */
export interface TokenOptions extends ClaimedRoles {
  /** Where the public keys of the issuer are: a URL (https, or http of this machine) or the path of a file. */
  readonly jwks: string;
  readonly issuer: string;
  readonly audience: string;
  /** @default the asymmetric ones: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA */
  readonly algorithms?: readonly string[] | undefined;
  /** How far the clocks of issuer and server may differ. @default 30 */
  readonly clockToleranceSeconds?: number | undefined;
  /** Least time between two requests for the issuer's keys because of a token with an unknown one. @default 30 */
  readonly refetchSeconds?: number | undefined;
}

/** All others are made with a secret, or with nothing. */
export const asymmetricAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const;

/** A token that was checked is taken again for so long at most: by then a key that its issuer has withdrawn is not used any more. */
const rememberedMs = 60_000;
const mostRemembered = 1000;

interface Remembered {
  readonly identity: Identity;
  readonly until: number;
}

/** Checks bearer tokens by the keys of their issuer. */
export class Tokens {
  readonly #options: TokenOptions;
  readonly #keys: JWTVerifyGetKey;
  readonly #now: () => number;
  readonly #remembered = new Map<string, Remembered>();

  /**
   * @param now Milliseconds since 1970.
   * @throws {NearfarError} `not-found`, `invalid-argument` for a file of keys that cannot be used.
   */
  constructor(options: TokenOptions, now: () => number = Date.now) {
    this.#options = options;
    this.#now = now;
    this.#keys = isUrl(options.jwks) ? remoteKeys(options) : fileKeys(options.jwks);
  }

  /** Who a token is of that was checked lately. */
  known(token: string): Identity | undefined {
    const found = this.#remembered.get(digestOf(token));
    return found && this.#now() < found.until ? found.identity : undefined;
  }

  /** @throws {NearfarError} `unauthenticated`; `unavailable` when the issuer's keys cannot be had. */
  async verify(token: string): Promise<Identity> {
    const payload = await this.#payloadOf(token);
    const identity: Identity = {
      name: `token:${payload.sub}`,
      roles: withImplied(rolesOfClaims(payload, this.#options)),
    };
    if (this.#remembered.size >= mostRemembered) this.#remembered.clear();
    const until = Math.min(this.#now() + rememberedMs, Number(payload.exp) * 1000);
    this.#remembered.set(digestOf(token), { identity, until });
    return identity;
  }

  async #payloadOf(token: string): Promise<JWTPayload> {
    const { issuer, audience, algorithms = asymmetricAlgorithms, clockToleranceSeconds = 30 } = this.#options;
    try {
      const { payload } = await jwtVerify(token, this.#keys, {
        issuer,
        audience,
        algorithms: [...algorithms],
        clockTolerance: clockToleranceSeconds,
        requiredClaims: ['exp', 'sub'],
        currentDate: new Date(this.#now()),
      });
      return payload;
    } catch (error) {
      // Not as a cause, which has what the token says.
      if (error instanceof errors.JOSEError && isAboutToken(error)) {
        throw new NearfarError('unauthenticated', `the token is not taken: ${error.message}`);
      }
      const reason = error instanceof Error ? error.message : String(error);
      throw new NearfarError('unavailable', `the keys of ${issuer} cannot be had: ${reason}`);
    }
  }
}

/** Not about the keys, or the way to them. */
function isAboutToken({ code }: errors.JOSEError): boolean {
  return /^ERR_(JWT|JWS|JOSE_ALG)|^ERR_JWKS_(NO|MULTIPLE)_MATCHING/.test(code);
}

function digestOf(token: string): string {
  return hash('sha256', token, 'base64');
}

function isUrl(place: string): boolean {
  return /^https?:/i.test(place);
}

/** Kept for ten minutes, and asked for again where a token names another. */
function remoteKeys({ jwks, refetchSeconds = 30 }: TokenOptions): JWTVerifyGetKey {
  return createRemoteJWKSet(new URL(jwks), { cooldownDuration: refetchSeconds * 1000, cacheMaxAge: 600_000, timeoutDuration: 5000 });
}

/** Read again where a token names another key. */
function fileKeys(file: string): JWTVerifyGetKey {
  let text = readText(file);
  let find = localKeys(text, file);
  return async (...asked) => {
    try {
      return await find(...asked);
    } catch (error) {
      const later = error instanceof errors.JWKSNoMatchingKey ? readText(file) : text;
      if (later === text) throw error;
      text = later;
      find = localKeys(text, file);
      return await find(...asked);
    }
  };
}

function localKeys(text: string, file: string): JWTVerifyGetKey {
  try {
    return createLocalJWKSet(JSON.parse(text));
  } catch (cause) {
    throw new NearfarError('invalid-argument', `${file} is no set of keys (JWKS): ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new NearfarError('not-found', `cannot read the keys of ${file}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

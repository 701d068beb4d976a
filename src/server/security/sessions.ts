import { randomBytes } from 'node:crypto';
import { jwtVerify, SignJWT } from 'jose';
import { NearfarError } from '../../core/index.ts';
import { type Role, roles } from './access.ts';
import type { ApiKeys } from './api-keys.ts';
import { type Identity, withImplied } from './identity.ts';

export interface SessionsOptions {
  /** 32 bytes; servers that share it take each other's sessions. */
  readonly secret: Uint8Array;
  readonly keys: ApiKeys | undefined;
  /** How long somebody stays signed in, in milliseconds. */
  readonly lastsMs: number;
  /** Whether browsers reach the server by https alone. */
  readonly isSecure: boolean;
}

/** Who signed in: by a key, which may be taken back, or at an OpenID provider. */
export type SignedIn = { readonly keyId: string } | { readonly user: string; readonly roles: readonly Role[] };

const algorithm = 'HS256';

/** The sessions of pages: signed cookies that scripts cannot read. Nothing of them is kept here. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #cookieName: string;

  constructor(options: SessionsOptions) {
    this.#options = options;
    // A name with this prefix is taken by browsers from this very host over https alone.
    this.#cookieName = options.isSecure ? '__Host-nearfar-session' : 'nearfar-session';
  }

  /** The session in a Cookie header. */
  find(cookies: string): string | undefined {
    return cookieNamed(this.#cookieName, cookies);
  }

  /** The Set-Cookie header that begins a session. */
  async open(who: SignedIn): Promise<string> {
    const { lastsMs } = this.#options;
    const session = await this.sign({ ...who, csrf: randomBytes(16).toString('base64url') }, 'session', lastsMs);
    return this.#setCookie(session, lastsMs);
  }

  /** The Set-Cookie header that ends it. */
  close(): string {
    return this.#setCookie('', 0);
  }

  /** @throws {NearfarError} `unauthenticated` for a session that is over or was not begun here. */
  async verify(session: string): Promise<Identity> {
    const { keyId, user, roles: given, csrf } = await this.read(session, 'session');
    if (typeof csrf === 'string') {
      const ofKey = typeof keyId === 'string' ? this.#options.keys?.identityOf(keyId) : undefined;
      if (ofKey) return { ...ofKey, csrf };
      if (typeof user === 'string' && Array.isArray(given)) {
        return { name: `user:${user}`, roles: withImplied(roles.filter((role) => given.includes(role))), csrf };
      }
    }
    throw over();
  }

  sign(content: object, audience: string, lastsMs: number): Promise<string> {
    const expires = Math.ceil((Date.now() + lastsMs) / 1000);
    return new SignJWT({ ...content })
      .setProtectedHeader({ alg: algorithm })
      .setAudience(audience)
      .setExpirationTime(expires)
      .sign(this.#options.secret);
  }

  /** @throws {NearfarError} `unauthenticated`. */
  async read(text: string, audience: string): Promise<Readonly<Record<string, unknown>>> {
    try {
      const { payload } = await jwtVerify(text, this.#options.secret, { algorithms: [algorithm], audience, requiredClaims: ['exp'] });
      return payload;
    } catch {
      throw over();
    }
  }

  cookie(name: string, value: string, path: string, lastsMs: number): string {
    const secure = this.#options.isSecure ? '; Secure' : '';
    return `${name}=${value}; Path=${path}; Max-Age=${Math.floor(lastsMs / 1000)}; HttpOnly; SameSite=Lax${secure}`;
  }

  #setCookie(value: string, lastsMs: number): string {
    return this.cookie(this.#cookieName, value, '/', lastsMs);
  }
}

export function cookieNamed(name: string, cookies: string): string | undefined {
  const found = cookies.split(/; */).find((cookie) => cookie.startsWith(`${name}=`));
  return found?.slice(name.length + 1) || undefined;
}

function over(): NearfarError {
  return new NearfarError('unauthenticated', 'the session is over: sign in again');
}

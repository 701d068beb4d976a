import { readFileSync } from 'node:fs';
import type { Configuration } from 'openid-client';
import { NearfarError } from '../../core/index.ts';
import type { Logger } from '../log.ts';
import { type ClaimedRoles, hasClaim, rolesOfClaims } from './claims.ts';
import { cookieNamed, type Sessions } from './sessions.ts';

/** The OpenID provider at which people sign in for the page. */
export interface OidcOptions extends ClaimedRoles {
  /** Its `/.well-known/openid-configuration` says the rest. */
  readonly issuer: string;
  readonly clientId: string;
  /** File with the secret of the client; clients without one have PKCE alone. */
  readonly clientSecretFile?: string | undefined;
  /** Where browsers reach this server, such as `https://models.example.com`; the provider must know its `/nearfar/v1/login/callback`. */
  readonly publicUrl: string;
  /** @default 'openid profile email' */
  readonly scope?: string | undefined;
}

export const loginPath = '/nearfar/v1/login';
const callbackPath = `${loginPath}/callback`;

/** How long somebody may take to sign in at the provider, in milliseconds. */
const patienceMs = 600_000;

const stateCookie = 'nearfar-login';

/** Signs people in by the authorization code flow with PKCE. */
export class OidcLogin {
  readonly #options: OidcOptions;
  readonly #sessions: Sessions;
  readonly #log: Pick<Logger, 'info'>;
  #configuration: Promise<Configuration> | undefined;

  constructor(options: OidcOptions, sessions: Sessions, log: Pick<Logger, 'info'>) {
    this.#options = options;
    this.#log = log;
    this.#sessions = sessions;
  }

  /**
   * Where to send a browser to sign in, with the cookie that it must bring back.
   * @param next Path to come back to.
   * @throws {NearfarError} `unavailable` when the provider does not answer.
   */
  async begin(next: string): Promise<{ readonly url: string; readonly cookie: string }> {
    const client = await import('openid-client');
    const configuration = await this.#configure();
    const verifier = client.randomPKCECodeVerifier();
    const state = client.randomState();
    const nonce = client.randomNonce();
    const url = client.buildAuthorizationUrl(configuration, {
      redirect_uri: this.#address(callbackPath),
      scope: this.#options.scope ?? 'openid profile email',
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state,
      nonce,
    });
    const content = await this.#sessions.sign({ verifier, state, nonce, next: localPath(next) }, 'login', patienceMs);
    return { url: url.href, cookie: this.#sessions.cookie(stateCookie, content, loginPath, patienceMs) };
  }

  /**
   * Ends a login with what the provider sent the browser back with.
   * @param query The search of the callback's URL.
   * @throws {NearfarError} `unauthenticated`; `permission-denied` for somebody without a role; `unavailable`.
   */
  async finish(query: string, cookies: string): Promise<{ readonly next: string; readonly cookies: readonly string[] }> {
    const begun = cookieNamed(stateCookie, cookies);
    if (begun === undefined) throw new NearfarError('unauthenticated', 'this login was not begun here, or took too long');
    const { verifier, state, nonce, next } = await this.#sessions.read(begun, 'login');
    const { user, roles } = await this.#claims(query, String(verifier), String(state), String(nonce));
    if (roles.length === 0) throw new NearfarError('permission-denied', `${user} has no role here`, { details: { user } });
    const session = await this.#sessions.open({ user, roles });
    this.#log.info({ user, roles }, 'signed in');
    return { next: localPath(String(next)), cookies: [session, this.#sessions.cookie(stateCookie, '', loginPath, 0)] };
  }

  async #claims(query: string, pkceCodeVerifier: string, expectedState: string, expectedNonce: string) {
    const client = await import('openid-client');
    const configuration = await this.#configure();
    try {
      const tokens = await client.authorizationCodeGrant(configuration, new URL(this.#address(callbackPath) + query), {
        pkceCodeVerifier,
        expectedState,
        expectedNonce,
        idTokenExpected: true,
      });
      const claims = tokens.claims();
      if (!claims) throw new Error('no ID token');
      const needsMore = !hasClaim(claims, this.#options) && configuration.serverMetadata().userinfo_endpoint !== undefined;
      const all = needsMore ? { ...(await client.fetchUserInfo(configuration, tokens.access_token, claims.sub)), ...claims } : claims;
      const name = all['email'] ?? all['preferred_username'];
      return { user: typeof name === 'string' ? `${claims.sub} (${name})` : claims.sub, roles: rolesOfClaims(all, this.#options) };
    } catch (error) {
      // Its cause may hold a code or a token.
      throw new NearfarError('unauthenticated', `the login failed: ${error instanceof Error ? error.message : 'no answer'}`);
    }
  }

  /** Asked for when somebody signs in first: a provider that is away costs no server its start. */
  #configure(): Promise<Configuration> {
    this.#configuration ??= this.#discover().catch((error: unknown) => {
      this.#configuration = undefined;
      const reason = error instanceof Error ? error.message : String(error);
      throw new NearfarError('unavailable', `the OpenID provider ${this.#options.issuer} does not answer: ${reason}`);
    });
    return this.#configuration;
  }

  async #discover(): Promise<Configuration> {
    const { allowInsecureRequests, discovery } = await import('openid-client');
    const { issuer, clientId, clientSecretFile } = this.#options;
    const secret = clientSecretFile === undefined ? undefined : readFileSync(clientSecretFile, 'utf8').trim();
    // The options take http of this machine alone.
    const insecure = issuer.startsWith('http:') ? { execute: [allowInsecureRequests] } : {};
    return discovery(new URL(issuer), clientId, secret, undefined, { timeout: 10, ...insecure });
  }

  #address(path: string): string {
    return this.#options.publicUrl.replace(/\/+$/, '') + path;
  }
}

/** Never another site. */
function localPath(next: string): string {
  return /^\/(?![/\\])[^\s\\]*$/.test(next) ? next : '/ui';
}

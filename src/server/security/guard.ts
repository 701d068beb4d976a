import type { PeerCertificate } from 'node:tls';
import { NearfarError } from '../../core/index.ts';
import { clientOfAddress } from '../admission.ts';
import type { Logger } from '../log.ts';
import type { Access } from './access.ts';
import type { ApiKeys } from './api-keys.ts';
import type { Caller } from './caller.ts';
import { type CertificateRule, identityOfCertificate } from './certificates.ts';
import type { FailedLogins } from './failed-logins.ts';
import { type Identity, type Openable, type Rule, ruleOf } from './identity.ts';
import { keyIdOf } from './key-file.ts';
import type { Sessions } from './sessions.ts';
import type { Tokens } from './tokens.ts';

export interface GuardOptions {
  readonly keys: ApiKeys | undefined;
  readonly tokens: Tokens | undefined;
  readonly sessions: Sessions | undefined;
  readonly certificates: readonly CertificateRule[];
  /** What needs no credentials all the same. */
  readonly opened: readonly Openable[];
  readonly failedLogins: FailedLogins;
  readonly log: Pick<Logger, 'warn'>;
}

/** Finds out who calls. */
export class Guard {
  readonly #options: GuardOptions;
  readonly #certificates = new WeakMap<PeerCertificate, Identity | 'none'>();

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  /** Who a route or method is for. */
  ruleOf(access: Access): Rule {
    return ruleOf(access, this.#options.opened);
  }

  /**
   * Who calls, at once where nothing has to be waited for.
   * @throws {NearfarError} `unauthenticated` for credentials that are missing or wrong; `rate-limited` for too many wrong ones; `unavailable`.
   */
  identify(caller: Caller): Identity | Promise<Identity> {
    const { keys, tokens, sessions } = this.#options;
    const bearer = bearerOf(caller.header('authorization'));
    const key = caller.header('x-api-key') ?? (bearer !== undefined && keyIdOf(bearer) !== undefined ? bearer : undefined);
    if (key !== undefined) {
      const found = keys?.find(key);
      if (found) return found;
      throw this.#wrong(caller, 'the API key is not known here, was taken back or is past its time');
    }
    if (bearer !== undefined) {
      if (!tokens) throw this.#wrong(caller, 'the Authorization header holds no API key, and tokens are not taken here');
      return tokens.known(bearer) ?? this.#verify(caller, () => tokens.verify(bearer));
    }
    const cookie = sessions && caller.header('cookie');
    const session = cookie === undefined ? undefined : sessions?.find(cookie);
    if (sessions && session !== undefined) return sessions.verify(session);
    const certificate = caller.certificate?.();
    const holder = certificate && this.#holderOf(certificate);
    if (holder) return holder;
    throw new NearfarError('unauthenticated', `credentials are needed: ${this.#taken()}`);
  }

  /** Who calls, where a header says it and nothing has to be waited for; whatever else is for {@link identify} to say. */
  recognize({ header }: Pick<Caller, 'header'>): Identity | undefined {
    const { keys, tokens } = this.#options;
    const bearer = bearerOf(header('authorization'));
    const key = header('x-api-key') ?? bearer;
    if (key === undefined) return undefined;
    if (keyIdOf(key) !== undefined) return keys?.find(key);
    return header('x-api-key') === undefined ? tokens?.known(key) : undefined;
  }

  /** Also where wrong ones came before: others behind the same proxy shall not be locked out by them. */
  async #verify(caller: Caller, verify: () => Promise<Identity>): Promise<Identity> {
    try {
      return await verify();
    } catch (error) {
      if (error instanceof NearfarError && error.code === 'unauthenticated') throw this.#wrong(caller, error.message);
      throw error;
    }
  }

  #holderOf(certificate: PeerCertificate): Identity | undefined {
    const known = this.#certificates.get(certificate) ?? identityOfCertificate(certificate, this.#options.certificates) ?? 'none';
    this.#certificates.set(certificate, known);
    return known === 'none' ? undefined : known;
  }

  /** Counts and logs it, never with what came. */
  #wrong(caller: Caller, message: string): NearfarError {
    const { failedLogins, log } = this.#options;
    const client = clientOf(caller);
    try {
      failedLogins.assertMayTry(client);
    } catch (error) {
      if (error instanceof NearfarError) return error;
      throw error;
    }
    failedLogins.record(client);
    log.warn({ client }, `wrong credentials: ${message}`);
    return new NearfarError('unauthenticated', message, { details: { wrong: true } });
  }

  #taken(): string {
    const { keys, tokens, sessions, certificates } = this.#options;
    return [
      ...(keys ? ['an API key (x-api-key, or Authorization: Bearer)'] : []),
      ...(tokens ? ['a token (Authorization: Bearer)'] : []),
      ...(sessions ? ['a session of the page'] : []),
      ...(certificates.length > 0 ? ['a client certificate'] : []),
    ].join(', ');
  }
}

function bearerOf(header: string | undefined): string | undefined {
  return header === undefined ? undefined : /^bearer +(\S+)$/i.exec(header)?.[1];
}

function clientOf({ peer = 'unknown' }: Caller): string {
  return clientOfAddress(peer.replace(/^\[(.*)\](?::\d+)?$/, '$1').replace(/^(\d+(?:\.\d+){3}):\d+$/, '$1'));
}

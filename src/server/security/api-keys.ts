import { timingSafeEqual } from 'node:crypto';
import { statSync } from 'node:fs';
import type { Logger } from '../log.ts';
import { type Identity, withImplied } from './identity.ts';
import { hashKey, keyIdOf, readApiKeys, type StoredKey } from './key-file.ts';

export interface ApiKeysOptions {
  readonly file: string;
  readonly log: Pick<Logger, 'info' | 'error'>;
  /** Least time between two looks at the file, in milliseconds. @default 1000 */
  readonly lookEveryMs?: number | undefined;
  /** Milliseconds since 1970. */
  readonly now?: (() => number) | undefined;
}

interface Known {
  readonly identity: Identity;
  readonly sha256: Buffer;
  readonly expiresAt: number;
}

/** Compared with where there is no key of an id, so that this takes as long. */
const nobody = Buffer.alloc(32);

/** The API keys of a file, which is looked at again while they are used: a key that was taken out of it is refused a second later. */
export class ApiKeys {
  readonly #options: ApiKeysOptions;
  readonly #now: () => number;
  #keys: ReadonlyMap<string, Known>;
  #stamp: string | undefined;
  #lookedAt: number;
  #trouble = '';

  /** @throws {NearfarError} `not-found`, `invalid-argument` for a file that cannot be used. */
  constructor(options: ApiKeysOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#stamp = stampOf(options.file);
    this.#keys = toKnown(readApiKeys(options.file));
    this.#lookedAt = this.#now();
  }

  /** Whose key it is; undefined for one that is not known, was taken back or is past its time. */
  find(key: string): Identity | undefined {
    const id = keyIdOf(key);
    const known = id === undefined ? undefined : this.#current(id);
    const isRight = timingSafeEqual(Buffer.from(hashKey(key), 'hex'), known?.sha256 ?? nobody);
    return isRight ? known?.identity : undefined;
  }

  /** Who has the key of this id now. */
  identityOf(id: string): Identity | undefined {
    return this.#current(id)?.identity;
  }

  #current(id: string): Known | undefined {
    this.#look();
    const known = this.#keys.get(id);
    return known && this.#now() < known.expiresAt ? known : undefined;
  }

  /** A file that is wrong, as one being written by hand, changes nothing. */
  #look(): void {
    const { file, log, lookEveryMs = 1000 } = this.#options;
    const now = this.#now();
    if (now - this.#lookedAt < lookEveryMs) return;
    this.#lookedAt = now;
    const stamp = stampOf(file);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    try {
      this.#keys = toKnown(readApiKeys(file));
      log.info({ file, keys: this.#keys.size }, 'the API keys were read again');
      this.#trouble = '';
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== this.#trouble) log.error({ file }, `the API keys stay as they were: ${reason}`);
      this.#trouble = reason;
    }
  }
}

/** Differs when the file does; undefined where there is none. */
function stampOf(file: string): string | undefined {
  const stats = statSync(file, { throwIfNoEntry: false, bigint: true });
  return stats && `${stats.ino} ${stats.size} ${stats.mtimeNs}`;
}

function toKnown(keys: readonly StoredKey[]): ReadonlyMap<string, Known> {
  return new Map(
    keys.map(({ id, name, sha256, roles, models, rateLimit, dailyQuota, expiresAt }) => [
      id,
      {
        identity: {
          name: `key:${name}`,
          roles: withImplied(roles),
          models: models && new Set(models),
          limits: rateLimit === undefined && dailyQuota === undefined ? undefined : { rateLimit, dailyQuota },
        },
        sha256: Buffer.from(sha256, 'hex'),
        expiresAt: expiresAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(expiresAt),
      },
    ]),
  );
}

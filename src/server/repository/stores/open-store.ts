import { NearfarError } from '../../../core/index.ts';
import { createGuardedSend, type GuardOptions } from './http-request.ts';
import { openHttpStore } from './http-store.ts';
import { openS3Store } from './s3-store.ts';
import type { RepositoryStore } from './store.ts';

/** Variables that say how stores are read; secrets come from nowhere else. */
export type StoreEnvironment = Readonly<Record<string, string | undefined>>;

/**
 * Opens stores by their location: `https://host/models`, `http://…`, `s3://bucket/prefix`, `gs://bucket/prefix`.
 * `NEARFAR_STORE_AUTHORIZATION` is a host and the value of the Authorization header that it gets, such as `models.example.com Bearer abc`.
 * @returns what throws `invalid-argument` or `unsupported` for another location.
 */
export function createStoreOpener(guard: GuardOptions, environment: StoreEnvironment): (location: string) => RepositoryStore {
  const send = createGuardedSend(guard);
  const [, authorizedHost, authorization] = /^(\S+)\s+(.+)$/.exec(environment['NEARFAR_STORE_AUTHORIZATION'] ?? '') ?? [];
  return (location) => {
    const known = resolveStoreLocation(location);
    if (/^(s3|gs):/.test(known)) return openS3Store(known, { send, environment });
    const isAuthorized = new URL(known).host === authorizedHost;
    return openHttpStore(known, { send, ...(isAuthorized && { authorization }) });
  };
}

/**
 * A location in the one way to write it: no dots in its path, no slash at its end.
 * @throws {NearfarError} `unsupported` for another kind of place; `invalid-argument` for one that cannot be read.
 */
export function resolveStoreLocation(location: string): string {
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(location)?.[1] ?? '';
  if (!['http', 'https', 's3', 'gs'].includes(scheme)) {
    throw new NearfarError('unsupported', `models are read from folders on disk, http(s)://, s3:// and gs://; got ${scheme}://`, {
      details: { got: scheme },
    });
  }
  if (!URL.canParse(location)) throw new NearfarError('invalid-argument', 'the location of models is no URL');
  const { username, password, search, hash, href } = new URL(location);
  // It is shown in logs and statuses.
  if (username !== '' || password !== '') {
    throw new NearfarError(
      'invalid-argument',
      `the location of models holds no name and password: NEARFAR_STORE_AUTHORIZATION in the environment does`,
    );
  }
  if (!scheme.toLowerCase().startsWith('http')) {
    // Requests would go to another prefix, or another bucket.
    if (/\/\.{1,2}(\/|\?|$)/.test(location)) {
      throw new NearfarError('invalid-argument', 'the location of models in a bucket has no part that is . or ..');
    }
    return location.replace(/\/+(?=\?|$)/, '');
  }
  // An escaped slash would be one to some web servers, and lead elsewhere.
  if (search !== '' || hash !== '' || /%(2f|5c)/i.test(href)) {
    throw new NearfarError('invalid-argument', 'the location of models has no ?query, no #fragment and no escaped slash');
  }
  return href.replace(/\/+$/, '');
}

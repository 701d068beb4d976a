import { AwsClient } from 'aws4fetch';
import { digestOf, NearfarError } from '../core/index.ts';
import { type BucketEnvironment, listingQuery, parseListing } from './s3.ts';

/** A folder of an S3-compatible bucket. */
export interface Bucket {
  /** `s3://bucket/prefix`, as it was given. */
  readonly location: string;
  /** @returns undefined when there is no such object. */
  readonly get: (key: string) => Promise<{ readonly bytes: Uint8Array<ArrayBuffer>; readonly etag: string } | undefined>;
  /** @returns False when the condition does not hold: the object is there already (`absent`), or is not the one that was read. */
  readonly put: (key: string, bytes: Uint8Array, options?: PutOptions) => Promise<boolean>;
  readonly remove: (key: string) => Promise<void>;
  /** Names of the folders below a key. */
  readonly listFolders: (key: string) => Promise<string[]>;
}

export interface PutOptions {
  readonly when?: 'absent' | { readonly etag: string } | undefined;
  readonly cacheControl?: string | undefined;
}

export function isBucket(location: string): boolean {
  return location.startsWith('s3://');
}

/**
 * Opens a bucket with the keys of the environment; nothing is sent yet, nothing is to close.
 * @throws {NearfarError} `unauthenticated` without keys; `invalid-argument` for a location without a bucket.
 */
export function connectBucket(location: string, environment: BucketEnvironment = process.env): Bucket {
  const [, name = '', prefix = ''] = /^s3:\/\/([^/]+)\/?(.*?)\/*$/.exec(location) ?? [];
  if (name === '') throw new NearfarError('invalid-argument', `${location} names no bucket; expected s3://bucket/prefix`);
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = environment;
  if (!accessKeyId || !secretAccessKey) {
    throw new NearfarError('unauthenticated', `${location} needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment`);
  }
  const region = environment.AWS_REGION || environment.AWS_DEFAULT_REGION || 'us-east-1';
  const endpoint = environment.AWS_ENDPOINT_URL_S3 || environment.AWS_ENDPOINT_URL;
  const base = endpoint ? `${endpoint.replace(/\/+$/, '')}/${name}` : `https://${name}.s3.${region}.amazonaws.com`;
  const client = new AwsClient({ accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}), service: 's3', region });
  const keyOf = (key: string) => [...prefix.split('/'), ...key.split('/')].filter((segment) => segment !== '').join('/');
  const urlOf = (key: string) => `${base}/${keyOf(key).split('/').map(encodeURIComponent).join('/')}`;

  const send = async (url: string, init: RequestInit, expected: readonly number[]): Promise<Response> => {
    const response = await client.fetch(url, init).catch((cause: unknown) => {
      const why = cause instanceof Error ? cause.message : cause;
      throw new NearfarError('network', `cannot reach ${url}: ${why}`, { cause, details: { url } });
    });
    if (response.ok || expected.includes(response.status)) return response;
    const [, reason = response.statusText] = /<Message>([^<]*)<\/Message>/.exec(await response.text()) ?? [];
    const code = response.status === 403 || response.status === 401 ? 'permission-denied' : 'network';
    throw new NearfarError(code, `${init.method ?? 'GET'} ${url}: HTTP ${response.status} ${reason}`, {
      details: { url, status: response.status },
    });
  };

  return {
    location,
    async get(key) {
      const response = await send(urlOf(key), {}, [404]);
      if (response.status === 404) return undefined;
      return { bytes: new Uint8Array(await response.arrayBuffer()), etag: response.headers.get('etag') ?? '' };
    },
    async put(key, bytes, { when, cacheControl } = {}) {
      const body = new Uint8Array(bytes);
      const headers = {
        'content-type': contentType(key),
        // The service compares what it got with this, and refuses anything else.
        'x-amz-content-sha256': (await digestOf(body)).slice('sha256:'.length),
        ...(cacheControl !== undefined && { 'cache-control': cacheControl }),
        ...(when === 'absent' ? { 'if-none-match': '*' } : when && { 'if-match': when.etag }),
      };
      // 409: two conditional writes at once; 412: the condition does not hold.
      const response = await send(urlOf(key), { method: 'PUT', headers, body }, when ? [409, 412] : []);
      return response.ok;
    },
    async remove(key) {
      await send(urlOf(key), { method: 'DELETE' }, [404]);
    },
    async listFolders(key) {
      const folder = `${keyOf(key)}/`;
      const names: string[] = [];
      let token: string | undefined;
      do {
        const query = listingQuery(folder, { delimiter: '/', token });
        const page = parseListing(await (await send(`${base}/?${query}`, {}, [])).text());
        names.push(...page.folders.map((found) => found.slice(folder.length).replace(/\/$/, '')));
        token = page.token;
      } while (token !== undefined);
      return names;
    },
  };
}

function contentType(key: string): string {
  if (key.endsWith('.json')) return 'application/json';
  return key.endsWith('.txt') ? 'text/plain; charset=utf-8' : 'application/octet-stream';
}

import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { AwsClient } from 'aws4fetch';
import { NearfarError } from '../core/index.ts';

/** What the command line tools of AWS read, too; and of Google Cloud Storage. */
export interface BucketEnvironment {
  readonly AWS_ACCESS_KEY_ID?: string | undefined;
  readonly AWS_SECRET_ACCESS_KEY?: string | undefined;
  readonly AWS_SESSION_TOKEN?: string | undefined;
  readonly AWS_REGION?: string | undefined;
  readonly AWS_DEFAULT_REGION?: string | undefined;
  /** Of a service that is not AWS's; buckets are then named in the path. */
  readonly AWS_ENDPOINT_URL_S3?: string | undefined;
  readonly AWS_ENDPOINT_URL?: string | undefined;
  readonly AWS_PROFILE?: string | undefined;
  /** @default ~/.aws/credentials */
  readonly AWS_SHARED_CREDENTIALS_FILE?: string | undefined;
  /** @default ~/.aws/config */
  readonly AWS_CONFIG_FILE?: string | undefined;
  /** HMAC keys of Google Cloud Storage. */
  readonly GCS_ACCESS_KEY_ID?: string | undefined;
  readonly GCS_SECRET_ACCESS_KEY?: string | undefined;
  /** @default https://storage.googleapis.com */
  readonly GCS_ENDPOINT_URL?: string | undefined;
}

interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | undefined;
}

/** A prefix of a bucket that speaks S3, and how requests to it are signed. */
export interface S3Place {
  /** `s3://bucket/prefix` or `gs://bucket/prefix`, without what is asked for behind it. */
  readonly location: string;
  readonly prefix: string;
  /** Address of the bucket, or of a key in it. */
  readonly urlOf: (key: string) => string;
  /** Headers of a request with its signature; without keys as they are. */
  readonly sign: (url: string, init?: { method?: string; headers?: Headers }) => Promise<Headers>;
}

/** Keys of a file may be other ones by now: so long, in milliseconds, they are taken for the same. */
const keysHoldMs = 60_000;

/**
 * Understands `s3://bucket/prefix` and `gs://bucket/prefix`, with `?region=`, `?profile=`, `?anonymous=true` and `?addressing=virtual` or `path`
 * where they differ from what the environment says.
 * @throws {NearfarError} `invalid-argument`.
 */
export function connectS3(location: string, environment: BucketEnvironment = process.env): S3Place {
  const [, scheme = '', bucket = '', prefix = '', query = ''] = /^(s3|gs):\/\/([^/?]+)\/?([^?]*?)\/*(?:\?(.*))?$/.exec(location) ?? [];
  const plain = location.replace(/\?.*$/, '').replace(/\/+$/, '');
  if (bucket === '')
    throw new NearfarError('invalid-argument', `${plain} names no bucket; expected s3://bucket/prefix or gs://bucket/prefix`);
  const asked = new URLSearchParams(query);
  for (const name of asked.keys()) {
    if (!['region', 'profile', 'anonymous', 'addressing'].includes(name)) {
      throw new NearfarError('invalid-argument', `${plain}: expected ?region=, ?profile=, ?anonymous= or ?addressing=, got ?${name}=`);
    }
  }
  const isGoogle = scheme === 'gs';
  const profile = asked.get('profile') ?? environment.AWS_PROFILE ?? 'default';
  // Asked for by name, a profile wins over keys in the environment.
  const isProfileNamed = asked.get('profile') !== null;
  let settings: Promise<Settings> | undefined;
  let readAt = 0;
  const current = () => {
    if (!settings || Date.now() - readAt > keysHoldMs) {
      readAt = Date.now();
      settings = isGoogle ? Promise.resolve(googleSettings(environment)) : readSettings(environment, profile, isProfileNamed);
    }
    return settings;
  };
  const region = asked.get('region') ?? (environment.AWS_REGION || environment.AWS_DEFAULT_REGION || undefined);
  const endpoint = isGoogle
    ? environment.GCS_ENDPOINT_URL || 'https://storage.googleapis.com'
    : environment.AWS_ENDPOINT_URL_S3 || environment.AWS_ENDPOINT_URL;
  const regionOf = (fromFile: string | undefined) => (isGoogle ? 'auto' : (region ?? fromFile ?? 'us-east-1'));
  // Certificates of AWS cover one label before the host's name.
  const addressing = asked.get('addressing') ?? (endpoint || bucket.includes('.') ? 'path' : 'virtual');
  const host = new URL(endpoint ?? `https://s3.${regionOf(undefined)}.amazonaws.com`);
  const base =
    addressing === 'path'
      ? `${host.origin}${host.pathname.replace(/\/+$/, '')}/${bucket}`
      : `${host.protocol}//${bucket}.${host.host}${host.pathname.replace(/\/+$/, '')}`;

  return {
    location: plain,
    prefix,
    urlOf: (key) => (key === '' ? `${base}/` : `${base}/${key.split('/').map(encodeURIComponent).join('/')}`),
    sign: async (url, { method = 'GET', headers = new Headers() } = {}) => {
      if (asked.get('anonymous') === 'true') return headers;
      const { keys, region: fromFile } = await current();
      if (!keys) return headers;
      const { accessKeyId, secretAccessKey, sessionToken } = keys;
      const client = new AwsClient({
        accessKeyId,
        secretAccessKey,
        ...(sessionToken && { sessionToken }),
        service: 's3',
        region: regionOf(fromFile),
      });
      const signed = await client.sign(url, { method, headers });
      return signed.headers;
    },
  };
}

interface Settings {
  /** Undefined: requests are not signed, as to a bucket that anybody may read. */
  readonly keys: Keys | undefined;
  readonly region?: string | undefined;
}

function googleSettings({ GCS_ACCESS_KEY_ID: accessKeyId, GCS_SECRET_ACCESS_KEY: secretAccessKey }: BucketEnvironment): Settings {
  return { keys: accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey, sessionToken: undefined } : undefined };
}

async function readSettings(environment: BucketEnvironment, profile: string, isProfileNamed: boolean): Promise<Settings> {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = environment;
  if (accessKeyId && secretAccessKey && !isProfileNamed) return { keys: { accessKeyId, secretAccessKey, sessionToken } };
  const folder = join(homedir(), '.aws');
  const [shared, config] = await Promise.all([
    readSections(environment.AWS_SHARED_CREDENTIALS_FILE || join(folder, 'credentials')),
    readSections(environment.AWS_CONFIG_FILE || join(folder, 'config')),
  ]);
  const own = { ...config.get(profile === 'default' ? 'default' : `profile ${profile}`), ...shared.get(profile) };
  const { aws_access_key_id: id, aws_secret_access_key: secret, aws_session_token: token, region } = own;
  if (isProfileNamed && (!id || !secret)) {
    throw new NearfarError('unauthenticated', `profile ${profile} has no aws_access_key_id and aws_secret_access_key in the files of AWS`, {
      details: { profile },
    });
  }
  return { keys: id && secret ? { accessKeyId: id, secretAccessKey: secret, sessionToken: token } : undefined, region };
}

type Section = Readonly<Record<string, string>>;

/** The sections of a file of AWS; none where there is no such file. */
async function readSections(path: string): Promise<ReadonlyMap<string, Section>> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const sections = new Map<string, Record<string, string>>();
  let section: Record<string, string> = {};
  for (const line of text.split(/\r?\n/)) {
    const [, name] = /^\s*\[\s*(.+?)\s*\]\s*$/.exec(line) ?? [];
    if (name !== undefined) {
      section = sections.get(name) ?? {};
      sections.set(name, section);
      continue;
    }
    const [, key, value] = /^([A-Za-z0-9_]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) section[key.toLowerCase()] = value;
  }
  return sections;
}

/** One page of a bucket's listing. */
export interface ListingPage {
  readonly folders: readonly string[];
  readonly files: readonly { readonly key: string; readonly bytes: number; readonly etag: string }[];
  /** Of the next page. */
  readonly token: string | undefined;
}

/** The query of a page of keys that begin with a prefix. */
export function listingQuery(prefix: string, { delimiter, token }: { delimiter?: string | undefined; token?: string | undefined }): string {
  return new URLSearchParams({
    'list-type': '2',
    prefix,
    ...(delimiter !== undefined && { delimiter }),
    ...(token !== undefined && { 'continuation-token': token }),
  }).toString();
}

/** Reads the answer to `ListObjectsV2`. */
export function parseListing(xml: string): ListingPage {
  const inner = (text: string, name: string) => new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1];
  const blocks = (name: string) => [...xml.matchAll(new RegExp(`<${name}>([\\s\\S]*?)</${name}>`, 'g'))].map(([, block = '']) => block);
  const token = inner(xml, 'NextContinuationToken');
  return {
    folders: blocks('CommonPrefixes').map((block) => decodeEntities(inner(block, 'Prefix') ?? '')),
    files: blocks('Contents').map((block) => ({
      key: decodeEntities(inner(block, 'Key') ?? ''),
      bytes: Number(inner(block, 'Size') ?? 0),
      etag: decodeEntities(inner(block, 'ETag') ?? ''),
    })),
    token: token === undefined ? undefined : decodeEntities(token),
  };
}

function decodeEntities(text: string): string {
  const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
  return text.replace(/&(?:(amp|lt|gt|quot|apos)|#(\d+)|#x([0-9a-f]+));/gi, (_, name: string, decimal: string, hex: string) =>
    name ? (entities[name.toLowerCase()] ?? '') : String.fromCodePoint(decimal ? Number(decimal) : Number.parseInt(hex, 16)),
  );
}

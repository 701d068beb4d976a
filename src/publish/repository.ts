import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  digestOf,
  type Manifest,
  NearfarError,
  type Pin,
  parseManifest,
  parseVersions,
  selectVersion,
  type VersionChoice,
  type Versions,
} from '../core/index.ts';
import { type Bucket, connectBucket, isBucket } from './bucket.ts';

/** A model repository, in a folder or behind a URL, as the tools read it. */
export interface Repository {
  /** Folder or URL, as it was given. */
  readonly location: string;
  /**
   * Bytes of a file below the repository, by path segments such as `['everyday10', '1', 'manifest.json']`.
   * @throws {NearfarError} `not-found`, `network`.
   */
  readonly read: (...path: readonly string[]) => Promise<Uint8Array<ArrayBuffer>>;
}

/** Opens a folder, an http(s) URL or `s3://bucket/prefix` as a repository; nothing is read yet, nothing is to close. */
export function connectRepository(location: string, fetchUrl: typeof fetch = fetch): Repository {
  if (isBucket(location)) {
    const bucket = connectBucket(location);
    return { location, read: (...path) => readObject(bucket, path.join('/')) };
  }
  if (!/^https?:\/\//.test(location)) return { location, read: (...path) => readBytes(join(location, ...path)) };
  const base = location.replace(/\/+$/, '');
  return { location, read: (...path) => fetchBytes([base, ...path.map(encodeURIComponent)].join('/'), fetchUrl) };
}

/** @throws {NearfarError} `not-found` when the repository has no such model; `invalid-argument`, also when the document is another model's. */
export async function readVersions(repository: Repository, name: string): Promise<Versions> {
  const versions = parseVersions(await repository.read(name, 'versions.json'));
  if (versions.name === name) return versions;
  throw new NearfarError('invalid-argument', `versions.json of ${name} is that of ${versions.name}`, {
    details: { name, got: versions.name },
  });
}

/** One version with its manifest, checked against versions.json. */
export interface PinnedManifest {
  readonly pin: Pin;
  readonly manifest: Manifest;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** @throws {NearfarError} `not-found`, `integrity-mismatch` when the manifest is not the one versions.json names. */
export async function readManifest(repository: Repository, name: string, choice: VersionChoice): Promise<PinnedManifest> {
  const pin = selectVersion(await readVersions(repository, name), choice);
  const bytes = await repository.read(name, pin.version, 'manifest.json');
  const digest = await digestOf(bytes);
  if (digest !== pin.digest) {
    throw new NearfarError(
      'integrity-mismatch',
      `the manifest of ${name} version ${pin.version} has digest ${digest}, versions.json says ${pin.digest}`,
      {
        details: { name, version: pin.version, want: pin.digest, got: digest },
      },
    );
  }
  const manifest = parseManifest(bytes);
  if (manifest.name !== name || manifest.version !== pin.version) {
    throw new NearfarError(
      'integrity-mismatch',
      `the manifest of ${name} version ${pin.version} describes ${manifest.name} version ${manifest.version}`,
      {
        details: { name, version: pin.version },
      },
    );
  }
  return { pin, manifest, bytes };
}

/** Names of the models in a folder: its sub-folders that hold a versions.json. */
export async function listModels(folder: string): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    if ((await readdir(join(folder, entry.name))).includes('versions.json')) names.push(entry.name);
  }
  return names.sort();
}

async function readBytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    throw new NearfarError('not-found', `cannot read ${path}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
      details: { path },
    });
  }
}

async function readObject(bucket: Bucket, key: string): Promise<Uint8Array<ArrayBuffer>> {
  const found = await bucket.get(key);
  if (found) return found.bytes;
  throw new NearfarError('not-found', `${bucket.location} has no ${key}`, { details: { key } });
}

async function fetchBytes(url: string, fetchUrl: typeof fetch): Promise<Uint8Array<ArrayBuffer>> {
  const failed = (why: unknown) =>
    new NearfarError('network', `cannot fetch ${url}: ${why instanceof Error ? why.message : why}`, { cause: why, details: { url } });
  const response = await fetchUrl(url).catch((cause) => {
    throw failed(cause);
  });
  if (response.status === 404) throw new NearfarError('not-found', `${url} is not there (HTTP 404)`, { details: { url } });
  if (!response.ok) throw failed(`HTTP ${response.status}`);
  const body = await response.arrayBuffer().catch((cause) => {
    throw failed(cause);
  });
  return new Uint8Array(body);
}

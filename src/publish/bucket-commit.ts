import { digestOf, encodeManifest, encodeVersions, NearfarError, type Pin, parseVersions, type Versions } from '../core/index.ts';
import { type Bucket, connectBucket } from './bucket.ts';
import type { CommitRequest } from './commit.ts';
import type { SourceFile } from './source.ts';
import { collect, fileOfBytes } from './source-file.ts';
import { addVersion, alreadyPublished, nextVersion, noVersions } from './versions-list.ts';

/** Publishers that write versions.json at once each need one more turn; more than this many are not expected. */
const MAX_TURNS = 50;
const UPLOADS_AT_ONCE = 4;

/**
 * Publishes a version into a bucket. The manifest is written first and only where none is, which claims the number: a version without all
 * of its files is none. Then come the files and at last versions.json, only in place of the one that was read.
 * @throws {NearfarError} `already-exists`, `unauthenticated`, `permission-denied`, `network`; what was written is taken away again then.
 */
export async function commitToBucket(request: CommitRequest, bucket: Bucket = connectBucket(request.repository)): Promise<Pin> {
  const { name } = request;
  const claimed = await claim(bucket, request);
  const folder = `${name}/${claimed.pin.version}`;
  const written = [`${folder}/manifest.json`];
  const write = async (path: string, file: SourceFile) => {
    written.push(`${folder}/${path}`);
    // S3 wants a digest and a length first, so that each file is in memory while it is sent.
    await bucket.put(`${folder}/${path}`, await collect(file), { cacheControl: 'public, max-age=31536000, immutable' });
  };
  try {
    const signature = await request.sign?.(claimed.signed);
    const files = [...request.files, ...(signature ? [['manifest.sig', fileOfBytes(signature)] as const] : [])];
    while (files.length > 0) await Promise.all(files.splice(0, UPLOADS_AT_ONCE).map(([path, bytes]) => write(path, bytes)));
    await list(bucket, request, claimed.pin);
    return claimed.pin;
  } catch (error) {
    // The manifest goes last, so that nobody else claims a number whose files are still being taken away.
    for (const key of written.reverse()) await bucket.remove(key).catch(() => undefined);
    throw error;
  }
}

async function claim(bucket: Bucket, { name, version: wanted, manifest }: CommitRequest) {
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    const { versions } = await readVersions(bucket, name);
    const version = wanted ?? nextVersion(await bucket.listFolders(name), versions);
    const described = manifest(version);
    const bytes = encodeManifest(described);
    const digest = await digestOf(bytes);
    const isFree = await bucket.put(`${name}/${version}/manifest.json`, bytes, {
      when: 'absent',
      cacheControl: 'public, max-age=31536000, immutable',
    });
    if (isFree) return { pin: { version, digest }, signed: { manifest: described, digest } };
    if (wanted !== undefined) throw alreadyPublished(name, wanted);
  }
  throw new NearfarError('unavailable', `${MAX_TURNS} publishers of ${name} took a version number first`);
}

async function list(bucket: Bucket, { name, labels }: CommitRequest, pin: Pin): Promise<void> {
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    const { versions, etag } = await readVersions(bucket, name);
    const when = etag === undefined ? 'absent' : { etag };
    const bytes = encodeVersions(addVersion(versions, pin, labels));
    if (await bucket.put(`${name}/versions.json`, bytes, { when, cacheControl: 'no-cache' })) return;
  }
  throw new NearfarError('unavailable', `${MAX_TURNS} publishers of ${name} wrote versions.json first`);
}

async function readVersions(bucket: Bucket, name: string): Promise<{ versions: Versions; etag: string | undefined }> {
  const found = await bucket.get(`${name}/versions.json`);
  return found ? { versions: parseVersions(found.bytes), etag: found.etag } : { versions: noVersions(name), etag: undefined };
}

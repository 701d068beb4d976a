import {
  digestOf,
  type Manifest,
  NearfarError,
  notSigned,
  type Pin,
  parseManifest,
  parseVersions,
  type SignedManifest,
  selectVersion,
  type VersionRequest,
  type Versions,
  verifySignature,
} from '../../core/index.ts';
import type { LoaderContext } from './context.ts';
import { fetchBytes } from './http.ts';
import { withRetries } from './retry.ts';

/** One exact version: its pin and its manifest, whose bytes have the pin's digest. */
export interface ResolvedVersion {
  readonly pin: Pin;
  readonly manifest: Manifest;
  readonly manifestBytes: Uint8Array<ArrayBuffer>;
}

/** With a copy at hand, a network that hangs is not waited for longer than this. */
const patienceWithCopyMs = 3_000;

/**
 * Finds the version a request means and reads its manifest. A lock names both, so that neither needs the network once
 * the manifest is in the store; without a lock versions.json is asked for first and its last known copy serves offline.
 * @throws {NearfarError} `not-found`, `version-mismatch`, `integrity-mismatch`, `signature-invalid`, `network`; `invalid-argument` or
 * `unsupported` for a versions.json or manifest.json that cannot be read. Rejects with `signal.reason` when aborted.
 */
export async function resolveVersion(context: LoaderContext, request: VersionRequest): Promise<ResolvedVersion> {
  const pin = pinOfLock(request) ?? (await publishedPin(context, request));
  const manifestBytes = await readManifest(context, request, pin);
  const manifest = parseManifest(manifestBytes);
  if (manifest.name !== request.name || manifest.version !== pin.version) {
    throw new NearfarError(
      'version-mismatch',
      `${request.name} version ${pin.version} was asked for, its manifest says ${manifest.name} version ${manifest.version}`,
      { details: { want: { name: request.name, ...pin }, got: { name: manifest.name, version: manifest.version } } },
    );
  }
  if (request.trust && request.trust.length > 0) await checkSignature(context, request, request.trust, { manifest, digest: pin.digest });
  return { pin, manifest, manifestBytes };
}

async function publishedPin(context: LoaderContext, request: VersionRequest): Promise<Pin> {
  const versions = await readVersions(context, request);
  const client = versions.traffic && (await context.clientKey());
  return selectVersion(versions, request.choice, request.lock, client);
}

/** The signature of a version never changes either, so that the copy of a checked one serves offline. */
async function checkSignature(
  context: LoaderContext,
  request: VersionRequest,
  keys: readonly string[],
  signed: SignedManifest,
): Promise<void> {
  const { name, version } = signed.manifest;
  const urls = request.repositories.map((repository) => fileUrl(repository, [name, version, 'manifest.sig']));
  if (await hasGoodCopy(context, urls, (bytes) => verifySignature(bytes, signed, keys))) return;
  const fetchSignature = async (url: string) => ({ url, bytes: await fetchBytes(context, url) });
  const record = await withRetries(context, urls, fetchSignature).catch((cause: unknown) => {
    throw cause instanceof NearfarError && cause.code === 'not-found' ? notSigned(signed, cause) : cause;
  });
  await verifySignature(record.bytes, signed, keys);
  await context.store.writeVersions(record).catch(() => undefined);
}

async function hasGoodCopy(
  context: LoaderContext,
  urls: readonly string[],
  check: (bytes: Uint8Array<ArrayBuffer>) => Promise<void>,
): Promise<boolean> {
  for (const url of urls) {
    const record = await context.store.readVersions(url).catch(() => undefined);
    const isGood =
      record !== undefined &&
      (await check(record.bytes).then(
        () => true,
        () => false,
      ));
    if (isGood) return true;
  }
  return false;
}

/** URL of a file of a version, or of the model itself when no version is given. */
export function fileUrl(repository: string, segments: readonly string[]): string {
  const path = segments.flatMap((segment) => segment.split('/')).map(encodeURIComponent);
  return `${repository.replace(/\/+$/, '')}/${path.join('/')}`;
}

/** The pin of the lock, where no label must be looked up in versions.json. */
function pinOfLock({ name, choice, lock }: VersionRequest): Pin | undefined {
  if (!lock || choice.label !== undefined || !Object.hasOwn(lock.models, name)) return undefined;
  const locked = lock.models[name];
  // The lock stands in for versions.json, so that a version it disagrees with is refused by the same rule and text.
  return locked && selectVersion({ schemaVersion: 1, name, versions: [locked], labels: {} }, choice, lock);
}

async function readVersions(context: LoaderContext, request: VersionRequest): Promise<Versions> {
  const urls = request.repositories.map((repository) => fileUrl(repository, [request.name, 'versions.json']));
  const copy = await firstCopy(context, urls);
  try {
    const options = copy ? { attempts: urls.length } : {};
    const versions = await withRetries(context, urls, (url) => fetchVersions(context, url, request.name, copy !== undefined), options);
    return versions;
  } catch (error) {
    if (!copy || !(error instanceof NearfarError) || error.code !== 'network') throw error;
    context.notify({ type: 'fallback', from: 'versions.json', to: 'its last known copy', code: error.code, message: error.message });
    return copy;
  }
}

async function fetchVersions(context: LoaderContext, url: string, name: string, hasCopy: boolean): Promise<Versions> {
  const bytes = await fetchBytes(context, url, { cache: 'no-cache', ...(hasCopy ? { timeoutMs: patienceWithCopyMs } : {}) });
  const versions = parseVersions(bytes);
  if (versions.name !== name) {
    throw new NearfarError('invalid-argument', `${url} is about ${versions.name}, not ${name}`, {
      details: { want: name, got: versions.name },
    });
  }
  // A copy that cannot be kept is only missed offline.
  await context.store.writeVersions({ url, bytes }).catch(() => undefined);
  return versions;
}

async function firstCopy(context: LoaderContext, urls: readonly string[]): Promise<Versions | undefined> {
  for (const url of urls) {
    const record = await context.store.readVersions(url).catch(() => undefined);
    if (record) return parseVersions(record.bytes);
  }
  return undefined;
}

async function readManifest(context: LoaderContext, request: VersionRequest, pin: Pin): Promise<Uint8Array<ArrayBuffer>> {
  const stored = (await context.store.readVersion(pin.digest).catch(() => undefined))?.manifest;
  if (stored && (await digestOf(stored)) === pin.digest) return stored;
  const urls = request.repositories.map((repository) => fileUrl(repository, [request.name, pin.version, 'manifest.json']));
  const report = (source: 'cache' | 'network', action: 'refetched' | 'refused') => {
    const message = `manifest.json of ${request.name} version ${pin.version} does not have the digest ${pin.digest}`;
    context.notify({ type: 'integrity', file: 'manifest.json', chunk: 0, source, action, message });
  };
  if (stored) report('cache', 'refetched');
  const fetchOnce = (mirrors: readonly string[], cache: RequestCache) =>
    withRetries(context, mirrors, (url) => fetchBytes(context, url, { cache }));
  // It is immutable, so that tabs that open at once share one answer by the browser's own cache.
  const bytes = await fetchOnce(urls, 'default');
  if ((await digestOf(bytes)) === pin.digest) return bytes;
  report('network', 'refetched');
  const again = await fetchOnce([...urls.slice(1), ...urls.slice(0, 1)], 'reload');
  const got = await digestOf(again);
  if (got === pin.digest) return again;
  report('network', 'refused');
  throw new NearfarError(
    'integrity-mismatch',
    `manifest.json of ${request.name} version ${pin.version} is ${got}, ${pin.digest} was expected`,
    {
      details: { file: 'manifest.json', want: pin.digest, got },
    },
  );
}

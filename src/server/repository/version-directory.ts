import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, type ErrorDetails, type Manifest, NearfarError, notSigned, parseManifest, verifySignature } from '../../core/index.ts';

/** A version whose files are all there, with the sizes of its manifest. Their digests are checked when it is loaded. */
export interface VersionOnDisk {
  readonly version: string;
  /** SHA-256 of manifest.json. */
  readonly digest: string;
  readonly manifest: Manifest;
  readonly manifestBytes: Uint8Array<ArrayBuffer>;
  /** The folder that the manifest's paths start from. */
  readonly directory: string;
  /** The plain directory that the version was imported from, when it was: files that the import left there are found in it. */
  readonly original?: string | undefined;
}

/** What tells one state of a file from another without reading it. */
export async function fileStamp(path: string): Promise<string | undefined> {
  try {
    // ctime too: tools that copy set mtime back to that of the original, ctime nobody sets.
    const { size, mtimeMs, ctimeMs, ino } = await stat(path);
    return `${size}:${mtimeMs}:${ctimeMs}:${ino}`;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * Reads a version directory that has a manifest.json.
 * @throws {NearfarError} `invalid-argument` or `unsupported` for a manifest that cannot be read, `failed-precondition` when it
 * describes another version, `unavailable` naming the first file that is not there in full: a copy still under way.
 */
export async function readVersionDirectory(directory: string, version: string): Promise<VersionOnDisk> {
  const manifestBytes = new Uint8Array(await readFile(join(directory, 'manifest.json')));
  const manifest = parseManifest(manifestBytes);
  if (manifest.version !== version) {
    throw new NearfarError('failed-precondition', `the manifest in directory ${version} describes version ${manifest.version}`, {
      details: { want: version, got: manifest.version },
    });
  }
  await Promise.all(Object.entries(manifest.files).map(([path, { bytes }]) => assertSize(directory, path, bytes)));
  return { version, digest: await digestOf(manifestBytes), manifest, manifestBytes, directory };
}

/**
 * Checks that one of some keys signed the version.
 * @throws {NearfarError} `signature-invalid`.
 */
export async function checkSignature(version: VersionOnDisk, keys: readonly string[]): Promise<void> {
  const signature = await readFile(join(version.directory, 'manifest.sig')).catch((cause: unknown) => {
    throw isMissing(cause) ? notSigned(version, cause) : cause;
  });
  await verifySignature(signature, version, keys);
}

async function assertSize(directory: string, path: string, want: number): Promise<void> {
  const got = await stat(join(directory, path)).then(
    ({ size }) => size,
    (error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    },
  );
  if (got === want) return;
  const found = got === undefined ? 'is missing' : `has ${got} bytes of ${want}`;
  throw underWay(`the version is not complete: ${path} ${found}`, { path, want, got });
}

/** The error of a version that is on its way: nothing is wrong with it yet. */
export function underWay(message: string, details: ErrorDetails = {}): NearfarError {
  return new NearfarError('unavailable', message, { details: { ...details, isUnderWay: true } });
}

/** Whether it is there in full, and only its import is not. */
export function isImporting({ details }: NearfarError): boolean {
  return details['isImporting'] === true;
}

export function isUnderWay({ details }: NearfarError): boolean {
  return details['isUnderWay'] === true;
}

/** The state of a directory, without reading its files. */
export interface DirectoryState {
  /** Of all names, sizes and times: two that are equal, one poll apart, mean that nobody is still copying. */
  readonly fingerprint: string;
  /** When anything in it changed last, in milliseconds of the system's clock. */
  readonly changedAt: number;
}

/** @returns undefined for an empty directory. */
export async function readDirectoryState(directory: string): Promise<DirectoryState | undefined> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const paths = entries.map((entry) => ({ path: join(entry.parentPath, entry.name), isDirectory: entry.isDirectory() }));
  if (paths.every(({ isDirectory }) => isDirectory)) return undefined;
  // Both times: tools that copy set mtime back to that of the original, ctime nobody sets.
  const { mtimeMs, ctimeMs } = await stat(directory);
  let changedAt = Math.max(mtimeMs, ctimeMs);
  const lines = await Promise.all(
    paths
      .sort((a, b) => (a.path < b.path ? -1 : 1))
      .map(async ({ path, isDirectory }) => {
        const { size, mtimeMs, ctimeMs } = await stat(path);
        changedAt = Math.max(changedAt, mtimeMs, ctimeMs);
        return isDirectory ? [] : [`${path.slice(directory.length)}\0${size}\0${mtimeMs}`];
      }),
  );
  return { fingerprint: await digestOf(new TextEncoder().encode(lines.flat().join('\n'))), changedAt };
}

/** Whether a file system call failed because the path is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/**
 * The version directories of a model's folder, by the version their names say; of `7` and `007` the last in the order of names counts, as
 * in TensorFlow Serving.
 */
export async function listVersions(basePath: string): Promise<Map<string, string>> {
  const entries = await readdir(basePath);
  return new Map(
    entries.sort().flatMap((entry) => {
      const version = parseVersionName(entry);
      return version === undefined ? [] : [[version, join(basePath, entry)] as const];
    }),
  );
}

/** The version that a directory's name says; undefined where it says none. */
export function parseVersionName(name: string): string | undefined {
  return /^\d+$/.test(name) && isPositiveInt64(name) ? BigInt(name).toString() : undefined;
}

function isPositiveInt64(digits: string): boolean {
  const number = BigInt(digits);
  return number > 0n && number < 2n ** 63n;
}

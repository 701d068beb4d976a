import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import {
  digestOf,
  encodeManifest,
  encodeVersions,
  type Manifest,
  NearfarError,
  type Pin,
  parseVersions,
  type Versions,
} from '../core/index.ts';
import type { SignManifest } from './sign.ts';
import type { SourceFile } from './source.ts';
import { storeFile } from './source-file.ts';
import { addVersion, alreadyPublished, nextVersion, noVersions } from './versions-list.ts';
import { writing } from './write-errors.ts';

/** How long a publisher waits for another one that is writing versions.json; that takes it milliseconds. */
const LOCK_TIMEOUT_MS = 30_000;
/** How long a change of versions.json waits for publishers. */
const CHANGE_TIMEOUT_MS = 5_000;
const LOCK_RETRY_MS = 20;

export interface CommitRequest {
  /** Folder, or `s3://bucket/prefix`. */
  readonly repository: string;
  readonly name: string;
  /** The wanted number; the next free one when absent. */
  readonly version?: string | undefined;
  /** Labels that shall point at the new version. */
  readonly labels: readonly string[];
  readonly manifest: (version: string) => Manifest;
  /** Every file of the version but manifest.json and manifest.sig, which are made here, by path. */
  readonly files: ReadonlyMap<string, SourceFile>;
  readonly sign?: SignManifest | undefined;
}

/**
 * Publishes a version so that nobody ever sees half of it: everything is written beside the model's versions, flushed to disk and renamed,
 * then versions.json is replaced by rename. Publishers of one model take turns for the last step.
 * @throws {NearfarError} `already-exists` when the version is there; `integrity-mismatch` when a source changed meanwhile; `unavailable` when another publisher does not finish.
 */
export function commitVersion(request: CommitRequest): Promise<Pin> {
  return writing(join(request.repository, request.name), () => commitToFolder(request));
}

async function commitToFolder(request: CommitRequest): Promise<Pin> {
  const model = join(request.repository, request.name);
  await mkdir(model, { recursive: true });
  if (request.version !== undefined) await assertFree(model, request.name, request.version);
  const staging = join(model, `.publishing-${randomUUID()}`);
  try {
    const described = request.manifest(request.version ?? '1').files;
    for (const [path, file] of request.files) {
      await mkdir(dirname(join(staging, path)), { recursive: true });
      await storeFile(join(staging, path), file, described[path]);
    }
    return await withFileLock(lockOf(model), { owner: publisherOf(request.name), timeoutMs: LOCK_TIMEOUT_MS }, async () => {
      const versions = await readVersionsFile(model, request.name);
      const version = request.version ?? nextVersion(await readdir(model), versions);
      await assertFree(model, request.name, version);
      const manifest = request.manifest(version);
      const bytes = encodeManifest(manifest);
      const pin: Pin = { version, digest: await digestOf(bytes) };
      const signature = await request.sign?.({ manifest, digest: pin.digest });
      const next = encodeVersions(addVersion(versions, pin, request.labels));
      await writeFlushed(join(staging, 'manifest.json'), bytes);
      if (signature) await writeFlushed(join(staging, 'manifest.sig'), signature);
      await flushDirectories(staging);
      await rename(staging, join(model, version));
      await replaceFile(join(model, 'versions.json'), next);
      return pin;
    });
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

export interface FolderCommit {
  /** The model's folder, which may not be there yet. */
  readonly model: string;
  /** The model's name, as versions.json has it. */
  readonly name: string;
  readonly version: string;
  /** A folder beside the model's versions, or in one, that holds the whole version; it is moved. */
  readonly folder: string;
  /** Of its manifest.json; undefined for a plain version, which no versions.json lists. */
  readonly digest: string | undefined;
  /** Labels of versions.json that shall point at it. */
  readonly labels: readonly string[];
}

/**
 * Makes a whole folder one of a model's versions, so that nobody ever sees half of it, in turn with publishers. Done again after it was
 * interrupted, it does what is left.
 * @throws {NearfarError} `already-exists` when the version is there; `failed-precondition` for a plain version beside published ones and for
 * labels that no versions.json can hold; `unavailable` when a publisher does not finish.
 */
export function commitFolder({ model, name, version, folder, digest, labels }: FolderCommit): Promise<void> {
  return writing(model, async () => {
    await mkdir(model, { recursive: true });
    await withFileLock(lockOf(model), { owner: publisherOf(name), timeoutMs: LOCK_TIMEOUT_MS }, async () => {
      const isMoved = !(await exists(folder));
      if (!isMoved) await assertFree(model, name, version);
      const versions = await versionsForFolder({ model, name, version, digest, labels });
      if (!isMoved) {
        await flushDirectories(folder);
        await rename(folder, join(model, version));
        await flushDirectory(model);
      }
      if (!versions || digest === undefined || versions.versions.some((pin) => pin.version === version)) return;
      await replaceFile(join(model, 'versions.json'), encodeVersions(addVersion(versions, { version, digest }, labels)));
    });
  });
}

/** @returns undefined for a model that has none, as its versions are directories alone. */
async function versionsForFolder({ model, name, version, digest, labels }: Omit<FolderCommit, 'folder'>): Promise<Versions | undefined> {
  const isPublished = await exists(join(model, 'versions.json'));
  if (isPublished && digest === undefined) {
    throw new NearfarError('failed-precondition', `versions of ${name} are published: a version without manifest.json is none of them`, {
      details: { name },
    });
  }
  const hasVersions = (await readdir(model)).some((entry) => /^\d+$/.test(entry) && entry !== version);
  if (isPublished || (digest !== undefined && !hasVersions)) return readVersionsFile(model, name);
  if (labels.length === 0) return undefined;
  throw new NearfarError(
    'failed-precondition',
    `${name} has no versions.json that could hold the label ${labels[0]}; point it there afterwards`,
    {
      details: { name, labels },
    },
  );
}

async function readVersionsFile(model: string, name: string): Promise<Versions> {
  const path = join(model, 'versions.json');
  if (!(await exists(path))) return noVersions(name);
  const versions = parseVersions(new Uint8Array(await readFile(path)));
  if (versions.name === name) return versions;
  throw new NearfarError('invalid-argument', `${path} is that of ${versions.name}`, { details: { name, got: versions.name } });
}

export interface ChangeVersionsOptions {
  /** Ends the waiting for publishers. */
  readonly signal?: AbortSignal | undefined;
  /** How long publishers are waited for, in milliseconds. @default 5_000 */
  readonly timeoutMs?: number | undefined;
}

/**
 * Replaces a model's versions.json by what `change` makes of it, in turn with publishers.
 * @param model The model's folder.
 * @returns What is in it then; where `change` gives back what it got, nothing is written.
 * @throws {NearfarError} `failed-precondition` for a folder without one; `unavailable` when a publisher does not finish; what `change` throws;
 * `signal.reason`.
 */
export function changeVersionsFile(
  model: string,
  change: (versions: Versions) => Versions,
  { signal, timeoutMs = CHANGE_TIMEOUT_MS }: ChangeVersionsOptions = {},
): Promise<Versions> {
  return writing(model, async () => {
    const path = join(model, 'versions.json');
    if (!(await exists(path))) {
      throw new NearfarError('failed-precondition', `${model} has no versions.json: its versions were not published`, {
        details: { model },
      });
    }
    return await withFileLock(lockOf(model), { owner: publisherOf(model), signal, timeoutMs }, async () => {
      const versions = parseVersions(new Uint8Array(await readFile(path)));
      const changed = change(versions);
      if (changed === versions) return versions;
      const next = encodeVersions(changed);
      const written = parseVersions(next);
      await replaceFile(path, next);
      return written;
    });
  });
}

/**
 * Looks, before any work is done, whether a version can be written: its number is free, and the folder that is there can be written to.
 * @throws {NearfarError} `already-exists`, `permission-denied`, `invalid-argument` for a path through a file.
 */
export async function assertCanCommit(repository: string, name: string, version: string | undefined): Promise<void> {
  const model = join(repository, name);
  await writing(model, async () => {
    if (version !== undefined) await assertFree(model, name, version);
    await access(await nearestExisting(model), constants.W_OK);
  });
}

async function nearestExisting(path: string): Promise<string> {
  const info = await stat(path).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (info?.isDirectory()) return path;
  if (info) throw new NearfarError('invalid-argument', `${path} is a file, expected a folder`, { details: { path } });
  return nearestExisting(dirname(resolve(path)));
}

async function assertFree(model: string, name: string, version: string): Promise<void> {
  if (!(await exists(join(model, version)))) return;
  throw alreadyPublished(name, version);
}

function lockOf(model: string): string {
  return join(model, '.publish.lock');
}

function publisherOf(name: string): string {
  return `publisher of ${name}`;
}

/**
 * Runs `work` while nobody else has the lock: a file that only one process can create. What a dead process of this machine left behind is
 * cleared away.
 * @param options.owner Who may have it, for the error.
 * @throws {NearfarError} `unavailable` when another one does not finish.
 */
export async function withFileLock<T>(
  path: string,
  { owner, signal, timeoutMs }: { readonly owner: string; readonly signal?: AbortSignal | undefined; readonly timeoutMs: number },
  work: () => Promise<T>,
): Promise<T> {
  const content = `${process.pid} ${hostname()} ${randomUUID()}`;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    if (await tryCreate(path, content)) break;
    if (performance.now() > deadline) {
      throw new NearfarError('unavailable', `another ${owner} holds ${path}; remove it if none is running`, {
        details: { path },
      });
    }
    if (!(await clearAbandoned(path))) await new Promise((resolve) => setTimeout(resolve, LOCK_RETRY_MS));
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function tryCreate(path: string, content: string): Promise<boolean> {
  try {
    await using file = await open(path, 'wx');
    await file.writeFile(content);
    return true;
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false;
    throw error;
  }
}

/** Takes away the lock of a process of this machine that is gone. @returns Whether it did. */
async function clearAbandoned(path: string): Promise<boolean> {
  const content = await readFile(path, 'utf8').catch(() => '');
  const [pid, host] = content.split(' ');
  if (!pid || host !== hostname() || isAlive(Number(pid))) return false;
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, 'utf8')) === content) return true;
    // Another publisher was faster: this is its live lock, give it back.
    await link(aside, path);
    return false;
  } catch {
    return false;
  } finally {
    await rm(aside, { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !isErrno(error, 'ESRCH');
  }
}

async function writeFlushed(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await using file = await open(path, 'wx');
  await file.writeFile(bytes);
  await file.sync();
}

/** Writes beside a file, then replaces it in one step: readers see the old or the new one. */
export function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  return writing(path, () => replaceByRename(path, bytes));
}

async function replaceByRename(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeFlushed(temporary, bytes);
    await rename(temporary, path);
    await flushDirectory(dirname(path));
  } finally {
    await rm(temporary, { force: true });
  }
}

async function flushDirectories(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await flushDirectories(join(directory, entry.name));
  }
  await flushDirectory(directory);
}

async function flushDirectory(path: string): Promise<void> {
  // Windows cannot open directories; there the rename itself is journalled.
  if (process.platform === 'win32') return;
  await using directory = await open(path, 'r');
  await directory.sync();
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

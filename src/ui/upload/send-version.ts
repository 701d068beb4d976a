import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { NearfarError, type NearfarErrorCode } from '../../core/index.ts';
import { askJson, pathOf, toNearfarError } from '../api/index.ts';
import type { VersionFile } from './read-folder.ts';

export interface VersionToSend {
  readonly model: string;
  /** The manifest's, or the next free one, where absent. */
  readonly version: string | undefined;
  readonly files: readonly VersionFile[];
}

export interface SendProgress {
  readonly phase: 'reading' | 'sending' | 'checking';
  readonly path: string;
  readonly done: number;
  readonly total: number;
  /** Why it waits, where it was broken off. */
  readonly broken?: NearfarError;
}

interface UploadState {
  readonly upload: string;
  readonly version: string;
  readonly missing: readonly { readonly path: string; readonly offset: number }[];
}

/** So much goes in one request: what a break loses on the way is little. */
const partBytes = 4 * 2 ** 20;
const firstPauseMs = 500;
const longestPauseMs = 15_000;
const mostFailures = 10;

/** What may go well a moment later. */
const passing: ReadonlySet<NearfarErrorCode> = new Set(['network', 'unavailable', 'overloaded', 'rate-limited', 'deadline-exceeded']);

/**
 * Announces a version, sends what the server does not have of it, and has it published. What was sent before stays: the same version
 * goes on where it was broken off, by itself or when it is sent again.
 * @throws {NearfarError} the server's own; rejects with `signal.reason` when aborted.
 */
export async function sendVersion(
  { model, version, files }: VersionToSend,
  tell: (progress: SendProgress) => void,
  signal: AbortSignal,
): Promise<{ readonly version: string }> {
  const digests = await readAll(files, tell, signal);
  const path = (...parts: readonly string[]) => pathOf('nearfar', 'v1', 'models', model, 'uploads', ...parts);
  const announcement = {
    ...(version !== undefined && { version }),
    files: files.map(({ path: name, file }, index) => ({ path: name, bytes: file.size, digest: digests[index] })),
  };
  const total = files.reduce((sum, { file }) => sum + file.size, 0);
  const begin = () => askJson<UploadState>(path(), { json: announcement, signal });
  let failures = 0;
  for (;;) {
    try {
      const { upload, version: given, missing } = await begin();
      let done = total - missing.reduce((sum, { path: name, offset }) => sum + sizeOf(files, name) - offset, 0);
      for (const { path: name, offset } of missing) {
        const file = fileOf(files, name);
        for (let at = offset; at < file.size || (at === 0 && file.size === 0); ) {
          tell({ phase: 'sending', path: name, done, total });
          const part = file.slice(at, at + partBytes);
          const end = at + part.size;
          const headers = {
            'content-type': 'application/octet-stream',
            ...(file.size > 0 && { 'content-range': `bytes ${at}-${end - 1}/${file.size}` }),
          };
          await askJson(path(upload, 'files', ...name.split('/')), { method: 'PUT', body: part, headers, signal });
          failures = 0;
          done += part.size;
          at = end;
          if (file.size === 0) break;
        }
      }
      tell({ phase: 'checking', path: '', done: total, total });
      await askJson(path(upload, 'complete'), { method: 'POST', signal });
      return { version: given };
    } catch (cause) {
      signal.throwIfAborted();
      const error = toNearfarError(cause);
      failures += 1;
      if (!passing.has(error.code) || failures > mostFailures) throw error;
      tell({ phase: 'sending', path: '', done: 0, total, broken: error });
      await pause(Math.min(longestPauseMs, firstPauseMs * 2 ** (failures - 1)), signal);
    }
  }
}

/** The SHA-256 of every file. Not by `crypto.subtle`: it is not there on plain HTTP, and takes a whole file at once. */
async function readAll(
  files: readonly VersionFile[],
  tell: (progress: SendProgress) => void,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const total = files.reduce((sum, { file }) => sum + file.size, 0);
  const digests: string[] = [];
  let done = 0;
  for (const { path, file } of files) {
    const hash = sha256.create();
    for (let at = 0; at < file.size; at += partBytes) {
      signal.throwIfAborted();
      tell({ phase: 'reading', path, done, total });
      const part = new Uint8Array(await file.slice(at, at + partBytes).arrayBuffer());
      hash.update(part);
      done += part.length;
    }
    digests.push(`sha256:${bytesToHex(hash.digest())}`);
  }
  return digests;
}

function fileOf(files: readonly VersionFile[], path: string): File {
  const found = files.find((each) => each.path === path);
  if (found) return found.file;
  throw new NearfarError('internal', `the server asks for ${path}, which was not announced`);
}

function sizeOf(files: readonly VersionFile[], path: string): number {
  return fileOf(files, path).size;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done, fail) => {
    const stop = () => {
      clearTimeout(timer);
      fail(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      done();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, type Manifest, NearfarError } from '../../core/index.ts';
import { fileDigest } from '../repository/index.ts';

/** The files of a version, none of them handed out before its digest is that of the manifest. */
export interface VerifiedFiles {
  /** @throws {NearfarError} `integrity-mismatch`, `not-found`. */
  read(path: string): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Checks every file that was not read, so that a version that serves one variant cannot publish a broken other one.
   * @throws {NearfarError} `integrity-mismatch`; rejects with `signal.reason` when aborted.
   */
  verifyRest(signal: AbortSignal): Promise<void>;
}

export function createVerifiedFiles({ name, version, files }: Manifest, directory: string): VerifiedFiles {
  const verified = new Set<string>();
  const digestFor = (path: string): string => {
    const file = Object.hasOwn(files, path) ? files[path] : undefined;
    if (file) return file.digest;
    throw new NearfarError('not-found', `${name} version ${version} has no file ${path}`, { details: { path } });
  };
  const assertDigest = (path: string, got: string) => {
    const want = digestFor(path);
    if (got !== want) {
      throw new NearfarError('integrity-mismatch', `${path} of ${name} version ${version} has digest ${got}, the manifest says ${want}`, {
        details: { path, want, got },
      });
    }
    verified.add(path);
  };
  return {
    read: async (path) => {
      digestFor(path);
      const bytes = new Uint8Array(await readFile(join(directory, path)));
      assertDigest(path, await digestOf(bytes));
      return bytes;
    },
    verifyRest: async (signal) => {
      for (const path of Object.keys(files)) {
        if (verified.has(path)) continue;
        signal.throwIfAborted();
        assertDigest(path, await fileDigest(join(directory, path)));
      }
    },
  };
}

import { createHash, type Hash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, type FileHandle, link, mkdir, open, readdir, rename, rm, stat, statfs, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { NearfarError } from '../../../core/index.ts';
import { isMissing } from '../version-directory.ts';
import type { StoreContent } from './store.ts';

/** A file of a version as the cache keeps it. */
export interface Blob {
  /** Names the content: hexadecimal digits. */
  readonly id: string;
  readonly bytes: number;
  /** `sha256:…`; undefined where nobody knows it, as of files that have no manifest. */
  readonly digest: string | undefined;
}

/** Opens the content at a byte; `isFresh` after what came was wrong. */
export type OpenContent = (start: number, isFresh: boolean, signal: AbortSignal) => Promise<StoreContent>;

/** Whoever writes a part does so at least this often, in milliseconds: an older one is nobody's. */
const staleMs = 30_000;

/** Pause between two looks at a part that another process writes. */
const pollMs = 250;

/** A file that no version holds goes after so long, in milliseconds: until then a version may be about to. */
const unlinkedMs = 600_000;

/** What stays free on the disk. */
const reserveBytes = 64 * 2 ** 20;

/**
 * Files of versions by their content, shared by all models and by all processes that name the same folder. A version's directory holds
 * them by hard links, so that the file system counts who needs them.
 */
export class Blobs {
  readonly #folder: string;
  readonly #onBytes: (bytes: number) => void;

  constructor({ folder, onBytes }: { folder: string; onBytes: (bytes: number) => void }) {
    this.#folder = folder;
    this.#onBytes = onBytes;
  }

  #pathOf({ id }: Pick<Blob, 'id'>): string {
    return join(this.#folder, id.slice(0, 2), id);
  }

  async has(blob: Blob): Promise<boolean> {
    return (await sizeOf(this.#pathOf(blob))) === blob.bytes;
  }

  /** Puts a file of the cache at a path. */
  async place(blob: Blob, path: string): Promise<void> {
    await mkdir(dirname(path), { recursive: true });
    const from = this.#pathOf(blob);
    await link(from, path).catch(async (error: NodeJS.ErrnoException) => {
      if (isMissing(error)) throw error;
      // File systems without links, and those that have enough of them.
      await copyFile(from, path);
    });
  }

  /**
   * Checks that there is room for what is not there yet.
   * @throws {NearfarError} `quota-exceeded`.
   */
  async assertRoom(blobs: readonly Blob[]): Promise<void> {
    let missing = 0;
    for (const blob of blobs) {
      if (!(await this.has(blob))) missing += blob.bytes - Math.min(blob.bytes, (await sizeOf(`${this.#pathOf(blob)}.part`)) ?? 0);
    }
    if (missing === 0) return;
    await mkdir(this.#folder, { recursive: true });
    const { bavail, bsize } = await statfs(this.#folder);
    const free = bavail * bsize;
    if (missing + reserveBytes <= free) return;
    throw new NearfarError(
      'quota-exceeded',
      `the version needs ${missing} more bytes, and ${reserveBytes} are to stay free; ${free} are free at ${this.#folder}`,
      { details: { want: missing, free } },
    );
  }

  /**
   * Has a file in the cache, read from where another attempt, or another process, ended.
   * @throws {NearfarError} `integrity-mismatch` when other bytes came, twice; what `openContent` throws when it gives no more bytes.
   */
  async fetch(blob: Blob, openContent: OpenContent, signal: AbortSignal): Promise<void> {
    const path = this.#pathOf(blob);
    const part = `${path}.part`;
    await mkdir(dirname(path), { recursive: true });
    while (!(await this.has(blob))) {
      signal.throwIfAborted();
      if (!(await claim(part))) {
        // Another process reads it.
        await pause(pollMs, undefined, { signal, ref: false });
        continue;
      }
      try {
        await this.#complete(blob, part, openContent, signal);
        await rename(part, path);
      } finally {
        // For whoever tries next; it is not there when all went well.
        await utimes(part, 0, 0).catch(() => undefined);
      }
    }
  }

  async #complete(blob: Blob, part: string, openContent: OpenContent, signal: AbortSignal): Promise<void> {
    for (let isFresh = false; ; isFresh = true) {
      const got = await this.#fill(blob, part, { openContent, isFresh, signal });
      if (blob.digest === undefined || got === blob.digest) return;
      await open(part, 'w').then((file) => file.close());
      if (!isFresh) continue;
      throw new NearfarError('integrity-mismatch', `what came has digest ${got}, the manifest says ${blob.digest}`, {
        details: { want: blob.digest, got },
      });
    }
  }

  /** Reads what is missing, for as long as bytes come. @returns the digest of all. */
  async #fill(
    { bytes }: Blob,
    part: string,
    { openContent, isFresh, signal }: { openContent: OpenContent; isFresh: boolean; signal: AbortSignal },
  ): Promise<string> {
    const file = await open(part, 'r+');
    try {
      let hash = createHash('sha256');
      let length = (await file.stat()).size;
      if (length > bytes) {
        await file.truncate(0);
        length = 0;
      }
      if (length > 0) for await (const known of createReadStream(part, { end: length - 1 })) hash.update(known);
      const append = async (piece: Uint8Array) => {
        if (length + piece.byteLength > bytes) {
          throw new NearfarError('integrity-mismatch', `more came than the ${bytes} bytes of the file`, { details: { want: bytes } });
        }
        await write(file, piece, length);
        hash.update(piece);
        length += piece.byteLength;
        this.#onBytes(piece.byteLength);
      };
      while (length < bytes) {
        const before = length;
        try {
          const { start, body } = await openContent(length, isFresh, signal);
          if (start !== length) {
            // No ranges here, or another file by now.
            if (start !== 0) throw new NearfarError('network', `byte ${length} was asked for, the answer begins at ${start}`);
            await file.truncate(0);
            hash = createHash('sha256');
            length = 0;
          }
          for await (const piece of body) await append(piece);
          if (length < bytes) throw new NearfarError('network', `the answer ended after ${length} of ${bytes} bytes`);
        } catch (error) {
          if (signal.aborted || !(error instanceof NearfarError) || error.code !== 'network' || length <= before) throw error;
        }
      }
      return digestOfHash(hash);
    } catch (error) {
      if (error instanceof NearfarError && error.code === 'integrity-mismatch') await file.truncate(0);
      throw error;
    } finally {
      await file.close();
    }
  }

  /** Bytes of everything in the cache. */
  async usage(): Promise<number> {
    let bytes = 0;
    for (const path of await this.#paths()) bytes += (await sizeOf(path)) ?? 0;
    return bytes;
  }

  /** Removes files that no version holds any more. */
  async removeUnlinked(now: number): Promise<void> {
    for (const path of await this.#paths()) {
      const found = await stat(path).catch(() => undefined);
      if (found && found.nlink === 1 && now - Math.max(found.mtimeMs, found.ctimeMs) >= unlinkedMs) await rm(path, { force: true });
    }
  }

  async #paths(): Promise<string[]> {
    const entries = await readdir(this.#folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
      if (isMissing(error)) return [];
      throw error;
    });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  }
}

function digestOfHash(hash: Hash): string {
  return `sha256:${hash.digest('hex')}`;
}

/** @returns whether the part is ours now: nobody had it, or nobody writes it any more. */
async function claim(part: string): Promise<boolean> {
  try {
    await (await open(part, 'wx')).close();
    return true;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const found = await stat(part).catch(() => undefined);
  if (!found || Date.now() - found.mtimeMs < staleMs) return false;
  // Of several that find it so, one can rename it.
  const own = `${part}.${randomUUID()}`;
  try {
    await rename(part, own);
    const now = new Date();
    await utimes(own, now, now);
    await rename(own, part);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function write(file: FileHandle, piece: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < piece.byteLength; ) {
    done += (await file.write(piece, done, piece.byteLength - done, position + done)).bytesWritten;
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ size }) => size,
    (error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    },
  );
}

import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ByteRange, cutStream, type EmittedFile, type ManifestFile, type ModelFile, NearfarError } from '../core/index.ts';
import type { SourceFile } from './source.ts';

/** Larger files are kept on disk until they are published. */
const LARGE_BYTES = 16 * 2 ** 20;
const PART_BYTES = 4 * 2 ** 20;

/** A file that is in memory. */
export function fileOfBytes(bytes: Uint8Array<ArrayBuffer>, tensors: readonly ByteRange[] = []): SourceFile {
  return {
    byteLength: bytes.byteLength,
    tensors,
    async *read() {
      if (bytes.byteLength > 0) yield bytes;
    },
  };
}

/** Files of a model, one after another as one file. */
export function fileOfParts(parts: readonly ModelFile[], tensors: readonly ByteRange[] = []): SourceFile {
  return {
    byteLength: parts.reduce((sum, { byteLength }) => sum + byteLength, 0),
    tensors,
    async *read() {
      for (const part of parts) {
        for (let start = 0; start < part.byteLength; start += PART_BYTES)
          yield await part.read(start, Math.min(start + PART_BYTES, part.byteLength));
      }
    },
  };
}

/** A file as a whole, for an engine. */
export async function collect({ byteLength, read }: EmittedFile): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(byteLength);
  let position = 0;
  for await (const part of read()) {
    if (position + part.byteLength <= byteLength) bytes.set(part, position);
    position += part.byteLength;
  }
  if (position === byteLength) return bytes;
  throw new NearfarError('internal', `a file of ${byteLength} bytes was announced, its parts hold ${position}`);
}

/** The manifest's record of a file. */
export async function describeSource({ byteLength, tensors, read }: SourceFile): Promise<ManifestFile> {
  const whole = createHash('sha256');
  const chunks: [number, string][] = [];
  for await (const chunk of cutStream(read(), byteLength, tensors)) {
    whole.update(chunk);
    chunks.push([chunk.byteLength, `sha256:${createHash('sha256').update(chunk).digest('hex')}`]);
  }
  return { bytes: byteLength, digest: `sha256:${whole.digest('hex')}`, chunks };
}

/**
 * Writes a file that is not there yet, down to the disk.
 * @throws {NearfarError} `integrity-mismatch` when the content is not what was described: a source changed while it was published.
 */
export async function storeFile(path: string, { read }: SourceFile, described: Pick<ManifestFile, 'digest'> | undefined): Promise<void> {
  await using file = await open(path, 'wx');
  const hash = createHash('sha256');
  for await (const part of read()) {
    hash.update(part);
    await file.writeFile(part);
  }
  const digest = `sha256:${hash.digest('hex')}`;
  if (described && digest !== described.digest) {
    throw new NearfarError('integrity-mismatch', `${path} changed while it was published: ${digest}, it was ${described.digest}`, {
      details: { path, want: described.digest, got: digest },
    });
  }
  await file.sync();
}

/** Where written files wait until they are published. */
export interface Spool extends AsyncDisposable {
  /** Makes a file now, once; its parts are read back as often as needed. */
  readonly keep: KeepFile;
}

export type KeepFile = (file: EmittedFile) => Promise<SourceFile>;

/** Opens a spool; a temporary folder is made for the first large file, and is gone when the spool is closed. */
export function openSpool(): Spool {
  let folder: Promise<string> | undefined;
  const keep: KeepFile = async (file) => {
    if (file.byteLength < LARGE_BYTES) return fileOfBytes(await collect(file), file.tensors);
    folder ??= mkdtemp(join(tmpdir(), 'nearfar-publish-'));
    const path = join(await folder, randomUUID());
    await using written = await open(path, 'wx');
    for await (const part of file.read()) await written.writeFile(part);
    return {
      byteLength: file.byteLength,
      tensors: file.tensors,
      read: () => createReadStream(path, { highWaterMark: PART_BYTES }) as AsyncIterable<Uint8Array<ArrayBuffer>>, // without an encoding
    };
  };
  return {
    keep,
    [Symbol.asyncDispose]: async () => {
      if (folder) await rm(await folder, { recursive: true, force: true });
    },
  };
}

import { createHash, type Hash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { lstat, open, rename, rm } from 'node:fs/promises';
import { NearfarError } from '../../core/index.ts';

/** A file as its sender announces it. */
export interface AnnouncedFile {
  readonly path: string;
  readonly bytes: number;
  readonly digest: string;
}

/** So much of a stream may come in one call. */
export interface UploadPart {
  /** Where it begins; undefined for a file that begins anew. */
  readonly start: number | undefined;
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * One file of an upload: it grows by parts that follow each other, is hashed as they come, and gets its own name once its digest is right.
 * What was written stays when a connection breaks or the process is killed.
 */
export class UploadFile {
  readonly announced: AnnouncedFile;
  /** Where it lies once it is whole; before, with `.part` behind. */
  readonly #whole: string;
  readonly #part: string;
  #received: number;
  #isWhole: boolean;
  /** Of what was received; undefined where the process did not see it. */
  #hash: Hash | undefined;
  /** The part that is being written, which never rejects. */
  #writing: Promise<void> = Promise.resolve();
  #ending = new AbortController();

  private constructor(announced: AnnouncedFile, whole: string, { received, isWhole }: { received: number; isWhole: boolean }) {
    this.announced = announced;
    this.#whole = whole;
    this.#part = `${whole}.part`;
    this.#received = received;
    this.#isWhole = isWhole;
  }

  /** @param moved Where it may have been moved once it was whole. */
  static async open(announced: AnnouncedFile, whole: string, moved: string): Promise<UploadFile> {
    const isWhole = (await sizeOf(whole)) !== undefined || (await sizeOf(moved)) !== undefined;
    const size = (await sizeOf(`${whole}.part`)) ?? 0;
    // One that came whole and was not looked at before the process ended comes again.
    const received = isWhole ? announced.bytes : size < announced.bytes ? size : 0;
    return new UploadFile(announced, whole, { received, isWhole });
  }

  /** Bytes that are here: the next part begins there. */
  get offset(): number {
    return this.#received;
  }

  get isWhole(): boolean {
    return this.#isWhole;
  }

  /**
   * Writes a part. One that is being written already, perhaps by a connection that broke without a word, ends first.
   * @throws {NearfarError} `failed-precondition` for a part that does not begin at the offset, which `details` has; `invalid-argument` for more
   * bytes than were announced; `integrity-mismatch` for a whole file with another digest, which then begins anew; what the body throws.
   */
  async write({ start, body }: UploadPart): Promise<void> {
    this.#ending.abort(new NearfarError('cancelled', `another part of ${this.announced.path} came meanwhile`));
    const ending = new AbortController();
    this.#ending = ending;
    const before = this.#writing;
    const writing = before.then(() => this.#append(start ?? 0, { body, isAnew: start === undefined, signal: ending.signal }));
    this.#writing = writing.catch(() => undefined);
    await writing;
  }

  /** Ends what is being written. */
  async stop(reason: NearfarError): Promise<void> {
    this.#ending.abort(reason);
    await this.#writing;
  }

  async #append(
    start: number,
    { body, isAnew, signal }: { readonly body: AsyncIterable<Uint8Array>; readonly isAnew: boolean; readonly signal: AbortSignal },
  ): Promise<void> {
    const { path, bytes } = this.announced;
    signal.throwIfAborted();
    if (this.#isWhole) return;
    if (isAnew) await this.#beginAnew();
    if (start !== this.#received) {
      throw new NearfarError('failed-precondition', `${path} goes on at byte ${this.#received}, got a part from ${start}`, {
        details: { path, offset: this.#received, got: start },
      });
    }
    this.#hash ??= await hashOf(this.#part, this.#received);
    {
      // Whatever lies there: a link is not followed.
      const truncates = this.#received === 0 ? constants.O_TRUNC : 0;
      const flags = constants.O_WRONLY | constants.O_CREAT | truncates | (constants.O_NOFOLLOW ?? 0);
      await using file = await open(this.#part, flags, 0o644);
      for await (const chunk of untilAborted(body, signal)) {
        if (this.#received + chunk.byteLength > bytes) {
          throw new NearfarError('invalid-argument', `${path} has more than the ${bytes} bytes that were announced`, {
            details: { path, bytes },
          });
        }
        await writeAll(file, chunk, this.#received);
        this.#hash.update(chunk);
        this.#received += chunk.byteLength;
      }
      // Its name says that it is whole: it must be so after a power failure, too.
      if (this.#received === bytes) await file.sync();
    }
    if (this.#received === bytes) await this.#finish(this.#hash);
  }

  async #finish(hash: Hash): Promise<void> {
    const { path, digest } = this.announced;
    const got = `sha256:${hash.digest('hex')}`;
    this.#hash = undefined;
    if (got !== digest) {
      await this.#beginAnew();
      throw new NearfarError('integrity-mismatch', `${path} came with digest ${got}, ${digest} was announced; it begins anew`, {
        details: { path, want: digest, got },
      });
    }
    await rename(this.#part, this.#whole);
    this.#isWhole = true;
  }

  async #beginAnew(): Promise<void> {
    await rm(this.#part, { force: true });
    this.#received = 0;
    this.#hash = createHash('sha256');
  }
}

/** A part that ends with an error of the disk has left no bytes that are not counted: what lies beyond the offset is written over. */
async function writeAll(file: Awaited<ReturnType<typeof open>>, chunk: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < chunk.byteLength; ) {
    written += (await file.write(chunk, written, chunk.byteLength - written, position + written)).bytesWritten;
  }
}

async function hashOf(path: string, bytes: number): Promise<Hash> {
  const hash = createHash('sha256');
  if (bytes > 0) for await (const chunk of createReadStream(path, { end: bytes - 1 })) hash.update(chunk);
  return hash;
}

/** A connection that broke is no failure of the server's, nor is a body that is wrongly compressed. */
function failBody(cause: unknown): never {
  const isBroken =
    cause instanceof Error && 'code' in cause && (cause.code === 'ECONNRESET' || cause.code === 'ERR_STREAM_PREMATURE_CLOSE');
  if (isBroken) throw new NearfarError('cancelled', 'the connection broke off; what came stays', { cause });
  throw new NearfarError('invalid-argument', `the body cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
}

/** Ends with the signal also while nothing comes. */
async function* untilAborted(body: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]();
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  aborted.catch(() => undefined);
  try {
    for (;;) {
      const next = await Promise.race([chunks.next().catch(failBody), aborted]);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Not awaited: a stream that is stuck would not answer either.
    void chunks.return?.()?.catch(() => undefined);
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  const info = await lstat(path).catch(() => undefined);
  return info?.isFile() ? info.size : undefined;
}
